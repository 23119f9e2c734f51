import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from image_files import encoded, shard
from scipy.io import savemat

from zcpt_ray.data import ImageSet, crop_and_flip
from zcpt_ray.datasets import DATASETS, halves
from zcpt_ray.datasets.shards import read_image_parquet
from zcpt_ray.errors import UserError


def archive(path: Path, members: dict[str, object]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            data = pickle.dumps(content, protocol=2)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


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


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_from_parquet_shards(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: ImageSet) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    label = "fine_label" if name == "cifar100" else "label"
    for part in range(2):
        chosen = slice(20 * part, 20 * part + 20)
        rows = [encoded(image) for image in images.images[chosen]]
        shard(tmp_path / name / "data" / f"train-0000{part}-of-00002.parquet", rows, images.labels[chosen].tolist(), label)
    loaded = DATASETS[name].load("train")
    assert np.array_equal(loaded.images, images.images)
    assert np.array_equal(loaded.labels, images.labels)


@pytest.mark.parametrize(
    ("name", "file", "members", "label"),
    [
        ("cifar10", "cifar-10-python.tar.gz", ["cifar-10-batches-py/data_batch_1", "cifar-10-batches-py/data_batch_2"], b"labels"),
        ("cifar100", "cifar-100-python.tar.gz", ["cifar-100-python/train"], b"fine_labels"),
    ],
)
def test_cifar_from_the_original_archive(name, file, members, label, monkeypatch, tmp_path: Path, images: ImageSet) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    parts = np.array_split(np.arange(40), len(members))
    content = {
        m: {b"data": images.images[p].reshape(-1, 3072), label: images.labels[p].tolist()}
        for m, p in zip(members, parts, strict=True)
    }
    archive(tmp_path / file, content)
    loaded = DATASETS[name].load("train")
    assert np.array_equal(loaded.images, images.images)
    assert np.array_equal(loaded.labels, images.labels)
    with pytest.raises(UserError, match="no file called test"):
        DATASETS[name].load("test")


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def test_an_archive_cannot_run_code(monkeypatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    archive(tmp_path / "cifar-10-python.tar.gz", {"data_batch_1": Evil()})
    with pytest.raises(UserError, match="print is not allowed in a data file"):
        DATASETS["cifar10"].load("train")
    assert "executed" not in capsys.readouterr().out


def test_a_truncated_archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: ImageSet) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    path = tmp_path / "cifar-10-python.tar.gz"
    archive(path, {"data_batch_1": {b"data": images.images.reshape(-1, 3072), b"labels": images.labels.tolist()}})
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"cannot read .*cifar-10-python"):
        DATASETS["cifar10"].load("train")


@pytest.mark.parametrize(
    "content",
    [[1, 2], {b"data": np.zeros((2, 7)), b"labels": [0, 0]}, {b"data": "text", b"labels": [0]}, {b"labels": [0]}],
)
def test_an_archive_of_something_else(content: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    archive(tmp_path / "cifar-10-python.tar.gz", {"data_batch_1": content})
    with pytest.raises(UserError, match=r"cannot read .*cifar-10-python"):
        DATASETS["cifar10"].load("train")


def test_a_corrupt_archive_never_ends_in_a_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: ImageSet) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    path = tmp_path / "cifar-10-python.tar.gz"
    archive(path, {"data_batch_1": {b"data": images.images.reshape(-1, 3072), b"labels": images.labels.tolist()}})
    whole = bytearray(path.read_bytes())
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(20):
        broken = bytearray(whole)
        at = int(random.integers(50, len(whole) - 50))
        broken[at : at + 40] = random.bytes(40)
        path.write_bytes(broken)
        try:
            DATASETS["cifar10"].load("train")
        except UserError:
            refused += 1
    assert refused > 15


