"""ImageNet16-120 from the files of NAS-Bench-201."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import Evil, write_imagenet16

from zcpt_ray.datasets import DATASETS
from zcpt_ray.datasets.minibatches import crop_and_flip_at_random
from zcpt_ray.errors import UserError


@pytest.mark.parametrize("place", ["ImageNet16", "imagenet16-120"])
@pytest.mark.parametrize("protocol", [2, 5])
def test_imagenet16_keeps_120_classes(
    place: str, protocol: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    pixels = write_imagenet16(tmp_path / place, protocol)
    train, test = (DATASETS["imagenet16-120"].load(split) for split in ("train", "test"))
    assert train.labels.tolist() == 10 * [0, 119]
    assert np.array_equal(train.images, pixels[np.arange(30) % 3 < 2])
    assert len(test) == 2
    assert (train.num_classes, train.padding) == (120, 2)


def test_imagenet16_as_python_2_wrote_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    write_imagenet16(tmp_path / "ImageNet16")
    content = {b"data": np.zeros((1, 768), np.uint8), b"labels": [7]}
    (tmp_path / "ImageNet16" / "val_data").write_bytes(pickle.dumps(content, 2))
    assert DATASETS["imagenet16-120"].load("test").labels.tolist() == [6]


def test_imagenet16_is_cropped_with_a_padding_of_two(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    write_imagenet16(tmp_path / "ImageNet16")
    data = DATASETS["imagenet16-120"].load("train")
    taken = data.take(np.arange(20), np.random.default_rng(0))
    assert taken.shape == (20, 3, 16, 16)
    pixels = torch.from_numpy(data.images)
    assert np.array_equal(taken, crop_and_flip_at_random(pixels, np.random.default_rng(0), flip=True, pad=2))
    assert np.array_equal(data.take(slice(3, 5)), data.images[3:5])


def test_bad_imagenet16_files(monkeypatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    folder = tmp_path / "ImageNet16"
    with pytest.raises(UserError, match=r"no train_data_batch_1, .* in .*ImageNet16 or imagenet16-120; set ZCPT_DATA"):
        DATASETS["imagenet16-120"].load("train")
    write_imagenet16(folder)
    (folder / "train_data_batch_4").unlink()
    with pytest.raises(UserError, match=r"no train_data_batch_4 of imagenet16-120 in .*ImageNet16; set"):
        DATASETS["imagenet16-120"].load("train")
    for labels, message in (
        ([0, 1, 2], r"labels 0\.\.2; they must lie in 1\.\.1000"),
        ([1, 2, 1001], r"labels 1\.\.1001; they must lie in 1\.\.1000"),
        ([1, 2], "cannot read .*train_data_batch_1: .*reshape"),
        ([121, 500, 1000], "0 images and 0 labels"),
    ):
        write_imagenet16(folder, labels=labels)
        with pytest.raises(UserError, match=message):
            DATASETS["imagenet16-120"].load("train")
    write_imagenet16(folder, dtype=float)
    with pytest.raises(UserError, match="data must be uint8, is float64"):
        DATASETS["imagenet16-120"].load("train")
    write_imagenet16(folder)
    whole = (folder / "train_data_batch_2").read_bytes()
    for content in (whole[:500], b"", pickle.dumps([1]), pickle.dumps({"data": Evil(), "labels": [1]})):
        (folder / "train_data_batch_2").write_bytes(content)
        with pytest.raises(UserError, match=r"cannot read .*train_data_batch_2"):
            DATASETS["imagenet16-120"].load("train")
    assert "executed" not in capsys.readouterr().out
