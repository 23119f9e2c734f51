"""What a data set is: a name, what is known of it, and how its images are read."""

import hashlib
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zcpt_ray.data import ImageSet, LazyImages, data_directory
from zcpt_ray.errors import UserError
from zcpt_ray.seeding import generator

SAMPLE = 1000
"""Lazy images whose pixels stand for all, where mean and standard deviation are not given."""


class RawImages(NamedTuple):
    """What a reader finds: images, uint8 [n, C, H, W] or lazy, labels int64 [n], and names of the classes where it knows them."""

    images: np.ndarray | LazyImages
    labels: np.ndarray
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """A named data set. `read(folder, split)` gives raw images; `folder` is the data directory, which it may do without.

    `num_classes` None: as many as the reader names. `mean` and `std` None: those of the training images. `padding` is that of
    random crops.
    """

    name: str
    num_classes: int | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    flip: bool
    read: Callable[[Path, str], RawImages]
    padding: int = 4

    def load(self, split: str) -> ImageSet:
        """The "train" or "test" images.

        Raises:
            UserError: the data is missing, unreadable, or has labels outside the data set's classes.
        """
        raw = self.read(data_directory(), split)
        images, labels, classes = raw
        num_classes = self.num_classes or len(classes)
        if not len(images) == len(labels) > 0:
            raise UserError(f"{self.name} {split}: {len(images)} images and {len(labels)} labels; expected as many, and some")
        if labels.min() < 0 or labels.max() >= num_classes:
            raise UserError(f"{self.name} {split}: labels {labels.min()}..{labels.max()}; they must lie in 0..{num_classes - 1}")
        mean, std = self.mean, self.std
        if mean is None or std is None:
            found = channel_statistics(raw.images if split == "train" else self.read(data_directory(), "train").images)
            mean, std = mean or found[0], std or found[1]
        fingerprint = "" if self.num_classes else _fingerprint(raw)
        return ImageSet(images, labels, num_classes, mean, std, self.flip, self.padding, classes, fingerprint)


def halves(dataset: Dataset) -> tuple[ImageSet, ImageSet]:
    """The half of the training set that a search may see, and the held-out half, for validation accuracy."""
    full = dataset.load("train")
    order = generator(dataset.name, "search half").permutation(len(full))
    parts = (np.sort(part) for part in (order[: len(full) // 2], order[len(full) // 2 :]))
    first, second = (replace(full, images=full.images[part], labels=full.labels[part]) for part in parts)
    return first, second


def channel_statistics(images: np.ndarray | LazyImages) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation over all pixels of each channel, on a scale of 0 to 1; of evenly chosen images if they are lazy.

    The deviation is at least 1/255, so that images of one colour can be normalised.
    """
    if not isinstance(images, np.ndarray):
        images = images[np.unique(np.linspace(0, len(images) - 1, SAMPLE).astype(np.int64))].decode(None, flip=False)
    levels = np.arange(256) / 255
    mean, std = [], []
    for channel in images.swapaxes(0, 1):
        counts = sum(np.bincount(image.ravel(), minlength=256) for image in channel)
        share = counts / channel.size
        mean.append(float(share @ levels))
        std.append(max(float(share @ (levels - mean[-1]) ** 2) ** 0.5, 1 / 255))
    return tuple(mean), tuple(std)


def _fingerprint(raw: RawImages) -> str:
    digest = hashlib.blake2b(raw.labels.tobytes() + repr(raw.classes).encode(), digest_size=6)
    digest.update(np.ascontiguousarray(raw.images).data if isinstance(raw.images, np.ndarray) else pickle.dumps(raw.images))
    return f"-{digest.hexdigest()}"
