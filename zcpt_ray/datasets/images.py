"""Encoded images (JPEG, PNG, ...): decoding, resizing and random crops, on as many threads as torch may use."""

import io
import math
import operator
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from zcpt_ray.errors import UserError

ENCODED_AT_ONCE = 1024
"""How many images may be in memory as encoded bytes at the same time."""

SMALLEST_IMAGE = 8
"""Pixels of a side: networks halve their images a few times."""

MOST_CLASSES = 100_000
"""A label beyond that is no number of a class, but an identity of some other kind."""


class EncodedImage(NamedTuple):
    """The bytes of an image, and where they come from."""

    place: str
    content: bytes


class ImageSource(Protocol):
    """Where encoded images lie. What a row is, only the source knows."""

    def read(self, rows: np.ndarray) -> list[EncodedImage]:
        """The images of `rows`, in that order."""


@dataclass(frozen=True)
class EncodedImages:
    """Images that are read and decoded when asked for, as `size` x `size` pixels.

    Indexing chooses `rows` and reads nothing.
    """

    source: ImageSource
    rows: np.ndarray
    size: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: np.ndarray | slice) -> "EncodedImages":
        return replace(self, rows=self.rows[chosen])

    def at_size(self, size: int) -> "EncodedImages":
        """The same as `size` x `size` pixels."""
        return self if size == self.size else replace(self, size=size)

    def decode(self, random: np.random.Generator | None, flip: bool) -> np.ndarray:
        """All of them, uint8 [n, 3, size, size]: random resized crops, or the centre without `random`.

        Raises:
            UserError: a file is missing or is no image.
        """
        encoded = self.source.read(self.rows)
        if random is None:
            return np.stack(in_threads(partial(_centre, self.size), encoded))
        seeds = random.integers(2**63, size=len(encoded))  # one for each image: threads finish in any order
        return np.stack(in_threads(partial(_augmented, self.size, flip), encoded, seeds.tolist()))


def in_threads(function: Callable[..., Any], *items: Iterable[Any]) -> list[Any]:
    """Call a function for each item, on several cores; results keep the order."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(function, *items))


def decode(place: str, content: bytes, at_least: int | None = None) -> Image.Image:
    """An RGB image. A JPEG much larger than `at_least` may come out smaller than it is, which is faster.

    Raises:
        UserError: it is no image, or a damaged one; `place` says where it comes from.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            if at_least:
                image.draft(None, (at_least, at_least))
            return image.convert("RGB")
    except UnidentifiedImageError as error:
        raise UserError(f"{place}: not an image, or not of a known kind") from error
    except Exception as error:  # a damaged image can fail in any way
        raise UserError(f"{place}: not an image: {error}") from error


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


def to_array(image: Image.Image) -> np.ndarray:
    """uint8 [3, H, W]."""
    return np.asarray(image).transpose(2, 0, 1)


def fitted(size: int, place: str, content: bytes) -> np.ndarray:
    """The largest square in the middle of an encoded image, resized: uint8 [3, size, size]."""
    return to_array(_middle(size, decode(place, content, at_least=2 * size)))


def resize_images(images: np.ndarray, size: int) -> np.ndarray:
    """The largest square in the middle of each of uint8 [n, C, H, W], resized: uint8 [n, C, size, size]."""
    if images.shape[2:] == (size, size):
        return images
    resized = np.empty((*images.shape[:2], size, size), np.uint8)

    def resize(row: int) -> None:
        for channel, pixels in enumerate(images[row]):
            resized[row, channel] = np.asarray(_middle(size, Image.fromarray(pixels)))

    in_threads(resize, range(len(images)))
    return resized


def read_fitted(source: ImageSource, rows: np.ndarray, size: int) -> np.ndarray:
    """All images of `rows`, uint8 [n, 3, size, size]."""
    images = np.empty((len(rows), 3, size, size), np.uint8)
    for start in range(0, len(rows), ENCODED_AT_ONCE):
        part = slice(start, start + ENCODED_AT_ONCE)
        encoded = source.read(rows[part])
        images[part] = in_threads(partial(fitted, size), *zip(*encoded, strict=True))
    return images


def _middle(size: int, image: Image.Image) -> Image.Image:
    return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)


def random_box(width: int, height: int, random: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw a part of an image at random (Szegedy et al. 2015): left, upper, right and lower.

    It has 8 to 100% of the area and sides of 3:4 to 4:3. If none of ten draws fits into the image, it is the largest
    part in the middle that has such sides.
    """
    for _ in range(10):
        area, ratio = (
            width * height * random.uniform(0.08, 1),
            math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3))),
        )
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left, upper = int(random.integers(width - across + 1)), int(random.integers(height - down + 1))
            return left, upper, left + across, upper + down
    across, down = min(width, max(1, round(height * 4 / 3))), min(height, max(1, round(width * 4 / 3)))
    left, upper = (width - across) // 2, (height - down) // 2
    return left, upper, left + across, upper + down


def _augmented(size: int, flip: bool, encoded: EncodedImage, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    image = decode(*encoded)
    pixels = to_array(image.resize((size, size), Image.Resampling.BILINEAR, random_box(*image.size, random)))
    return pixels[:, :, ::-1] if flip and random.random() < 0.5 else pixels


def _centre(size: int, encoded: EncodedImage) -> np.ndarray:
    """7/8 of the shorter side, as usual for tests: 224 of 256 pixels."""
    image = decode(*encoded)
    return to_array(ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR, bleed=1 / 16))


def every_fifth(split: str, count: int) -> tuple[np.ndarray, str]:
    """The places of a split among `count` images that come unsplit, and in words which images these are."""
    test = np.arange(count) % 5 == 4
    if split == "test":
        return np.flatnonzero(test), "every fifth image"
    return np.flatnonzero(~test), "all images but every fifth"


def names_of(labels: np.ndarray) -> tuple[str, ...]:
    """Names for classes that have none: their numbers, up to the largest label.

    Raises:
        UserError: a label that cannot be the number of a class.
    """
    if labels.max() >= MOST_CLASSES:
        raise UserError(f"label {labels.max()}: labels without names must be class numbers below {MOST_CLASSES}")
    return tuple(str(label) for label in range(int(labels.max()) + 1))