def test_images_and_labels_must_be_as_many(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: ImageSet) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    archive(tmp_path / "cifar-10-python.tar.gz", {"data_batch_1": {b"data": images.images.reshape(-1, 3072), b"labels": [0, 1]}})
    with pytest.raises(UserError, match="40 images and 2 labels"):
        DATASETS["cifar10"].load("train")


def test_shards_must_hold_one_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: ImageSet) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    shard(tmp_path / "cifar10" / "train-0.parquet", [encoded(images.images[0])], [0])
    shard(tmp_path / "cifar10" / "train-1.parquet", [encoded(images.images[0][:, :16])], [0])
    with pytest.raises(UserError, match="images of different sizes"):
        DATASETS["cifar10"].load("train")


def test_missing_data_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    with pytest.raises(UserError, match="no cifar10 data: expected"):
        DATASETS["cifar10"].load("train")


def test_bad_parquet_files(tmp_path: Path, images: ImageSet) -> None:
    rows = [encoded(image) for image in images.images[:5]]
    path = shard(tmp_path / "x.parquet", rows, [0] * 5)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"cannot read .*x\.parquet"):
        read_image_parquet(path)
    with pytest.raises(UserError, match="row 3: not an image"):
        read_image_parquet(shard(path, [*rows[:3], b"garbage", rows[4]], [0] * 5))
    with pytest.raises(UserError, match="row 1: image of"):
        read_image_parquet(shard(path, [rows[0], encoded(images.images[0][:, :16])], [0] * 2))
    with pytest.raises(UserError, match="needs an image column and a column label"):
        read_image_parquet(shard(path, rows, [0] * 5, label="class"))
    for labels in (["a"] * 5, [0, 1, None, 1, 0]):
        with pytest.raises(UserError, match="label column must hold an integer in every row"):
            read_image_parquet(shard(path, rows, labels))
    pq.write_table(pq.read_table(shard(path, rows, [0] * 5)).slice(0, 0), path)
    with pytest.raises(UserError, match="has no rows"):
        read_image_parquet(path)


def test_labels_outside_the_classes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: ImageSet) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    shard(tmp_path / "cifar10" / "train.parquet", [encoded(image) for image in images.images[:3]], [0, 1, 10])
    with pytest.raises(UserError, match=r"labels 0\.\.10; they must lie in 0\.\.9"):
        DATASETS["cifar10"].load("train")


@pytest.mark.data
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_real_cifar(name: str) -> None:
    loaded = DATASETS[name].load("test")
    scaled = loaded.images / 255
    np.testing.assert_allclose(scaled.mean((0, 2, 3)), loaded.mean, atol=0.02)
    np.testing.assert_allclose(scaled.std((0, 2, 3)), loaded.std, atol=0.02)
    assert len(set(loaded.labels)) == loaded.num_classes


def write_mat(path: Path, images: ImageSet, labels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"X": images.images.transpose(2, 3, 1, 0), "y": labels[:, None].astype(np.uint8)})


@pytest.mark.parametrize("place", ["svhn", "."])
def test_svhn_from_the_original_files(place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: ImageSet) -> None:
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


def write_imagenet16(folder: Path, protocol: int = 2, labels: list[int] | None = None, dtype: type = np.uint8) -> np.ndarray:
    """Batches of 3 images each, labelled 1, 120 and 121 if not told otherwise; all training images."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (11, 3, 3 * 16 * 16)).astype(dtype)
    for data, name in zip(pixels, [*(f"train_data_batch_{number}" for number in range(1, 11)), "val_data"], strict=True):
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": labels or [1, 120, 121]}, protocol))
    return pixels[:10].reshape(30, 3, 16, 16)


@pytest.mark.parametrize("place", ["ImageNet16", "imagenet16-120"])
@pytest.mark.parametrize("protocol", [2, 5])
def test_imagenet16_keeps_120_classes(place: str, protocol: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
    assert np.array_equal(taken, crop_and_flip(data.images, np.random.default_rng(0), flip=True, pad=2))
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
