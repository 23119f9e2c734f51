"""A user's own images: a folder with a subfolder for each class, or with parquet shards, as a data set in one call."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from zcpt_ray.datasets.base import Dataset, RawImages
from zcpt_ray.datasets.images import Encoded, EncodedImages, every_fifth, in_threads, read_fitted
from zcpt_ray.datasets.shards import read_shards
from zcpt_ray.errors import UserError

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})


def image_folder(
    name: str,
    folder: Path,
    size: int = 32,
    flip: bool = False,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    in_memory: bool = True,
) -> Dataset:
    """The images below `folder`, as a data set; a row in `DATASETS` makes it known by `name`.

    They lie in `folder/CLASS/`, or in `folder/train/CLASS/` and `folder/val/CLASS/` (or validation, test), or in parquet shards
    anywhere below, which `read_shards` describes. Where nothing is split, every fifth image is a test image.

    The square in the middle of each is resized to `size` pixels when it is read, and crops are padded by an eighth of that.
    Without `in_memory` an image is decoded only when a minibatch has it, from the same path on each machine, as a random resized
    crop. `flip`: mirroring keeps the label. `mean` and `std`, on a scale of 0 to 1, are computed if not given.
    """
    folder = folder.expanduser().resolve()
    return Dataset(name, None, mean, std, flip, partial(_read_own, folder, size, in_memory), padding=size // 8)


def _read_own(folder: Path, size: int, in_memory: bool, data: Path, split: str) -> RawImages:
    return read_images(folder, split, size, in_memory)


def read_images(folder: Path, split: str, size: int, in_memory: bool) -> RawImages:
    """What `image_folder` describes.

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
            f"no images in {folder}: expected there CLASS/*.jpg (or .png, ...), train/CLASS/*.jpg and val/CLASS/*.jpg, or *.parquet"
        )
    place = training if split == "train" or not is_split else _test_folder(folder)
    foreign = sorted(set(class_names(place)) - set(classes))
    if foreign:
        raise UserError(f"{place} has classes that {training} has not: {', '.join(foreign[:5])}")
    files = [_image_files(place, name) for name in classes]
    for name, found in zip(classes, files, strict=True):
        if not found and place == training:
            raise UserError(f"class folder {place / name} has no images ({', '.join(sorted(ENDINGS))})")
    rows = np.array([os.fsencode(path) for found in files for path in found], "S")
    labels = np.repeat(np.arange(len(classes)), [len(found) for found in files])
    chosen = np.arange(len(rows)) if is_split else every_fifth(split, len(rows))
    source = FolderSource(place)
    images = read_fitted(source, rows[chosen], size) if in_memory else EncodedImages(source, rows[chosen], size)
    return RawImages(images, labels[chosen], classes)


@dataclass(frozen=True)
class FolderSource:
    """Image files below `folder`; a row is a path in it, as bytes: an array of them is shared by Ray's workers, not copied."""

    folder: Path

    def read(self, rows: np.ndarray) -> list[Encoded]:
        """The images of `rows`, in that order."""
        return in_threads(self._read_file, rows.tolist())

    def _read_file(self, row: bytes) -> Encoded:
        path = self.folder / os.fsdecode(row)
        try:
            return Encoded(str(path), path.read_bytes())
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error


def class_names(folder: Path) -> tuple[str, ...]:
    """The subfolders, in order, without hidden ones; none where there is no such folder."""
    if not folder.is_dir():
        return ()
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))))


def _test_folder(folder: Path) -> Path:
    names = ("val", "validation", "test")
    found = [folder / name for name in names if class_names(folder / name)]
    if not found:
        raise UserError(
            f"no test images in {folder}: expected CLASS/*.jpg (or .png, ...) in {', '.join(names[:-1])} or {names[-1]} there"
        )
    return found[0]


def _image_files(folder: Path, name: str) -> list[str]:
    """Paths of the images of a class, at any depth, from `folder` on."""
    paths = (Path(place, file) for place, _, files in os.walk(folder / name) for file in files if not file.startswith("."))
    return sorted(str(path.relative_to(folder)) for path in paths if path.suffix.lower() in ENDINGS)
