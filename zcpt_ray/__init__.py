"""Zero-cost neural architecture search on Ray: `import zcpt_ray as zc`.

Names are imported when they are first used, so that `import zcpt_ray` takes no time.
"""

from importlib import import_module, metadata
from inspect import signature
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zcpt_ray.api import (
        ablation,
        correlate,
        fit,
        load_result,
        rank,
        report,
        score,
        search,
        train,
    )
    from zcpt_ray.arch import ArchSpec, Edge, PartialArch
    from zcpt_ray.benchmarks.costs_in_table import costs
    from zcpt_ray.configs import ImageOptions, SearchConfig, SupernetTraining
    from zcpt_ray.datasets import image_folder
    from zcpt_ray.datasets.base import Dataset
    from zcpt_ray.datasets.loading import LoadedDataset, load_dataset
    from zcpt_ray.datasets.minibatches import Batch, ImageSet
    from zcpt_ray.engine.cells import Cell
    from zcpt_ray.engine.choices import Choice, Repeat, Width
    from zcpt_ray.engine.layers import Layer
    from zcpt_ray.engine.ops import CandidateOp, LinearForm, LinearOp
    from zcpt_ray.engine.supernet import Supernet
    from zcpt_ray.errors import UserError
    from zcpt_ray.fit_config import FitConfig
    from zcpt_ray.plugins import load_plugin
    from zcpt_ray.proxies import Proxy, aggregate, find_proxy
    from zcpt_ray.registration import (
        register_dataset,
        register_method,
        register_order,
        register_proxy,
        register_scoring,
        register_space,
    )
    from zcpt_ray.result import Result
    from zcpt_ray.search.orders import Order
    from zcpt_ray.search.proposing import Method
    from zcpt_ray.search.records import SearchResult
    from zcpt_ray.search.resolved import Search
    from zcpt_ray.search.scoring import Scoring
    from zcpt_ray.spaces import Space, find_space
    from zcpt_ray.spaces.module_space import space_of
    from zcpt_ray.train_config import TrainConfig
    from zcpt_ray.training.export import export_model
    from zcpt_ray.training.model_file import TrainedModel, load_model
    from zcpt_ray.training.records import TrainResult

_HOMES: dict[str, tuple[str, ...]] = {
    "api": (
        "ablation",
        "correlate",
        "fit",
        "load_result",
        "rank",
        "report",
        "score",
        "train",
    ),
    "arch": ("ArchSpec", "Edge", "PartialArch"),
    "benchmarks.costs_in_table": ("costs",),
    "configs": ("ImageOptions", "SearchConfig", "SupernetTraining"),
    "train_config": ("TrainConfig",),
    "datasets": ("image_folder",),
    "datasets.base": ("Dataset",),
    "datasets.loading": ("LoadedDataset", "load_dataset"),
    "datasets.minibatches": ("Batch", "ImageSet"),
    "engine.cells": ("Cell",),
    "engine.choices": ("Choice", "Repeat", "Width"),
    "engine.layers": ("Layer",),
    "engine.ops": ("CandidateOp", "LinearForm", "LinearOp"),
    "engine.supernet": ("Supernet",),
    "errors": ("UserError",),
    "fit_config": ("FitConfig",),
    "plugins": ("load_plugin",),
    "proxies": ("Proxy", "aggregate", "find_proxy"),
    "registration": (
        "register_dataset",
        "register_method",
        "register_order",
        "register_proxy",
        "register_scoring",
        "register_space",
    ),
    "result": ("Result",),
    "search.proposing": ("Method",),
    "search.orders": ("Order",),
    "search.records": ("SearchResult",),
    "search.resolved": ("Search",),
    "search.scoring": ("Scoring",),
    "spaces": ("Space", "find_space"),
    "spaces.module_space": ("space_of",),
    "training.export": ("export_model",),
    "training.model_file": ("TrainedModel", "load_model"),
    "training.records": ("TrainResult",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__version__ = metadata.version("zcpt_ray")
__all__ = ["__version__", "search", *_HOME]


class _SearchPackage(ModuleType):
    """The package `zcpt_ray.search`, which can be called as well: `zc.search(...)` is `zcpt_ray.api.search`."""

    def __call__(self, *arguments: Any, **config: Any) -> Any:
        return _search_function()(*arguments, **config)

    @property
    def __signature__(self) -> Any:
        """For `help` and notebooks: that of the function."""
        return signature(_search_function())

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        """That of the function too."""
        return str(_search_function().__doc__)


def _search_function() -> Any:
    return import_module("zcpt_ray.api").search


import_module("zcpt_ray.search").__class__ = _SearchPackage  # else the package would stand in the function's place


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
