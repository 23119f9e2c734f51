"""What a person at the keyboard meets: flags, tables, and one line and exit code 2 for bad input."""

import io
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from command_line import Zcpt, cells, hints
from image_files import write_image
from rich.console import Console

from zcpt_ray.benchmarks import formats
from zcpt_ray.cli import search
from zcpt_ray.reports import progress
from zcpt_ray.search.records import Progress

SMALL = ("--local", "--space", "toy-chain-1", "--num-proposals", "1", "--num-validations", "1", "--batch-size", "8")


def test_a_search_ends_in_a_table_and_files(zcpt: Zcpt) -> None:
    ended = zcpt("search", *SMALL, "--out", "run")
    assert (ended.code, ended.err) == (0, "")
    result = json.loads(Path("run/result.json").read_text())
    lines = ended.out.splitlines()
    assert lines[:3] == [
        "Search toy-chain-1 on digits by zc-pt with nwot-released, random order, N = 1, V = 1, batch 8, seed 0",
        "Run directory: run",
        "Candidates, best first",
    ]
    assert f"Best: {result['best']['arch']}" in lines
    assert result["benchmark"] is None
    assert result["config"]["space"] == "toy-chain-1"
    tables = {f"{name}{suffix}" for name in ("pareto", "replay") for suffix in (".csv", ".md", ".parquet", ".tex")}
    figures = {f"{name}{suffix}" for name in ("best", "replay") for suffix in (".png", ".svg")}
    records = {"candidates.parquet", "config.json", "data.json", "proposals", "result.json", "steps", "validations"}
    assert {path.name for path in Path("run").iterdir()} == tables | figures | records
    assert list(result["costs"]) == ["scored"]
    assert cells(ended.out, "params [M]") == [f"{result['costs']['scored']['params'] / 1e6:.3f}"]
    assert "Drawing: run/best.png (and .svg)" in lines
    assert "Also in run/replay.md (.csv, .tex, .parquet); figure: replay.png (and .svg)" in lines
    assert hints(ended.out) == ["zcpt train --searches run --dataset digits", "zcpt report run"]
    before = {path: path.stat().st_mtime_ns for path in Path("run").rglob("*") if path.is_file()}
    again = zcpt("search", *SMALL, "--out", "run").out.splitlines()
    assert again[1] == "This search is finished; its result is in run. Delete that folder to run it again."
    assert again[2:] == lines[2:]
    assert {path: path.stat().st_mtime_ns for path in Path("run").rglob("*") if path.is_file()} == before


def test_a_disk_with_little_room_is_refused_before_any_work(zcpt: Zcpt, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5 << 20))
        ended = zcpt("search", *SMALL, "--out", "run")
    assert (ended.code, ended.err) == (2, "error: run has 5 MiB free, 64 MiB are needed at least; give another --out\n")
    assert not list(Path("run").glob("*/*"))
    assert zcpt("search", *SMALL, "--out", "run").code == 0


