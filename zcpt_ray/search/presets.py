"""Searches by name: settings that were found to work, see docs/results.md."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from zcpt_ray.configs import SearchConfig
from zcpt_ray.registry import lookup

SEARCH_PRESETS: dict[str, Mapping[str, Any]] = {
    "recommended": {
        "proxy": "nwot",
        "validation_proxy": "nwot+zen_score",
        "validation_weights": 2,
        "aggregation": "mean-rank",
        "num_proposals": 10,
        "num_validations": 2,
        "neighbours": 2,
        "batch_size": 32,
    },
}
"""Fields of a configuration, by the name of the preset."""


def with_preset(config: SearchConfig, preset: str, given: Collection[str] = ()) -> SearchConfig:
    """`config` with the fields of a preset ("" is none) that were not `given`, and are not other than by default.

    Raises:
        UserError: an unknown preset.
    """
    if not preset:
        return config
    default, wanted = SearchConfig(), lookup(SEARCH_PRESETS, preset, "preset")
    open_fields = [name for name in wanted if name not in given and getattr(config, name) == getattr(default, name)]
    return replace(config, **{name: wanted[name] for name in open_fields})
