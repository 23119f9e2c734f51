"""Data sets of image files: a user's own, and ImageNet."""

import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from image_files import encoded, shard
from PIL import Image

from zcpt_ray.data import ImageSet, draw_minibatch, epoch_of_minibatches
from zcpt_ray.datasets import DATASETS, find_dataset, halves, image_folder
from zcpt_ray.datasets.images import random_box
from zcpt_ray.errors import UserError


def write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.transpose(1, 2, 0)).save(path)


def smooth(index: int, width: int = 60, height: int = 50) -> np.ndarray:
    """An image of its own, uint8 [3, H, W], that JPEG keeps well: red grows to the right, green downwards, blue tells it apart."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([red, green, np.full_like(red, 10 * index)]).astype(np.uint8)


@pytest.fixture
def animals(tmp_path: Path, images: ImageSet) -> Path:
    """20 cats and 20 dogs of 32x32 pixels, among other things."""
    folder = tmp_path / "animals"
    for index, image in enumerate(images.images):
        write_image(folder / ("cat" if index < 20 else "dog") / f"{index:02d}.png", image)
    (folder / "cat" / "notes.txt").write_text("a cat")
    (folder / ".cache").mkdir()
    (folder / "LICENSE").write_text("free")
    return folder


@pytest.fixture
def imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """12 training and 4 validation images of two classes, as class folders."""
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    for index in range(12):
        write_image(tmp_path / "imagenet/train" / f"n{index % 2}" / f"{index:02d}.JPEG", smooth(index, 60 + index))
    for index in range(4):
        write_image(tmp_path / "imagenet/val" / f"n{index % 2}" / f"val{index}.JPEG", smooth(index))
    return tmp_path / "imagenet"


def test_a_folder_is_a_data_set(animals: Path, images: ImageSet) -> None:
    train, test = (find_dataset(str(animals)).load(split) for split in ("train", "test"))
    of_test = np.arange(40) % 5 == 4
    assert np.array_equal(train.images, images.images[~of_test])
    assert np.array_equal(test.images, images.images[of_test])
    assert train.labels.tolist() == 16 * [0] + 16 * [1]
    assert train.classes == ("cat", "dog")
    assert (train.num_classes, train.padding, train.flip) == (2, 4, False)
    scaled = train.images / 255
    np.testing.assert_allclose(train.mean, scaled.mean((0, 2, 3)))
    np.testing.assert_allclose(train.std, scaled.std((0, 2, 3)))
    assert (test.mean, test.std) == (train.mean, train.std)
    (batch,) = epoch_of_minibatches(train, 32)
    torch.testing.assert_close(batch.images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(batch.images.std((0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)


def test_images_of_any_kind_become_squares(tmp_path: Path) -> None:
    """The middle of each; gray, transparent and palette images become RGB."""
    wide = np.zeros((3, 20, 60), np.uint8)
    wide[:, :, 20:40] = 200
    write_image(tmp_path / "a" / "wide.png", wide)
    for mode in ("L", "RGBA", "P", "1"):
        Image.fromarray(wide.transpose(1, 2, 0)).convert(mode).save(tmp_path / "a" / f"{mode}.png")
    (tmp_path / "b" / "deep").mkdir(parents=True)
    Image.new("RGB", (3000, 2000), (10, 20, 30)).save(tmp_path / "b" / "deep" / "large.JPG")
    loaded = image_folder("own", tmp_path, size=16, mean=(0.5,) * 3, std=(1.0,) * 3).load("train")
    assert loaded.images.shape == (5, 3, 16, 16)
    dithered, gray, palette, coloured = loaded.images[loaded.labels == 0].astype(int)[..., 1:-1]
    assert (np.stack([gray, coloured]) == 200).all()
    assert dithered.mean() == pytest.approx(200, abs=10)
    assert palette.mean() == pytest.approx(200, abs=10)
    assert loaded.padding == 2
    assert loaded.mean == (0.5, 0.5, 0.5)
    large = find_dataset(str(tmp_path)).load("test").images  # the fifth of six
    assert large.shape == (1, 3, 32, 32)


def test_large_photos_shrink_to_their_colours(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.fromarray(smooth(5, 1200, 1200).transpose(1, 2, 0)).save(tmp_path / "a" / "x.jpg", quality=95)
    image = image_folder("own", tmp_path).load("train").images[0].astype(int)
    expected = np.linspace(0, 255, 33)
    expected = (expected[1:] + expected[:-1]) / 2
    assert np.abs(image[0] - expected).max() < 6
    assert np.abs(image[1] - expected[:, None]).max() < 6
    assert np.abs(image[2] - 50).max() < 6


def test_splits_of_a_folder(tmp_path: Path, images: ImageSet) -> None:
    for index in range(6):
        write_image(tmp_path / "train" / "abc"[index % 3] / f"{index}.png", images.images[index])
    with pytest.raises(UserError, match=r"no test images in .*: expected CLASS/\*\.jpg .* in val, validation or test there"):
        image_folder("own", tmp_path).load("test")
    write_image(tmp_path / "test" / "c" / "t.png", images.images[7])  # the other classes have no test images
    train, test = (image_folder("own", tmp_path).load(split) for split in ("train", "test"))
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert np.array_equal(train.images, images.images[[0, 3, 1, 4, 2, 5]])
    assert test.labels.tolist() == [2]
    assert np.array_equal(test.images, images.images[7:8])
    write_image(tmp_path / "test" / "x" / "t.png", images.images[7])
    with pytest.raises(UserError, match=r"test has classes that .*train has not: x"):
        image_folder("own", tmp_path).load("test")


def named(path: Path, names: list[str]) -> None:
    """Add to a shard what the hub notes of its classes."""
    table = pq.read_table(path)
    note = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(note)}), path)


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_folder_of_shards(in_memory: bool, tmp_path: Path) -> None:
    wholes = [smooth(index, 20 + index, 30) for index in range(10)]
    for part in range(2):
        rows = [encoded(image) for image in wholes[5 * part : 5 * part + 5]]
        shard(tmp_path / "data" / f"part-{part}.parquet", rows, [0, 1, 2, 1, 0])
    dataset = image_folder("own", tmp_path, in_memory=in_memory)
    train, test = (dataset.load(split) for split in ("train", "test"))
    assert train.labels.tolist() == 2 * [0, 1, 2, 1]
    assert test.labels.tolist() == [0, 0]
    assert train.classes == ("0", "1", "2")
    blue = train.take(np.arange(8))[:, 2, 16, 16]
    assert blue.tolist() == [0, 10, 20, 30, 50, 60, 70, 80]
    assert train.mean[2] == pytest.approx(40 / 255)
    named(tmp_path / "data" / "part-0.parquet", ["cat", "dog", "bird", "cow"])
    assert (dataset.load("test").num_classes, dataset.load("test").classes) == (4, ("cat", "dog", "bird", "cow"))
    shard(tmp_path / "data" / "test.parquet", rows, [0, 1, 2, 1, 3])
    with pytest.raises(UserError, match=r"no train\*\.parquet below"):
        dataset.load("train")
    shard(tmp_path / "data" / "train.parquet", rows, [0, 1, 2, 1, 0])
    with pytest.raises(UserError, match=r"labels 0\.\.3; they must lie in 0\.\.2"):
        dataset.load("test")


def test_any_rows_of_any_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lazily read shards give what was asked for, in that order; binary columns and null images too."""
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    rows = [encoded(np.full((3, 8, 8), index, np.uint8)) for index in range(200)]
    labels = [index % 7 for index in range(200)]
    folder = tmp_path / "imagenet" / "data"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"image": rows[:150], "label": labels[:150]}), folder / "train-0.parquet", row_group_size=100)
    struct = pa.array([{"bytes": row, "path": None} for row in rows[150:]])
    pq.write_table(pa.table({"image": struct, "label": labels[150:]}), folder / "train-1.parquet", row_group_size=10)
    data = DATASETS["imagenet"].load("train")
    chosen = np.random.default_rng(0).permutation(200)
    assert data.images[chosen].decode(None, flip=False)[:, 0, 0, 0].tolist() == chosen.tolist()
    assert data.labels[chosen].tolist() == (chosen % 7).tolist()
    assert data.num_classes == 7
    held = halves(DATASETS["imagenet"])
    values = [half.take(slice(None))[:, 0, 0, 0].tolist() for half in held]
    assert sorted(values[0] + values[1]) == list(range(200))
    pq.write_table(pa.table({"image": [rows[0], None], "label": [0, 1]}), folder / "train-1.parquet")
    broken = DATASETS["imagenet"].load("train")
    with pytest.raises(UserError, match=r"train-1\.parquet, row group 0, row 1: not an image"):
        broken.take(np.array([3, 151]))
    (folder / "train-1.parquet").unlink()
    with pytest.raises(UserError, match=r"cannot read .*train-1\.parquet"):
        broken.take(np.array([151]))


