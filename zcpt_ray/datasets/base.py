"""What a data set is: a name, what is known of it, and how its images are read."""

import hashlib
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from zcpt_ray.configs import ImageOptions
from zcpt_ray.datasets.checks import notes_on
from zcpt_ray.datasets.images import EncodedImages, evenly_spread, resize_images, whole_size
from zcpt_ray.datasets.minibatches import ImageSet, LazyImages
from zcpt_ray.errors import UserError
from zcpt_ray.seeding import generator
from zcpt_ray.storage.paths import data_directory

STATISTICS_SAMPLE = 1000
"""How many lazy images stand for all of them, where mean and deviation are not given."""


class RawImages(NamedTuple):
    """What a reader finds: images, uint8 [n, C, H, W] or lazy, and their labels, int64 [n].

    `classes` are the names of the classes, where it knows them. `origin` says in words which images these are, such as
    "the folder train/", and with training images `tests` which are for tests; `notes` is what else a user should know,
    such as files that were left out.
    """

    images: np.ndarray | LazyImages
    labels: np.ndarray
    classes: tuple[str, ...] = ()
    origin: str = ""
    notes: tuple[str, ...] = ()
    tests: str = ""


@runtime_checkable
class SizedReader(Protocol):
    """A reader that can read its images at another size."""

    def __call__(self, folder: Path, split: str) -> RawImages:
        """Read the images of a split."""

    def at_size(self, size: int) -> "SizedReader":
        """The same for images of `size` x `size` pixels."""


@runtime_checkable
class FolderLike(SizedReader, Protocol):
    """A reader of a user's own files, which `ImageOptions` are for."""

    def with_options(self, options: ImageOptions) -> "FolderLike":
        """The same with other options, but the size stays."""

    def count(self) -> int:
        """How many training images there are, which are not decoded for it."""


@dataclass(frozen=True)
class Dataset:
    """A named data set, and how to read it.

    - `num_classes`: without it, as many as the reader names.
    - `mean` and `std`, per channel on a scale of 0 to 1: without them, those of the training images.
    - `flip`: mirroring keeps the label.
    - `read(folder, split)` gives the raw "train" or "test" images; `folder` is the data directory.
    - `padding`: black pixels around an image that random crops may show; None for an eighth of its side.
    - `image_size`: images are resized to so many pixels a side once they are read; without it they stay as they are.
    """

    name: str
    num_classes: int | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    flip: bool
    read: Callable[[Path, str], RawImages]
    padding: int | None = 4
    image_size: int | None = None

    def resized(self, size: int) -> "Dataset":
        """The same data set with images of `size` x `size` pixels.

        The square in the middle of an image is taken, and random crops are padded by an eighth of the size.

        Raises:
            UserError: the size is not whole, or too small.
        """
        size = whole_size(size)
        padding = self.padding and size // 8
        if isinstance(self.read, SizedReader):
            return replace(self, read=self.read.at_size(size), padding=padding)
        return replace(self, image_size=size, padding=padding)

    def with_options(self, options: ImageOptions) -> "Dataset":
        """The same data set, read as `options` say.

        Raises:
            UserError: the size is too small, or something is asked that only folders of images can do.
        """
        found = self if options.image_size is None else self.resized(options.image_size)
        if options.flip is not None:
            found = replace(found, flip=options.flip)
        rest = replace(options, image_size=None, flip=None)
        if not rest.given:
            return found
        if not isinstance(found.read, FolderLike):
            raise UserError(f"{', '.join(rest.given)}: only for folders of images, which {self.name} is not")
        return replace(found, read=found.read.with_options(rest))

    def load(self, split: str) -> ImageSet:
        """Read the "train" or "test" images.

        Raises:
            UserError: the data is missing, unreadable, of another kind than `RawImages` says, or has labels outside
                the data set's classes.
        """
        if split not in ("train", "test"):
            raise UserError(f"unknown split {split!r} of {self.name}; choose from train, test")
        read = self._read(split)
        num_classes = self.num_classes or len(read.classes)
        self._check(read, split, num_classes)
        raw = self._at_size(read)
        mean, std = self.mean, self.std
        if mean is None or std is None:
            training = raw if split == "train" else self._at_size(self._read("train"))
            found = channel_statistics(training.images)
            mean, std = mean or found[0], std or found[1]
        if self.num_classes is None:
            fingerprint = _contents_digest(raw)
        else:  # the name says it all, but for the size
            fingerprint = "" if raw.images is read.images else f"-{self.image_size}px"
        padding = _side(raw.images) // 8 if self.padding is None else self.padding
        names = raw.classes or tuple(str(number) for number in range(num_classes))
        try:
            notes = (*raw.notes, *notes_on(raw.images, names, raw.labels, split))
        except UserError as error:
            raise UserError(f"{self.name}: {error}") from error
        about = (self.flip, padding, raw.classes, fingerprint, raw.origin, notes, raw.tests)
        return ImageSet(raw.images, raw.labels, num_classes, mean, std, *about)

    def _read(self, split: str) -> RawImages:
        try:
            return RawImages(*self.read(data_directory(), split))  # a reader may give a plain tuple
        except OSError as error:
            raise UserError(f"cannot read the {split} images of {self.name}: {error}") from error

    def _at_size(self, raw: RawImages) -> RawImages:
        images = raw.images
        if self.image_size is None:
            return raw
        if isinstance(images, np.ndarray):
            return raw._replace(images=resize_images(images, self.image_size))
        if isinstance(images, EncodedImages):
            return raw._replace(images=images.at_size(self.image_size))
        raise UserError(
            f"the images of {self.name} cannot be resized: its reader gives them as {type(images).__name__}; let it"
            f" give {self.image_size} pixels a side"
        )

    def _check(self, raw: RawImages, split: str, num_classes: int) -> None:
        images, labels, classes, *_ = raw
        if isinstance(images, np.ndarray) and (images.dtype != np.uint8 or images.ndim != 4):
            raise UserError(
                f"{self.name} {split}: images are {images.dtype} {list(images.shape)}; they must be uint8 [n, C, H, W]"
            )
        if isinstance(images, np.ndarray) and images.shape[3] in (1, 3) and images.shape[1] > 4:
            raise UserError(
                f"{self.name} {split}: images are {list(images.shape)}, which looks like [n, H, W, C]; they must be "
                "[n, C, H, W]"
            )
        if not num_classes:
            raise UserError(f"{self.name} {split}: give the names of its classes, or their number")
        if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
            kind = labels.dtype if isinstance(labels, np.ndarray) else type(labels).__name__
            raise UserError(f"{self.name} {split}: labels are {kind}; they must be an array of whole numbers")
        if not len(images) == len(labels) > 0:
            raise UserError(
                f"{self.name} {split}: {len(images)} images and {len(labels)} labels; expected as many, and some"
            )
        if classes and len(classes) != num_classes:
            raise UserError(
                f"{self.name} {split}: {num_classes} classes, but {len(classes)} names: {', '.join(classes)}"
            )
        if labels.min() < 0 or labels.max() >= num_classes:
            raise UserError(
                f"{self.name} {split}: labels {labels.min()}..{labels.max()}; they must lie in 0..{num_classes - 1}"
            )


