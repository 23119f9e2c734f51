"""The jobs that compare searches and study scorings, end to end on something small."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zcpt_ray import benchmarks
from zcpt_ray.cli import NAMES
from zcpt_ray.configs import SMOKE_SPACES
from zcpt_ray.nasbench101 import CellGraph, read_cell
from zcpt_ray.spaces import SPACES
from zcpt_ray.spaces.nasbench201 import OPS
from zcpt_ray.spaces.own import load_space

JOBS = Path(__file__).parent.parent / "jobs"
SMALL = ("--local", "--smoke", "--space", "toy-chain-2", "--out", "out")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    benchmarks._load_once.cache_clear()
    monkeypatch.setenv("ZCPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def call(monkeypatch: pytest.MonkeyPatch, job: str, *flags: str) -> None:
    monkeypatch.setattr(sys, "argv", [job, *flags])
    runpy.run_path(str(JOBS / f"{job}.py"), run_name="__main__")


def test_every_search_by_name_ends_in_one_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    searches = ("zero-cost-pt", "zero-cost-disc", "random", "max-param", "zero-cost-evo", "te-nas", "darts", "darts-pt")
    call(monkeypatch, "baselines", *SMALL, "--searches", *searches, "--proxies", "nwot", "params")
    table = pd.read_parquet("out/table.parquet")
    asked = ["zero-cost-pt", "zero-cost-disc", "zero-cost-evo"]
    assert sorted(table["search"]) == sorted(
        [f"{name} {proxy}" for name in asked for proxy in ("nwot", "params")]
        + ["random", "max-param", "te-nas", "darts", "darts-pt"]
    )
    assert "paper" not in table
    assert "zero-cost-evo params" in capsys.readouterr().out


def test_the_study_writes_tables_and_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    call(monkeypatch, "operation_scoring", *SMALL, "--functions", "zc-pt(nwot)", "disc-acc")
    out = Path("out")
    for name in ("initial-spearman", "progressive-spearman", "toy-chain-spearman", "toy-chain-ops"):
        assert all((out / f"{name}{suffix}").exists() for suffix in (".csv", ".md", ".tex", ".parquet", ".png", ".svg"))
    table = pd.read_parquet(out / "initial-spearman.parquet").set_index("function")
    assert table.loc["best-zc(nwot)", "best-zc(nwot)"] == 1
    assert {"zc-pt(nwot)", "disc-acc"} < set(table.index)
    assert "paper" not in table
    assert "paper" not in pd.read_parquet(out / "initial-picked.parquet")


def test_a_search_of_darts_ends_in_a_drawing_and_a_replay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, "darts_search", "--local", "--smoke", "--space", "darts-s2", "--num-proposals", "1", "--out", "out")
    printed = capsys.readouterr().out
    assert "darts-s2-small on digits" in printed
    assert "trained on ImageNet" in printed
    assert "26 more decisions in out/replay.md" in printed
    assert "sep_conv_3x3" in Path("out/best.svg").read_text()
    table = pd.read_parquet("out/replay.parquet")
    assert len(table) == 2 * (14 + 3)
    assert (table["margin"] >= 0).all()
    assert set(SMOKE_SPACES.values()) <= set(SPACES)


def test_published_scores_stand_beside_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"edge": e, "scorer": f} | {op: i for i, op in enumerate(OPS)}
        for f in ("best-acc", "avg-acc", "disc-zc(nwot)")
        for e in range(6)
    ]
    pd.DataFrame(rows).to_csv("scores.csv", index=False)
    call(monkeypatch, "operation_scoring", "--published", "scores.csv", "--out", "out")
    table = pd.read_parquet("out/initial-spearman.parquet").set_index("function")
    assert table.loc["disc-zc(nwot)", "paper"] == 0.10
    picked = pd.read_parquet("out/initial-picked.parquet").set_index("function")
    assert picked.loc["disc-zc(nwot)", "paper"] == "22.96 (rank 14274)"


def test_an_ablation_ends_in_tables_and_figure_4(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    table = Path("data/tables/nasbench201.parquet")
    flags = ("--local", "--preset", "proposals-validations", "--space", "toy-chain-2", "--batch-size", "8", "--seeds", "0", "1")
    call(monkeypatch, "ablation", *flags, "--proposals", "1", "2", "--validations", "0", "3", "--out", "out")
    rows = pd.read_parquet("out/ablation.parquet")
    assert rows[["N", "V"]].to_numpy().tolist() == [[1, 0], [1, 3], [2, 0], [2, 3]]
    assert (rows["seeds"] == 2).all()
    assert "8 cells of 2 searches (cells that differ in N and V only share one)" in " ".join(capsys.readouterr().out.split())
    assert not table.exists()
    assert not Path("out/proposals-validations.svg").exists()  # there are no errors to draw


def test_an_ablation_whose_cells_fail_says_which(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A space with a benchmark's scoring and no table: every cell fails, with its reason; nothing is left half done."""
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, "ablation", "--local", "--scoring", "best-acc", "--orders", "fixed", "--seeds", "3", "--out", "out")
    assert ended.value.code == 1
    assert "failed: seed 3: scoring 'best-acc' needs the benchmark table of 'nasbench201'" in capsys.readouterr().err