def test_imagenet_reads_what_a_minibatch_needs(imagenet: Path) -> None:
    search, held_out = halves(DATASETS["imagenet"])
    (damaged,) = {path.name for path in (imagenet / "train/n1").iterdir()} & {Path(bytes(held_out.images.rows[-1]).decode()).name}
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
    write_image(tmp_path / "imagenet/train/n1/a.JPEG", smooth(0))
    with pytest.raises(UserError, match=r"no test images in .*imagenet"):
        DATASETS["imagenet"].load("test")


def test_names_and_folders(animals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_dataset("digits") is DATASETS["digits"]
    assert find_dataset("animals").name == find_dataset("./animals/").name == "animals"
    (tmp_path / "digits").mkdir()
    assert find_dataset("digits") is DATASETS["digits"]
    assert find_dataset("./digits").num_classes is None
    for name in ("nonsense", "./animals/cat/00.png", ""):
        with pytest.raises(
            UserError, match=r"unknown dataset .*; choose from digits, cifar10, .*, or give a folder that has a subfolder"
        ):
            find_dataset(name)


def test_a_fingerprint_tells_contents_apart(animals: Path, images: ImageSet) -> None:
    prints = [image_folder("own", animals, size).load("train").fingerprint for size in (32, 32, 16)]
    write_image(animals / "cat" / "00.png", images.images[5])
    prints.append(image_folder("own", animals).load("train").fingerprint)
    prints += [
        image_folder("own", animals, in_memory=False).load("train").fingerprint,
        DATASETS["digits"].load("train").fingerprint,
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 5
    assert prints[-1] == ""


def test_bad_folders(animals: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no images in .*empty: expected there CLASS/\*\.jpg"):
        find_dataset(str(tmp_path / "empty")).load("train")
    (animals / "fish").mkdir()
    with pytest.raises(UserError, match=r"class folder .*fish has no images"):
        find_dataset(str(animals)).load("train")
    (animals / "fish" / "a.jpg").write_bytes(b"no fish")
    with pytest.raises(UserError, match=r"fish/a\.jpg: not an image, or not of a known kind$"):
        find_dataset(str(animals)).load("train")
    whole = (animals / "cat" / "00.png").read_bytes()
    (animals / "fish" / "a.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"fish/a\.jpg: not an image: .*truncated"):
        find_dataset(str(animals)).load("train")


def test_images_of_one_colour(tmp_path: Path) -> None:
    write_image(tmp_path / "a" / "x.png", np.full((3, 8, 8), 51, np.uint8))
    data = image_folder("own", tmp_path).load("train")
    assert data.mean == pytest.approx((0.2, 0.2, 0.2))
    assert data.std == (1 / 255,) * 3
    assert draw_minibatch(data, 1, 0).images.isfinite().all()
