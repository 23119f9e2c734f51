"""What is said of a data set."""

import dataclasses
from pathlib import Path

import pytest
from image_files import encoded, shard, write_image

from zcpt_ray.configs import ImageOptions, SearchConfig
from zcpt_ray.datasets import Dataset, RawImages, describe_dataset, load_dataset
from zcpt_ray.datasets.description import shortened
from zcpt_ray.datasets.minibatches import ImageSet
from zcpt_ray.errors import UserError
from zcpt_ray.search.inputs import load_data
from zcpt_ray.search.resolved import Search


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


def test_what_a_search_understood_is_one_line(animals: Path, caplog: pytest.LogCaptureFixture) -> None:
    for index in range(3):
        (animals / "cat" / f"{index}.heic").write_bytes(b"x")
    search = Search.of(SearchConfig(space="toy-chain-1", dataset=str(animals), batch_size=8))
    with caplog.at_level("INFO", "zcpt_ray"):
        load_data(search)
    assert caplog.messages == [
        "animals: 32 training images of 32x32 (all images but every fifth); 2 classes (cat, dog); the search sees 16 of"
        " them; tests: every fifth image; other files left out: 3 .heic, 1 .txt"
    ]
    caplog.clear()
    larger = dataclasses.replace(search.config, images=ImageOptions(image_size=96, test_share=0.5))
    with caplog.at_level("INFO", "zcpt_ray"):
        load_data(Search.of(larger))
    assert caplog.messages[0].startswith("animals: 20 training images of 96x96 (the other 0.5); 2 classes (cat, dog)")
    assert caplog.messages[1] == (
        "toy-chain-1 is made for images of 32x32; with 96x96 a score takes some 9 times as long: --image-size 32 saves"
        " that, and --space mobilenet or photos serves such images"
    )
    too_large = dataclasses.replace(search.config, batch_size=17)
    with pytest.raises(UserError, match="17 is more than the 16 images that the search sees: half of the 32 training"):
        load_data(Search.of(too_large))


def test_many_names_are_shortened() -> None:
    assert shortened(tuple("abc")) == "a, b, c"
    assert shortened(tuple("abcdefgh")) == "a, b, c, d, ..., h"
