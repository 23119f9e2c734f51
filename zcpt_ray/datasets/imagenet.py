"""ImageNet (ILSVRC 2012) or any part of it, decoded as minibatches need it."""

from pathlib import Path

from zcpt_ray.configs import ImageOptions
from zcpt_ray.datasets.base import Dataset, RawImages
from zcpt_ray.datasets.folders import read_images
from zcpt_ray.datasets.layouts import subfolders
from zcpt_ray.errors import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def _read(folder: Path, split: str) -> RawImages:
    """Class folders below imagenet/train and imagenet/val, or parquet shards anywhere below imagenet/."""
    place = folder / "imagenet"
    if not subfolders(place / "train") and not next(place.rglob("train*.parquet"), None):
        raise UserError(
            "no imagenet data: expected imagenet/train/CLASS/*.JPEG and imagenet/val/CLASS/*.JPEG, or"
            f" imagenet/**/train*.parquet and validation*.parquet, under {folder}; set ZCPT_DATA to the folder that has"
            " it (the images come from https://image-net.org), or use --dataset digits"
        )
    return read_images(place, split, ImageOptions(image_size=224), in_memory=False)


IMAGENET = Dataset("imagenet", None, IMAGENET_MEAN, IMAGENET_STD, flip=True, read=_read)