def test_trainings_end_in_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    call(monkeypatch, "search", *SMALL[:-1], "search")
    flags = ("--local", "--smoke", "--searches", "search", "--recipe", "nb201", "--out", "out")
    call(monkeypatch, "train", *flags)
    (row,) = pd.read_parquet("out/trainings.parquet").to_dict("records")
    assert (row["trained"], row["trainings"], row["epochs"], row["space"]) == ("seed 0", 2, "2", "toy-chain-2")
    assert len(pd.read_parquet("out/learning-curves.parquet")) == 2 * 2
    assert all(Path(f"out/{name}.svg").exists() for name in ("learning-curves", "error-and-params"))
    before = {path: path.stat().st_mtime_ns for path in Path("out").glob("trials/*/*")}
    call(monkeypatch, "train", *flags)
    assert {path: path.stat().st_mtime_ns for path in Path("out").glob("trials/*/*")} == before


@pytest.mark.parametrize(
    ("job", "more"),
    [
        ("ablation", "subspaces"),
        ("train", "imagenet-darts"),
        ("baselines", "te-nas"),
        ("operation_scoring", "--num-validations (no part"),
        ("nb201_search", ""),
    ],
)
def test_help_lists_every_name(job: str, more: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, job, "--help")
    assert ended.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    for names in NAMES.values():
        assert all(name in printed for name in names)
    assert more in printed
    assert ("not used here: --seed (seeds are given by --seeds)" in printed) == (job != "nb201_search")


def no_images(*args: object) -> None:
    raise AssertionError("images were read")


@pytest.mark.parametrize(
    ("job", "flags"),
    [
        ("baselines", ("--naswot-draws", "5")),
        ("operation_scoring", ("--parts", "initial", "--functions", "best-acc-released")),
        ("nb201_search", ("--scoring", "best-acc")),
    ],
)
def test_a_missing_table_is_noticed_before_images_are_read(
    job: str, flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("zcpt_ray.datasets.base.Dataset.load", no_images)
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, job, "--local", "--out", "out", *flags)
    assert ended.value.code == 2
    assert "needs the benchmark table of 'nasbench201', which is not there" in capsys.readouterr().err


