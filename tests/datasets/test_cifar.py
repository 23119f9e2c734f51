"""CIFAR-10 and CIFAR-100 from their archives and from shards."""

import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from image_files import Evil, archive, encoded, name_classes, shard

from zcpt_ray.datasets import DATASETS
from zcpt_ray.datasets.minibatches import ImageSet
from zcpt_ray.errors import UserError


def test_a_small_archive_that_holds_too_much(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz", compresslevel=1) as bomb:
        member = tarfile.TarInfo("data_batch_1")
        member.size = (512 << 20) + 1
        with Path("/dev/zero").open("rb") as zeros:
            bomb.addfile(member, zeros)
    with pytest.raises(UserError, match="data_batch_1 has 512 MiB, 512 are possible"):
        DATASETS["cifar10"].load("train")


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_from_parquet_shards(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: ImageSet
) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    label = "fine_label" if name == "cifar100" else "label"
    for part in range(2):
        chosen = slice(20 * part, 20 * part + 20)
        rows = [encoded(image) for image in images.images[chosen]]
        shard(
            tmp_path / name / "data" / f"train-0000{part}-of-00002.parquet", rows, images.labels[chosen].tolist(), label
        )
    loaded = DATASETS[name].load("train")
    assert np.array_equal(loaded.images, images.images)
    assert np.array_equal(loaded.labels, images.labels)


def test_cifar_classes_are_called_what_the_shards_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: ImageSet
) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    path = shard(tmp_path / "cifar10" / "train.parquet", [encoded(images.images[0])], [9])
    assert DATASETS["cifar10"].load("train").classes == ()
    name_classes(path, list("abcdefghij"))
    assert DATASETS["cifar10"].load("train").classes == tuple("abcdefghij")
    pq.write_table(pq.read_table(path).replace_schema_metadata({"classes": "k, l,m,n,o,p,q,r,s,t"}), path)
    assert DATASETS["cifar10"].load("train").classes == tuple("klmnopqrst")
    name_classes(path, ["cat", "dog"])
    with pytest.raises(UserError, match="cifar10 train: 10 classes, but 2 names: cat, dog"):
        DATASETS["cifar10"].load("train")


@pytest.mark.parametrize(
    ("name", "file", "members", "label"),
    [
        (
            "cifar10",
            "cifar-10-python.tar.gz",
            ["cifar-10-batches-py/data_batch_1", "cifar-10-batches-py/data_batch_2"],
            b"labels",
        ),
        ("cifar100", "cifar-100-python.tar.gz", ["cifar-100-python/train"], b"fine_labels"),
    ],
)
def test_cifar_from_the_original_archive(
    name, file, members, label, monkeypatch, tmp_path: Path, images: ImageSet
) -> None:
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


def test_a_corrupt_archive_never_ends_in_a_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: ImageSet
) -> None:
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


@pytest.mark.data
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_real_cifar(name: str) -> None:
    loaded = DATASETS[name].load("test")
    scaled = loaded.images / 255
    np.testing.assert_allclose(scaled.mean((0, 2, 3)), loaded.mean, atol=0.02)
    np.testing.assert_allclose(scaled.std((0, 2, 3)), loaded.std, atol=0.02)
    assert len(set(loaded.labels)) == loaded.num_classes


def test_images_and_labels_must_be_as_many(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: ImageSet) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    archive(
        tmp_path / "cifar-10-python.tar.gz",
        {"data_batch_1": {b"data": images.images.reshape(-1, 3072), b"labels": [0, 1]}},
    )
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


def test_labels_outside_the_classes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: ImageSet) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    shard(tmp_path / "cifar10" / "train.parquet", [encoded(image) for image in images.images[:3]], [0, 1, 10])
    with pytest.raises(UserError, match=r"labels 0\.\.10; they must lie in 0\.\.9"):
        DATASETS["cifar10"].load("train")
