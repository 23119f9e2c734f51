"""Converts the official NAS-Bench-101 file, `nasbench_only108.tfrecord` or `nasbench_full.tfrecord`, into a table.

Neither TensorFlow nor compiled protocol buffers are needed: a TFRecord is a length, a checksum, the record, a checksum;
each record here is a list in JSON, whose last item is a `ModelMetrics` message in base64.
"""

import base64
import json
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pandas as pd

from zcpt_ray.benchmarks.convert_nasbench201 import written_table
from zcpt_ray.errors import UserError
from zcpt_ray.spaces.nasbench1shot1.cell_graph import CellGraph
from zcpt_ray.spaces.nasbench101 import encode_cell

EPOCHS = 108
"""Of the trainings that are read; the full file has shorter ones too."""
LONGEST_RECORD = 1 << 20
REPORTED_EVERY = 50_000
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Kinds of fields on the wire of a protocol buffer."""


class Cell108(NamedTuple):
    """A cell, its trainable parameters, and (validation, test) accuracy [%] of each training."""

    graph: CellGraph
    params: int
    accuracies: list[tuple[float, float]]


def convert(source: Path, target: Path, report: Callable[[str], None] = lambda _: None) -> pd.DataFrame:
    """Write the table of an official file to `target`, and return it.

    `arch` names a cell whatever the order of its nodes, `encoded` is how space `nasbench101` writes it. Accuracies in
    percent after 108 epochs: `cifar10_valid` and `cifar10_test` are means over the trainings, `cifar10_test_seed0` and
    so on one each.

    Raises:
        UserError: the file is missing, damaged, or of another format.
    """
    try:
        with source.open("rb") as file:
            cells = _cells(file, report)
    except Exception as error:  # a damaged file can fail in any way
        reason = str(error) if isinstance(error, OSError) else repr(error)
        raise UserError(f"cannot read {source} as a NAS-Bench-101 file: {reason}") from error
    rows: list[dict[str, Any]] = []
    for number, cell in enumerate(cells, start=1):
        valid, test = np.array(cell.accuracies).T
        seeds = {f"cifar10_test_seed{seed}": accuracy for seed, accuracy in enumerate(test)}
        rows.append(
            {
                "arch": cell.graph.canonical(),
                "encoded": encode_cell(cell.graph.pruned()),
                "cifar10_test": test.mean(),
                **seeds,
                "cifar10_valid": valid.mean(),
                "params_cifar10": cell.params,
            }
        )
        if number % REPORTED_EVERY == 0:
            report(f"{number:,} of {len(cells):,} cells written")
    return written_table(rows, target, f"{source} holds no cell that was trained for {EPOCHS} epochs")


def _cells(file: IO[bytes], report: Callable[[str], None]) -> list[Cell108]:
    """The cells of a file, each with all of its trainings."""
    known: dict[str, tuple[CellGraph, int]] = {}
    accuracies: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for number, record in enumerate(_records(file), start=1):
        name, epochs, matrix, ops, metrics = json.loads(record)
        if epochs == EPOCHS:
            params, valid, test = _metrics(base64.b64decode(metrics))
            known[name] = _graph(matrix, ops), params
            accuracies[name].append((valid, test))
        if number % REPORTED_EVERY == 0:
            report(f"{number:,} trainings read")
    return [Cell108(*known[name], accuracies[name]) for name in known]


def _records(file: IO[bytes]) -> Iterator[bytes]:
    """What a TFRecord file holds.

    Raises:
        ValueError: it is cut short, or no such file.
    """
    while head := file.read(12):
        length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else LONGEST_RECORD + 1
        record = file.read(length + 4) if length <= LONGEST_RECORD else b""
        if len(record) != length + 4:
            raise ValueError("it is no TFRecord, or cut short")
        yield record[:-4]


def _graph(matrix: str, ops: str) -> CellGraph:
    """From a matrix as 0s and 1s, row by row, and ops with input and output around them, joined by commas."""
    names = ops.split(",")
    size = len(names)
    if len(matrix) != size * size:
        raise ValueError(f"{matrix!r} is no matrix of {size} nodes")
    rows = [[int(link) for link in matrix[start : start + size]] for start in range(0, size * size, size)]
    return CellGraph.from_matrix(names[1:-1], rows)


def _metrics(message: bytes) -> tuple[int, float, float]:
    """Trainable parameters, and validation and test accuracy [%] of the last of a training's evaluations."""
    fields = list(_fields(message))
    last = dict(_fields(next(value for number, value in reversed(fields) if number == 1)))
    valid, test = (100 * struct.unpack("<d", last[number])[0] for number in (4, 5))
    return next(value for number, value in fields if number == 2), valid, test


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a protocol buffer: a whole number, or bytes."""
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while place < len(message):
        number, kind = divmod(varint(), 8)
        if kind == VARINT:
            yield number, varint()
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(kind) or (varint() if kind == BYTES else len(message))
        if place + size > len(message):
            raise ValueError("a message that is cut short")
        yield number, message[place : place + size]
        place += size