def test_a_disk_that_fails_is_one_line(zcpt: Zcpt, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is noticed; the same command goes on."""

    def fails(*args: object) -> None:
        raise OSError(5, "Input/output error", "/there")

    with monkeypatch.context() as broken:
        broken.setattr("zcpt_ray.search.run_store.RunStore.write", fails)
        ended = zcpt("search", *SMALL, "--out", "run")
    assert ended.code == 2
    assert (
        ended.err.splitlines()[-1] == "error: [Errno 5] Input/output error: '/there'; what was finished before is kept"
    )
    assert zcpt("search", *SMALL, "--out", "run").code == 0


def test_a_baseline_leaves_a_drawing_and_no_replay(zcpt: Zcpt) -> None:
    ended = zcpt("search", *SMALL, "--method", "random", "--out", "run")
    assert ended.out.startswith("Search toy-chain-1 on digits by method random, N = 1, V = 1, batch 8, seed 0\n")
    assert "Drawing: run/best.png" in ended.out
    assert Path("run/best.svg").exists()
    assert not list(Path("run").glob("replay.*"))


def test_a_run_names_itself(zcpt: Zcpt) -> None:
    for seed in ("0", "1"):
        directory = zcpt("search", *SMALL, "--seed", seed).out.splitlines()[1].removeprefix("Run directory: ")
        assert directory.startswith("runs/toy-chain-1-digits-")
        assert Path(directory, "result.json").exists()
    assert len(list(Path("runs").iterdir())) == 2


def test_a_folder_of_images(zcpt: Zcpt) -> None:
    for index in range(20):
        colour = np.array([index, 100, 200 - index], np.uint8)[:, None, None]
        write_image(Path(f"photos/class{index % 2}/{index}.png"), np.broadcast_to(colour, (3, 30, 20 + index)))
    ended = zcpt("search", *SMALL, "--dataset", "./photos/")
    assert ended.out.startswith("Search toy-chain-1 on ./photos/ by ")
    assert "Candidates, best first" in ended.out
    (result,) = Path("runs").glob("toy-chain-1-photos-*/result.json")
    photos = Path("photos").absolute()
    assert hints(ended.out)[0] == f"zcpt train --searches {result.parent} --dataset {photos}"
    wrong = zcpt("search", *SMALL, "--dataset", "./fotos")
    assert wrong.code == 2
    assert wrong.err.startswith("error: unknown dataset './fotos'; choose from digits, ")
    assert len(list(Path("runs").iterdir())) == 1


def test_the_benchmark_entry(zcpt: Zcpt, empty_data_directory: Path) -> None:
    """Without a table the search says how to get one; with one, the same command adds what the table knows."""
    flags = ("search", "--local", "--smoke", "--num-proposals", "1", "--num-validations", "1", "--out", "run")
    ended = zcpt(*flags)
    assert f"No test errors: there is no {empty_data_directory}/tables/nasbench201.parquet. Get " in ended.out
    assert "zcpt convert-nasbench201 FILE" in ended.out
    arch = json.loads(Path("run/result.json").read_text())["best"]["arch"]
    row = {"arch": arch} | {f"{d}_test": 90.0 for d in formats.NASBENCH201_DATASETS}
    row |= {f"{kind}_{d}": 10**6 for kind in ("params", "flops") for d in formats.NASBENCH201_DATASETS}
    (empty_data_directory / "tables").mkdir(parents=True)
    pd.DataFrame([row]).to_parquet(empty_data_directory / "tables" / "nasbench201.parquet")
    again = zcpt(*flags)
    assert "The best candidate in the benchmark's table" in again.out
    assert "No test errors" not in again.out
    assert json.loads(Path("run/result.json").read_text())["benchmark"]["cifar100"]["error"] == 10.0


def test_progress_shows_scores_before_a_proposal_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", -1)
    console = Console(file=io.StringIO(), width=100)
    with progress.watch_search(console) as report:
        report(Progress(0, 1, 0, 0, 0))
        report(Progress(0, 1, 0, 0, 120))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == ["proposals 0/1", "proposals (120 scores) 0/1"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--space", "mars"), "unknown space 'mars'; choose from nasbench201"),
        (("--proxy", "magic"), "unknown proxy 'magic'; choose from nwot, nwot-released"),
        (("--order", "none"), "unknown order 'none'; choose from fixed, random"),
        (("--scoring", "none"), "unknown scoring 'none'; choose from zc-pt, disc-zc"),
        (("--method", "none"), "unknown method 'none'; choose from discretize, random"),
        (("--dataset", "mnist"), "unknown dataset 'mnist'; choose from digits, cifar10, cifar100"),
        (("--dataset", "cifar10"), "no cifar10 data: expected"),
        (("--num-proposals", "0"), "num_proposals must be at least 1, got 0"),
        (("--num-validations", "-3"), "num_validations must be at least 0, got -3"),
        (("--batch-size", "100000"), "batch_size 100000 is more than"),
        (("--device", "tpu"), "unknown device 'tpu'; choose from auto, cpu, cuda, xpu, mps"),
        (("--out", "/proc/nothing/here"), "cannot use the run directory"),
        (("--address", "auto"), "--local runs in this process: leave out --address"),
        (("--method", "random", "--max-params", "0"), "max_params must be a number of millions above 0, got 0"),
        (("--plugin", "nowhere.py"), "no plug-in file "),
    ],
)
def test_bad_input_is_one_line(flags: tuple[str, ...], message: str, zcpt: Zcpt) -> None:
    ended = zcpt("search", *SMALL, *flags)
    lines = [line for line in ended.err.splitlines() if line.strip()]
    assert ended.code == 2
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert "Traceback" not in ended.err + ended.out


@pytest.mark.parametrize("command", ["search", "baselines", "rank", "study"])
def test_missing_data_are_noticed_before_ray_starts(command: str, zcpt: Zcpt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zcpt_ray.distributed.cluster.connect", lambda *_: pytest.fail("Ray was started"))
    ended = zcpt(command, "--dataset", "cifar10")
    assert ended.code == 2
    assert "error: no cifar10 data: expected" in ended.err


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch, zcpt: Zcpt) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    ended = zcpt("search", *SMALL, "--device", "cuda")
    assert ended.code == 2
    assert ended.err == "error: device 'cuda' was asked for, but torch sees no GPU here; use --device cpu or auto\n"


def test_a_run_directory_that_cannot_be_read(zcpt: Zcpt) -> None:
    zcpt("search", *SMALL, "--out", "run")
    Path("run/result.json").write_text("{")
    ended = zcpt("search", *SMALL, "--out", "run")
    assert ended.code == 2
    assert "result.json is damaged" in ended.err


def test_another_search_is_refused_the_directory(zcpt: Zcpt) -> None:
    zcpt("search", *SMALL, "--out", "run")
    ended = zcpt("search", *SMALL, "--seed", "4", "--out", "run")
    assert (ended.code, ended.err) == (
        2,
        "error: run holds a run with another configuration (seed 0); choose another --out\n",
    )


def test_a_bad_table_is_found_before_the_search(zcpt: Zcpt, empty_data_directory: Path) -> None:
    (empty_data_directory / "tables").mkdir(parents=True)
    (empty_data_directory / "tables" / "nasbench201.parquet").write_bytes(b"PAR1 truncated")
    ended = zcpt("search", "--local", "--smoke", "--out", "run")
    assert ended.code == 2
    assert "nasbench201.parquet" in ended.err
    assert not Path("run/proposals").exists()


def test_a_folder_does_not_hide_a_name(zcpt: Zcpt) -> None:
    """Where the working directory has folders called as a data set and a space, these are meant."""
    Path("digits").mkdir()
    Path("toy-chain-1").mkdir()
    zcpt("search", *SMALL, "--out", "run")
    config = json.loads(Path("run/config.json").read_text())
    assert (config["dataset"], config["space"]) == ("digits", "toy-chain-1")


def test_the_defaults_of_a_job_hold_until_a_flag_says_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--local", "--num-proposals", "1", "--num-validations", "0")
    search.main(flags, "A search.", space="toy-chain-1", batch_size=8)
    search.main((*flags, "--space", "toy-chain-2"), "A search.", space="toy-chain-1", batch_size=8)
    first = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Search ")]
    how = "on digits by zc-pt with nwot-released, random order, N = 1, V = 0, batch 8, seed 0"
    assert first == [f"Search toy-chain-1 {how}", f"Search toy-chain-2 {how}"]


def test_sigterm_ends_tidily(tmp_path: Path) -> None:
    """As ctrl-C does, in one line, with an exit code of its own; what was finished is kept."""
    flags = (
        "--local",
        "--space",
        "toy-chain-1",
        "--num-proposals",
        "100000",
        "--batch-size",
        "8",
        "--out",
        str(tmp_path),
    )
    command = [sys.executable, "-m", "zcpt_ray", "search", *flags]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while not any(tmp_path.glob("proposals/*.jsonl")):
        assert run.poll() is None
        time.sleep(0.05)
    run.terminate()
    _, said = run.communicate()
    assert (said.splitlines()[-1], run.returncode) == ("stopped by SIGTERM", 143)
    assert not (tmp_path / "owners").exists()


@pytest.mark.parametrize("command", [("search", "--local"), ("ablation",)])
def test_finalists_are_stopped_early_only_where_they_train_beside_each_other(
    command: tuple[str, ...], zcpt: Zcpt
) -> None:
    ended = zcpt(*command, "--finalists", "3", "--finalist-early-stopping", "--out", "run")
    assert ended.code == 2
    assert "early" in ended.err
    assert not Path("run").exists()
