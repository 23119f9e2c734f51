"""Parquet files with a column of encoded images and one of labels, as the Hugging Face hub has them."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zcpt_ray.datasets.base import RawImages
from zcpt_ray.datasets.images import (
    EncodedImage,
    EncodedImages,
    decode,
    every_fifth,
    fitted,
    in_threads,
    names_of,
    to_array,
)
from zcpt_ray.errors import UserError


def read_image_parquet(path: Path, size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [n, 3, H, W] and labels int64 [n] of a parquet file with one image column and one label column.

    The image column holds encoded files, as binary or as a struct with a field `bytes`; the label column is called
    `label` or `fine_label`. Images are resized to `size`; without it they must share one size.

    Raises:
        UserError: the file is truncated or has no such columns, an image is corrupt or of another size.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    image, label = _columns(path, table.schema)
    labels = _labels(path, table[label])
    places = (f"{path}, row {row}" for row in itertools.count())
    convert = partial(fitted, size) if size else lambda place, content: to_array(decode(place, content))
    decoded = in_threads(convert, places, _contents(table[image]))
    for row, pixels in enumerate(decoded):
        if pixels.shape != decoded[0].shape:
            raise UserError(
                f"{path}, row {row}: image of {pixels.shape[1:]} pixels, the first one has {decoded[0].shape[1:]}"
            )
    return np.stack(decoded), labels


def read_same_size(paths: Sequence[Path], origin: str) -> RawImages:
    """Read all images of some shards; `origin` says in words which these are.

    Raises:
        UserError: a shard is damaged, or the images have different sizes.
    """
    parts = [read_image_parquet(path) for path in paths]
    if len({images.shape[1:] for images, _ in parts}) > 1:
        raise UserError(f"{paths[0]} and the {len(paths) - 1} shards beside it hold images of different sizes")
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return RawImages(images, labels, _class_names(paths[0]), origin)


@dataclass(frozen=True)
class ShardSource:
    """Images in parquet files; a row is file, row group, and row in that group: int64 [n, 3]."""

    paths: tuple[Path, ...]

    def read(self, rows: np.ndarray) -> list[EncodedImage]:
        """The images of `rows`, in that order. Of a row group, what lies before its last wanted row has to be read."""
        groups = np.unique(rows[:, :2], axis=0)
        wanted = [rows[(rows[:, :2] == group).all(1), 2] for group in groups]
        found: dict[tuple[int, ...], EncodedImage] = {}
        for group, some, contents in zip(
            groups.tolist(), wanted, in_threads(self._read_group, groups, wanted), strict=True
        ):
            places = [f"{self.paths[group[0]]}, row group {group[1]}, row {row}" for row in some]
            found |= {
                (*group, row): EncodedImage(*image) for row, *image in zip(some.tolist(), places, contents, strict=True)
            }
        return [found[tuple(row)] for row in rows.tolist()]

    def _read_group(self, group: np.ndarray, rows: np.ndarray) -> list[bytes]:
        path = self.paths[group[0]]
        found: dict[int, bytes] = {}
        start = 0
        try:
            with pq.ParquetFile(path, memory_map=True) as file:
                image, _ = _columns(path, file.schema_arrow)
                for batch in file.iter_batches(batch_size=64, row_groups=[int(group[1])], columns=[image]):
                    inside = rows[(rows >= start) & (rows < start + len(batch))]
                    contents = _contents(pa.chunked_array([batch.column(0)]).take(pa.array(inside - start)))
                    found |= dict(zip(inside.tolist(), contents, strict=True))
                    start += len(batch)
                    if len(found) == len(rows):
                        break
        except (OSError, pa.ArrowInvalid) as error:
            raise UserError(f"cannot read {path}: {error}") from error
        return [found[row] for row in rows.tolist()]


def find_shards(folder: Path, split: str) -> tuple[list[Path], str]:
    """The parquet files of a split below `folder`, and what their names begin with if they hold that split alone.

    These are train*.parquet for training and val*.parquet, or else test*.parquet, for tests. If no file is called so,
    all of them hold both splits.

    Raises:
        UserError: there are files of the other split only.
    """
    shards = sorted(folder.rglob("*.parquet"))
    of_split = {start: [path for path in shards if path.name.startswith(start)] for start in ("train", "val", "test")}
    if not any(of_split.values()):
        return shards, ""
    for start in ("train",) if split == "train" else ("val", "test"):
        if of_split[start]:
            return of_split[start], start
    wanted = "train*.parquet" if split == "train" else "validation*.parquet or test*.parquet"
    raise UserError(f"no {wanted} below {folder}, only {shards[0].name} and the like")


def read_shards(folder: Path, split: str, size: int, in_memory: bool) -> RawImages:
    """Read the images of a split, resized to `size` or to be decoded when they are wanted.

    Classes are named as is noted in the files, or else by number, up to the largest training label.

    Raises:
        UserError: as `find_shards` and `read_image_parquet`.
    """
    paths, start = find_shards(folder, split)
    training = paths if split == "train" else find_shards(folder, "train")[0]
    classes = _class_names(training[0]) or names_of(np.concatenate([_index(path)[1] for path in training]))
    images: np.ndarray | EncodedImages
    if in_memory:
        parts = [read_image_parquet(path, size) for path in paths]
        images, labels = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    else:
        indexed = [_index(path) for path in paths]
        rows = [np.insert(places, 0, number, axis=1) for number, (places, _) in enumerate(indexed)]
        images = EncodedImages(ShardSource(tuple(paths)), np.concatenate(rows), size)
        labels = np.concatenate([part[1] for part in indexed])
    chosen, origin = every_fifth(split, len(labels))
    if start:
        chosen, origin = np.arange(len(labels)), f"the files {start}*.parquet"
    return RawImages(images[chosen], labels[chosen], classes, origin)


def _index(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Row group and row in it, int64 [n, 2], and label, int64 [n], of every image of a shard."""
    try:
        with pq.ParquetFile(path) as file:
            _, label = _columns(path, file.schema_arrow)
            labels = _labels(path, file.read([label])[label])
            sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    places = [np.stack([np.full(rows, number), np.arange(rows)], axis=1) for number, rows in enumerate(sizes)]
    return np.concatenate(places), labels


