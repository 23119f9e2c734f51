"""Encoded images (JPEG, PNG, ...): decoding, resizing and random crops, on as many threads as torch may use."""

import io
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from zcpt_ray.errors import UserError

CHUNK = 1024
"""Images whose encoded bytes are in memory together."""


class Encoded(NamedTuple):
    """The bytes of an image, and where they come from."""

    place: str
    content: bytes


class Source(Protocol):
    """Where encoded images lie. What a row is, only the source knows."""

    def read(self, rows: np.ndarray) -> list[Encoded]:
        """The images of `rows`, in that order."""


@dataclass(frozen=True)
class EncodedImages:
    """Images that are read and decoded when asked for, as `size` x `size` pixels; indexing chooses `rows` and reads nothing."""

    source: Source
    rows: np.ndarray
    size: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: np.ndarray | slice) -> "EncodedImages":
        return replace(self, rows=self.rows[chosen])

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
    """`map` on several cores."""
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


def to_array(image: Image.Image) -> np.ndarray:
    """uint8 [3, H, W]."""
    return np.asarray(image).transpose(2, 0, 1)


def fitted(size: int, place: str, content: bytes) -> np.ndarray:
    """The largest square in the middle of an image, resized: uint8 [3, size, size]."""
    image = decode(place, content, at_least=2 * size)
    return to_array(ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR))


def read_fitted(source: Source, rows: np.ndarray, size: int) -> np.ndarray:
    """All images of `rows`, uint8 [n, 3, size, size]."""
    images = np.empty((len(rows), 3, size, size), np.uint8)
    for start in range(0, len(rows), CHUNK):
        part = slice(start, start + CHUNK)
        encoded = source.read(rows[part])
        images[part] = in_threads(partial(fitted, size), *zip(*encoded, strict=True))
    return images


def random_box(width: int, height: int, random: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, upper, right, lower of a random part: 8 to 100% of the area, with sides of 3:4 to 4:3 (Szegedy et al. 2015).

    Where ten draws do not fit into the image, the largest part in its middle that has such sides.
    """
    for _ in range(10):
        area, ratio = width * height * random.uniform(0.08, 1), math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left, upper = int(random.integers(width - across + 1)), int(random.integers(height - down + 1))
            return left, upper, left + across, upper + down
    across, down = min(width, max(1, round(height * 4 / 3))), min(height, max(1, round(width * 4 / 3)))
    left, upper = (width - across) // 2, (height - down) // 2
    return left, upper, left + across, upper + down


def _augmented(size: int, flip: bool, encoded: Encoded, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    image = decode(*encoded)
    pixels = to_array(image.resize((size, size), Image.Resampling.BILINEAR, random_box(*image.size, random)))
    return pixels[:, :, ::-1] if flip and random.random() < 0.5 else pixels


def _centre(size: int, encoded: Encoded) -> np.ndarray:
    """7/8 of the shorter side, as usual for tests: 224 of 256 pixels."""
    image = decode(*encoded)
    return to_array(ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR, bleed=1 / 16))


def every_fifth(split: str, count: int) -> np.ndarray:
    """Which of `count` images belong to a split, where the data is not split already: each fifth one is a test image."""
    test = np.arange(count) % 5 == 4
    return np.flatnonzero(test if split == "test" else ~test)


def names_of(labels: Sequence[int] | np.ndarray) -> tuple[str, ...]:
    """Names for classes that have none: their numbers."""
    return tuple(str(label) for label in range(int(np.max(labels)) + 1))
