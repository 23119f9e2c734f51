"""From trainings to tables: errors over search and training seeds as the paper states them (A.9), and pairs of methods."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from zcpt_ray.ablation_results import cell_name, varied_fields
from zcpt_ray.configs import run_id
from zcpt_ray.published import DARTS_ERRORS, published_training
from zcpt_ray.records import SearchResult
from zcpt_ray.results import as_printed, mean_and_deviation, search_cost
from zcpt_ray.training_records import TrainResult

RESAMPLES = 9999
LEAST_PAIRS = 6
"""With fewer, chance alone gives all differences one sign in more than 5 % of cases, whatever a bootstrap says."""


@dataclass(frozen=True)
class Trained:
    """A finished training, what its grid calls its architecture, and the search that found that, if one did."""

    name: str
    result: TrainResult
    search: SearchResult | None = None


def each_once(trained: Sequence[Trained]) -> list[TrainResult]:
    """The trainings; one whose network several searches found is one."""
    return list({run_id(training.result.config): training.result for training in trained}.values())


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
    """The trainings by the setting of the search behind them, whatever its seed: `found` if it is one, `given` without a search.

    Where all are of one method that is `all`. Methods of which there is one architecture only are left out.
    """
    fields = varied_fields([training.search for training in trained if training.search])
    groups: dict[str, list[Trained]] = defaultdict(list)
    for training in trained:
        groups[(cell_name(training.search, fields) if fields else "found") if training.search else "given"].append(training)
    groups = {"all": list(trained)} if len(groups) == 1 else groups
    return {name: members for name, members in groups.items() if len({training.name for training in members}) > 1}


def training_table(groups: Mapping[str, Sequence[Trained]]) -> pd.DataFrame:
    """One row per group of trainings, all of one method or of one architecture: errors in percent after the last epoch.

    The mean and standard deviation of a row are over all its trainings, search and training seeds alike, and `best` is the best
    single one of them; a network that two searches found is one. Of the searches behind them: what one cost, the benchmark's
    error of the networks if it has one, and whose row of the paper stands beside.
    """
    rows = []
    for name, members in groups.items():
        trainings = each_once(members)
        config, errors = trainings[0].config, [training.error for training in trainings]
        archs = {training.config.arch for training in trainings}
        row: dict[str, Any] = {"trained": name, "space": config.space, "dataset": config.dataset, "recipe": config.recipe}
        row |= {"architectures": len(archs), "trainings": len(trainings), "epochs": _span([len(t.history) for t in trainings])}
        row |= {"test error [%]": mean_and_deviation(errors), "best [%]": f"{min(errors):.2f}"}
        row["params [M]"] = f"{np.mean([training.params for training in trainings]) / 1e6:.2f}"
        row |= _training_cost(trainings)
        found_by = list({run_id(member.search.config): member.search for member in members if member.search}.values())
        if found_by:
            row |= search_cost(found_by) | _in_benchmark(found_by, config.dataset)
        rows.append(row | _beside(name, trainings, found_by))
    return pd.DataFrame(rows).fillna("-")


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
    entries = [(search.benchmark or {}).get(dataset.replace("-", "_")) for search in found_by]
    known = {search.best.arch: entry["error"] for search, entry in zip(found_by, entries, strict=True) if entry}
    return {"benchmark [%]": mean_and_deviation(list(known.values()))} if known else {}


def _beside(name: str, trainings: Sequence[TrainResult], found_by: Sequence[SearchResult]) -> dict[str, str]:
    """The paper's row: of the search that found these, if that is Zero-Cost-PT; of a genotype that its authors published."""
    space, dataset = trainings[0].config.space, trainings[0].config.dataset
    if name in DARTS_ERRORS and (space, dataset) == ("darts", "cifar10"):
        return {"paper [%]": f"{DARTS_ERRORS[name]:.2f}"}
    settings = {(c.scoring, c.method, c.proxy, c.order) for c in (search.config for search in found_by)}
    if len(settings) != 1 or (setting := settings.pop())[:2] != ("zc-pt", "discretize"):
        return {}
    row = published_training(space, dataset, *setting[2:])
    return {"paper [%]": as_printed(row[0], row[1]), "paper, best [%]": f"{row[2]:.2f}"} if row else {}


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
    """One row per architecture: `params [M]`, and of its test error [%] over training seeds mean and `deviation` (NaN for one)."""
    rows = []
    for name, members in by_architecture(trained).items():
        errors = pd.Series([member.result.error for member in members])
        size = members[0].result.params / 1e6
        rows.append({"trained": name, "params [M]": size, "error": errors.mean(), "deviation": errors.std(ddof=1)})
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class PairedDifference:
    """The mean of the differences over `pairs`, in the units of what was compared, and its 95 % interval; NaN for one pair."""

    pairs: int
    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.2f}" + (f" [{self.low:+.2f}, {self.high:+.2f}]" if self.pairs > 1 else "")


def paired_difference(first: Mapping[Hashable, float], second: Mapping[Hashable, float]) -> PairedDifference:
    """First less second over the keys that both have, such as (search seed, training seed): below 0 the first has less error.

    The interval is a percentile bootstrap over pairs, always drawn alike. It takes them as independent: trainings of one network
    are not quite, so with few search seeds it is narrower than it should be.

    Raises:
        ValueError: they have no key in common.
    """
    common = [key for key in first if key in second]
    if not common:
        raise ValueError("nothing to compare: no seeds in common")
    differences = np.array([first[key] - second[key] for key in common])
    mean = float(differences.mean())
    if len(common) == 1:
        return PairedDifference(1, mean, float("nan"), float("nan"))
    found = bootstrap((differences,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0))
    return PairedDifference(len(common), mean, float(found.confidence_interval.low), float(found.confidence_interval.high))


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
            name: {m.result.config.seed: m.result.error for m in members} for name, members in by_architecture(trained).items()
        }
    return paired_table(errors)


def paired_table(methods: Mapping[str, Mapping[Hashable, float]]) -> pd.DataFrame:
    """One row per two methods with seeds in common: the mean difference of their errors and its 95 % interval.

    `differ` says whether 0 lies outside of it; nothing of fewer than 6 pairs.
    """
    rows, names = [], list(methods)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            if not methods[first].keys() & methods[second].keys():
                continue
            found = paired_difference(methods[first], methods[second])
            certain = "-" if found.pairs < LEAST_PAIRS else "no" if found.low <= 0 <= found.high else "yes"
            rows.append({"first": first, "second": second, "pairs": found.pairs, "first - second": str(found), "differ": certain})
    return pd.DataFrame(rows)
