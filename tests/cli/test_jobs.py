"""The jobs, each with `--smoke`, and the commands behind them, end to end on something small."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from command_line import Zcpt, cells, hints, table_lines, understood
from image_files import write_image

from zcpt_ray.cli.speed import TimedPart
from zcpt_ray.proxies import PROXIES
from zcpt_ray.spaces import SPACES
from zcpt_ray.spaces.nasbench1shot1.cell_graph import CellGraph, read_cell
from zcpt_ray.spaces.nasbench201 import NASBENCH201_OPS

JOBS = Path(__file__).parents[2] / "jobs"
SMALL = ("--local", "--smoke", "--space", "toy-chain-2", "--out", "out")
FEW = ("--local", "--smoke", "--num-proposals", "1", "--num-validations", "1", "--out", "out")
SMOKE: dict[str, tuple[tuple[str, ...], str]] = {
    "ablation": (SMALL, "Ablation orders -> out"),
    "baselines": (SMALL, "Compare zero-cost-pt, zero-cost-disc, random, max-param in toy-chain-2 on digits"),
    "mobilenet_search": (FEW, "Search mobilenet on digits by zc-pt with nwot-released, random order, N = 1, V = 1, "),
    "nb201_search": (FEW, "Search nasbench201 on digits by zc-pt with nwot-released, random order, N = 1, V = 1, "),
    "nbmacro_search": (
        FEW,
        "Search nasbench-macro on digits by zc-pt with nwot-released, random order, N = 1, V = 1, ",
    ),
    "rank_architectures": (SMALL, "Rank architectures of toy-chain-2 on digits by nwot-released"),
    "search": (SMALL, "Search toy-chain-2 on digits by zc-pt with nwot-released, random order, N = 10, V = 100, "),
    "train": (SMALL, "Train on cifar10 by recipe cifar -> out"),
}
"""By job its flags beside what it searches by default, and how its first line begins."""
OF_THEIR_OWN = ("darts_search", "nb1shot1_search", "operation_scoring", "report", "speed")
"""Jobs that tests further down run."""

Job = Callable[..., str]


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch, narrow_zcpt: Zcpt, capsys: pytest.CaptureFixture[str]) -> Job:
    """Runs a job with flags, on a terminal of 80 columns, and gives what it printed."""

    def run(name: str, *flags: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *flags])
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        runpy.run_path(str(JOBS / f"{name}.py"), run_name="__main__")
        printed = capsys.readouterr()
        assert printed.err == ""
        assert max(map(len, table_lines(printed.out))) <= 80
        return printed.out

    return run


def test_every_job_is_run() -> None:
    assert sorted((*SMOKE, *OF_THEIR_OWN)) == sorted(path.stem for path in JOBS.glob("*.py"))


@pytest.mark.parametrize("name", SMOKE)
def test_a_smoke_run(name: str, job: Job) -> None:
    flags, first_line = SMOKE[name]
    lines = job(name, *flags).splitlines()
    assert " ".join(" ".join(lines).split()).startswith(first_line)
    following = [line.removeprefix("Next: ") for line in lines[-2:] if line.startswith("Next: ")]
    assert lines[-1].startswith("Next: zcpt ")
    for command in following:
        understood(command)
    assert any(Path("out").iterdir())


def test_a_search_of_darts_ends_in_a_drawing_and_a_replay(job: Job) -> None:
    flags = ("--local", "--smoke", "--space", "darts-s2", "--num-proposals", "1", "--out", "out")
    printed = job("darts_search", *flags)
    assert printed.startswith("Search darts-s2 on digits by zc-pt with nwot-released, random order, N = 1, V = ")
    assert "trained on ImageNet" in printed
    assert "26 more decisions in out/replay.md" in printed
    assert "sep_conv_3x3" in Path("out/best.svg").read_text()
    assert json.loads(Path("out/result.json").read_text())["config"]["space"] == "darts-s2-small"
    table = pd.read_parquet("out/replay.parquet")
    assert len(table) == 2 * (14 + 3)
    assert (table["margin"] >= 0).all()


def test_a_smoke_run_reports_a_search(job: Job) -> None:
    printed = job("report", "--smoke", "--out", "page.html")
    assert printed.startswith("Search nasbench201 on digits by ")
    assert printed.endswith("\nReport: page.html\n")
    page = Path("page.html").read_text()
    assert "nasbench201 on digits" in page
    assert page.count("data:image/svg+xml") == 3  # the best architecture, the candidates, the replay


def test_smoke_runs_search_spaces_that_are_there() -> None:
    assert {space.smoke_name for space in SPACES.values()} <= set(SPACES)


def test_a_partial_table_says_what_it_knows(job: Job, empty_data_directory: Path) -> None:
    """A search on 1Shot1 ends in words where the table does not have its cell, and in errors where it has."""
    flags = ("--local", "--smoke", "--num-proposals", "1", "--num-validations", "0", "--out", "out")
    printed = job("nb1shot1_search", *flags)
    assert printed.startswith("Search nasbench1shot1-1 on digits by ")
    path = empty_data_directory / "tables/nasbench1shot1_space1.parquet"
    assert f"No test errors: there is no {path}." in printed
    cell = json.loads(Path("out/result.json").read_text())["best"]["arch"]
    path.parent.mkdir(parents=True)
    for arch, ends in ((cell, "knows 1 of 1"), ("maxpool3x3(0)|output(1)", "knows 0 of 1")):
        graph = CellGraph.from_parents(*read_cell(arch)).pruned()
        row = {f"node{node}": op for node, op in enumerate((*graph.ops, *["maxpool3x3"] * 5)[:5], start=1)}
        row |= {f"{kind}{run}": 0.06 for kind in ("val", "test") for run in (1, 2, 3)}
        pd.DataFrame([row | {"matrix": str(graph.matrix())}]).to_parquet(path)
        printed = job("nb1shot1_search", *flags)
        assert ends in printed
        assert ("6.00" in printed) == (arch == cell)
    assert f"not in the partial table {path}" in printed


def test_the_study_writes_tables_and_figures(job: Job) -> None:
    printed = job("operation_scoring", *SMALL, "--functions", "zc-pt(nwot)", "disc-acc")
    assert printed.startswith("Study of zc-pt(nwot), disc-acc -> out\n")
    assert "No accuracies of toy-chain-3 on digits: the oracle is best-zc(nwot) instead.\n" in printed
    assert hints(printed) == ["zcpt search --space toy-chain-3 --scoring zc-pt --proxy nwot"]
    out = Path("out")
    for name in ("initial-spearman", "progressive-spearman", "toy-chain-spearman", "toy-chain-ops"):
        assert all((out / f"{name}{suffix}").exists() for suffix in (".csv", ".md", ".tex", ".parquet", ".png", ".svg"))
    table = pd.read_parquet(out / "initial-spearman.parquet").set_index("function")
    assert table.loc["best-zc(nwot)", "best-zc(nwot)"] == 1
    assert {"zc-pt(nwot)", "disc-acc"} < set(table.index)
    assert "paper" not in table
    assert "paper" not in pd.read_parquet(out / "initial-picked.parquet")


def test_published_scores_stand_beside_the_paper(job: Job) -> None:
    rows = [
        {"edge": e, "scorer": f} | {op: i for i, op in enumerate(NASBENCH201_OPS)}
        for f in ("best-acc", "avg-acc", "disc-zc(nwot)")
        for e in range(6)
    ]
    pd.DataFrame(rows).to_csv("scores.csv", index=False)
    job("operation_scoring", "--published", "scores.csv")
    table = pd.read_parquet("runs/study/initial-spearman.parquet").set_index("function")
    assert table.loc["disc-zc(nwot)", "paper"] == 0.10
    picked = pd.read_parquet("runs/study/initial-picked.parquet").set_index("function")
    assert picked.loc["disc-zc(nwot)", "paper"] == "22.96 (rank 14274)"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_part_of_the_engine_is_timed(job: Job) -> None:
    """Minutes: the plain way takes its time, peak memory processes of their own, and scaling Ray."""
    printed = job("speed", "--smoke", "--out", "out")
    assert printed.startswith(f"Time {', '.join(get_args(TimedPart))} -> out\n")
    timed = pd.read_csv("out/benchmark.csv")
    for part in (
        "peak memory, nasbench201",
        "proposal of 30",
        "darts: ",
        "mobilenet",
        "a network of one's own",
        "8 cells",
        "training ",
        "search on",
    ):
        assert timed["seconds for"].str.startswith(part).any(), part
    assert (timed["ours"] > 0).all()
    assert len(pd.read_parquet("out/proxies.parquet")) == len(PROXIES)


def test_every_search_by_name_ends_in_one_table(zcpt: Zcpt) -> None:
    searches = ("zero-cost-pt", "zero-cost-disc", "random", "max-param", "zero-cost-evo", "te-nas", "darts", "darts-pt")
    ended = zcpt("baselines", *SMALL, "--searches", *searches, "--proxies", "nwot", "params")
    assert ended.err == ""
    table = pd.read_parquet("out/table.parquet")
    asked = ["zero-cost-pt", "zero-cost-disc", "zero-cost-evo"]
    labels = [f"{name} {proxy}" for name in asked for proxy in ("nwot", "params")]
    labels += ["random", "max-param", "te-nas", "darts", "darts-pt"]
    assert sorted(table["search"]) == sorted(labels)
    assert "paper" not in table
    assert cells(ended.out, "search") == list(table["search"])
    lines = ended.out.splitlines()
    assert [line.split(", seed 0: ")[0] for line in lines if ", seed 0: " in line] == list(table["search"])
    assert "Candidates, best first" not in ended.out
    assert lines[-2:] == ["Table: out/table.csv (and .md, .tex, .parquet)", "Next: zcpt report out"]


def test_baselines_print_a_line_or_with_verbose_a_report(zcpt: Zcpt) -> None:
    flags = ("baselines", *SMALL, "--searches", "random", "max-param", "--seeds", "3")
    ended = zcpt(*flags)
    kept = r", seed 3: \d\.\d{3} M parameters, \d+\.\d s: \w+>\w+"
    lines = ended.out.splitlines()
    assert lines[0] == "Compare random, max-param in toy-chain-2 on digits"
    assert pd.Series(lines[1:3]).str.fullmatch(f"(random|max-param){kept}").all()
    verbose = zcpt(*flags, "--verbose")
    assert verbose.out.count("Candidates, best first") == verbose.out.count("\nBest: ") == 2
    assert ", seed 3: " not in verbose.out
    assert verbose.out.splitlines()[-2:] == lines[-2:]


def test_an_ablation_ends_in_tables_and_figure_4(zcpt: Zcpt, empty_data_directory: Path) -> None:
    flags = ("--local", "--preset", "proposals-validations", "--space", "toy-chain-2", "--batch-size", "8")
    axes = ("--seeds", "0", "1", "--proposals", "1", "2", "--validations", "0", "3")
    ended = zcpt("ablation", *flags, *axes, "--out", "out")
    rows = pd.read_parquet("out/ablation.parquet")
    assert rows[["N", "V"]].to_numpy().tolist() == [[1, 0], [1, 3], [2, 0], [2, 3]]
    assert (rows["seeds"] == 2).all()
    assert "8 cells of 2 searches (cells that make the same proposals share one)" in ended.out.splitlines()
    assert hints(ended.out) == ["zcpt report out", "zcpt train --searches out --dataset digits"]
    assert not (empty_data_directory / "tables/nasbench201.parquet").exists()
    assert not Path("out/proposals-validations.svg").exists()  # there are no errors to draw


def test_an_ablation_whose_cells_fail_says_which(zcpt: Zcpt) -> None:
    """A space with a benchmark's scoring and no table: every cell fails, with its reason; nothing is left half done."""
    flags = ("--local", "--scoring", "best-acc", "--orders", "fixed", "--seeds", "3", "--out", "out")
    ended = zcpt("ablation", *flags)
    assert ended.code == 1
    assert "failed: seed 3: scoring 'best-acc' needs the benchmark table of 'nasbench201'" in ended.err


