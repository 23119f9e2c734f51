"""What a person at the keyboard meets: flags, tables, and one line and exit code 2 for bad input."""

import io
import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from zcpt_ray import benchmark_tables, benchmarks, cli
from zcpt_ray.cli import main
from zcpt_ray.configs import SearchConfig
from zcpt_ray.records import Progress

SMALL = ("--local", "--space", "toy-chain-1", "--num-proposals", "1", "--num-validations", "1", "--batch-size", "8")


@pytest.fixture(autouse=True)
def empty_data_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    benchmarks._load_once.cache_clear()
    folder = tmp_path / "data"
    monkeypatch.setenv("ZCPT_DATA", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def call(monkeypatch: pytest.MonkeyPatch, *flags: str) -> None:
    monkeypatch.setattr(sys, "argv", ["search", *flags])
    main("A search.", SearchConfig())


def test_a_search_ends_in_a_table_and_files(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    call(monkeypatch, *SMALL, "--out", "run")
    printed = capsys.readouterr().out
    result = json.loads(Path("run/result.json").read_text())
    assert "Candidates, best first" in printed
    assert f"Best: {result['best']['arch']}" in printed
    assert result["benchmark"] is None
    assert result["config"]["space"] == "toy-chain-1"
    tables = {f"{name}{suffix}" for name in ("pareto", "replay") for suffix in (".csv", ".md", ".parquet", ".tex")}
    figures = {f"{name}{suffix}" for name in ("best", "replay") for suffix in (".png", ".svg")}
    records = {"candidates.parquet", "config.json", "proposals", "result.json", "validations"}
    assert {path.name for path in Path("run").iterdir()} == tables | figures | records
    assert list(result["costs"]) == ["scored"]
    assert f"{result['costs']['scored']['params'] / 1e6:.3f}" in printed
    assert "Drawing: run/best.png" in printed
    assert "Also in run/replay.md" in printed
    before = {path: path.stat().st_mtime_ns for path in Path("run").rglob("*") if path.is_file()}
    call(monkeypatch, *SMALL, "--out", "run")
    assert "This search is finished" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in Path("run").rglob("*") if path.is_file()} == before


def test_a_baseline_leaves_a_drawing_and_no_replay(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    call(monkeypatch, *SMALL, "--method", "random", "--out", "run")
    assert "Drawing: run/best.png" in capsys.readouterr().out
    assert Path("run/best.svg").exists()
    assert not list(Path("run").glob("replay.*"))


def test_a_run_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    call(monkeypatch, *SMALL)
    call(monkeypatch, *SMALL, "--seed", "1")
    assert len(list(Path("runs").glob("toy-chain-1-digits-*/result.json"))) == 2


def test_a_folder_of_images(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(20):
        path = Path("photos") / f"class{index % 2}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + index, 30), (index, 100, 200 - index)).save(path)
    call(monkeypatch, *SMALL, "--dataset", "./photos/")
    assert "Candidates, best first" in capsys.readouterr().out
    assert len(list(Path("runs").glob("toy-chain-1-photos-*/result.json"))) == 1
    with pytest.raises(SystemExit):
        call(monkeypatch, *SMALL, "--dataset", "./fotos")
    assert capsys.readouterr().err.startswith("error: unknown dataset './fotos'; choose from digits, ")
    assert len(list(Path("runs").iterdir())) == 1


def test_the_benchmark_entry(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], empty_data_directory: Path
) -> None:
    """Without a table the search says how to get one; with one, the same command adds what the table knows."""
    flags = ("--local", "--smoke", "--num-validations", "1", "--out", "run")
    call(monkeypatch, *flags)
    assert "python -m zcpt_ray.convert_nasbench201 FILE" in capsys.readouterr().out
    arch = json.loads(Path("run/result.json").read_text())["best"]["arch"]
    row = {"arch": arch} | {f"{d}_test": 90.0 for d in benchmark_tables.NASBENCH201_DATASETS}
    row |= {f"{kind}_{d}": 10**6 for kind in ("params", "flops") for d in benchmark_tables.NASBENCH201_DATASETS}
    (empty_data_directory / "tables").mkdir(parents=True)
    pd.DataFrame([row]).to_parquet(empty_data_directory / "tables" / "nasbench201.parquet")
    call(monkeypatch, *flags)
    assert "The best candidate in the benchmark's table" in capsys.readouterr().out
    assert json.loads(Path("run/result.json").read_text())["benchmark"]["cifar100"]["error"] == 10.0


def test_progress_shows_scores_before_a_proposal_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "LINE_SECONDS", -1)
    console = Console(file=io.StringIO(), width=100)
    with cli.watch(console) as report:
        report(Progress(0, 1, 0, 0, 0))
        report(Progress(0, 1, 0, 0, 120))
    assert console.file.getvalue().splitlines() == ["proposals 0/1", "proposals (120 scores) 0/1"]


def test_help_lists_every_field_and_every_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, "--help")
    printed = capsys.readouterr().out
    assert stop.value.code == 0
    for flag in ("--space", "--dataset", "--proxy", "--order", "--num-proposals", "--batch-size", "--seed", "--device", "--smoke"):
        assert flag in printed
    for name in ("toy-chain-8", "cifar100", "nwot-released", "disc-zc", "global-edge-once"):
        assert name in printed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--space", "mars"), "unknown space 'mars'; choose from nasbench201"),
        (("--proxy", "magic"), "unknown proxy 'magic'; choose from nwot, nwot-released"),
        (("--order", "none"), "unknown order 'none'; choose from fixed, random"),
        (("--dataset", "mnist"), "unknown dataset 'mnist'; choose from digits, cifar10, cifar100"),
        (("--dataset", "cifar10"), "no cifar10 data: expected"),
        (("--num-proposals", "0"), "num_proposals must be at least 1, got 0"),
        (("--num-validations", "-3"), "num_validations must be at least 0, got -3"),
        (("--batch-size", "100000"), "batch_size 100000 is more than"),
        (("--device", "tpu"), "unknown device 'tpu'; choose from auto, cpu, cuda"),
        (("--out", "/proc/nothing/here"), "cannot use the run directory"),
    ],
)
def test_bad_input_is_one_line(
    flags: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, *SMALL, *flags)
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.strip()]
    assert stop.value.code == 2
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in printed.err + printed.out


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, *SMALL, "--device", "cuda")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: device 'cuda' was asked for, but torch sees no GPU here; use --device cpu or auto\n"


def test_a_run_directory_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    call(monkeypatch, *SMALL, "--out", "run")
    Path("run/result.json").write_text("{")
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, *SMALL, "--out", "run")
    assert stop.value.code == 2
    assert "result.json is damaged" in capsys.readouterr().err


def test_a_bad_table_is_found_before_the_search(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], empty_data_directory: Path
) -> None:
    (empty_data_directory / "tables").mkdir(parents=True)
    (empty_data_directory / "tables" / "nasbench201.parquet").write_bytes(b"PAR1 truncated")
    with pytest.raises(SystemExit):
        call(monkeypatch, "--local", "--smoke", "--out", "run")
    assert "nasbench201.parquet" in capsys.readouterr().err
    assert not list(Path("run/proposals").iterdir())


def test_a_folder_does_not_hide_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the working directory has folders called as a data set and a space, these are meant."""
    Path("digits").mkdir()
    Path("toy-chain-1").mkdir()
    call(monkeypatch, *SMALL, "--out", "run")
    config = json.loads(Path("run/config.json").read_text())
    assert (config["dataset"], config["space"]) == ("digits", "toy-chain-1")
