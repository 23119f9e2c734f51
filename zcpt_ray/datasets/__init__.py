"""The data sets. A new one is a file here and a row of `DATASETS`, or a call of `image_folder`."""

from zcpt_ray.datasets.base import Dataset, RawImages, halves
from zcpt_ray.datasets.description import describe_dataset
from zcpt_ray.datasets.folders import image_folder
from zcpt_ray.datasets.loading import DATASETS, LoadedDataset, find_dataset, load_dataset

__all__ = [
    "DATASETS",
    "Dataset",
    "LoadedDataset",
    "RawImages",
    "describe_dataset",
    "find_dataset",
    "halves",
    "image_folder",
    "load_dataset",
]
