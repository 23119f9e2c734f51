"""Encoded images (JPEG, PNG, ...) as RGB, the way a viewer shows them, and as squares of one size.

Turned upright as EXIF says, with what is transparent on a background, deep greys scaled to 8 bits; of several pictures
in one file the first. What has no sure meaning in RGB is refused by name.
"""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from zcpt_ray.configs import ImageOptions
from zcpt_ray.errors import UserError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""What is decoded, whatever a file is called. Pillow knows more; for some it starts other programs."""
COLOURS = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"})
"""Pillow's names of modes that it converts to RGB as they look."""
DEEP = frozenset({"I;16", "I;16L", "I;16B", "I", "F"})
"""Of its modes of more than 8 bits, all of them grey."""
BITS, SHOWS_WHITE_AS_0, LEAST_VALUE, MOST_VALUE = 258, 262, 340, 341
"""Tags of TIFF files (TIFF 6.0): BitsPerSample, PhotometricInterpretation, SMinSampleValue, SMaxSampleValue."""


class EncodedImage(NamedTuple):
    """The bytes of an image, and where they come from."""

    place: str
    content: bytes


@dataclass(frozen=True)
class Decoder:
    """How encoded images become RGB pixels.

    - `size`: pixels a side of the squares that they become.
    - `crop`: "center" takes the largest square in the middle, "squash" the whole image with its sides scaled apart,
      "border" the whole image with bars of `background`.
    - `background`: red, green and blue, 0 to 255, of what lies behind a transparent image.
    - `most_megapixels`: larger images are refused before they are decoded.
    """

    size: int
    crop: str = "center"
    background: tuple[int, int, int] = (255, 255, 255)
    most_megapixels: float = math.inf

    @classmethod
    def of(cls, options: ImageOptions, size: int) -> "Decoder":
        """As a configuration asks.

        Raises:
            UserError: no such colour.
        """
        try:
            background = ImageColor.getcolor(options.background, "RGB")
        except ValueError as error:
            raise UserError(f"background {options.background!r}: no colour; give a name or #rrggbb") from error
        assert isinstance(background, tuple)
        return cls(size, options.crop, (background[0], background[1], background[2]), options.max_megapixels)

    def whole(self, place: str, content: bytes, at_least: int | None = None) -> Image.Image:
        """An RGB image of any size. A JPEG much larger than `at_least` may come out smaller, which is faster.

        Raises:
            UserError: it is no image, a damaged one, one that is too large, or one whose colours have no sure meaning
                in RGB; `place` says where it comes from.
        """
        with _told(place), Image.open(io.BytesIO(content), formats=_formats()) as image:
            self._check_size(*image.size)
            if at_least:
                image.draft(None, (at_least, at_least))
            return self._rgb(image)

    def square(self, place: str, content: bytes) -> np.ndarray:
        """An encoded image, uint8 [3, size, size]."""
        return to_array(self.fitted(self.whole(place, content, at_least=2 * self.size)))

    def test_square(self, encoded: EncodedImage) -> np.ndarray:
        """The same; of the middle, 7/8 of the shorter side, as usual for tests: 224 of 256 pixels."""
        return to_array(self.fitted(self.whole(*encoded), bleed=1 / 16))

    def random_square(self, flip: bool, encoded: EncodedImage, seed: int) -> np.ndarray:
        """A part of an encoded image that is drawn at random and, if `flip`, mirrored in half of all cases."""
        random = np.random.default_rng(seed)
        image = self.whole(*encoded)
        box, size = random_box(*image.size, random), (self.size, self.size)
        pixels = to_array(image.resize(size, Image.Resampling.BILINEAR, box))
        return pixels[:, :, ::-1] if flip and random.random() < 0.5 else pixels

    def fitted(self, image: Image.Image, bleed: float = 0) -> Image.Image:
        """An image as a square; `bleed` is how much of each side a crop leaves out."""
        size = self.size, self.size
        if self.crop == "squash":
            return image.resize(size, Image.Resampling.BILINEAR)
        if self.crop == "border":
            colour = self.background if image.mode == "RGB" else round(sum(self.background) / 3)
            return ImageOps.pad(image, size, Image.Resampling.BILINEAR, colour)
        return ImageOps.fit(image, size, Image.Resampling.BILINEAR, bleed)

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self.most_megapixels * 1e6:
            raise UserError(
                f"{width}x{height} pixels; more than {self.most_megapixels:g} million are decoded only if"
                " max_megapixels allows it"
            )

    def _rgb(self, image: Image.Image) -> Image.Image:
        bounds = _range(image) if image.mode in DEEP else None
        image = ImageOps.exif_transpose(image)
        if bounds:
            image = _in_8_bits(image, *bounds)
        if image.has_transparency_data:
            if image.mode == "La":
                image = image.convert("LA")
            see_through = image.convert("RGBA")
            image = Image.new("RGB", image.size, self.background)
            image.paste(see_through, mask=see_through.getchannel("A"))
        if image.mode not in COLOURS:
            raise UserError(f"its colours are of mode {image.mode}; save it as grey or RGB of 8 bits")
        return image.convert("RGB")


