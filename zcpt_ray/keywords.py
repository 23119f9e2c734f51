"""The keyword arguments of the Python API, with their types: the fields of configurations.

`space` is a name, a Python file, or a space itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypedDict

from zcpt_ray.configs import ImageOptions, SearchConfig, SupernetTraining


class SearchFields(TypedDict, total=False):
    """The fields of `SearchConfig`, all optional."""

    space: Any
    dataset: str | Path
    proxy: str
    aggregation: str
    scope: str
    scoring: str
    confidence: float
    method: str
    order: str
    lanes: str
    num_proposals: int
    proposal_weights: int
    num_validations: int
    validation: str
    error: float
    validation_proxy: str
    validation_weights: int
    neighbours: int
    finalists: int
    finalist_epochs: int
    finalist_source: str
    finalist_images: int
    finalist_early_stopping: bool
    batch_size: int
    seed: int
    evaluations: int
    max_params: float | None
    max_flops: float | None
    max_memory_mb: float | None
    max_file_mb: float | None
    max_latency_ms: float | None
    max_energy_mj: float | None
    max: Sequence[str] | Mapping[str, float]
    target: str
    device_table: str | Path | None
    device: str
    training: SupernetTraining
    images: ImageOptions


class RankFields(TypedDict, total=False):
    """The fields of `SearchConfig` that scores end to end depend on, all optional."""

    space: Any
    dataset: str | Path
    aggregation: str
    num_validations: int
    batch_size: int
    seed: int
    device: str
    images: ImageOptions


SEARCH_ONLY = (
    *({option.name for option in fields(SearchConfig)} - {"proxy", "training", *RankFields.__annotations__}),
    *(training.name for training in fields(SupernetTraining)),
)
"""Fields of a search that scores end to end do not depend on."""


class TrainFields(TypedDict, total=False):
    """The fields of `TrainConfig` but the architecture, all optional."""

    space: Any
    dataset: str | Path
    recipe: str
    seed: int
    epochs: int | None
    batch_size: int | None
    channels: int | None
    num_cells: int | None
    max_images: int
    precision: str
    compile: bool
    device: str
    ema: float
    mixup: float
    validation_share: float
    patience: int
    loader_workers: int
    images: ImageOptions
