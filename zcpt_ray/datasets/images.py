"""Encoded images that are decoded when asked for, resizing, and splitting, on as many threads as torch may use."""

import operator
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from zcpt_ray.datasets.decoding import Decoder, EncodedImage, shorter_side
from zcpt_ray.errors import UserError

USUAL_SIZES = (32, 64, 96, 128, 160, 192, 224)
"""Pixels a side that networks are made for."""

SIZES_SAMPLE = 200
"""How many images stand for all of them, where their size decides."""

ENCODED_AT_ONCE = 1024
"""How many images may be in memory as encoded bytes at the same time."""

SMALLEST_IMAGE = 8
"""Pixels of a side: networks halve their images a few times."""

MOST_CLASSES = 100_000
"""A label beyond that is no number of a class, but an identity of some other kind."""


class ImageSource(Protocol):
    """Where encoded images lie. What a row is, only the source knows."""

    def read(self, rows: np.ndarray) -> list[EncodedImage]:
        """The images of `rows`, in that order."""


@dataclass(frozen=True)
class EncodedImages:
    """Images that are read and decoded when asked for, as squares.

    Indexing chooses `rows` and reads nothing.
    """

    source: ImageSource
    rows: np.ndarray
    decoder: Decoder

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: np.ndarray | slice) -> "EncodedImages":
        return replace(self, rows=self.rows[chosen])

    def at_size(self, size: int) -> "EncodedImages":
        """The same as `size` x `size` pixels."""
        return replace(self, decoder=replace(self.decoder, size=size))

    def decode(self, random: np.random.Generator | None, flip: bool) -> np.ndarray:
        """All of them, uint8 [n, 3, size, size]: random resized crops, or the centre without `random`.

        Raises:
            UserError: a file is missing or is no image.
        """
        encoded = self.source.read(self.rows)
        if random is None:
            return np.stack(in_threads(self.decoder.test_square, encoded))
        seeds = random.integers(2**63, size=len(encoded))  # one for each image: threads finish in any order
        return np.stack(in_threads(partial(self.decoder.random_square, flip), encoded, seeds.tolist()))


def in_threads(function: Callable[..., Any], *items: Iterable[Any]) -> list[Any]:
    """Call a function for each item, on several cores; results keep the order."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(function, *items))


def whole_size(size: object) -> int:
    """An image size as a plain int.

    Raises:
        UserError: it is no whole number, or too small a one.
    """
    try:
        found = operator.index(size)  # type: ignore[arg-type]
    except TypeError:
        raise UserError(f"image size {size!r}: must be a whole number of pixels, {SMALLEST_IMAGE} or more") from None
    if found < SMALLEST_IMAGE:
        raise UserError(f"image size {found}: must be {SMALLEST_IMAGE} pixels or more")
    return found


def usual_size(sample: Sequence[EncodedImage]) -> int:
    """The largest of `USUAL_SIZES` that half of the images have without being enlarged."""
    median = np.median(in_threads(shorter_side, *zip(*sample, strict=True)))
    return max([size for size in USUAL_SIZES if size <= median], default=USUAL_SIZES[0])


def evenly_spread(count: int, most: int) -> np.ndarray:
    """At most `most` of `count` places, from the first to the last."""
    return np.unique(np.linspace(0, count - 1, most).astype(np.int64))


def resize_images(images: np.ndarray, size: int) -> np.ndarray:
    """The largest square in the middle of each of uint8 [n, C, H, W], resized: uint8 [n, C, size, size]."""
    if images.shape[2:] == (size, size):
        return images
    resized, decoder = np.empty((*images.shape[:2], size, size), np.uint8), Decoder(size)

    def resize(row: int) -> None:
        for channel, pixels in enumerate(images[row]):
            resized[row, channel] = np.asarray(decoder.fitted(Image.fromarray(pixels)))

    in_threads(resize, range(len(images)))
    return resized


def read_squares(source: ImageSource, rows: np.ndarray, decoder: Decoder) -> np.ndarray:
    """All images of `rows`, uint8 [n, 3, size, size]."""
    images = np.empty((len(rows), 3, decoder.size, decoder.size), np.uint8)
    for start in range(0, len(rows), ENCODED_AT_ONCE):
        part = slice(start, start + ENCODED_AT_ONCE)
        encoded = source.read(rows[part])
        images[part] = in_threads(decoder.square, *zip(*encoded, strict=True))
    return images


def chosen_of_split(split: str, count: int, test_share: float = 0.2) -> tuple[np.ndarray, str, str]:
    """The places of a split among `count` images that come unsplit; in words, which these are, and which are for tests.

    Test images are evenly spread: with a share of 0.2 every fifth image is one.

    Raises:
        UserError: there are too few images for the share.
    """
    share = Fraction(str(test_share))
    test = np.diff([image * share.numerator // share.denominator for image in range(count + 1)]) > 0
    if not 0 < test.sum() < count:
        raise UserError(f"{count} images are too few for a test share of {test_share:g}")
    if share == Fraction(1, 5):
        rest, tests = "all images but every fifth", "every fifth image"
    else:
        rest, tests = f"the other {1 - float(share):.3g}", f"{float(share):.3g} of all images, evenly spread"
    is_test = split == "test"
    return np.flatnonzero(test == is_test), tests if is_test else rest, tests


def names_of(labels: np.ndarray) -> tuple[str, ...]:
    """Names for classes that have none: their numbers, up to the largest label.

    Raises:
        UserError: labels that cannot be the numbers of classes.
    """
    found = np.unique(labels)
    if found[0] < 0 or found[-1] >= MOST_CLASSES:
        bad = found[0] if found[0] < 0 else found[-1]
        raise UserError(f"label {bad}: labels without names must be class numbers from 0 on, below {MOST_CLASSES}")
    if len(found) < (found[-1] + 1) / 2:
        raise UserError(
            f"labels without names must be class numbers 0, 1, 2, ...: there are {len(found)} different ones up to"
            f" {found[-1]}"
        )
    return tuple(str(label) for label in range(int(found[-1]) + 1))
