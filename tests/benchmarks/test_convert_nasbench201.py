from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from zcpt_ray.benchmarks.convert_nasbench201 import convert
from zcpt_ray.benchmarks.tables import TabularBenchmark, load_benchmark
from zcpt_ray.cli.convert_nasbench201 import main
from zcpt_ray.errors import UserError

ARCHS = ["|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|"]
SETS = {
    "cifar10-valid": ["x-valid", "ori-test"],
    "cifar10": ["ori-test"],
    "cifar100": ["x-valid", "x-test", "ori-test"],
    "ImageNet16-120": ["x-valid", "x-test", "ori-test"],
}


def trial(dataset: str, seed: int, epochs: int, accuracy: float) -> dict[str, object]:
    """One training run as nas-bench-201's ResultsCount stores it; what counts is the accuracy of the last epoch."""
    names = SETS[dataset]
    curve = {
        f"{name}@{i}": accuracy + index - (epochs - 1 - i) for index, name in enumerate(names) for i in range(epochs)
    }
    return {
        "name": "infer.tiny",
        "net_state_dict": None,
        "train_acc1es": OrderedDict((i, 50.0) for i in range(epochs)),
        "train_acc5es": None,
        "train_losses": OrderedDict((i, 1.0) for i in range(epochs)),
        "train_times": OrderedDict((i, np.float64(2.0)) for i in range(epochs)),
        "arch_config": {"channel": 16, "num_cells": 5, "arch_str": ARCHS[0], "class_num": 10},
        "params": 0.073306,
        "flop": np.float64(7.78305),
        "seed": seed,
        "epochs": epochs,
        "latency": [0.01],
        "eval_names": names,
        "eval_acc1es": curve,
        "eval_times": dict.fromkeys(curve, 0.1),
        "eval_losses": dict.fromkeys(curve, 1.0),
    }


def results(index: int, seeds: dict[str, list[int]], epochs: int, base: float) -> dict[str, object]:
    return {
        "arch_index": index,
        "arch_str": ARCHS[index],
        "all_results": {(d, s): trial(d, s, epochs, base + s / 1000) for d, known in seeds.items() for s in known},
        "dataset_seed": seeds,
        "clear_net_done": True,
    }


def official_file(path: Path, zipped: bool) -> Path:
    seeds = [
        {dataset: [777, 888, 999] for dataset in SETS},
        {"cifar10-valid": [777], "cifar10": [777, 999], "cifar100": [777], "ImageNet16-120": [777]},
    ]
    content = {
        "meta_archs": ARCHS,
        "arch2infos": {
            index: {
                "full": results(index, seeds[index], 4, 80 + index),
                "less": results(index, {dataset: [777] for dataset in SETS}, 2, 60),
            }
            for index in range(2)
        },
        "evaluated_indexes": {0, 1},
    }
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    if not zipped:  # written by numpy 1, which called the module of its scalars otherwise
        written = path.read_bytes()
        assert b"cnumpy._core.multiarray\nscalar\n" in written
        path.write_bytes(written.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    return path


@pytest.mark.parametrize("zipped", [False, True], ids=["as in 2020", "as today"])
def test_the_official_format_becomes_a_table(zipped: bool, tmp_path: Path) -> None:
    table = convert(official_file(tmp_path / "nb.pth", zipped), tmp_path / "tables" / "nb.parquet")
    assert dict(zip(table["arch"], table["index"], strict=True)) == {ARCHS[0]: 0, ARCHS[1]: 1}
    row = table.set_index("arch").loc[ARCHS[1]]
    assert row["cifar10_test_seed0"] == pytest.approx(81.777)
    assert np.isnan(row["cifar10_test_seed1"])
    assert row["cifar10_test_seed2"] == pytest.approx(81.999)
    assert row["cifar10_test"] == pytest.approx((81.777 + 81.999) / 2)
    assert row["cifar100_valid"] == pytest.approx(81.777)
    assert row["cifar100_test"] == pytest.approx(82.777)  # x-test comes second in SETS
    assert row["imagenet16_120_test_seed0"] == pytest.approx(82.777)
    assert row["cifar10_test_e12"] == pytest.approx(60.777)
    assert (row["params_cifar10"], row["flops_cifar10"]) == (73_306, 7_783_050)
    found = TabularBenchmark.load(tmp_path / "tables" / "nb.parquet").query(ARCHS[0])
    assert found["cifar10"].error_per_seed == pytest.approx((19.223, 19.112, 19.001))
    assert found.rank("cifar100") == 2


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def test_a_file_cannot_run_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"meta_archs": Evil(), "arch2infos": {}}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match=r"cannot read .*evil\.pth"):
        convert(tmp_path / "evil.pth", tmp_path / "out.parquet")
    assert "executed" not in capsys.readouterr().out


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        convert(tmp_path / "missing.pth", tmp_path / "out.parquet")
    torch.save({"something": 1}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"meta_archs|arch2infos"):
        convert(tmp_path / "other.pth", tmp_path / "out.parquet")
    for content in ({"meta_archs": [], "arch2infos": {0: {}}}, {"meta_archs": ARCHS, "arch2infos": {0: {"less": {}}}}):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(UserError, match=r"cannot read .*other\.pth"):
            convert(tmp_path / "other.pth", tmp_path / "out.parquet")
    torch.save({"meta_archs": [], "arch2infos": {}}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="holds no architecture"):
        convert(tmp_path / "other.pth", tmp_path / "out.parquet")
    path = official_file(tmp_path / "nb.pth", zipped=True)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"cannot read .*nb\.pth"):
        convert(path, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_the_command_writes_the_table_where_searches_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path / "data"))
    main([str(official_file(tmp_path / "nb.pth", zipped=True))])
    assert capsys.readouterr().out == f"2 architectures -> {tmp_path}/data/tables/nasbench201.parquet\n"
    benchmark = load_benchmark("nasbench201")
    assert benchmark is not None
    assert list(benchmark.table.index) == ARCHS
    main([str(tmp_path / "nb.pth"), "--out", str(tmp_path / "other.parquet")])
    assert (tmp_path / "other.parquet").exists()
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "missing.pth")])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: cannot read {tmp_path}/missing.pth as a NAS-Bench-201 file: ")
