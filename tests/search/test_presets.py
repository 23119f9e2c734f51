"""Searches by name."""

import dataclasses
from pathlib import Path

import pytest

import zcpt_ray as zc
from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.search.presets import SEARCH_PRESETS, with_preset
from zcpt_ray.search.resolved import Search


@pytest.mark.parametrize("preset", SEARCH_PRESETS)
def test_a_preset_is_a_search(preset: str) -> None:
    config = with_preset(SearchConfig(), preset)
    assert {name: getattr(config, name) for name in SEARCH_PRESETS[preset]} == dict(SEARCH_PRESETS[preset])
    assert Search.of(config).config == config


def test_what_is_given_holds() -> None:
    default = SearchConfig().batch_size
    assert with_preset(SearchConfig(), "recommended", {"batch_size"}).batch_size == default
    assert with_preset(SearchConfig(batch_size=17), "recommended").batch_size == 17
    assert with_preset(SearchConfig(), "") == SearchConfig()
    with pytest.raises(UserError, match="unknown preset 'best'; choose from recommended"):
        with_preset(SearchConfig(), "best")


def test_from_python(tmp_path: Path) -> None:
    small = {"space": "toy-chain-2", "num_proposals": 1, "batch_size": 8}
    result = zc.search(preset="recommended", ray=False, progress=False, out=tmp_path / "run", **small)  # type: ignore[arg-type]
    assert result.config == dataclasses.replace(with_preset(SearchConfig(**small), "recommended"))  # type: ignore[arg-type]
    assert len(result.candidates) == 7, "one proposal, and three neighbours of each of its two edges"
    assert {candidate.minibatches for candidate in result.candidates} == {2}


def test_an_aggregation_without_an_aggregate_is_refused() -> None:
    with pytest.raises(UserError, match="aggregation 'borda' is for several proxies joined by"):
        Search.of(SearchConfig(aggregation="borda"))
    Search.of(SearchConfig(aggregation="borda", validation_proxy="nwot+synflow"))
