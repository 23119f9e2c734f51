"""Parquet files of images."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import encoded, name_classes, shard, smooth

from zcpt_ray.datasets import DATASETS, halves, image_folder
from zcpt_ray.datasets.minibatches import ImageSet
from zcpt_ray.datasets.shards import read_image_parquet
from zcpt_ray.errors import UserError


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
    assert (train.origin, test.origin) == ("all images but every fifth", "every fifth image")
    assert train.classes == ("0", "1", "2")
    blue = train.take(np.arange(8))[:, 2, 16, 16]
    assert blue.tolist() == [0, 10, 20, 30, 50, 60, 70, 80]
    assert train.mean[2] == pytest.approx(40 / 255)
    name_classes(tmp_path / "data" / "part-0.parquet", ["cat", "dog", "bird", "cow"])
    assert (dataset.load("test").num_classes, dataset.load("test").classes) == (4, ("cat", "dog", "bird", "cow"))
    shard(tmp_path / "data" / "test.parquet", rows, [0, 1, 2, 1, 3])
    with pytest.raises(UserError, match=r"part-0\.parquet does not say by its name or folder of which split it is"):
        dataset.load("train")
    for part in range(2):
        (tmp_path / "data" / f"part-{part}.parquet").unlink()
    with pytest.raises(UserError, match=r"no train\*\.parquet below"):
        dataset.load("train")
    shard(tmp_path / "data" / "train.parquet", rows, [0, 1, 2, 1, 0])
    assert dataset.load("train").origin == "the files train*.parquet"
    with pytest.raises(UserError, match=r"labels 0\.\.3; they must lie in 0\.\.2"):
        dataset.load("test")


def test_any_rows_of_any_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lazily read shards give what was asked for, in that order; binary columns and null images too."""
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    rows = [encoded(np.full((3, 8, 8), index, np.uint8)) for index in range(200)]
    labels = [index % 7 for index in range(200)]
    folder = tmp_path / "imagenet" / "data"
    folder.mkdir(parents=True)
    pq.write_table(
        pa.table({"image": rows[:150], "label": labels[:150]}), folder / "train-0.parquet", row_group_size=100
    )
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