def test_trainings_end_in_a_table(zcpt: Zcpt) -> None:
    zcpt("search", *SMALL[:-1], "search")
    flags = ("train", "--local", "--smoke", "--searches", "search", "--recipe", "nb201", "--out", "out")
    ended = zcpt(*flags)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[:2] == ["Train on the images of these searches by recipe nb201 -> out", "2 trainings"]
    (row,) = pd.read_parquet("out/trainings.parquet").to_dict("records")
    assert (row["trained"], row["trainings"], row["epochs"], row["space"]) == ("seed 0", 2, "2", "toy-chain-2")
    assert len(pd.read_parquet("out/learning-curves.parquet")) == 2 * 2
    assert all(Path(f"out/{name}.svg").exists() for name in ("learning-curves", "error-and-params"))
    before = {path: path.stat().st_mtime_ns for path in Path("out").glob("trials/*/*")}
    assert zcpt(*flags).code == 0
    assert {path: path.stat().st_mtime_ns for path in Path("out").glob("trials/*/*")} == before
    ended = zcpt(*flags[:5], "--out", "fitting")
    expected = [
        "Train on the images of these searches by the recipe for their space -> fitting",
        "2 trainings by recipe cifar",
    ]
    assert ended.out.splitlines()[:2] == expected


def no_images(*args: object) -> None:
    raise AssertionError("images were read")


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("baselines", ("--naswot-draws", "5")),
        ("study", ("--parts", "initial", "--functions", "best-acc-released")),
        ("search", ("--scoring", "best-acc")),
    ],
)
def test_a_missing_table_is_noticed_before_images_are_read(
    command: str, flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, zcpt: Zcpt
) -> None:
    monkeypatch.setattr("zcpt_ray.datasets.base.Dataset.load", no_images)
    ended = zcpt(command, "--local", "--out", "out", *flags)
    assert ended.code == 2
    assert "needs the benchmark table of 'nasbench201', which is not there" in ended.err


