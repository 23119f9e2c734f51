"""A user's own images: a folder with a subfolder for each class, or with parquet shards, as a data set in one call."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from zcpt_ray.datasets.base import Dataset, RawImages
from zcpt_ray.datasets.images import EncodedImage, EncodedImages, every_fifth, in_threads, read_fitted, whole_size
from zcpt_ray.datasets.shards import read_shards
from zcpt_ray.errors import UserError

IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})


def image_folder(
    name: str,
    folder: str | Path,
    size: int = 32,
    flip: bool = False,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    in_memory: bool = True,
) -> Dataset:
    """Make a data set of the images below `folder`; a row in `DATASETS` makes it known by `name`.

    They lie in `folder/CLASS/`, or in `folder/train/CLASS/` and `folder/val/CLASS/` (or validation, test), or in
    parquet shards anywhere below, which `read_shards` describes. Where nothing is split, every fifth image is a test
    image. Images are read when the data set is loaded, not here.

    - `folder` may begin with `~`.
    - `size`: the square in the middle of each image is resized to so many pixels a side when it is read. Random crops
      are padded by an eighth of that.
    - `flip`: mirroring keeps the label.
    - `mean` and `std`, on a scale of 0 to 1, are computed if they are not given.
    - `in_memory`: without it an image is decoded only when a minibatch has it, as a random resized crop. It is read
      from the same path on each machine.

    Raises:
        UserError: the size is not whole, or too small, or no folder can be called so.
    """
    size = whole_size(size)
    reader = FolderReader(folder_path(folder), size, in_memory)
    return Dataset(name, None, mean, std, flip, reader, padding=size // 8)


def folder_path(folder: str | Path) -> Path:
    """The whole path of a folder that may begin with `~`; it need not be there.

    Raises:
        UserError: no folder can be called so.
    """
    try:
        path = Path(folder).expanduser().resolve()
        path.is_dir()  # fails if the name is too long
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        raise UserError(f"{folder!r} cannot be a folder: {error}") from error
    return path


@dataclass(frozen=True)
class FolderReader:
    """Reads the images below `folder` as `image_folder` describes, as `size` x `size` pixels."""

    folder: Path
    size: int
    in_memory: bool

    def __call__(self, data: Path, split: str) -> RawImages:
        """Read the images of a split; the data directory is not needed."""
        return read_images(self.folder, split, self.size, self.in_memory)

    def at_size(self, size: int) -> "FolderReader":
        """The same for images of `size` x `size` pixels."""
        return replace(self, size=size)


def read_images(folder: Path, split: str, size: int, in_memory: bool) -> RawImages:
    """Read the images of a split of a folder, which may look as `image_folder` describes.

    Raises:
        UserError: nothing is there, a class is empty, or a file is no image.
    """
    is_split = bool(class_names(folder / "train"))
    if not is_split and next(folder.rglob("*.parquet"), None):
        return read_shards(folder, split, size, in_memory)
    training = folder / "train" if is_split else folder
    classes = class_names(training)
    if not classes:
        raise UserError(
            f"no images in {folder}: expected there CLASS/*.jpg (or .png, ...), train/CLASS/*.jpg and val/CLASS/*.jpg,"
            " or *.parquet"
        )
    place = training if split == "train" or not is_split else _test_folder(folder)
    foreign = sorted(set(class_names(place)) - set(classes))
    if foreign:
        raise UserError(f"{place} has classes that {training} has not: {', '.join(foreign[:5])}")
    files = [_image_files(place, name) for name in classes]
    for name, found in zip(classes, files, strict=True):
        if not found and place == training:
            raise UserError(f"class folder {place / name} has no images ({', '.join(sorted(IMAGE_ENDINGS))})")
    rows = np.array([os.fsencode(path) for found in files for path in found], "S")
    labels = np.repeat(np.arange(len(classes)), [len(found) for found in files])
    chosen, origin = every_fifth(split, len(rows))
    if is_split:
        chosen, origin = np.arange(len(rows)), f"the folder {place.name}/"
    source = FolderSource(place)
    images = read_fitted(source, rows[chosen], size) if in_memory else EncodedImages(source, rows[chosen], size)
    return RawImages(images, labels[chosen], classes, origin)


@dataclass(frozen=True)
class FolderSource:
    """Image files below `folder`; a row is a path in it, as bytes.

    Ray's workers share an array of bytes; they would copy a list of texts.
    """

    folder: Path

    def read(self, rows: np.ndarray) -> list[EncodedImage]:
        """The images of `rows`, in that order."""
        return in_threads(self._read_file, rows.tolist())

    def _read_file(self, row: bytes) -> EncodedImage:
        path = self.folder / os.fsdecode(row)
        try:
            return EncodedImage(str(path), path.read_bytes())
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error


def class_names(folder: Path) -> tuple[str, ...]:
    """The subfolders, in order, without hidden ones; none where there is no such folder."""
    if not folder.is_dir():
        return ()
    return tuple(
        sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    )


def _test_folder(folder: Path) -> Path:
    names = ("val", "validation", "test")
    found = [folder / name for name in names if class_names(folder / name)]
    if not found:
        raise UserError(
            f"no test images in {folder}: expected CLASS/*.jpg (or .png, ...) in {', '.join(names[:-1])} or {names[-1]}"
            " there"
        )
    return found[0]


def _image_files(folder: Path, name: str) -> list[str]:
    """Paths of the images of a class, at any depth, from `folder` on."""
    paths = (
        Path(place, file) for place, _, files in os.walk(folder / name) for file in files if not file.startswith(".")
    )
    return sorted(str(path.relative_to(folder)) for path in paths if path.suffix.lower() in IMAGE_ENDINGS)
