"""Finalists: the best candidates trained for a few epochs, the most accurate of which is the result."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from zcpt_ray.benchmarks.tables import require_benchmark
from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.ablation import grid, search_cells, shared_runs
from zcpt_ray.experiments.finalists import judged, require_finalists, train_here
from zcpt_ray.experiments.grids import GridOutcome, Trial
from zcpt_ray.experiments.single_search import run_or_read
from zcpt_ray.reports.tables import candidate_table
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.records import ScoredCandidate, SearchResult
from zcpt_ray.search.resolved import Search
from zcpt_ray.storage.paths import AnyPath
from zcpt_ray.training.records import TrainResult, kept_epoch

SMALL = SearchConfig(
    space="toy-chain-2", proxy="params", num_proposals=4, num_validations=1, batch_size=8, scoring="zc-pt",
    method="random", finalists=2, finalist_epochs=2, finalist_images=64,
)  # fmt: skip


def run(search: Search, directory: Path) -> SearchResult:
    return run_search_locally(search, directory)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchResult, Path]:
    directory = tmp_path_factory.mktemp("run")
    return run_or_read(Search.of(SMALL), directory, run).result, directory


def test_the_most_accurate_finalist_wins(finished: tuple[SearchResult, Path]) -> None:
    result, directory = finished
    trained = [TrainResult.load(folder) for folder in (directory / "finalists" / "trials").iterdir()]
    by_score = sorted(result.candidates, key=lambda candidate: -candidate.score)[:2]
    assert {each.config.arch for each in trained} == {candidate.arch for candidate in by_score}
    accuracies = {each.config.arch: 100 - (kept_epoch(each.history).validation_error or 0) for each in trained}
    assert [candidate.finalist_accuracy for candidate in result.candidates[:2]] == sorted(accuracies.values())[::-1]
    assert result.best == result.candidates[0]
    assert accuracies[result.best.arch] == max(accuracies.values())
    assert all(candidate.finalist_accuracy is None for candidate in result.candidates[2:])
    assert {each.config.validation_share for each in trained} == {0.5}
    assert {each.config.epochs for each in trained} == {2}


def test_their_cost_counts_and_scores_and_accuracies_stand_side_by_side(finished: tuple[SearchResult, Path]) -> None:
    result, directory = finished
    assert result.seconds["finalists"] > 0
    assert result.task_seconds == pytest.approx(sum(result.seconds.values()) - result.seconds["wall"])
    assert list(candidate_table(result)["finalist accuracy [%]"])[2:] == ["-"] * (len(result.candidates) - 2)
    table = pd.read_parquet(directory / "candidates.parquet")
    assert table["finalist_accuracy"].notna().sum() == 2
    assert SearchResult.load(directory) == result
    assert result.costs


def test_what_is_trained_is_not_trained_again(
    finished: tuple[SearchResult, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    result, directory = finished
    (directory / "result.json").unlink()
    names: list[str] = []

    def train(trials: object, out: object) -> GridOutcome:
        names.extend(trial.name for trial in trials)  # type: ignore[attr-defined]
        return train_here(trials, out)  # type: ignore[arg-type]

    again = run_or_read(Search.of(SMALL), directory, run, train=train).result
    assert not names
    assert dataclasses.replace(again, seconds={}) == dataclasses.replace(result, seconds={})
    more = dataclasses.replace(SMALL, finalists=3)
    run_or_read(Search.of(more), directory, run, train=train)
    assert len(names) == 1, "the same run directory serves more finalists"


def test_failures_are_told_and_nothing_is_lost(tmp_path: Path) -> None:
    search = Search.of(SMALL)
    result = run_search_locally(search, tmp_path)
    with pytest.raises(UserError, match="no room"):
        judged(result, search, tmp_path, lambda trials, out: GridOutcome({}, {trials[0].name: "no room"}))


def test_one_that_was_stopped_early_has_no_accuracy_and_comes_last(tmp_path: Path) -> None:
    search = Search.of(dataclasses.replace(SMALL, finalists=3, finalist_early_stopping=True))
    result = run_search_locally(search, tmp_path)

    def stop_first(trials: Sequence[Trial], out: AnyPath) -> GridOutcome:
        outcome = train_here(trials[1:], out)
        first = trials[0].name
        return dataclasses.replace(outcome, metrics={first: {"total_seconds": 1000.0}}, stopped=(first,))

    found = judged(result, search, tmp_path, stop_first)
    assert [candidate.finalist_accuracy is None for candidate in found.candidates[:3]] == [False, False, True]
    assert found.candidates[2].arch == result.candidates[0].arch
    assert found.seconds["finalists"] > 1000
    assert list(candidate_table(found)["finalist accuracy [%]"])[2] == "-"


@pytest.mark.data
def test_a_benchmark_may_judge(tmp_path: Path) -> None:
    config = SearchConfig(dataset="cifar10", finalists=3, finalist_source="benchmark")
    table = require_benchmark("nasbench201", "a test").table["cifar10_valid_e12"]
    archs = list(table.index[:4])
    candidates = tuple(ScoredCandidate(arch, -float(place), 1, place, 1, 1) for place, arch in enumerate(archs))
    result = SearchResult(config, candidates[0], candidates, 0, {}, None, {})
    found = judged(result, Search.of(config), tmp_path)
    best = table[archs[:3]].idxmax()
    assert (found.best.arch, found.best.finalist_accuracy) == (best, table[best])
    assert found.candidates[3] == candidates[3]
    assert found.seconds["finalists"] == 0


def test_what_cannot_be_judged_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    with pytest.raises(UserError, match="--finalist-source benchmark needs"):
        require_finalists(Search.of(SearchConfig(finalists=3, finalist_source="benchmark")))
    with pytest.raises(UserError, match="after 12 epochs, not after 3"):
        require_finalists(Search.of(SearchConfig(finalists=3, finalist_source="benchmark", finalist_epochs=3)))
    with pytest.raises(UserError, match="is for finalists that are trained"):
        SearchConfig(finalists=3, finalist_source="benchmark", finalist_early_stopping=True)
    with pytest.raises(UserError, match="unknown finalist_source 'x'; choose from training, benchmark"):
        SearchConfig(finalist_source="x")
    require_finalists(Search.of(SMALL))


def test_an_ablation_trains_them_too(tmp_path: Path) -> None:
    cells = grid(SMALL, "", {"num_proposals": (1, 4), "seed": (0,)})
    (members,) = shared_runs(cells).values()
    results = list(search_cells(members, tmp_path))
    assert [len(result.candidates) for result in results] == [4, 1]
    assert all(result.best.finalist_accuracy is not None for result in results)
