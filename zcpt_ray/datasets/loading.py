"""The data sets by name or by folder, and their images."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from zcpt_ray.configs import AS_THEY_ARE, ImageOptions
from zcpt_ray.datasets.base import Dataset
from zcpt_ray.datasets.cifar import CIFAR10, CIFAR100
from zcpt_ray.datasets.digits import DIGITS
from zcpt_ray.datasets.folders import folder_path, image_folder
from zcpt_ray.datasets.imagenet import IMAGENET
from zcpt_ray.datasets.imagenet16 import IMAGENET16_120
from zcpt_ray.datasets.images import whole_size
from zcpt_ray.datasets.minibatches import ImageSet
from zcpt_ray.datasets.svhn import SVHN
from zcpt_ray.errors import UserError
from zcpt_ray.registry import mark_own, own_content

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset for dataset in (DIGITS, CIFAR10, CIFAR100, SVHN, IMAGENET16_120, IMAGENET)
}


@dataclass(frozen=True, repr=False, eq=False)
class LoadedDataset:
    """The training and the test images of a data set.

    - `classes`: their names, or their numbers as text where no names are known.
    - `train` and `test`: `images`, uint8 [N, C, H, W], and `labels`, int64 [N]. The images of ImageNet are lazy:
      `train.take(slice(0, 10))` decodes ten of them.
    - `image_shape`: [C, H, W].
    """

    name: str
    classes: tuple[str, ...]
    train: ImageSet
    test: ImageSet
    image_shape: tuple[int, int, int]

    @property
    def image_size(self) -> int:
        """The height of an image, which is its width too unless a reader of the user's own gives other images."""
        return self.image_shape[1]

    @property
    def summary(self) -> str:
        """Classes, numbers of images and their size, in one line."""
        few = self.classes if len(self.classes) <= 3 else (*self.classes[:2], "...")
        _, height, width = self.image_shape
        return (
            f"{len(self.classes)} class{'es' * (len(self.classes) > 1)} ({', '.join(few)}), {len(self.train)} train and"
            f" {len(self.test)} test images of {height}x{width}"
        )

    def __repr__(self) -> str:
        return f"LoadedDataset({self.name!r}: {self.summary})"


def find_dataset(name: str | Path, options: ImageOptions = AS_THEY_ARE) -> Dataset:
    """Find a data set by its name, or make one of the images of a folder, as `image_folder` does. Reads no images.

    Raises:
        UserError: neither is there (the message lists the names), or the options do not fit.
    """
    if isinstance(name, str) and name in DATASETS:
        return _with_options(DATASETS[name], options)
    folder = folder_path(name)
    if not name or not folder.is_dir():
        raise UserError(
            f"unknown dataset {str(name)!r}; choose from {', '.join(DATASETS)}, or give a folder that has a subfolder"
            " per class"
        )
    return image_folder(folder.name, folder, options=options)


def load_dataset(place: str | Path | Dataset, image_size: int | None = None, **options: Any) -> LoadedDataset:
    """Read the images of a data set: a name of `DATASETS`, a folder of images, or a `Dataset`.

    A folder has a subfolder for each class, or what else `image_folder` describes. With `image_size` images are resized
    to so many pixels a side; without it those of a folder to what most of them have, from 32 to 224. `options` are the
    other fields of `ImageOptions`: `flip`, `test_share`, `crop`, ...

    Raises:
        UserError: no such data set, images are missing or unreadable, or the size is not whole or too small.

    Example: `load_dataset("~/photos", image_size=64).train.images`.
    """
    known = [field.name for field in fields(ImageOptions)]
    if unknown := options.keys() - set(known):
        raise UserError(f"unknown option {min(unknown)!r}; choose from {', '.join(known)}")
    asked = ImageOptions(image_size if image_size is None else whole_size(image_size), **options)
    dataset = _with_options(place, asked) if isinstance(place, Dataset) else find_dataset(place, asked)
    train = dataset.load("train")
    same_colours = replace(dataset, mean=train.mean, std=train.std)  # or they would be computed again
    test = same_colours.load("test")
    classes = train.classes or tuple(str(number) for number in range(train.num_classes))
    return LoadedDataset(dataset.name, classes, train, test, train.image_shape)


def _with_options(dataset: Dataset, options: ImageOptions) -> Dataset:
    """The same data set with options; what is the user's own stays so."""
    if options == AS_THEY_ARE:
        return dataset
    found = dataset.with_options(options)
    return mark_own(found, "dataset") if own_content(dataset) else found
