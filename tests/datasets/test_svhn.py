"""SVHN from its original files and from shards."""

from pathlib import Path

import numpy as np
import pytest
from image_files import encoded, shard, write_mat
from scipy.io import savemat

from zcpt_ray.datasets import DATASETS
from zcpt_ray.datasets.minibatches import ImageSet
from zcpt_ray.errors import UserError


@pytest.mark.parametrize("place", ["svhn", "."])
def test_svhn_from_the_original_files(
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: ImageSet
) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    for split, shift in (("train", 0), ("test", 3)):
        write_mat(tmp_path / place / f"{split}_32x32.mat", images, (np.arange(40) + shift) % 10 + 1)
    train, test = (DATASETS["svhn"].load(split) for split in ("train", "test"))
    assert np.array_equal(train.images, images.images)
    assert train.labels.tolist() == 4 * [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert test.labels.tolist() == 4 * [4, 5, 6, 7, 8, 9, 0, 1, 2, 3]
    assert not train.flip


def test_svhn_from_parquet_shards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: ImageSet) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    shard(tmp_path / "svhn/cropped_digits/train-0.parquet", [encoded(i) for i in images.images], images.labels.tolist())
    loaded = DATASETS["svhn"].load("train")
    assert np.array_equal(loaded.images, images.images)
    assert np.array_equal(loaded.labels, images.labels)


def test_bad_svhn_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: ImageSet) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    path = tmp_path / "svhn" / "train_32x32.mat"
    with pytest.raises(UserError, match=r"no svhn data: expected svhn/train\*\.parquet or train_32x32\.mat under"):
        DATASETS["svhn"].load("train")
    write_mat(path, images, np.full(40, 11))
    with pytest.raises(UserError, match=r"train_32x32\.mat: labels 11\.\.11; they must be whole and lie in 1\.\.10"):
        DATASETS["svhn"].load("train")
    write_mat(path, images, np.full(39, 1))
    with pytest.raises(UserError, match="40 images and 39 labels"):
        DATASETS["svhn"].load("train")
    for content in (
        {"X": images.images.transpose(2, 3, 1, 0)},
        {"y": np.ones((40, 1))},
        {"X": images.images, "y": np.ones((40, 1))},
        {"X": images.images.transpose(2, 3, 1, 0), "y": "text"},
    ):
        savemat(path, content)
        with pytest.raises(UserError, match=r"must hold X, uint8 .* and y, numbers"):
            DATASETS["svhn"].load("train")
    write_mat(path, images, np.full(40, 1))
    whole = path.read_bytes()
    for length in (0, 100, 1000, len(whole) - 50):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"train_32x32\.mat"):
            DATASETS["svhn"].load("train")
