"""What a search prints and leaves in its directory for people."""

import dataclasses
import io
import json
from pathlib import Path

import pytest
from report_runs import benchmark_row, save_search
from rich.console import Console

from zcpt_ray.benchmarks.entries import BenchmarkRow
from zcpt_ray.errors import UserError
from zcpt_ray.reports.decision_tables import BELOW_ZERO
from zcpt_ray.reports.search_report import best_figure, print_result, replay_figure, report_best
from zcpt_ray.search.records import Decision, Proposal, ScoredCandidate, SearchResult
from zcpt_ray.spaces import SPACES

SPACE = SPACES["toy-chain-2"]
ARCH = "skip_connect>nor_conv_1x1"


@pytest.fixture
def result(tmp_path: Path) -> SearchResult:
    """A search of a chain whose best candidate a benchmark does not know."""
    found = save_search(tmp_path / "saved", 0, 5.0, ARCH, space=SPACE.name)
    return dataclasses.replace(found, benchmark=None, num_known=None)


def proposal(*margins: float) -> Proposal:
    """Decisions, each with the margin by which it was won."""
    names = [edge.name for edge in SPACE.edges]
    decisions = (
        Decision(step, names[step % 2], ("skip_connect",), {"skip_connect": 1.0 + margin, "nor_conv_1x1": 1.0})
        for step, margin in enumerate(margins)
    )
    return Proposal(0, ARCH, tuple(decisions), 2 * len(margins), 1.0)


def save_proposal(directory: Path, made: Proposal) -> None:
    (directory / "proposals").mkdir(parents=True, exist_ok=True)
    (directory / f"proposals/{made.index:05d}.json").write_text(json.dumps(dataclasses.asdict(made)))


