"""Images and the minibatches drawn from them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from zcpt_ray.datasets import augmentation


@dataclass(frozen=True)
class Batch:
    """One minibatch: normalised `images` float32 [B, C, H, W] and `labels` int64 [B], on one device.

    A proxy that needs random numbers draws them from `seed`.
    """

    images: Tensor
    labels: Tensor
    seed: int = 0


class LazyImages(Protocol):
    """Images that are read and decoded when a minibatch needs them.

    They are indexed like an array, which reads nothing. They can be pickled.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, chosen: np.ndarray | slice) -> "LazyImages": ...

    def decode(self, random: np.random.Generator | None, flip: bool) -> np.ndarray:
        """Decode all of them: uint8 [n, C, H, W].

        With `random` they are cropped and, if `flip`, mirrored at random. Without it they are the same each time.
        """


@dataclass(frozen=True)
class ImageSet:
    """Raw images, uint8 [n, C, H, W] or lazy, with labels int64 [n], and how to turn them into a `Batch`.

    - `mean` and `std` are per channel, on a scale of 0 to 1.
    - `flip`: mirroring keeps the label.
    - `padding`: black pixels around an image that random crops may show.
    - `classes`: names, where they are known.
    - `fingerprint` tells apart what has the same name; it is empty where the name says it all.
    - `origin`: which images of the data set these are, in words.
    """

    images: np.ndarray | LazyImages
    labels: np.ndarray
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool
    padding: int = 4
    classes: tuple[str, ...] = ()
    fingerprint: str = ""
    origin: str = ""

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"ImageSet({len(self)} images of {self.num_classes} classes)"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """[C, H, W] of an image in a minibatch."""
        channels, height, width = self.take(np.arange(1)).shape[1:]
        return channels, height, width

    def thinned(self, limit: int) -> "ImageSet":
        """At most `limit` of the images, evenly spread; sorted classes keep about their shares."""
        if limit >= len(self):
            return self
        chosen = np.arange(limit) * len(self) // limit
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])

    def take(self, chosen: np.ndarray | slice, random: np.random.Generator | None = None) -> np.ndarray:
        """Some of the images, uint8 [B, C, H, W], augmented where there is a generator."""
        images = self.images[chosen]
        if not isinstance(images, np.ndarray):
            return images.decode(random, self.flip)
        return images if random is None else crop_and_flip_at_random(images, random, self.flip, self.padding)


def draw_minibatch(data: ImageSet, batch_size: int, seed: int, device: str = "cpu") -> Batch:
    """Draw `batch_size` different images, each cropped at random and, where that keeps the label, flipped.

    Depends on `data`, `batch_size` and `seed` only.
    """
    random = np.random.default_rng(seed)
    chosen = random.choice(len(data), batch_size, replace=False)
    return _normalized(data, data.take(chosen, random), data.labels[chosen], seed, device)


def epoch_of_minibatches(
    data: ImageSet, batch_size: int, device: str = "cpu", seed: int | None = None
) -> Iterator[Batch]:
    """Go through all images once, augmented and in an order drawn from `seed`; without one, in order as they are.

    With a seed the last, incomplete minibatch is left out, so that all weigh the same.
    """
    if seed is None:
        for start in range(0, len(data), batch_size):
            part = slice(start, start + batch_size)
            yield _normalized(data, data.take(part), data.labels[part], 0, device)
        return
    random = np.random.default_rng(seed)
    order = random.permutation(len(data))
    for start in range(0, len(data) - batch_size + 1, batch_size):
        chosen = order[start : start + batch_size]
        yield _normalized(data, data.take(chosen, random), data.labels[chosen], seed, device)


def _normalized(data: ImageSet, images: np.ndarray, labels: np.ndarray, seed: int, device: str) -> Batch:
    scaled = torch.from_numpy(images).to(device).float() / 255
    mean, std = (scaled.new_tensor(values)[:, None, None] for values in (data.mean, data.std))
    return Batch((scaled - mean) / std, torch.from_numpy(labels).to(device), seed)


def crop_and_flip_at_random(images: np.ndarray, random: np.random.Generator, flip: bool, pad: int = 4) -> np.ndarray:
    """Crop uint8 [B, C, H, W], padded by `pad` black pixels, at random; if `flip`, mirror each with probability 1/2."""
    shift = np.stack([random.integers(0, 2 * pad + 1, len(images)) for _ in ("row", "column")], axis=1)
    mirror = random.random(len(images)) < 0.5 if flip else np.zeros(len(images), bool)
    cropped = augmentation.crop_and_flip(
        torch.from_numpy(images), torch.from_numpy(shift), torch.from_numpy(mirror), pad
    )
    return cropped.contiguous().numpy()
