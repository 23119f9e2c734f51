"""A user's own images: a folder with a subfolder for each class, or with parquet shards, as a data set in one call."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from zcpt_ray.configs import AS_THEY_ARE, ImageOptions
from zcpt_ray.datasets.base import Dataset, RawImages
from zcpt_ray.datasets.decoding import Decoder, EncodedImage
from zcpt_ray.datasets.images import (
    SIZES_SAMPLE,
    EncodedImages,
    chosen_of_split,
    evenly_spread,
    in_threads,
    read_squares,
    usual_size,
    whole_size,
)
from zcpt_ray.datasets.layouts import find_layout, images_below
from zcpt_ray.datasets.shards import read_shards
from zcpt_ray.errors import UserError


def image_folder(
    name: str,
    folder: str | Path,
    size: int | None = None,
    flip: bool = False,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    in_memory: bool = True,
    options: ImageOptions = AS_THEY_ARE,
) -> Dataset:
    """Make a data set of the images below `folder`; a row in `DATASETS` makes it known by `name`.

    They lie in `folder/CLASS/`, or in `folder/train/CLASS/` and `folder/val/CLASS/` (or validation, test, ..., in any
    case), or in parquet shards anywhere below, which `read_shards` describes. Where nothing is split, every fifth image
    is a test image. Images are read when the data set is loaded, not here.

    - `folder` may begin with `~`.
    - `size`: images are resized to so many pixels a side when they are read; without it to what most of them have, from
      32 to 224. Random crops are padded by an eighth of that.
    - `flip`: mirroring keeps the label.
    - `mean` and `std`, on a scale of 0 to 1, are computed if they are not given.
    - `in_memory`: without it an image is decoded only when a minibatch has it, as a random resized crop. It is read
      from the same path on each machine.
    - `options`: more on how images are read. What it gives counts more than `size` and `flip`.

    Raises:
        UserError: the size is not whole, or too small, or no folder can be called so.
    """
    size = None if size is None else whole_size(size)
    reader = FolderReader(folder_path(folder), in_memory, ImageOptions(image_size=size))
    return Dataset(name, None, mean, std, flip, reader, padding=None).with_options(options)


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
    """Reads the images below `folder` as `image_folder` describes."""

    folder: Path
    in_memory: bool
    options: ImageOptions

    def __call__(self, data: Path, split: str) -> RawImages:
        """Read the images of a split; the data directory is not needed."""
        return read_images(self.folder, split, self.options, self.in_memory)

    def at_size(self, size: int) -> "FolderReader":
        """The same for images of `size` x `size` pixels."""
        return replace(self, options=replace(self.options, image_size=size))

    def with_options(self, options: ImageOptions) -> "FolderReader":
        """The same with other options, but the size stays.

        Raises:
            UserError: no such colour.
        """
        Decoder.of(options, 0)  # a colour that is none is refused now
        return replace(self, options=replace(options, image_size=self.options.image_size))

    def count(self) -> int:
        """How many training images there are, which are not decoded for it.

        Raises:
            UserError: as `read_images`.
        """
        sized = replace(self.options, image_size=32)  # any: without one some are decoded to find the usual one
        return len(read_images(self.folder, "train", sized, in_memory=False).labels)


def read_images(folder: Path, split: str, options: ImageOptions, in_memory: bool) -> RawImages:
    """Read the images of a split of a folder, which may look as `image_folder` describes.

    Raises:
        UserError: nothing is there, its classes or splits cannot be told, or a file is no image.
    """
    if not any(images_below(folder)) and next(folder.rglob("*.parquet"), None):  # the first ends with an image
        return read_shards(folder, split, options, in_memory)
    layout = find_layout(folder)
    place, files = layout.place(split), layout.files(split)
    size = options.image_size or _usual_size(
        layout.training, files if place == layout.training else layout.files("train")
    )
    decoder = Decoder.of(options, size)
    rows = np.array([os.fsencode(path) for found in files for path in found], "S")
    labels = np.repeat(np.arange(len(files)), [len(found) for found in files])
    if layout.is_split:
        chosen, origin = np.arange(len(rows)), f"the folder {place.relative_to(folder)}/"
        tests = f"the folder {layout.testing.relative_to(folder)}/" if layout.testing else "none"
    else:
        chosen, origin, tests = chosen_of_split(split, len(rows), options.test_share)
    source = FolderSource(place)
    rows, labels = rows[chosen], labels[chosen]
    images = read_squares(source, rows, decoder) if in_memory else EncodedImages(source, rows, decoder)
    return RawImages(images, labels, layout.classes, origin, layout.notes, tests)


def _usual_size(training: Path, files: Sequence[Sequence[str]]) -> int:
    paths = [path for found in files for path in found]
    sample = [os.fsencode(paths[index]) for index in evenly_spread(len(paths), SIZES_SAMPLE)]
    return usual_size(FolderSource(training).read(np.array(sample, "S")))


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
