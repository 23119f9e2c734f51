from pathlib import Path

import numpy as np
import pytest
import torch
from official_nasbench201 import ARCHS, Evil, official_file

from zcpt_ray.benchmarks.convert_nasbench201 import convert
from zcpt_ray.benchmarks.tables import TabularBenchmark, load_benchmark
from zcpt_ray.cli.convert_nasbench201 import main
from zcpt_ray.errors import UserError


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
