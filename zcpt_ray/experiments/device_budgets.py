"""Searches under a limit of milliseconds beside searches under FLOPs, on the devices of HW-NAS-Bench."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from zcpt_ray.benchmarks.measured_devices import target_usage
from zcpt_ray.benchmarks.tables import require_benchmark
from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.single_search import RunSearch, run_or_read
from zcpt_ray.reports.tables import mean_and_deviation
from zcpt_ray.search.records import SearchResult
from zcpt_ray.search.resolved import Search
from zcpt_ray.spaces import SPACES
from zcpt_ray.storage.paths import AnyPath

log = logging.getLogger(__name__)
SAFE_SHARE = 0.9
"""Of the networks within a limit of FLOPs, so many keep the limit of milliseconds."""
IMAGE_SIZE = 32


@dataclass(frozen=True)
class DeviceLimits:
    """What a device is limited to.

    - `table`: per network that the device ran, by `arch`: `latency` [ms], `flops` [M], `accuracy` [%].
    - `latency`: the limit, milliseconds.
    - `flops`: the most multiply-adds, in millions, up to which `SAFE_SHARE` of the networks keep that; None where no
      limit of FLOPs is as safe.
    """

    table: pd.DataFrame
    latency: float
    flops: float | None

    @property
    def best(self) -> float:
        """The greatest accuracy [%] of a network within the limit of milliseconds."""
        return float(self.table["accuracy"][self.table["latency"] <= self.latency].max())

    @property
    def best_by_flops(self) -> float | None:
        """The greatest one of a network within the limit of FLOPs that keeps that of milliseconds too."""
        if self.flops is None:
            return None
        within = (self.table["flops"] <= self.flops) & (self.table["latency"] <= self.latency)
        return float(self.table["accuracy"][within].max())


def device_limits(target: str, dataset: str, share: float, milliseconds: float | None = None) -> DeviceLimits:
    """The limit that a `share` of the networks keep on a device, or a given one, and that of FLOPs that is as safe.

    Raises:
        UserError: a missing table, or a share outside 0 to 1.
    """
    if not 0 < share < 1:
        raise UserError(f"--share must lie between 0 and 1, got {share:g}")
    benchmark = require_benchmark("nasbench201", "a comparison of devices")
    usage = target_usage("latency_ms", target, SPACES["nasbench201"], dataset, IMAGE_SIZE)
    name = dataset.replace("-", "_")
    accuracy, flops = benchmark.accuracies(dataset, "test accuracy"), benchmark.table[f"flops_{name}"] / 1e6
    table = pd.DataFrame({"accuracy": accuracy, "flops": flops}).join(usage.latencies.rename("latency"), how="inner")
    limit = milliseconds or float(table["latency"].quantile(share))
    ordered = table.sort_values("flops")
    safe = (ordered["latency"] <= limit).cumsum() / np.arange(1, len(ordered) + 1) >= SAFE_SHARE
    last_of_its_flops = ~ordered["flops"].duplicated(keep="last")
    fits = ordered["flops"][safe & last_of_its_flops]
    return DeviceLimits(table, limit, float(fits.max()) if len(fits) else None)


def compare_budgets(
    config: SearchConfig,
    targets: Sequence[str],
    seeds: Sequence[int],
    share: float,
    out: AnyPath,
    run: RunSearch,
    say: Callable[[str], None] = log.info,
    milliseconds: float | None = None,
) -> pd.DataFrame:
    """A row per device: limits, and accuracies of what searches find, mean ± deviation over `seeds`.

    `kept` is how many of the networks that were found under FLOPs keep the milliseconds; those found under milliseconds
    all do. Beside them is the best network that there is.

    Raises:
        UserError: a missing table, or a space that is not NAS-Bench-201.
    """
    if config.space != "nasbench201":
        raise UserError(f"HW-NAS-Bench measured the space nasbench201, not {config.space!r}")
    rows = []
    for target in targets:
        limits = device_limits(target, config.dataset, share, milliseconds)
        by_latency = replace(config, target=target, max_latency_ms=limits.latency)
        found = _found(by_latency, seeds, out / target / "latency", run)
        row: dict[str, Any] = {
            "device": target,
            "limit [ms]": round(limits.latency, 2),
            "within ms [%]": mean_and_deviation(limits.table["accuracy"][found].to_numpy()),
            "best within ms [%]": f"{limits.best:.2f}",
            "limit [M FLOPs]": "-" if limits.flops is None else f"{limits.flops:.1f}",
            "within FLOPs [%]": "-",
            "kept": "-",
            "best within both [%]": "-" if limits.best_by_flops is None else f"{limits.best_by_flops:.2f}",
        }
        if limits.flops is not None:
            by_flops = _found(replace(config, max_flops=limits.flops), seeds, out / target / "flops", run)
            kept = int((limits.table["latency"].reindex(by_flops) <= limits.latency).sum())
            accuracies = limits.table["accuracy"].reindex(by_flops).dropna()
            row |= {"within FLOPs [%]": mean_and_deviation(accuracies.to_numpy()), "kept": f"{kept} of {len(by_flops)}"}
        rows.append(row)
        say(f"{len(rows)} of {len(targets)} devices done")
    return pd.DataFrame(rows)


def _found(config: SearchConfig, seeds: Sequence[int], out: AnyPath, run: RunSearch) -> list[str]:
    results: list[SearchResult] = []
    for seed in seeds:
        search = Search.of(replace(config, seed=seed))
        results.append(run_or_read(search, out / f"seed{seed}", run).result)
    return [result.best.arch for result in results]
