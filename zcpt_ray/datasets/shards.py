"""Parquet files with a column of encoded images and one of labels, as the Hugging Face hub has them."""

import itertools
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zcpt_ray.configs import ImageOptions
from zcpt_ray.datasets.base import RawImages
from zcpt_ray.datasets.decoding import Decoder, EncodedImage, to_array
from zcpt_ray.datasets.images import (
    SIZES_SAMPLE,
    EncodedImages,
    chosen_of_split,
    evenly_spread,
    in_threads,
    names_of,
    usual_size,
)
from zcpt_ray.datasets.layouts import find_shards
from zcpt_ray.errors import UserError
from zcpt_ray.storage.parquet import reading

SAMPLED_GROUPS = 8
"""How many row groups stand for all, where image sizes decide."""

UNKNOWN = -1
"""The label of images that have none, as the hub has it."""


def read_image_parquet(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [n, 3, H, W] of one size and labels int64 [n] of a parquet file.

    Its image column (`_columns`) holds encoded files, as binary or as a struct with a field `bytes`; the label column
    is called `label` or `fine_label`.

    Raises:
        UserError: the file is truncated or has no such columns, an image is corrupt or of another size.
    """
    table = _table(path)
    image, label = _columns(path, table.schema)
    labels = _labels(path, table[label])
    places = (f"{path}, row {row}" for row in itertools.count())
    decoder = Decoder(0)
    decoded = in_threads(lambda *encoded: to_array(decoder.whole(*encoded)), places, _contents(table[image]))
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
        with reading(path), pq.ParquetFile(path, memory_map=True) as file:
            image, _ = _columns(path, file.schema_arrow)
            for batch in file.iter_batches(batch_size=64, row_groups=[int(group[1])], columns=[image]):
                inside = rows[(rows >= start) & (rows < start + len(batch))]
                contents = _contents(pa.chunked_array([batch.column(0)]).take(pa.array(inside - start)))
                found |= dict(zip(inside.tolist(), contents, strict=True))
                start += len(batch)
                if len(found) == len(rows):
                    break
        return [found[row] for row in rows.tolist()]


def read_shards(folder: Path, split: str, options: ImageOptions, in_memory: bool) -> RawImages:
    """Read the images of a split, resized as `options` say or to be decoded when they are wanted.

    Classes are named as is noted in the files, or else by number, up to the largest training label.

    Raises:
        UserError: as `find_shards` and `read_image_parquet`.
    """
    paths, origin = find_shards(folder, split)
    training = paths if split == "train" else find_shards(folder, "train")[0]
    shards = Shards.of(paths)
    chosen, notes = _labelled(shards.labels, options)
    known = shards if training == paths else Shards.of(training)
    classes = _class_names(training[0]) or names_of(known.labels[_labelled(known.labels, options)[0]])
    decoder = Decoder.of(options, options.image_size or usual_size(known.sample()))
    tests = "none"
    if origin:
        with suppress(UserError):  # a search does without
            tests = find_shards(folder, "test")[1]
    else:
        part, origin, tests = chosen_of_split(split, len(chosen), options.test_share)
        chosen = chosen[part]
    images = (
        shards.squares(chosen, decoder) if in_memory else EncodedImages(shards.source, shards.rows[chosen], decoder)
    )
    return RawImages(images, shards.labels[chosen], classes, origin, notes, tests)


@dataclass(frozen=True)
class Shards:
    """All images of some files: file, row group and row in it, int64 [n, 3], and label, int64 [n]."""

    source: ShardSource
    rows: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, paths: Sequence[Path]) -> "Shards":
        """Of these files, in their order.

        Raises:
            UserError: a file is damaged, or has no such columns.
        """
        indexed = [_index(path) for path in paths]
        rows = [np.insert(places, 0, number, axis=1) for number, (places, _) in enumerate(indexed)]
        labels = np.concatenate([labels for _, labels in indexed])
        return cls(ShardSource(tuple(paths)), np.concatenate(rows), labels)

    def sample(self) -> list[EncodedImage]:
        """Some images of a few row groups, which stand for all."""
        starts = np.sort(np.unique(self.rows[:, :2], axis=0, return_index=True)[1])
        groups = np.split(self.rows, starts[1:])
        some = [groups[index] for index in evenly_spread(len(groups), SAMPLED_GROUPS)]
        return self.source.read(np.concatenate([group[: SIZES_SAMPLE // len(some)] for group in some]))

    def squares(self, chosen: np.ndarray, decoder: Decoder) -> np.ndarray:
        """The images of these places, which are in order, uint8 [n, 3, size, size], read file by file."""
        images = np.empty((len(chosen), 3, decoder.size, decoder.size), np.uint8)
        counts = np.bincount(self.rows[:, 0])
        for path, start, end in zip(self.source.paths, np.cumsum(counts) - counts, np.cumsum(counts), strict=True):
            wanted = (chosen >= start) & (chosen < end)
            table = _table(path)
            contents = _contents(table[_columns(path, table.schema)[0]].take(pa.array(chosen[wanted] - start)))
            places = [f"{path}, row {row}" for row in chosen[wanted] - start]
            if contents:
                images[wanted] = in_threads(decoder.square, places, contents)
        return images


def _labelled(labels: np.ndarray, options: ImageOptions) -> tuple[np.ndarray, tuple[str, ...]]:
    """The places of images that have a label, and how many are left out."""
    known = labels != UNKNOWN
    count = int((~known).sum())
    if count and not options.drop_unlabelled:
        raise UserError(
            f"{count} of {len(labels)} images have the label -1; if that stands for unknown, leave them out with"
            " --drop-unlabelled (drop_unlabelled=True)"
        )
    return np.flatnonzero(known), (f"{count} unlabelled images left out",) * bool(count)


def _table(path: Path) -> pa.Table:
    with reading(path):
        return pq.read_table(path)


def _index(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Row group and row in it, int64 [n, 2], and label, int64 [n], of every image of a shard."""
    with reading(path), pq.ParquetFile(path) as file:
        _, label = _columns(path, file.schema_arrow)
        labels = _labels(path, file.read([label])[label])
        sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    places = [np.stack([np.full(rows, number), np.arange(rows)], axis=1) for number, rows in enumerate(sizes)]
    return np.concatenate(places), labels


def _class_names(path: Path) -> tuple[str, ...]:
    """The names of the labels that a shard notes, as the hub does or after `classes` with commas; empty if none."""
    with reading(path):
        noted = pq.read_schema(path)
    _, label = _columns(path, noted)
    metadata = noted.metadata or {}
    try:
        return tuple(json.loads(metadata[b"huggingface"])["info"]["features"][label]["names"])
    except (KeyError, TypeError, ValueError):
        return tuple(name.strip() for name in metadata.get(b"classes", b"").decode(errors="replace").split(",") if name)


def _columns(path: Path, schema: pa.Schema) -> tuple[str, str]:
    """The image column and the label column.

    Images are in the column that is called so, or else in the only struct with encoded files or the only binary column.

    Raises:
        UserError: there are no such columns, or several that may be meant.
    """
    label = next((name for name in ("label", "fine_label") if name in schema.names), None)
    holds = [field for field in schema if _holds_images(field.type)]
    structs = [field for field in holds if pa.types.is_struct(field.type)]
    named = [field for field in holds if field.name.lower() in ("image", "img")]
    found = [field.name for field in named or structs or holds]
    if len(found) > 1:
        raise UserError(
            f"{path} has several columns that may hold the images: {', '.join(found)}; call one of them image"
        )
    if not found or label is None:
        raise UserError(f"{path} needs an image column and a column label or fine_label, has {', '.join(schema.names)}")
    return found[0], label


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
