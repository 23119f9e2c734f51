"""ImageNet16-120: the first 120 classes of ImageNet at 16x16 pixels, as NAS-Bench-201 has it.

The small images are those of Chrabaszcz et al. (2017).
"""

from pathlib import Path

import numpy as np

from zcpt_ray.datasets.base import Dataset, RawImages
from zcpt_ray.datasets.pickles import read_batch
from zcpt_ray.errors import UserError

IMAGENET16_CLASSES = 120
IMAGENET16_FOLDERS = ("ImageNet16", "imagenet16-120")
IMAGENET16_FILES = {"train": [f"train_data_batch_{number}" for number in range(1, 11)], "test": ["val_data"]}


def _read(folder: Path, split: str) -> RawImages:
    names = IMAGENET16_FILES[split]
    places = [folder / name for name in IMAGENET16_FOLDERS]
    found = next((place for place in places if any((place / name).exists() for name in names)), None)
    missing = [name for name in names if not (found and (found / name).exists())]
    if found is None or missing:
        raise UserError(
            f"no {', '.join(missing)} of imagenet16-120 in {found or f'{places[0]} or {places[1].name}'}; set ZCPT_DATA"
            " to the folder above (files come from https://github.com/D-X-Y/NAS-Bench-201), or use --dataset digits"
        )
    parts = [_read_file(found / name) for name in names]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    origin = f"the files {names[0]} to {names[-1]}" if len(names) > 1 else f"the file {names[0]}"
    return RawImages(images, labels, origin=origin)


def _read_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The images of a pickled batch that are of the classes 1 to 120, which become 0 to 119."""
    try:
        with path.open("rb") as file:
            batch = read_batch(file)
        labels = np.asarray(batch["labels"], np.int64)
        images = batch["data"].reshape(len(labels), 3, 16, 16)
        kept = labels <= IMAGENET16_CLASSES
        images, kept_labels = images[kept], labels[kept] - 1
    except Exception as error:  # a damaged pickle can fail in any way
        raise UserError(f"cannot read {path}: {error!r}") from error
    if images.dtype != np.uint8:
        raise UserError(f"{path}: data must be uint8, is {images.dtype}")
    if len(labels) and not 1 <= labels.min() <= labels.max() <= 1000:
        raise UserError(f"{path}: labels {labels.min()}..{labels.max()}; they must lie in 1..1000")
    return images, kept_labels


IMAGENET16_120 = Dataset(
    "imagenet16-120",
    IMAGENET16_CLASSES,
    (122.68 / 255, 116.66 / 255, 104.01 / 255),
    (63.22 / 255, 61.26 / 255, 65.09 / 255),
    flip=True,
    read=_read,
    padding=2,  # as NAS-Bench-201 trains on it
)
