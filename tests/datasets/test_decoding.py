"""Encoded images as RGB: every mode, with the pixel values that are right."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from zcpt_ray.configs import ImageOptions
from zcpt_ray.datasets.decoding import Decoder
from zcpt_ray.errors import UserError

WHITE = (255, 255, 255)
ORANGE = (255, 128, 0)


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rgb_of(content: bytes, **options: Any) -> np.ndarray:
    """[H, W, 3]."""
    return np.asarray(Decoder(8, **options).whole("here", content))


def over(colours: np.ndarray, alpha: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    """Colours [H, W, 3] of opacity [H, W], 0 to 255, on a background."""
    share = alpha[..., None] / 255
    return np.floor(colours * share + np.array(background) * (1 - share) + 0.5)


def pixels(channels: int | None, seed: int = 0, height: int = 5, width: int = 7) -> np.ndarray:
    shape = (height, width) if channels is None else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


PIXELS = pixels(3)
GREY = pixels(None)
ALPHA = pixels(None, seed=1)


TURNED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda shown: shown,
    2: lambda shown: shown[:, ::-1],
    3: lambda shown: shown[::-1, ::-1],
    4: lambda shown: shown[::-1],
    5: lambda shown: shown.transpose(1, 0, 2),
    6: lambda shown: shown.transpose(1, 0, 2)[::-1],
    7: lambda shown: shown[::-1, ::-1].transpose(1, 0, 2),
    8: lambda shown: shown.transpose(1, 0, 2)[:, ::-1],
}
"""How an image is stored for each EXIF orientation, so that it is shown upright (EXIF 2.3, tag 274)."""


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_images_are_turned_upright(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    stored = Image.fromarray(np.ascontiguousarray(TURNED[orientation](PIXELS)))
    options = {"lossless": True} if kind == "WEBP" else {}
    found = rgb_of(file_of(stored, kind, exif=exif, **options))
    assert np.array_equal(found, PIXELS)


def test_a_turned_photo_is_upright_at_any_size() -> None:
    """Red grows to the right; a JPEG that is read at an eighth of its size is turned too."""
    red = np.zeros((400, 800, 3), np.uint8)
    red[..., 0] = np.linspace(0, 255, 800)
    exif = Image.Exif()
    exif[274] = 6
    content = file_of(Image.fromarray(np.ascontiguousarray(TURNED[6](red))), "JPEG", exif=exif, quality=95)
    image = Decoder(16, "squash").square("here", content)[0].astype(int)
    assert (np.diff(image, axis=1) > 0).all()
    assert Decoder(16).whole("here", content, at_least=32).size[0] < 800


@pytest.mark.parametrize("background", [WHITE, ORANGE])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_what_is_transparent_shows_the_background(mode: str, background: tuple[int, int, int]) -> None:
    if mode == "PA":
        palette = Image.fromarray(GREY % 4).convert("P")
        palette.putpalette([10, 20, 30, 200, 100, 0, 0, 255, 0, 255, 255, 255])
        image = Image.new("PA", palette.size)
        image.putpalette(palette.getpalette()[:12])
        image.im.putband(palette.im, 0)
        image.putalpha(Image.fromarray(ALPHA))
        colours = np.array([[10, 20, 30], [200, 100, 0], [0, 255, 0], [255, 255, 255]])[GREY % 4]
        content = file_of(image.convert("RGBA"))
    else:
        opaque = Image.fromarray(PIXELS if mode == "RGBA" else GREY)
        image = opaque.copy()
        image.putalpha(Image.fromarray(ALPHA))
        assert image.mode == mode
        colours = np.asarray(opaque.convert("RGB"))
        content = file_of(image)
    assert np.array_equal(rgb_of(content, background=background), over(colours, ALPHA, background))


def test_a_sprite_whose_shape_is_in_its_alpha() -> None:
    black = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    black.paste((0, 0, 0, 255), (1, 1, 3, 3))
    found = rgb_of(file_of(black))
    assert found[1:3, 1:3].max() == 0
    assert found.sum() == 12 * 3 * 255


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "1"])
def test_one_colour_that_means_transparent(mode: str) -> None:
    if mode == "P":
        image = Image.fromarray(GREY % 2).convert("P")
        image.putpalette([200, 0, 0, 0, 0, 200])
        found = rgb_of(file_of(image, transparency=1))
        assert np.array_equal(found, np.where((GREY % 2 == 1)[..., None], 255, np.array([200, 0, 0])))
    elif mode == "RGB":
        shown = np.where((GREY % 2 == 1)[..., None], np.array([1, 2, 3], np.uint8), PIXELS)
        found = rgb_of(file_of(Image.fromarray(shown), transparency=(1, 2, 3)))
        assert np.array_equal(found, np.where((GREY % 2 == 1)[..., None], 255, PIXELS))
    else:
        image = Image.fromarray(GREY % 2 * 255).convert(mode, dither=Image.Dither.NONE)
        found = rgb_of(file_of(image, transparency=0), background=ORANGE)
        expected = np.where((GREY % 2 == 1)[..., None], 255, np.array(ORANGE))
        assert np.array_equal(found, expected)


def test_a_palette_with_opacities() -> None:
    image = Image.fromarray(GREY % 3).convert("P")
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    found = rgb_of(file_of(image, transparency=bytes([255, 0, 128])))
    colours = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200]])[GREY % 3]
    assert np.array_equal(found, over(colours, np.array([255, 0, 128])[GREY % 3], WHITE))


def test_one_bit_images() -> None:
    bits = GREY > 127
    found = rgb_of(file_of(Image.fromarray(bits)))
    assert np.array_equal(found, np.repeat(bits[..., None], 3, 2) * 255)


def test_cmyk() -> None:
    ink = pixels(4)
    image = Image.fromarray(ink, "CMYK")
    expected = (255 - ink[..., :3].astype(int)) * (255 - ink[..., 3:].astype(int)) / 255
    for kind in ("TIFF", "JPEG"):
        found = rgb_of(file_of(image, kind, **({"quality": 100} if kind == "JPEG" else {}))).astype(int)
        assert np.abs(found - expected).max() <= (1 if kind == "TIFF" else 30)


def test_16_bits_are_scaled() -> None:
    deep = np.array([[0, 2000, 32768], [60000, 65535, 257]], np.uint16)
    expected = np.repeat(np.rint(deep / 257)[..., None], 3, 2)
    for kind in ("PNG", "TIFF"):
        assert np.array_equal(rgb_of(file_of(Image.fromarray(deep), kind)), expected)
    ppm = b"P5 3 2 65535\n" + deep.astype(">u2").tobytes()
    assert np.array_equal(rgb_of(ppm), expected)
    assert (
        len({rgb_of(file_of(Image.fromarray(np.full((2, 2), 2000 * n, np.uint16))))[0, 0, 0] for n in range(30)}) == 30
    )


def test_16_bits_with_a_transparent_value() -> None:
    deep = np.array([[0, 2000], [60000, 65535]], np.uint16)
    found = rgb_of(file_of(Image.fromarray(deep), transparency=60000), background=ORANGE)
    assert found.tolist() == [[[0] * 3, [8] * 3], [list(ORANGE), [255] * 3]]


def test_white_as_0() -> None:
    deep = np.array([[0, 2000], [60000, 65535]], np.uint16)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0
    content = file_of(Image.fromarray(deep), "TIFF", tiffinfo=tags)
    if Image.open(io.BytesIO(content)).tag_v2[262] != 0:
        pytest.skip("this Pillow writes another interpretation")
    assert np.array_equal(rgb_of(content)[..., 0], np.rint((65535 - deep) / 257))


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_deep_images_without_a_stated_range_are_refused(kind: type) -> None:
    deep = np.array([[0, 1], [2, 300]]).astype(kind)
    with pytest.raises(UserError, match=r"here: its values are .*, and nothing says which of them is white; save it"):
        rgb_of(file_of(Image.fromarray(deep), "TIFF"))


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_deep_images_with_a_stated_range_are_scaled(kind: type) -> None:
    deep = np.array([[-100, 0], [50, 300]]).astype(kind)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in ((340, -100), (341, 300)):
        tags[tag] = float(value)
        tags.tagtype[tag] = 12
    found = rgb_of(file_of(Image.fromarray(deep), "TIFF", tiffinfo=tags))
    assert found[..., 0].tolist() == [[0, 64], [96, 255]]
    tags[341] = 200.0
    with pytest.raises(
        UserError, match="here: its values are said to range from -100 to 200, but range from -100 to 300"
    ):
        rgb_of(file_of(Image.fromarray(deep), "TIFF", tiffinfo=tags))


def test_a_colour_mode_without_a_sure_meaning_is_refused() -> None:
    with pytest.raises(UserError, match="here: its colours are of mode LAB; save it as grey or RGB of 8 bits"):
        rgb_of(file_of(Image.fromarray(PIXELS, "LAB"), "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_of_several_pictures(kind: str) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    found = rgb_of(file_of(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert (found == (255, 0, 0)).all()


def test_the_first_of_a_multi_picture_jpeg() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    content = file_of(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert np.abs(rgb_of(content).astype(int) - (255, 0, 0)).max() <= 2


def test_what_is_too_large_is_refused() -> None:
    content = file_of(Image.new("1", (9000, 8000)))
    with pytest.raises(UserError, match="here: 9000x8000 pixels; more than 64 million are decoded only if"):
        Decoder.of(ImageOptions(), 8).whole("here", content)
    assert Decoder.of(ImageOptions(max_megapixels=80), 8).square("here", content).shape == (3, 8, 8)


def test_what_is_no_image_is_refused() -> None:
    for content in (b"", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\n", file_of(Image.fromarray(PIXELS))[:-40]):
        with pytest.raises(UserError, match="here: not an image"):
            rgb_of(content)


BLUE, RED = (0, 0, 255), (255, 0, 0)


@pytest.mark.parametrize(
    ("crop", "corner", "left"), [("center", RED, RED), ("squash", BLUE, BLUE), ("border", ORANGE, BLUE)]
)
def test_crops(crop: str, corner: tuple[int, int, int], left: tuple[int, int, int]) -> None:
    """Of a wide image whose outer quarters are blue, and whose middle is red."""
    wide = np.zeros((20, 80, 3), np.uint8)
    wide[:] = BLUE
    wide[:, 20:60] = RED
    square = Decoder(40, crop, ORANGE).square("here", file_of(Image.fromarray(wide)))
    assert [tuple(square[:, row, column]) for row, column in ((0, 0), (20, 0), (20, 20))] == [corner, left, RED]


def test_backgrounds_by_name() -> None:
    for text, colour in (("white", WHITE), ("#ff8000", ORANGE), ("black", (0, 0, 0))):
        assert Decoder.of(ImageOptions(background=text), 8).background == colour
    with pytest.raises(UserError, match="background 'nonsense': no colour; give a name or #rrggbb"):
        Decoder.of(ImageOptions(background="nonsense"), 8)


@settings(max_examples=60, deadline=None)
@given(
    mode=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]),
    seed=st.integers(0, 2**31),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    background=st.tuples(*3 * [st.integers(0, 255)]),
)
def test_any_image_is_what_numpy_says(
    mode: str, seed: int, size: tuple[int, int], background: tuple[int, int, int]
) -> None:
    height, width = size
    grey, colours = pixels(None, seed, height, width), pixels(3, seed, height, width)
    alpha = pixels(None, seed + 1, height, width)
    if mode == "1":
        image, expected = Image.fromarray(grey > 99), np.where((grey > 99)[..., None], 255, 0)
    elif mode == "P":
        table = pixels(3, seed, 256, 1)[:, 0]
        image = Image.fromarray(grey, "P")
        image.putpalette(table.ravel().tolist())
        expected = table[grey]
    elif mode == "I;16":
        deep = grey.astype(np.uint16) * 256 + alpha
        image, expected = Image.fromarray(deep), np.rint(deep / 65535 * 255)[..., None]
    else:
        image = Image.fromarray(grey if mode in ("L", "LA") else colours)
        expected = grey[..., None] if mode in ("L", "LA") else colours
        if mode.endswith("A"):
            image.putalpha(Image.fromarray(alpha))
            expected = over(np.broadcast_to(expected, (height, width, 3)), alpha, background)
    found = rgb_of(file_of(image), background=background)
    assert np.array_equal(found, np.broadcast_to(expected, (height, width, 3)))
