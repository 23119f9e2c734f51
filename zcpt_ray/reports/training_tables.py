"""From trainings to tables: errors over search and training seeds, as the paper states them in A.9."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from zcpt_ray.reports.ablation_tables import cell_name, varied_fields
from zcpt_ray.reports.paired_differences import paired_table
from zcpt_ray.reports.published_trainings import DARTS_ERRORS, published_training
from zcpt_ray.reports.tables import (
    as_printed,
    benchmark_name,
    mean_and_deviation,
    sample_deviation,
    search_cost,
    with_dashes,
)
from zcpt_ray.search.records import SearchResult
from zcpt_ray.training.records import TrainResult


@dataclass(frozen=True)
class Trained:
    """A finished training, what its grid calls its architecture, and the search that found that, if one did."""

    name: str
    result: TrainResult
    search: SearchResult | None = None


def each_once(trained: Sequence[Trained]) -> list[TrainResult]:
    """The trainings; one whose network several searches found is one."""
    return list({training.result.run_id: training.result for training in trained}.values())


def with_distinct_names(trained: Sequence[Trained]) -> list[Trained]:
    """The same, where a name that stands for several networks is told apart by primes: `given`, `given'`."""
    networks: dict[str, list[tuple[str, str]]] = defaultdict(list)
    renamed = []
    for training in trained:
        network = (training.result.config.space, training.result.config.arch)
        if network not in (known := networks[training.name]):
            known.append(network)
        renamed.append(replace(training, name=training.name + "'" * known.index(network)))
    return renamed


def by_architecture(trained: Sequence[Trained]) -> dict[str, list[Trained]]:
    """The trainings by what their grid calls their architecture."""
    groups: dict[str, list[Trained]] = defaultdict(list)
    for training in trained:
        groups[training.name].append(training)
    return dict(groups)


def by_method(trained: Sequence[Trained]) -> dict[str, list[Trained]]:
    """The trainings by the setting of the search behind them, whatever its seed.

    If all searches have one setting, that is `found`. What no search found is `given`. If all are of one method, that
    is `all`. Methods of which there is one architecture only are left out.
    """
    fields = varied_fields([training.search for training in trained if training.search])
    groups: dict[str, list[Trained]] = defaultdict(list)
    for training in trained:
        found = cell_name(training.search, fields) if training.search and fields else "found"
        groups[found if training.search else "given"].append(training)
    if len(groups) == 1:
        groups = {"all": list(trained)}
    return {name: members for name, members in groups.items() if len({training.name for training in members}) > 1}


def training_table(groups: Mapping[str, Sequence[Trained]]) -> pd.DataFrame:
    """One row per group of trainings, all of one method or one architecture: test errors [%] after the last epoch.

    The mean and standard deviation of a row are over all its trainings, search and training seeds alike, and `best` is
    the best single one of them; a network that two searches found is one. Of the searches behind them: what one cost,
    the benchmark's error of the networks if it has one, and whose row of the paper stands beside.
    """
    rows = []
    for name, members in groups.items():
        trainings = each_once(members)
        config, errors = trainings[0].config, [training.error for training in trainings]
        archs = {training.config.arch for training in trainings}
        row: dict[str, Any] = {"trained": name, "space": config.space, "dataset": config.dataset}
        row |= {"recipe": config.recipe, "architectures": len(archs), "trainings": len(trainings)}
        row["epochs"] = _span([len(training.history) for training in trainings])
        row |= {"test error [%]": mean_and_deviation(errors), "best [%]": f"{min(errors):.2f}"}
        row["params [M]"] = f"{np.mean([training.params for training in trainings]) / 1e6:.2f}"
        row |= _training_cost(trainings)
        found_by = list({member.search.run_id: member.search for member in members if member.search}.values())
        if found_by:
            row |= search_cost(found_by) | _in_benchmark(found_by, config.dataset)
        rows.append(row | _beside(name, trainings, found_by))
    return with_dashes(pd.DataFrame(rows))


def _span(numbers: Sequence[int]) -> str:
    return "-".join(str(number) for number in dict.fromkeys((min(numbers), max(numbers))))


def _training_cost(trainings: Sequence[TrainResult]) -> dict[str, str]:
    """Of one training on average: on GPUs in days of all of them, otherwise in hours of the clock."""
    if any("cpu" in training.device for training in trainings):
        return {"training [h]": f"{np.mean([training.seconds for training in trainings]) / 3600:.3g}"}
    days = [training.seconds * _num_devices(training.device) / 86400 for training in trainings]
    return {"training [GPU-days]": f"{np.mean(days):.3g}"}


def _num_devices(device: str) -> int:
    """`8 x NVIDIA H100` are 8."""
    count, times, _ = device.partition(" x ")
    return int(count) if times and count.isdecimal() else 1


def _in_benchmark(found_by: Sequence[SearchResult], dataset: str) -> dict[str, str]:
    """The benchmark's mean error of the networks that it knows, each counted once."""
    name = benchmark_name(dataset)
    rows = {search.best.arch: search.benchmark for search in found_by if search.benchmark}
    errors = [row.error(name) for row in rows.values() if name in row]
    return {"benchmark [%]": mean_and_deviation(errors)} if errors else {}


def _beside(name: str, trainings: Sequence[TrainResult], found_by: Sequence[SearchResult]) -> dict[str, str]:
    """The paper's row of the search that found these, if that is Zero-Cost-PT, or of a genotype that it published."""
    space, dataset = trainings[0].config.space, trainings[0].config.dataset
    if name in DARTS_ERRORS and (space, dataset) == ("darts", "cifar10"):
        return {"paper [%]": f"{DARTS_ERRORS[name]:.2f}"}
    settings = {(c.scoring, c.method, c.proxy, c.order) for c in (search.config for search in found_by)}
    if len(settings) != 1 or (setting := settings.pop())[:2] != ("zc-pt", "discretize"):
        return {}
    row = published_training(space, dataset, *setting[2:])
    if row is None:
        return {}
    best = {} if row.best is None else {"paper, best [%]": f"{row.best:.2f}"}
    return {"paper [%]": as_printed(row.mean, row.deviation)} | best


def learning_curves(trained: Sequence[Trained]) -> pd.DataFrame:
    """One row per epoch of each training: `trained` (its name here), `seed`, and the fields of `EpochMetrics`."""
    return pd.DataFrame(
        [
            {"trained": training.name, "seed": training.result.config.seed} | vars(metrics)
            for training in trained
            for metrics in training.result.history
        ]
    )


def sizes_and_errors(trained: Sequence[Trained]) -> pd.DataFrame:
    """One row per architecture: `params [M]`, and the mean `error` [%] and its `deviation` over training seeds."""
    rows = []
    for name, members in by_architecture(trained).items():
        errors = [member.result.error for member in members]
        row = {"trained": name, "params [M]": members[0].result.params / 1e6}
        rows.append(row | {"error": float(np.mean(errors)), "deviation": sample_deviation(errors)})
    return pd.DataFrame(rows)


def training_pairs(trained: Sequence[Trained]) -> pd.DataFrame:
    """`paired_table` of methods over search and training seeds, without what no search found.

    Where there is one method, of its architectures over training seeds.
    """
    errors: dict[str, dict[Hashable, float]]
    if len(methods := by_method(trained)) > 1:
        errors = {
            name: {(m.search.config.seed, m.result.config.seed): m.result.error for m in members if m.search}
            for name, members in methods.items()
        }
    else:
        errors = {
            name: {m.result.config.seed: m.result.error for m in members}
            for name, members in by_architecture(trained).items()
        }
    return paired_table(errors)
