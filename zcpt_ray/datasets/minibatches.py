"""Images and the minibatches drawn from them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
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
    - `notes`: what else a user should know of them.
    - `tests`: of training images, which others are for tests.
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
    notes: tuple[str, ...] = ()
    tests: str = ""

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"ImageSet({len(self)} images of {self.num_classes} classes)"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """[C, H, W] of an image in a minibatch."""
        channels, height, width = self.take(np.arange(1)).shape[1:]
        return channels, height, width

    @cached_property
    def digest(self) -> str:
        """12 hexadecimal digits that stand for labels and pixels; images that are decoded on demand count by label."""
        digest = hashlib.blake2b(self.labels.tobytes(), digest_size=6)
        if isinstance(self.images, np.ndarray):
            digest.update(np.ascontiguousarray(self.images).data)
        return digest.hexdigest()

    def part(self, chosen: np.ndarray) -> "ImageSet":
        """The images of these places, in this order."""
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])

    def thinned(self, limit: int) -> "ImageSet":
        """At most `limit` of the images, evenly spread; sorted classes keep about their shares."""
        if limit >= len(self):
            return self
        return self.part(np.arange(limit) * len(self) // limit)

    def thinned_by_class(self, limit: int) -> "ImageSet":
        """At most `limit` of the images, of each class its share, and one of each class whatever the limit."""
        if limit >= len(self):
            return self
        spread = np.argsort(self.labels, kind="stable")[np.arange(limit) * len(self) // limit]
        first = np.unique(self.labels, return_index=True)[1]
        missing = first[~np.isin(self.labels[first], self.labels[spread])]
        return self.part(np.sort(np.concatenate([spread, missing])))

    def take(self, chosen: np.ndarray | slice, random: np.random.Generator | None = None) -> np.ndarray:
        """Some of the images, uint8 [B, C, H, W], augmented where there is a generator."""
        return self.load(chosen, random, "cpu").numpy()

    def load(self, chosen: np.ndarray | slice, random: np.random.Generator | None, device: str) -> Tensor:
        """`take` on a device. Random numbers do not depend on it; what they do to the images is done there."""
        images = self.images[chosen]
        if not isinstance(images, np.ndarray):
            return torch.from_numpy(images.decode(random, self.flip)).to(device)
        pixels = torch.from_numpy(images).to(device)
        return pixels if random is None else crop_and_flip_at_random(pixels, random, self.flip, self.padding)


def draw_minibatch(data: ImageSet, batch_size: int, seed: int, device: str = "cpu") -> Batch:
    """Draw `batch_size` different images, each cropped at random and, where that keeps the label, flipped.

    Depends on `data`, `batch_size` and `seed` only. An image that is there already, under another number, is replaced
    by another one while there are any.
    """
    random = np.random.default_rng(seed)
    chosen = random.choice(len(data), batch_size, replace=False)
    if isinstance(data.images, np.ndarray):
        chosen = _distinct(data.images, chosen, seed)
    return _batch(data, chosen, random, seed, device)


def _distinct(images: np.ndarray, chosen: np.ndarray, seed: int) -> np.ndarray:
    """The places `chosen`, those of images that were chosen before replaced by others, drawn from `seed`."""
    seen: set[bytes] = set()
    repeated = []
    for position, content in enumerate(images[chosen]):
        key = content.tobytes()
        if key in seen:
            repeated.append(position)
        seen.add(key)
    if not repeated:
        return chosen
    chosen, rest = chosen.copy(), np.setdiff1d(np.arange(len(images)), chosen)
    for place in np.random.default_rng((seed, len(repeated))).permutation(rest):
        if repeated and (key := images[place].tobytes()) not in seen:
            seen.add(key)
            chosen[repeated.pop()] = place
    return chosen


def epoch_of_minibatches(
    data: ImageSet, batch_size: int, device: str = "cpu", seed: int | None = None
) -> Iterator[Batch]:
    """Go through all images once, augmented and in an order drawn from `seed`; without one, in order as they are.

    With a seed the last, incomplete minibatch is left out, so that all weigh the same.
    """
    if seed is None:
        for start in range(0, len(data), batch_size):
            yield _batch(data, slice(start, start + batch_size), None, 0, device)
        return
    random = np.random.default_rng(seed)
    order = random.permutation(len(data))
    for start in range(0, len(data) - batch_size + 1, batch_size):
        yield _batch(data, order[start : start + batch_size], random, seed, device)


def _batch(
    data: ImageSet, chosen: np.ndarray | slice, random: np.random.Generator | None, seed: int, device: str
) -> Batch:
    scaled = data.load(chosen, random, device).float() / 255
    mean, std = (scaled.new_tensor(values)[:, None, None] for values in (data.mean, data.std))
    return Batch((scaled - mean) / std, torch.from_numpy(data.labels[chosen]).to(device), seed)


def crop_and_flip_at_random(images: Tensor, random: np.random.Generator, flip: bool, pad: int = 4) -> Tensor:
    """Crop uint8 [B, C, H, W], padded by `pad` black pixels, at random; if `flip`, mirror each with probability 1/2."""
    shift = np.stack([random.integers(0, 2 * pad + 1, len(images)) for _ in ("row", "column")], axis=1)
    mirror = random.random(len(images)) < 0.5 if flip else np.zeros(len(images), bool)
    shifts, mirrored = (torch.from_numpy(numbers).to(images.device) for numbers in (shift, mirror))
    return augmentation.crop_and_flip(images, shifts, mirrored, pad).contiguous()


def held_out_places(labels: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Which images are held out, bool [n]: of each class its share, rounded; a class never loses its last image."""
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        places = random.permutation(np.flatnonzero(labels == label))
        held_out[places[: min(round(share * len(places)), len(places) - 1)]] = True
    return held_out
