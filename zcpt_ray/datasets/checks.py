"""What is odd about the images of a split, though they can be read."""

import numpy as np

from zcpt_ray.datasets.minibatches import LazyImages
from zcpt_ray.errors import UserError

MANY = 0.01
"""A share of images of one colour that is worth a word."""
MOST_NAMED = 5
"""How many classes are named in a message."""


def notes_on(
    images: np.ndarray | LazyImages, classes: tuple[str, ...], labels: np.ndarray, split: str
) -> tuple[str, ...]:
    """What a user should know of images, uint8 [n, C, H, W], and of their labels, int64 [n]. Lazy ones are not read.

    Raises:
        UserError: several images, and all are the same.
    """
    of_split = "training" if split == "train" else "test"
    notes = []
    if isinstance(images, np.ndarray):
        if split == "train" and len(images) > 1 and (images == images[:1]).all():
            raise UserError(f"all {len(images)} {of_split} images are the same picture once they are read")
        plain = int((images.max((2, 3)) == images.min((2, 3))).all(1).sum())
        if plain > max(1, MANY * len(images)):
            notes.append(f"{plain} of {len(images)} {of_split} images are of one colour")
    if missing := np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 0).tolist():
        names = ", ".join(classes[index] for index in missing[:MOST_NAMED]) + ", ..." * (len(missing) > MOST_NAMED)
        notes.append(f"no {of_split} image of {len(missing)} class{'es' * (len(missing) > 1)}: {names}")
    return tuple(notes)
