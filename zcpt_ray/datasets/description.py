"""What was understood of a data set, in words and numbers."""

from typing import TypedDict

import numpy as np

from zcpt_ray.datasets.loading import LoadedDataset
from zcpt_ray.datasets.minibatches import ImageSet

ClassCounts = TypedDict("ClassCounts", {"class": str, "train": int, "test": int})
"""How many images of a class each split has."""


class DatasetDescription(TypedDict):
    """What was understood of a data set.

    - `images`: how many there are, by split.
    - `split`: in words, such as "the folder train/ for training, the folder val/ for tests".
    - `image_size`: pixels a side.
    - `mean` and `std`: of each colour, on a scale of 0 to 1, as images are normalised by them.
    - `images_per_class`: a row for each class, for a table.
    - `notes`: what else was noticed, such as files that were left out.
    """

    name: str
    images: dict[str, int]
    classes: tuple[str, ...]
    split: str
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    images_per_class: list[ClassCounts]
    notes: tuple[str, ...]


def understood(name: str, search_half: ImageSet, held_out: ImageSet) -> str:
    """What a search has understood of its data set, in one line."""
    _, height, width = search_half.image_shape
    total = len(search_half) + len(held_out)
    parts = [
        f"{name}: {total:,} training images of {height}x{width}{_in_brackets(search_half.origin)}",
        f"{search_half.num_classes} classes{_in_brackets(shortened(search_half.classes))}",
        f"the search sees {len(search_half):,} of them",
    ]
    if search_half.tests:
        parts.append(f"tests: {search_half.tests}")
    return "; ".join([*parts, *search_half.notes])


def shortened(names: tuple[str, ...], most: int = 5) -> str:
    """Names with commas, the first ones and the last one of many."""
    return ", ".join(names if len(names) <= most else (*names[: most - 1], "...", names[-1]))


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def describe_dataset(loaded: LoadedDataset) -> DatasetDescription:
    """Say what was understood of a data set: images, classes by name, how it is split, image size and colours."""
    train, test = (_counts(images) for images in (loaded.train, loaded.test))
    return {
        "name": loaded.name,
        "images": {"train": len(loaded.train), "test": len(loaded.test)},
        "classes": loaded.classes,
        "split": f"{_origin(loaded.train)} for training, {_origin(loaded.test)} for tests",
        "image_size": loaded.image_size,
        "mean": loaded.train.mean,
        "std": loaded.train.std,
        "images_per_class": [
            {"class": name, "train": of_train, "test": of_test}
            for name, of_train, of_test in zip(loaded.classes, train, test, strict=True)
        ],
        "notes": tuple(dict.fromkeys((*loaded.train.notes, *loaded.test.notes))),
    }


def _counts(images: ImageSet) -> list[int]:
    """The number of images of each class."""
    counts: list[int] = np.bincount(images.labels, minlength=images.num_classes).tolist()
    return counts


def _origin(images: ImageSet) -> str:
    return images.origin or "what its reader gives"
