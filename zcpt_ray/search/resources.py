"""How each resource that a search can limit is found out."""

import logging
from collections.abc import Callable, Mapping

from zcpt_ray.arch import PartialArch
from zcpt_ray.benchmarks.latencies import device_table, error_of
from zcpt_ray.benchmarks.measured_devices import target_usage
from zcpt_ray.datasets.minibatches import ImageSet
from zcpt_ray.errors import UserError
from zcpt_ray.resources import RESOURCES
from zcpt_ray.search.budgets import UNLIMITED, Budget
from zcpt_ray.search.resolved import Search
from zcpt_ray.spaces.costs import Costs, PeakMemory, Usage
from zcpt_ray.storage.paths import any_path

log = logging.getLogger(__name__)


def costs_on(search: Search, images: ImageSet) -> Costs:
    """What the architectures of the search's space cost on images of this size and so many classes."""
    return Costs(search.space, images.num_classes, images.image_shape)


def budget_on(search: Search, images: ImageSet) -> Budget:
    """The limits of the search's configuration, and how much architectures take up; without any, `UNLIMITED`.

    Raises:
        UserError: nothing in the space fits, or the table of a device is missing, damaged or of something else.
    """
    config, limits = search.config, search.config.limits
    if not limits:
        return UNLIMITED
    budget = Budget(limits, {name: USAGES[name](search, images) for name in limits})
    if config.device_table and (missed := error_of(any_path(config.device_table))):
        kept = limits["latency_ms"] / (1 + missed / 100)
        log.info("networks may be %.1f %% slower than predicted: proposals keep %.3g ms", missed, kept)
        budget = Budget({**limits, "latency_ms": kept}, budget.usages)
    everything = PartialArch.all_open(search.space.edges)
    least = {name: usage.least(everything) for name, usage in budget.usages.items()}
    if too_much := [RESOURCES[name] for name, limit in budget.limits.items() if least[name] > limit]:
        asked = ", ".join(f"{found.field} is {limits[found.name]:g}" for found in too_much)
        smallest = " and ".join(said(name, amount) for name, amount in least.items())
        raise UserError(
            f"nothing in {config.space!r} fits the budget: the smallest network has {smallest}, but {asked}"
        )
    return budget


def said(name: str, amount: float) -> str:
    """An amount of a resource, in words."""
    resource = RESOURCES[name]
    words = {"params_m": "parameters", "flops_m": "multiply-adds"}
    return f"{amount:.3f} {resource.unit} {words.get(name, f'({resource.title})')}"


def _device(name: str) -> Callable[[Search, ImageSet], Usage]:
    def usage(search: Search, images: ImageSet) -> Usage:
        config = search.config
        if config.target:
            return target_usage(name, config.target, search.space, config.dataset, images.image_shape[-1])
        assert config.device_table
        return device_table(config.device_table, search.space)

    return usage


USAGES: Mapping[str, Callable[[Search, ImageSet], Usage]] = {
    "params_m": lambda search, images: costs_on(search, images).params_m,
    "flops_m": lambda search, images: costs_on(search, images).flops_m,
    "memory_mb": lambda search, images: PeakMemory(search.space, images.num_classes, images.image_shape),
    "file_mb": lambda search, images: costs_on(search, images).file_mb,
    "latency_ms": _device("latency_ms"),
    "energy_mj": _device("energy_mj"),
}
"""By the name of each of `RESOURCES`."""
