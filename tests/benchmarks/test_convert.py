"""Official files of NAS-Bench-101 and NATS-Bench's size space, small ones in their formats, become tables."""

import base64
import bz2
import json
import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from official_nasbench201 import SETS, Evil, results

from zcpt_ray.benchmarks import convert_nasbench101, convert_nats_size
from zcpt_ray.benchmarks.tables import has_partial_table, load_benchmark
from zcpt_ray.cli.convert import main
from zcpt_ray.errors import UserError
from zcpt_ray.spaces import SPACES

CONV3, CONV1, POOL = "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3"
CELLS = [
    ("0110000011000010000000000", f"input,{CONV3},{POOL},{CONV1},output"),  # node 3 leads nowhere
    ("011001000", f"input,{CONV1},output"),
]


def varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def message(params: int, *accuracies: float) -> str:
    """As the benchmark has it: an evaluation before, in the middle of and after training."""
    parts = b""
    for accuracy in accuracies:
        numbers = [(1, 54.0), (2, 1000.5), (3, 1.0), (4, accuracy), (5, accuracy - 0.01)]
        inner = b"".join(varint(8 * number + 1) + struct.pack("<d", value) for number, value in numbers)
        path = b"model.ckpt"
        inner += varint(8 * 6 + 2) + varint(len(path)) + path
        parts += varint(8 * 1 + 2) + varint(len(inner)) + inner
    return base64.b64encode(
        parts + varint(8 * 2) + varint(params) + varint(8 * 3 + 1) + struct.pack("<d", 5.0)
    ).decode()


def official_101(path: Path) -> Path:
    rows = [(f"{number:032x}", 108, *cell) for number, cell in enumerate(CELLS) for _ in range(3)]
    rows.append(("0" * 32, 4, *CELLS[0]))
    content = b""
    for number, row in enumerate(rows):
        record = json.dumps([*row, message(300 + number // 3, 0.1, 0.5, 0.9 + number / 100)]).encode()
        content += struct.pack("<Q", len(record)) + b"crc1" + record + b"crc2"
    path.write_bytes(content)
    return path


def test_nasbench101(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    assert load_benchmark("nasbench101") is None
    main([str(official_101(tmp_path / "nb.tfrecord")), "--space", "nasbench101"])
    assert capsys.readouterr().out == f"2 architectures -> {tmp_path}/tables/nasbench101.parquet\n"
    benchmark = load_benchmark("nasbench101")
    assert benchmark is not None
    assert not has_partial_table("nasbench101")
    assert list(benchmark.table["encoded"]) == [f"{CONV3}(0)|{POOL}(0)|output(1,2)", f"{CONV1}(0)|output(0,1)"]
    for text in benchmark.table["encoded"]:
        assert SPACES["nasbench101"].encode(SPACES["nasbench101"].decode(text)) == text
    row = benchmark.table.iloc[0]
    assert row["cifar10_valid"] == pytest.approx(91)
    assert row["cifar10_test"] == pytest.approx(90)
    assert list(row[["cifar10_test_seed0", "cifar10_test_seed1", "cifar10_test_seed2"]]) == pytest.approx([89, 90, 91])
    assert row["params_cifar10"] == 300
    other_order = f"{POOL}(0)|{CONV3}(0)|output(1,2)"
    assert benchmark.query(other_order)["cifar10"].error == pytest.approx(10)
    oneshot = load_benchmark("nasbench1shot1-1")
    assert oneshot is not None
    assert oneshot.query(other_order)["cifar10"].error == pytest.approx(10)
    assert "cifar10" not in oneshot.query(f"{CONV3}(0)|output(1)")


@pytest.mark.parametrize("size", [5, 100, 400])
def test_a_file_of_nasbench101_that_is_cut_short(size: int, tmp_path: Path) -> None:
    path = official_101(tmp_path / "nb.tfrecord")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match=r"cannot read .*nb\.tfrecord as a NAS-Bench-101 file: .*cut short"):
        convert_nasbench101.convert(path, tmp_path / "out.parquet")


def test_a_file_of_nasbench101_without_long_trainings(tmp_path: Path) -> None:
    path = tmp_path / "nb.tfrecord"
    path.write_bytes(b"")
    with pytest.raises(UserError, match="holds no cell that was trained for 108 epochs"):
        convert_nasbench101.convert(path, tmp_path / "out.parquet")


WIDTHS = ["8:8:8:8:8", "8:16:24:32:64"]


def official_sizes(path: Path, evil: object = None) -> Path:
    """A file, or a folder with a file per network."""
    seeds = {dataset: [777] for dataset in SETS}
    infos = OrderedDict(
        (
            index,
            OrderedDict(
                (epochs, {**results(index, seeds, 2, base + index), "arch_str": WIDTHS[index], "more": evil})
                for epochs, base in (("01", 20), ("12", 50), ("90", 80))
            ),
        )
        for index in range(2)
    )
    meta = {"meta_archs": WIDTHS, "evaluated_indexes": {0, 1}}
    if path.suffix:
        path.write_bytes(bz2.compress(pickle.dumps({**meta, "arch2infos": infos}, protocol=4)))
        return path
    path.mkdir()
    (path / "meta.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(meta, protocol=4)))
    for index, info in infos.items():
        (path / f"{index:06d}.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(info, protocol=4)))
    return path


@pytest.mark.parametrize("name", ["NATS-sss.pickle.pbz2", "NATS-sss-simple"])
def test_nats_size(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    main([str(official_sizes(tmp_path / name)), "--space", "nats-size"])
    benchmark = load_benchmark("nats-size")
    assert benchmark is not None
    assert list(benchmark.table.index) == WIDTHS
    row = benchmark.table.loc[WIDTHS[1]]
    assert row["index"] == 1
    assert row["cifar100_test"] == pytest.approx(82.777)
    assert row["cifar10_valid_e12"] == pytest.approx(51.777)
    assert benchmark.query(WIDTHS[0])["cifar10"].rank == 2


def test_a_file_of_sizes_cannot_run_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = official_sizes(tmp_path / "evil.pickle.pbz2", Evil())
    with pytest.raises(UserError, match=r"cannot read .*evil.*builtins.print is not allowed in a data file"):
        convert_nats_size.convert(path, tmp_path / "out.parquet")
    assert "executed" not in capsys.readouterr().out
    path.write_bytes(bz2.compress(pickle.dumps({"meta_archs": [], "arch2infos": {}})))
    with pytest.raises(UserError, match="holds no architecture"):
        convert_nats_size.convert(path, tmp_path / "out.parquet")
    path.write_bytes(np.arange(9).tobytes())
    with pytest.raises(UserError, match=r"cannot read .*evil"):
        convert_nats_size.convert(path, tmp_path / "out.parquet")
