"""What is known of proxies per space: the automatic choice, and the warning."""

import pytest

import zcpt_ray as zc
from zcpt_ray.proxies import find_proxy
from zcpt_ray.proxies.evidence import best_proxy, doubt, measured_correlations
from zcpt_ray.spaces import find_space


def test_every_row_is_of_known_things() -> None:
    rows = measured_correlations()
    assert len({(row.space, row.task, row.proxy) for row in rows}) == len(rows)
    for row in rows:
        find_space(row.space)
        find_proxy(row.proxy)
        assert -1 <= row.low <= row.spearman <= row.high <= 1


def test_auto_is_resolved_before_a_run_is_named() -> None:
    found = zc.Search.of(zc.SearchConfig(space="nasbench-macro", proxy="auto"))
    assert found.config.proxy == found.proxy.name == best_proxy("nasbench-macro", "") == "nwot"
    assert zc.Search.of(zc.SearchConfig(proxy="auto")).proxy.name == "nwot"
    assert zc.Search.of(zc.SearchConfig(space="toy-chain-2", proxy="auto")).proxy.name == zc.SearchConfig.proxy


@pytest.mark.parametrize(
    ("space", "proxy", "warns"),
    [
        ("nasbench101", "nwot", True),
        ("nasbench101", "params", False),
        ("transnas101-macro", "snip", True),
        ("transnas101-micro", "nwot", False),
        ("nasbench201", "nwot-released", False),
        ("toy-chain-2", "snip", False),
    ],
)
def test_what_counting_parameters_does_better(space: str, proxy: str, warns: bool) -> None:
    line = doubt(space, proxy)
    assert bool(line) == warns
    if warns:
        assert "less well than counting their parameters" in line
        assert "--proxy auto takes" in line