def printed(result: SearchResult, note: str = "", partial_table: bool = False) -> str:
    console = Console(width=100, file=io.StringIO())
    print_result(result, console, note, partial_table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def reported(result: SearchResult, directory: Path, anew: bool = False) -> str:
    console = Console(width=100, file=io.StringIO())
    report_best(result, SPACE, directory, console, anew)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_result_is_printed(result: SearchResult) -> None:
    lines = printed(result).splitlines()
    assert lines[0] == "Candidates, best first"
    assert lines[-2:] == [f"Best: {ARCH}", "100 proxy evaluations; propose 20.0 s, validate 5.0 s"]
    assert "Score against size" not in lines


def test_with_a_budget_there_is_score_against_size(result: SearchResult) -> None:
    budget = dataclasses.replace(result, config=dataclasses.replace(result.config, max_params=2.0))
    assert "Score against size" in printed(budget).splitlines()


def test_what_the_benchmark_knows_is_printed(result: SearchResult) -> None:
    known = dataclasses.replace(result, benchmark=benchmark_row(5.25), num_known=1)
    assert "│ cifar10 │ 5.25 " in printed(known, "not printed")
    assert "not printed" not in printed(known, "not printed")
    assert "Coverage" not in printed(known)
    assert "the partial table knows 1 of 1 distinct candidates" in printed(known, partial_table=True)


def test_what_the_benchmark_does_not_know_has_a_note(result: SearchResult) -> None:
    """The note may hold a path: it is neither broken nor read as markup."""
    note = f"No test errors: there is no {'/folder' * 20}/[red]table.parquet"
    assert printed(result, note).splitlines()[-1] == note
    missing = dataclasses.replace(result, benchmark=BenchmarkRow({}), num_known=0)
    assert printed(missing, note, partial_table=True).splitlines()[-2:] == [
        note,
        "Coverage: the partial table knows 0 of 1 distinct candidates; ranks are within it",
    ]


def test_the_best_is_drawn_and_its_decisions_shown(result: SearchResult, tmp_path: Path) -> None:
    run = tmp_path / "run"
    save_proposal(run, proposal(*range(1, 11)))
    text = reported(dataclasses.replace(result, costs={"scored": {"params": 10**6, "flops": 10**6}}), run)
    assert "The best candidate's networks" in text
    assert f"Drawing: {run}/best.png (and .svg)" in text
    assert "How proposal 0 decided" in text
    assert f"2 more decisions in {run}/replay.md (.csv, .tex, .parquet); figure: replay.png (and .svg)" in text
    assert BELOW_ZERO not in text
    assert {path.name for path in run.iterdir() if path.is_file()} == {
        *("best.png", "best.svg", "replay.png", "replay.svg"),
        *(f"replay.{suffix}" for suffix in ("csv", "md", "parquet", "tex")),
    }


def test_what_is_there_is_left_unless_all_is_made_anew(result: SearchResult, tmp_path: Path) -> None:
    save_proposal(tmp_path, proposal(1.0))
    for name in ("best.svg", "replay.svg"):
        (tmp_path / name).write_text("mine")
    assert "Also in" in reported(result, tmp_path)
    assert {(tmp_path / name).read_text() for name in ("best.svg", "replay.svg")} == {"mine"}
    reported(result, tmp_path, anew=True)
    assert all((tmp_path / name).read_text().startswith("<?xml") for name in ("best.svg", "replay.svg"))


def test_a_budget_that_overruled_is_explained(result: SearchResult, tmp_path: Path) -> None:
    save_proposal(tmp_path, proposal(-1.0))
    assert BELOW_ZERO in reported(result, tmp_path)


def test_the_proposal_that_came_first_is_shown(result: SearchResult, tmp_path: Path) -> None:
    for index in (0, 1, 2):
        save_proposal(tmp_path, dataclasses.replace(proposal(1.0), index=index))
    assert "How proposal 0 decided" in reported(result, tmp_path)
    later = dataclasses.replace(result, best=dataclasses.replace(result.best, first_proposal=2))
    assert "How proposal 2 decided" in reported(later, tmp_path)


def test_a_baseline_and_a_run_without_proposals_have_a_drawing_only(result: SearchResult, tmp_path: Path) -> None:
    assert reported(result, tmp_path / "none") == f"Drawing: {tmp_path}/none/best.png (and .svg)\n"
    save_proposal(tmp_path / "baseline", proposal())
    assert reported(result, tmp_path / "baseline") == f"Drawing: {tmp_path}/baseline/best.png (and .svg)\n"


def test_a_damaged_proposal_is_named(result: SearchResult, tmp_path: Path) -> None:
    save_proposal(tmp_path, proposal(1.0))
    (tmp_path / "proposals/00000.json").write_text("{}")
    with pytest.raises(UserError, match=r"00000\.json is damaged"):
        reported(result, tmp_path)


def test_figures_without_a_folder(result: SearchResult) -> None:
    two = dataclasses.replace(result, candidates=(result.best, ScoredCandidate("b", 1.0, 1, 1, 1, 1)))
    titles = [text.get_text() for text in best_figure(two, SPACE).axes[0].texts]
    assert titles[0] == "toy-chain-2, best of 2 candidates"
    figure = replay_figure(proposal(1.0, 2.0), SPACE)
    assert figure is not None
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        f"{step}  {SPACE.edge_titles.get(edge.name, edge.name)}" for step, edge in enumerate(SPACE.edges)
    ]
    assert replay_figure(proposal(), SPACE) is None


def test_many_candidates_are_shown_in_part_and_drawn(result: SearchResult, tmp_path: Path) -> None:
    """Of 21 the terminal shows 20. Where no minibatch compared them, there is nothing to draw."""
    many = tuple(ScoredCandidate(ARCH, 21.0 - number, 1, number, 1_000, 1) for number in range(21))
    result = dataclasses.replace(result, candidates=many, best=many[0])
    result = dataclasses.replace(result, config=dataclasses.replace(result.config, num_validations=2))
    lines = printed(result).splitlines()
    assert "1 more in candidates.parquet" in lines
    assert sum("nor_conv_1x1" in line for line in lines) == 20 + 1  # and the best
    assert f"against size: {tmp_path}/candidates.png (and .svg)" in reported(result, tmp_path)
    assert "proposals made" in (tmp_path / "candidates.svg").read_text()
    unscored = dataclasses.replace(result, config=dataclasses.replace(result.config, num_validations=0))
    assert "candidates.png" not in reported(unscored, tmp_path / "unscored")