def shorter_side(place: str, content: bytes) -> int:
    """Pixels of the shorter side of an encoded image, which is not decoded.

    Raises:
        UserError: it is no image.
    """
    with _told(place), Image.open(io.BytesIO(content), formats=_formats()) as image:
        return min(image.size)


@contextmanager
def _told(place: str) -> Iterator[None]:
    """Inside, whatever an image can do wrong is said in one line that begins with `place`."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise UserError(f"{place}: not an image, or not of a known kind ({', '.join(_formats())})") from error
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
    except Exception as error:  # a damaged image can fail in any way
        raise UserError(f"{place}: not an image: {error}") from error


def to_array(image: Image.Image) -> np.ndarray:
    """uint8 [3, H, W]."""
    return np.asarray(image).transpose(2, 0, 1)


def png_of(picture: Image.Image | np.ndarray) -> bytes:
    """An image in memory as a file: of PIL, or pixels uint8 [H, W, 3], [H, W, 4], [3, H, W] or [H, W].

    Raises:
        UserError: an array of another kind.
    """
    if isinstance(picture, np.ndarray):
        pixels = picture.transpose(1, 2, 0) if picture.ndim == 3 and picture.shape[2] not in (3, 4) else picture
        if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
            raise UserError(
                f"an array of pixels is uint8 [H, W, 3], [3, H, W] or [H, W], got {picture.dtype}"
                f" [{', '.join(map(str, picture.shape))}]"
            )
        picture = Image.fromarray(np.ascontiguousarray(pixels))
    file = io.BytesIO()
    picture.save(file, "PNG" if picture.mode in ("1", "L", "LA", "I;16", "P", "RGB", "RGBA") else "TIFF")
    return file.getvalue()


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


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _range(image: Image.Image) -> tuple[float, float]:
    """The values of black and of white in a deep image.

    Raises:
        UserError: nothing says so.
    """
    tags = getattr(image, "tag_v2", {})
    if image.mode.startswith("I;16"):
        bounds = 0.0, 2.0 ** _number(tags.get(BITS, 16)) - 1
    elif image.format in ("PNG", "PPM") and image.mode == "I":
        bounds = 0.0, 65535.0
    elif LEAST_VALUE in tags and MOST_VALUE in tags:
        bounds = _number(tags[LEAST_VALUE]), _number(tags[MOST_VALUE])
    else:
        kind = "fractions (float32)" if image.mode == "F" else "integers of up to 32 bits"
        raise UserError(
            f"its values are {kind}, and nothing says which of them is white; save it with 8 or 16 bits, or as TIFF"
            " with the tags SMinSampleValue and SMaxSampleValue"
        )
    if not bounds[0] < bounds[1]:
        raise UserError(f"its values are said to range from {bounds[0]:g} to {bounds[1]:g}")
    return bounds[::-1] if tags.get(SHOWS_WHITE_AS_0) == 0 else bounds


def _number(tag: object) -> float:
    return float(tag[0] if isinstance(tag, tuple) else tag)  # type: ignore[arg-type]


def _in_8_bits(image: Image.Image, black: float, white: float) -> Image.Image:
    """A deep image as grey of 8 bits; with alpha where one value stands for transparent."""
    values = np.asarray(image).astype(np.float64)
    if not ((min(black, white) <= values) & (values <= max(black, white))).all():
        raise UserError(
            f"its values are said to range from {min(black, white):g} to {max(black, white):g}, but range from"
            f" {values.min():g} to {values.max():g}"
        )
    grey = Image.fromarray(np.rint((values - black) / (white - black) * 255).astype(np.uint8))
    if "transparency" not in image.info:
        return grey
    alpha = np.where(values == image.info["transparency"], 0, 255).astype(np.uint8)
    return Image.merge("LA", (grey, Image.fromarray(alpha)))
