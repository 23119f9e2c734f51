"""ImageNet, whose images are decoded as minibatches need them."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import smooth, write_image

from zcpt_ray.datasets import DATASETS, halves
from zcpt_ray.datasets.decoding import random_box
from zcpt_ray.datasets.minibatches import draw_minibatch, epoch_of_minibatches
from zcpt_ray.errors import UserError


@pytest.fixture
def imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """12 training and 4 validation images of two classes, as class folders."""
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    for index in range(12):
        write_image(tmp_path / "imagenet/train" / f"n{index % 2}" / f"{index:02d}.JPEG", smooth(index, 60 + index))
    for index in range(4):
        write_image(tmp_path / "imagenet/val" / f"n{index % 2}" / f"val{index}.JPEG", smooth(index))
    return tmp_path / "imagenet"


def test_imagenet_reads_what_a_minibatch_needs(imagenet: Path) -> None:
    search, held_out = halves(DATASETS["imagenet"])
    (damaged,) = {path.name for path in (imagenet / "train/n1").iterdir()} & {
        Path(bytes(held_out.images.rows[-1]).decode()).name
    }
    (imagenet / "train/n1" / damaged).write_bytes(b"")
    for index in range(6):
        one, same, other = (draw_minibatch(search, 4, seed) for seed in (index, index, index + 1))
        assert torch.equal(one.images, same.images)
        assert torch.equal(one.labels, same.labels)
        assert not torch.equal(one.images, other.images)
        assert one.images.shape == (4, 3, 224, 224)
        assert one.images.dtype == torch.float32
    with pytest.raises(UserError, match=rf"{damaged}: not an image"):
        draw_minibatch(held_out, 6, 0)


def test_a_lazy_minibatch_survives_pickling_and_threads(imagenet: Path) -> None:
    search, _ = halves(DATASETS["imagenet"])
    expected = draw_minibatch(search, 4, 0)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        found = draw_minibatch(pickle.loads(pickle.dumps(search)), 4, 0)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found.images, expected.images)


def test_imagenet_images_carry_their_labels(imagenet: Path) -> None:
    """Blue tells the images apart; pixels are normalised, crops and mirrored ones occur, and tests see the middle."""
    data = DATASETS["imagenet"].load("train")
    assert data.classes == ("n0", "n1")
    batch = draw_minibatch(data, 12, seed=1)
    pixels = (batch.images * torch.tensor(data.std)[:, None, None] + torch.tensor(data.mean)[:, None, None]) * 255
    index = (pixels[:, 2].mean((1, 2)) / 10).round().int()
    assert sorted(index.tolist()) == list(range(12))
    assert (index % 2).tolist() == batch.labels.tolist()
    rising = pixels[:, 0, 112, 200] > pixels[:, 0, 112, 20]
    assert 0 < rising.sum() < 12
    assert (pixels[:, 1, 200, 112] > pixels[:, 1, 20, 112]).all()
    (middle,) = epoch_of_minibatches(DATASETS["imagenet"].load("test"), 12)
    red = middle.images[0, 0, 112] * data.std[0] + data.mean[0]
    square = 7 / 8 * 50 / 60  # of the width
    assert float(red[0]) == pytest.approx((1 - square) / 2, abs=0.03)
    assert float(red[-1]) == pytest.approx((1 + square) / 2, abs=0.03)


def test_random_boxes() -> None:
    random = np.random.default_rng(0)
    boxes = np.array([random_box(500, 375, random) for _ in range(2000)])
    left, upper, right, lower = boxes.T
    assert (boxes >= 0).all()
    assert (right <= 500).all()
    assert (lower <= 375).all()
    area, ratio = (right - left) * (lower - upper) / (500 * 375), (right - left) / (lower - upper)
    assert 0.07 < area.min() < 0.1
    assert 0.9 < area.max() <= 1
    assert 0.74 < ratio.min() < 0.78
    assert 1.3 < ratio.max() < 1.36
    assert random_box(10, 1000, random) == (0, 493, 10, 506)  # no draw fits
    assert random_box(1, 1, random) == (0, 0, 1, 1)


def test_what_imagenet_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"no imagenet data: expected imagenet/train/CLASS/.* under .*; set ZCPT_DATA"):
        DATASETS["imagenet"].load("train")
    for name in ("n1", "n2"):
        write_image(tmp_path / f"imagenet/train/{name}/a.JPEG", smooth(0))
    with pytest.raises(UserError, match=r"no test images in .*imagenet"):
        DATASETS["imagenet"].load("test")
