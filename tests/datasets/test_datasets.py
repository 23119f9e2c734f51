"""What all data sets have in common."""

from pathlib import Path

import numpy as np
import pytest
from image_files import archive, encoded, shard, write_imagenet16, write_mat

from zcpt_ray.datasets import DATASETS, halves
from zcpt_ray.datasets.minibatches import ImageSet


def test_digits_are_always_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    train, test = (DATASETS["digits"].load(split) for split in ("train", "test"))
    assert len(train) + len(test) == 1797
    assert train.images.shape[1:] == (3, 32, 32)
    assert set(train.labels) == set(test.labels) == set(range(10))
    scaled = train.images / 255
    assert scaled.mean() == pytest.approx(train.mean[0], abs=0.005)
    assert scaled.std() == pytest.approx(train.std[0], abs=0.005)


def test_the_search_half_is_half_and_fixed() -> None:
    one, two = (halves(DATASETS["digits"])[0] for _ in range(2))
    assert len(one) == len(DATASETS["digits"].load("train")) // 2
    assert np.array_equal(one.images, two.images)


def test_readers_say_which_images_they_give(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: ImageSet) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    rows = [encoded(image) for image in images.images]
    for split in ("train", "test"):
        shard(tmp_path / "cifar10" / f"{split}.parquet", rows, images.labels.tolist())
        write_mat(tmp_path / f"{split}_32x32.mat", images, np.full(40, 1))
    content = {b"data": images.images.reshape(-1, 3072), b"fine_labels": images.labels.tolist()}
    archive(tmp_path / "cifar-100-python.tar.gz", {"train": content, "test": content})
    write_imagenet16(tmp_path / "ImageNet16")
    origins = {
        name: tuple(DATASETS[name].load(split).origin for split in ("train", "test"))
        for name in ("digits", "cifar10", "cifar100", "svhn", "imagenet16-120")
    }
    assert origins == {
        "digits": ("all images but every fifth", "every fifth image"),
        "cifar10": ("the files train*.parquet", "the files test*.parquet"),
        "cifar100": ("the training batches of cifar-100-python.tar.gz", "the test batches of cifar-100-python.tar.gz"),
        "svhn": ("the file train_32x32.mat", "the file test_32x32.mat"),
        "imagenet16-120": ("the files train_data_batch_1 to train_data_batch_10", "the file val_data"),
    }


def test_an_image_set_is_shown_in_short(images: ImageSet) -> None:
    assert repr(images) == "ImageSet(40 images of 3 classes)"