@pytest.mark.parametrize(
    ("command", "flags", "message"),
    [
        ("baselines", ("--searches", "nonsense"), "unknown search 'nonsense'; choose from zero-cost-pt, "),
        ("baselines", ("--proxies", "nonsense"), "unknown proxy 'nonsense'; choose from nwot, "),
        ("baselines", ("--seeds",), "--seeds needs at least one"),
        ("baselines", ("--proxies",), "--proxies needs at least one"),
        (
            "baselines",
            ("--naswot-draws", "5", "--searches", "random"),
            "needs a benchmark, and there is none of 'toy-chain-2'",
        ),
        ("ablation", ("--preset", "nonsense"), "unknown preset 'nonsense'; choose from proxies, "),
        ("ablation", ("--proxies", "nwot", "nonsense"), "unknown proxy 'nonsense'; choose from nwot, "),
        ("ablation", ("--seed", "3"), "--seed is not used here: seeds are given by --seeds"),
        ("ablation", ("--proposals", "0"), "num_proposals must be at least 1, got 0"),
        ("ablation", ("--trackers", "mlflow"), "--trackers hear of trials from Ray Tune: leave out --local"),
        ("train", ("--recipe", "nonsense"), "unknown recipe 'nonsense'; choose from cifar, "),
        ("train", ("--arch", "nonsense"), "not a toy-chain-2 architecture: 'nonsense'"),
        ("train", ("--searches", "nowhere"), "no result.json in or below nowhere; give folders of finished searches"),
        ("train", ("--workers", "2"), "--workers 2 needs Ray"),
        ("train", ("--channels", "16"), "space 'toy-chain-2' takes no --channels: leave it out"),
        ("study", ("--functions", "nonsense"), "unknown scoring function 'nonsense'"),
        ("study", ("--parts",), "--parts needs at least one"),
        ("study", ("--published", "none.csv"), "cannot read none.csv"),
        ("study", ("--seed", "3"), "--seed is not used here: seeds are given by --seeds"),
        ("study", ("--longest-chain", "0"), "error: --longest-chain must be at least 1, got 0\n"),
        ("study", ("--num-validations", "7"), "--num-validations is not used here: no part validates"),
        ("baselines", ("--seed", "3"), "--seed is not used here: seeds are given by --seeds"),
        ("baselines", ("--proxy", "snip"), "--proxy is not used here: proxies are given by --proxies"),
        ("baselines", ("--scoring", "darts"), "--scoring is not used here: --searches fixes it"),
        ("rank", ("--count", "0"), "error: --count must be at least 1, got 0\n"),
        ("rank", ("--num-validations", "0"), "error: num_validations must be at least 1 to rank architectures\n"),
        ("rank", ("--file", "none.json"), "error: cannot read none.json: No such file or directory\n"),
    ],
)
def test_bad_input_is_one_line(command: str, flags: tuple[str, ...], message: str, zcpt: Zcpt) -> None:
    ended = zcpt(command, *SMALL, *flags)
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_a_small_batch_cannot_be_timed(zcpt: Zcpt) -> None:
    message = "error: batch_size must be at least 16 to be halved three times, got 8\n"
    assert zcpt("benchmark", "--batch-size", "8") == (2, "", message)


def test_ones_own_space_and_images_with_a_budget(zcpt: Zcpt) -> None:
    """The example of the documentation on a folder of images: every candidate keeps within the budget."""
    random = np.random.default_rng(0)
    for label in ("cats", "dogs"):
        for index in range(12):
            write_image(Path("photos") / label / f"{index}.png", random.integers(0, 256, (3, 40, 48)).astype(np.uint8))
    own = (JOBS.parent / "docs" / "own_space.py").read_text()
    Path("space.py").write_text(own)
    flags = ("--space", "space.py", "--dataset", "photos", "--smoke", "--local", "--max-params", "0.03", "--out", "out")
    assert zcpt("search", *flags).err == ""
    result = json.loads(Path("out/result.json").read_text())
    assert result["config"]["dataset"] == str(Path("photos").absolute())
    assert result["candidates"]
    assert all(candidate["params"] <= 30_000 for candidate in result["candidates"])
    assert all(
        set(candidate["arch"].split(",")) <= {"skip_connect", "bottleneck"} for candidate in result["candidates"]
    )
    Path("space.py").write_text(own + "# changed\n")
    changed = zcpt("search", *flags)
    assert changed.code == 2
    assert changed.err.endswith("space.py has changed since it was loaded; start Python again\n")
