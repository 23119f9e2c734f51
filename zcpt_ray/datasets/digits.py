"""scikit-learn's handwritten digits: always there."""

from pathlib import Path

import numpy as np
from PIL import Image

from zcpt_ray.datasets.base import Dataset, RawImages
from zcpt_ray.datasets.images import chosen_of_split


def _read(folder: Path, split: str) -> RawImages:
    """1,797 images of 8x8 pixels, resized to 3x32x32; every fifth one is a test image."""
    from sklearn.datasets import load_digits  # its import takes a second, and only this data set needs it

    digits = load_digits()
    chosen, origin, tests = chosen_of_split(split, len(digits.target))
    small = [Image.fromarray(np.rint(image * 255 / 16).astype(np.uint8)) for image in digits.images[chosen]]
    gray = np.stack([np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR)) for image in small])
    return RawImages(
        np.repeat(gray[:, None], 3, axis=1),
        digits.target[chosen].astype(np.int64),
        origin=origin,
        tests=tests,
    )


DIGITS = Dataset("digits", 10, 3 * (0.305,), 3 * (0.324,), flip=False, read=_read)
