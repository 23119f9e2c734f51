"""Ten times the size: whole searches, score tables and grids whose work only sleeps, and the decoding of photos."""

import io
import time
from collections.abc import Iterator

import numpy as np
from PIL import Image

from zcpt_ray.cli.timings.reference import Timing
from zcpt_ray.datasets.decoding import Decoder, EncodedImage, random_box

PHOTO = 500, 375
"""Width and height of most of ImageNet's."""


def sizes_rows(timing: Timing) -> Iterator[tuple[str, dict[str, float]]]:
    """What is left of the workers' time once a cluster, a table or a grid is large."""
    from zcpt_ray.distributed.scaling import (  # Ray, which a machine that times the engine may lack
        grid_rate,
        sleeping_search,
        sleeping_table,
    )

    networks, workers, trials = (500, 2, 4) if timing.smoke else (15_625, 64, 2000)
    if not timing.smoke:  # a small one is of `scaling`
        what = "search with a proxy that sleeps, N = 1000, V = 100, 64 workers"
        yield what, sleeping_search(1000, 100, workers)
    what = f"score table of {networks} networks, slices that sleep, {workers} workers"
    yield what, sleeping_table(networks, workers)
    yield f"a trial of a grid on Tune that does nothing, of {trials}", {"ours": grid_rate(trials)}
    yield decoding_row(20 if timing.smoke else 500)


def decoding_row(count: int) -> tuple[str, dict[str, float]]:
    """A random resized crop of a photo, beside plain PIL, in one thread."""
    photo, decoder = _photo(), Decoder(224)

    def plain(seed: int) -> None:
        with Image.open(io.BytesIO(photo)) as image:
            whole = image.convert("RGB")
        box = random_box(*whole.size, np.random.default_rng(seed))
        np.asarray(whole.resize((224, 224), Image.Resampling.BILINEAR, box)).transpose(2, 0, 1)

    ways = {"ours": lambda seed: decoder.random_square(True, EncodedImage("photo", photo), seed), "reference": plain}
    seconds = dict.fromkeys(ways, 0.0)
    for seed in range(-1, count):
        for name, way in ways.items():
            started = time.perf_counter()
            way(abs(seed))
            seconds[name] += (time.perf_counter() - started) / count if seed >= 0 else 0  # the first warms up
    what = f"a photo of {PHOTO[0]}x{PHOTO[1]} ({len(photo) >> 10} KiB) decoded and cropped to 224 by a core"
    return what, seconds | {"ratio": seconds["reference"] / seconds["ours"]}


def _photo() -> bytes:
    """A JPEG of about the bytes that ImageNet's have: large shapes under some grain."""
    random, (width, height) = np.random.default_rng(0), PHOTO
    shapes = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8)).resize(PHOTO, Image.Resampling.BICUBIC)
    grained = np.asarray(shapes) + random.normal(0, 12, (height, width, 3))
    file = io.BytesIO()
    Image.fromarray(grained.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()
