"""For tests of reports: benchmark rows, run directories of searches and of a grid, and names unkind to a page."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from zcpt_ray.benchmarks.entries import BenchmarkEntry, BenchmarkRow
from zcpt_ray.configs import SearchConfig
from zcpt_ray.identity import run_name
from zcpt_ray.reports.decision_tables import replay_table
from zcpt_ray.reports.figures import save_figure
from zcpt_ray.reports.run_folders import GridRow
from zcpt_ray.reports.tables import write_table
from zcpt_ray.search.records import Decision, Proposal, ScoredCandidate, SearchResult
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.records import EpochMetrics, TrainResult
from zcpt_ray.versions import versions

UNKIND = "<script>window.ran = 1</script><img src=x onerror='window.ran = 1'>\"'&{{ 7 * 7 }}"


def drawing() -> Figure:
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([1, 2])
    return figure


def benchmark_row(error: float, error_per_seed: Sequence[float] = (), dataset: str = "cifar10") -> BenchmarkRow:
    """What a benchmark of one data set knows of an architecture."""
    return BenchmarkRow({dataset: BenchmarkEntry(error, tuple(error_per_seed), 4.5, 3, 1_500_000, 2_000_000)})


def save_search(directory: Path, seed: int, error: float, arch: str = "arch", **fields: object) -> SearchResult:
    """A finished search whose pick the benchmark knows, with a drawing and a replay."""
    best = ScoredCandidate(arch, 10.0 * seed, 2, 0, 1_000_000 + seed, 2_000_000)
    config = dataclasses.replace(SearchConfig(dataset="cifar10", seed=seed, device="cpu"), **fields)
    seconds, benchmark = {"propose": 20.0, "validate": 5.0}, benchmark_row(error, [error])
    result = SearchResult(config, best, (best,), 100, seconds, benchmark, versions(), 1)
    result = dataclasses.replace(result, resources={"CPU": 1.0, "GPU": 0.0})
    directory.mkdir(parents=True)
    result.save(directory)
    (directory / "config.json").write_text(json.dumps(dataclasses.asdict(config)))
    save_figure(drawing(), directory / "best")
    save_figure(drawing(), directory / "replay")
    decisions = (Decision(0, "a<-b", ("x",), {"x": 2.0, "y": 1.0}),)
    write_table(replay_table(Proposal(0, arch, decisions, 2, 1.0)), directory / "replay")
    return result


def save_training(directory: Path, config: TrainConfig, errors: Sequence[float], params: int = 3_000_000) -> None:
    """A finished training with these test errors after its epochs."""
    epochs = tuple(EpochMetrics(e, 0.1, 1.0, 40.0 - e, 1.0, error, 1.0, 100.0, 60.0) for e, error in enumerate(errors))
    TrainResult(config, epochs, params, 5_000_000, "cpu", versions()).save(directory)


def grid_row(name: str, config: TrainConfig, search: SearchResult | None = None) -> GridRow:
    """What `grid.json` tells of a trial."""
    return GridRow(name, run_name(config), config.seed, run_name(config.setting), search)


def save_grid(
    directory: Path,
    names: tuple[str, ...] = ("search seed 0", "search seed 1"),
    seeds: int = 2,
    searches: tuple[SearchResult, ...] = (),
) -> None:
    """A training grid of three epochs; errors end at 3 + index of the architecture + seed / 10."""
    trials = []
    for index, name in enumerate(names):
        for seed in range(seeds):
            config = TrainConfig(arch=f"arch{index}", space="darts", seed=seed, epochs=3)
            end = 3 + index + seed / 10
            save_training(directory / "trials" / run_name(config), config, [end + 2, end + 1, end], 3_000_000 + index)
            trials.append(grid_row(name, config, searches[index] if searches else None).to_dict())
    (directory / "grid.json").write_text(json.dumps({"trials": trials}))