def test_a_partial_table_says_what_it_knows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A search on 1Shot1 ends in words where the table does not have its cell, and in errors where it has."""
    flags = ("--local", "--smoke", "--num-proposals", "1", "--num-validations", "0", "--out", "out")
    call(monkeypatch, "nb1shot1_search", *flags)
    path = Path("data/tables/nasbench1shot1_space1.parquet")
    assert f"No test errors: there is no {path.absolute()}." in capsys.readouterr().out
    cell = json.loads(Path("out/result.json").read_text())["best"]["arch"]
    path.parent.mkdir(parents=True)
    for arch, ends in ((cell, "knows 1 of 1"), ("maxpool3x3(0)|output(1)", "knows 0 of 1")):
        graph = CellGraph.from_parents(*read_cell(arch)).pruned()
        row = {f"node{node}": op for node, op in enumerate((*graph.ops, *["maxpool3x3"] * 5)[:5], start=1)}
        row |= {f"{kind}{run}": 0.06 for kind in ("val", "test") for run in (1, 2, 3)}
        pd.DataFrame([row | {"matrix": str(graph.matrix())}]).to_parquet(path)
        benchmarks._load_once.cache_clear()
        call(monkeypatch, "nb1shot1_search", *flags)
        printed = capsys.readouterr().out
        assert ends in printed
        assert ("6.00" in printed) == (arch == cell)
    assert f"not in the partial table {path.absolute()}" in printed


@pytest.mark.parametrize(
    ("job", "flags", "message"),
    [
        ("baselines", ("--searches", "nonsense"), "unknown search 'nonsense'; choose from zero-cost-pt, "),
        ("baselines", ("--proxies", "nonsense"), "unknown proxy 'nonsense'; choose from nwot, "),
        ("baselines", ("--seeds",), "--seeds needs at least one"),
        ("baselines", ("--naswot-draws", "5", "--searches", "random"), "needs a benchmark, and there is none of 'toy-chain-2'"),
        ("ablation", ("--preset", "nonsense"), "unknown preset 'nonsense'; choose from proxies, "),
        ("ablation", ("--proxies", "nwot", "nonsense"), "unknown proxy 'nonsense'; choose from nwot, "),
        ("ablation", ("--seed", "3"), "--seed 3 is not used here: seeds are given by --seeds"),
        ("ablation", ("--proposals", "0"), "num_proposals must be at least 1, got 0"),
        ("train", ("--recipe", "nonsense"), "unknown recipe 'nonsense'; choose from cifar, "),
        ("train", ("--arch", "nonsense"), "not a toy-chain-2 architecture: 'nonsense'"),
        ("train", ("--searches", "nowhere"), "no result.json in or below nowhere; give folders of finished searches"),
        ("train", ("--workers", "2"), "--workers 2 needs Ray"),
        ("train", ("--channels", "16"), "has networks of one size: leave out --channels and --num-cells"),
        ("operation_scoring", ("--functions", "nonsense"), "unknown scoring function 'nonsense'"),
        ("operation_scoring", ("--parts",), "--parts needs at least one"),
        ("operation_scoring", ("--published", "none.csv"), "cannot read none.csv"),
        ("operation_scoring", ("--seed", "3"), "--seed 3 is not used here: seeds are given by --seeds"),
        ("operation_scoring", ("--longest-chain", "0"), "error: --longest-chain must be at least 1, got 0\n"),
        ("operation_scoring", ("--num-validations", "7"), "--num-validations 7 is not used here: no part validates"),
        ("baselines", ("--seed", "3"), "--seed 3 is not used here: seeds are given by --seeds"),
        ("baselines", ("--proxy", "snip"), "--proxy snip is not used here: proxies are given by --proxies"),
        ("baselines", ("--scoring", "darts"), "--scoring darts is not used here: --searches fixes it"),
    ],
)
def test_bad_input_is_one_line(
    job: str, flags: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, job, *SMALL, *flags)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_ones_own_space_and_images_with_a_budget(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The example of the documentation on a folder of images: every candidate keeps within the budget."""
    random = np.random.default_rng(0)
    for label in ("cats", "dogs"):
        (Path("photos") / label).mkdir(parents=True)
        for index in range(12):
            pixels = random.integers(0, 256, (40, 48, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(Path("photos") / label / f"{index}.png")
    own = str(JOBS.parent / "docs" / "own_space.py")
    call(monkeypatch, "search", "--space", own, "--dataset", "photos", "--smoke", "--local", "--max-params", "0.03", "--out", "out")
    result = json.loads(Path("out/result.json").read_text())
    assert result["config"]["dataset"] == str(Path("photos").absolute())
    assert result["candidates"]
    assert all(candidate["params"] <= 30_000 for candidate in result["candidates"])
    assert all(set(candidate["arch"].split(",")) <= {"skip_connect", "bottleneck"} for candidate in result["candidates"])
    changed = Path("space.py")
    changed.write_text(Path(own).read_text())
    flags = ("--space", str(changed), "--dataset", "photos", "--smoke", "--local", "--out", "changed")
    call(monkeypatch, "search", *flags)
    changed.write_text(changed.read_text() + "# changed\n")
    load_space.cache_clear()
    with pytest.raises(SystemExit):
        call(monkeypatch, "search", *flags)
    assert "space.py has changed since the run in changed was begun" in capsys.readouterr().err