def _class_names(path: Path) -> tuple[str, ...]:
    """The names of the labels that a shard notes, as the hub does or after `classes` with commas; empty if none."""
    try:
        noted = pq.read_schema(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    _, label = _columns(path, noted)
    metadata = noted.metadata or {}
    try:
        return tuple(json.loads(metadata[b"huggingface"])["info"]["features"][label]["names"])
    except (KeyError, TypeError, ValueError):
        return tuple(name.strip() for name in metadata.get(b"classes", b"").decode(errors="replace").split(",") if name)


def _columns(path: Path, schema: pa.Schema) -> tuple[str, str]:
    image = next((field.name for field in schema if _holds_images(field.type)), None)
    label = next((name for name in ("label", "fine_label") if name in schema.names), None)
    if image is None or label is None:
        raise UserError(f"{path} needs an image column and a column label or fine_label, has {', '.join(schema.names)}")
    return image, label


def _labels(path: Path, column: pa.ChunkedArray) -> np.ndarray:
    if not len(column):
        raise UserError(f"{path} has no rows")
    if not pa.types.is_integer(column.type) or column.null_count:
        raise UserError(f"{path}: the label column must hold an integer in every row, has {column.type}")
    labels: np.ndarray = column.to_numpy().astype(np.int64)
    return labels


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _contents(column: pa.ChunkedArray) -> list[bytes]:
    """The encoded images of a column; b"" where there is none."""
    if pa.types.is_struct(column.type):
        column = pa.chunked_array([chunk.field("bytes") for chunk in column.chunks], column.type.field("bytes").type)
    return [content or b"" for content in column.to_pylist()]
