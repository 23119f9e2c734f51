"""Run directories for tests of the report: searches, a training grid, and names that are unkind to a page."""

import dataclasses
import json
from pathlib import Path

from matplotlib.figure import Figure

from zcpt_ray.configs import SearchConfig, TrainConfig, run_id
from zcpt_ray.found_runs import GridRow
from zcpt_ray.plots import save_figure
from zcpt_ray.records import Decision, Proposal, ScoredCandidate, SearchResult, versions
from zcpt_ray.results import replay_table, write_table
from zcpt_ray.training_records import EpochMetrics, TrainResult

UNKIND = "<script>window.ran = 1</script><img src=x onerror='window.ran = 1'>\"'&{{ 7 * 7 }}"


def drawing() -> Figure:
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([1, 2])
    return figure


def save_search(directory: Path, seed: int, error: float, arch: str = "arch", **fields: object) -> SearchResult:
    """A finished search whose pick the benchmark knows, with a drawing and a replay."""
    best = ScoredCandidate(arch, 10.0 * seed, 2, 0, 1_000_000 + seed, 2_000_000)
    config = dataclasses.replace(SearchConfig(dataset="cifar10", seed=seed, device="cpu"), **fields)
    entry = {"error": error, "error_per_seed": [error], "validation_error": 5.0, "rank": 3, "params": 10, "flops": 20}
    result = SearchResult(config, best, (best,), 100, {"propose": 20.0, "validate": 5.0}, {"cifar10": entry}, versions(), 1)
    result = dataclasses.replace(result, resources={"CPU": 1.0, "GPU": 0.0})
    directory.mkdir(parents=True)
    result.save(directory)
    (directory / "config.json").write_text(json.dumps(dataclasses.asdict(config)))
    save_figure(drawing(), directory / "best")
    save_figure(drawing(), directory / "replay")
    decisions = (Decision(0, "a<-b", ("x",), {"x": 2.0, "y": 1.0}),)
    write_table(replay_table(Proposal(0, arch, decisions, 2, 1.0)), directory / "replay")
    return result


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
            ends = 3 + index + seed / 10
            epochs = tuple(EpochMetrics(e, 0.1, 1.0, 40.0 - e, 1.0, ends + 2 - e, 1.0, 100.0, 60.0) for e in range(3))
            result = TrainResult(config, epochs, 3_000_000 + index, 5_000_000, "cpu", versions())
            result.save(directory / "trials" / run_id(config))
            search = searches[index] if searches else None
            trials.append(dataclasses.asdict(GridRow(name, run_id(config), seed, run_id(config.setting), search)))
    (directory / "grid.json").write_text(json.dumps({"trials": trials}))
