"""Limits of milliseconds on this machine: the profile that a search keeps them by, and what is measured at its end."""

import dataclasses
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from zcpt_ray.benchmarks.latencies import read_profile
from zcpt_ray.configs import SearchConfig
from zcpt_ray.datasets import find_dataset
from zcpt_ray.devices import cpu_name
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.profiling import profile_space
from zcpt_ray.experiments.stopwatch import TOGETHER, Conditions, measure_networks
from zcpt_ray.identity import digest
from zcpt_ray.registry import own_content
from zcpt_ray.resources import MEASURED_LATENCY
from zcpt_ray.search.records import ScoredCandidate, SearchResult
from zcpt_ray.spaces import Space, find_space
from zcpt_ray.spaces.costs import Costs
from zcpt_ray.storage.paths import AnyPath, any_path, cache_directory
from zcpt_ray.versions import versions

log = logging.getLogger(__name__)
CONFIRMED = 10
"""Candidates that are measured at the end of a search."""
CONDITIONS = ("num_classes", "batch_size", "threads", "runtime")


def kept_profile(space: Space, conditions: Conditions, report: Callable[[str], None]) -> Path:
    """The file with the profile of this machine, in the user's cache; made first if it is not there.

    Raises:
        UserError: as `profile_space`.
    """
    asked = {"space": space.name, "own": own_content(space), **vars(conditions), "cpu": cpu_name()}
    name = f"{Path(space.name).stem}-{conditions.image_shape[-1]}px-{digest(asked | {'versions': versions()})}.parquet"
    path = cache_directory() / "profiles" / name
    if not path.exists():
        log.info("time the ops of %s on this machine, once: -> %s", space.name, path)
        found = profile_space(space, conditions, report)
        log.info(found.told())
        found.save(path)
    return path


def measured_here(config: SearchConfig, report: Callable[[str], None] = lambda _: None) -> SearchConfig:
    """`config` with a table of this machine's latencies, if it limits latency and names no device.

    Raises:
        UserError: missing data, or as `profile_space`.
    """
    if config.max_latency_ms is None or config.target or config.device_table:
        return config
    images = find_dataset(config.dataset, config.images).load("train")
    conditions = Conditions(images.image_shape, images.num_classes)
    return replace(config, device_table=str(kept_profile(find_space(config.space), conditions, report)))


def confirmed(result: SearchResult, space: Space) -> SearchResult:
    """`result` without candidates that take longer than its limit on this machine, where the limit is one of it.

    The first `CONFIRMED` that keep it are measured whole; those behind them are not.

    Raises:
        UserError: none keeps it.
    """
    limit, table = result.config.max_latency_ms, result.config.device_table
    conditions = conditions_of(any_path(table)) if limit is not None and table else None
    if limit is None or conditions is None:
        return result
    kept: list[ScoredCandidate] = []
    fastest, left = math.inf, list(result.candidates)
    while left and len(kept) < CONFIRMED:
        some, left = left[:TOGETHER], left[TOGETHER:]
        found = measure_networks(space, [space.decode(candidate.arch) for candidate in some], conditions)
        for candidate, latency in zip(some, found, strict=True):
            fastest = min(fastest, latency.median_ms)
            if latency.median_ms <= limit:
                measured = {**candidate.resources, MEASURED_LATENCY.name: latency.median_ms}
                kept.append(replace(candidate, resources=measured))
    if not kept:
        raise UserError(
            f"none of the {len(result.candidates)} candidates keeps {limit:g} ms when it is measured: the fastest takes"
            f" {fastest:.2f} ms; more --num-proposals, or a higher limit, may find one"
        )
    if dropped := len(result.candidates) - len(kept) - len(left):
        log.info(
            "%d of %d candidates take longer than %g ms and are not ranked", dropped, len(result.candidates), limit
        )
    costs = Costs(space, conditions.num_classes, conditions.image_shape).networks(space.decode(kept[0].arch))
    by_use = {name: dataclasses.asdict(cost) for name, cost in costs.items()}
    return replace(result, best=kept[0], candidates=(*kept, *left), costs=by_use)


def conditions_of(table: AnyPath) -> Conditions | None:
    """Those that a profile was made under, if that was on this machine's kind of CPU."""
    try:
        about = read_profile(table).about
    except UserError:  # it has whole networks
        return None
    if about.get("cpu") != cpu_name():
        return None
    return Conditions(tuple(about["image_shape"]), **{name: about[name] for name in CONDITIONS})