def halves(dataset: Dataset) -> tuple[ImageSet, ImageSet]:
    """The half of the training set that a search may see, and the held-out half, for validation accuracy."""
    full = dataset.load("train")
    order = generator(dataset.name, "search half").permutation(len(full))
    first, second = (full.part(np.sort(part)) for part in (order[: len(full) // 2], order[len(full) // 2 :]))
    return first, second


def channel_statistics(images: np.ndarray | LazyImages) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels, on a scale of 0 to 1.

    Of lazy images, some that are evenly chosen stand for all. The deviation is at least 1/255, so that images of one
    colour can be normalised.
    """
    if not isinstance(images, np.ndarray):
        images = images[evenly_spread(len(images), STATISTICS_SAMPLE)].decode(None, flip=False)
    levels = np.arange(256) / 255
    mean, std = [], []
    for channel in images.swapaxes(0, 1):
        counts = sum(np.bincount(image.ravel(), minlength=256) for image in channel)
        share = counts / channel.size
        mean.append(float(share @ levels))
        std.append(max(float(share @ (levels - mean[-1]) ** 2) ** 0.5, 1 / 255))
    return tuple(mean), tuple(std)


def _side(images: np.ndarray | LazyImages) -> int:
    """Pixels of an image's side."""
    if isinstance(images, EncodedImages):
        return images.decoder.size
    first = images[np.arange(1)]
    pixels: tuple[int, ...] = (first if isinstance(first, np.ndarray) else first.decode(None, flip=False)).shape
    return pixels[2]


def _contents_digest(raw: RawImages) -> str:
    digest = hashlib.blake2b(raw.labels.tobytes() + repr(raw.classes).encode(), digest_size=6)
    digest.update(
        np.ascontiguousarray(raw.images).data if isinstance(raw.images, np.ndarray) else pickle.dumps(raw.images)
    )
    return f"-{digest.hexdigest()}"
