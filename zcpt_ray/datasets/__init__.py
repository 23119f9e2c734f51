"""The data sets, by name. A new one is a file here and a row below, or a call of `image_folder`."""

from pathlib import Path

from zcpt_ray.datasets.base import Dataset, RawImages, halves
from zcpt_ray.datasets.cifar import CIFAR10, CIFAR100
from zcpt_ray.datasets.digits import DIGITS
from zcpt_ray.datasets.folders import image_folder
from zcpt_ray.datasets.imagenet import IMAGENET
from zcpt_ray.datasets.imagenet16 import IMAGENET16_120
from zcpt_ray.datasets.svhn import SVHN
from zcpt_ray.errors import UserError

__all__ = ["DATASETS", "Dataset", "RawImages", "find_dataset", "halves", "image_folder"]

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in (DIGITS, CIFAR10, CIFAR100, SVHN, IMAGENET16_120, IMAGENET)}


def find_dataset(name: str) -> Dataset:
    """The row of that name, or else the images of the folder of that name, in `image_folder`'s way. Reads no images.

    Raises:
        UserError: neither is there; the message lists the rows.
    """
    if name in DATASETS:
        return DATASETS[name]
    folder = Path(name).expanduser()
    if not name or not folder.is_dir():
        raise UserError(
            f"unknown dataset {name!r}; choose from {', '.join(DATASETS)}, or give a folder that has a subfolder per class"
        )
    return image_folder(folder.resolve().name, folder)
