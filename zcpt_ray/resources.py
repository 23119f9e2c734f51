"""What networks take up, by name: what a search can limit, and what tables and reports show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zcpt_ray.errors import UserError


@dataclass(frozen=True)
class Resource:
    """Something that a network takes up for one image, in float32.

    `field` of a `SearchConfig` limits it. `of_device`: how much it is depends on the device. How it is found out, for a
    whole network and at least for a partly decided one, says `search.resources`.
    """

    name: str
    title: str
    unit: str
    field: str
    of_device: bool = False

    @property
    def column(self) -> str:
        """What tables call it."""
        return f"{self.title} [{self.unit}]"

    @property
    def units(self) -> str:
        """What it is counted in, for messages."""
        return "millions" if self.unit == "M" else self.unit


RESOURCES = {
    resource.name: resource
    for resource in (
        Resource("params_m", "params", "M", "max_params"),
        Resource("flops_m", "FLOPs", "M", "max_flops"),
        Resource("memory_mb", "memory", "MB", "max_memory_mb"),
        Resource("file_mb", "file", "MB", "max_file_mb"),
        Resource("latency_ms", "latency", "ms", "max_latency_ms", of_device=True),
        Resource("energy_mj", "energy", "mJ", "max_energy_mj", of_device=True),
    )
}


MEASURED_LATENCY = Resource("measured_latency_ms", "measured latency", "ms", "", of_device=True)
"""The latency of a whole network on this machine, once it is known; `latency_ms` is then what was predicted."""


def column_of(name: str) -> str:
    """What tables call a resource."""
    return {**RESOURCES, MEASURED_LATENCY.name: MEASURED_LATENCY}[name].column


BUDGET_FIELDS = (*(resource.field for resource in RESOURCES.values()), "max", "target", "device_table")
"""All of a `SearchConfig` that is about budgets."""


def named_limits(given: Sequence[str] | Mapping[str, float]) -> dict[str, float]:
    """Limits by the name of the resource, from texts as `latency_ms=8`, or as they are.

    Raises:
        UserError: no such resource, or no number.
    """
    pairs = given.items() if isinstance(given, Mapping) else [str(text).partition("=")[::2] for text in given]
    found = {}
    for name, limit in pairs:
        if name not in RESOURCES:
            raise UserError(f"--max takes NAME=NUMBER; it knows no {name!r}, but {', '.join(RESOURCES)}")
        try:
            found[name] = float(limit)
        except (TypeError, ValueError):
            raise UserError(f"--max takes NAME=NUMBER, as latency_ms=8, got {name}={limit}") from None
    return found
