"""What is said of a data set."""

from pathlib import Path

import pytest
from image_files import encoded, shard, write_image

from zcpt_ray.datasets import Dataset, RawImages, describe_dataset, load_dataset
from zcpt_ray.datasets.minibatches import ImageSet


def test_a_folder_with_splits(tmp_path: Path, images: ImageSet) -> None:
    for index, image in enumerate(images.images[:7]):
        split, name = ("val" if index == 6 else "train"), ("dog" if index % 3 else "cat")
        write_image(tmp_path / "pets" / split / name / f"{index}.png", image)
    loaded = load_dataset(tmp_path / "pets", image_size=16)
    assert describe_dataset(loaded) == {
        "name": "pets",
        "images": {"train": 6, "test": 1},
        "classes": ("cat", "dog"),
        "split": "the folder train/ for training, the folder val/ for tests",
        "image_size": 16,
        "mean": loaded.train.mean,
        "std": loaded.train.std,
        "images_per_class": [{"class": "cat", "train": 2, "test": 1}, {"class": "dog", "train": 4, "test": 0}],
        "notes": ("no test image of 1 class: dog",),
    }


def test_a_folder_without_splits(animals: Path) -> None:
    found = describe_dataset(load_dataset(animals))
    assert found["split"] == "all images but every fifth for training, every fifth image for tests"
    assert found["images_per_class"] == [
        {"class": "cat", "train": 16, "test": 4},
        {"class": "dog", "train": 16, "test": 4},
    ]


def test_shards_with_splits(tmp_path: Path, images: ImageSet) -> None:
    for split in ("train", "validation"):
        shard(tmp_path / f"{split}-0.parquet", [encoded(image) for image in images.images[:3]], [0, 2, 2])
    found = describe_dataset(load_dataset(tmp_path))
    assert found["split"] == "the files train*.parquet for training, the files validation*.parquet for tests"
    assert [row["train"] for row in found["images_per_class"]] == [1, 0, 2]
    assert found["classes"] == ("0", "1", "2")


def test_a_reader_that_does_not_say(images: ImageSet) -> None:
    own = Dataset("own", 3, None, None, False, lambda folder, split: RawImages(images.images, images.labels))
    assert describe_dataset(load_dataset(own))["split"] == (
        "what its reader gives for training, what its reader gives for tests"
    )


@pytest.mark.data
def test_real_cifar_has_named_classes() -> None:
    found = describe_dataset(load_dataset("cifar10"))
    assert found["classes"][:3] == ("airplane", "automobile", "bird")
    assert sum(row["train"] for row in found["images_per_class"]) == found["images"]["train"]
