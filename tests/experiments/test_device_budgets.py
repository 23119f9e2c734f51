"""Limits of milliseconds and of FLOPs on the devices of HW-NAS-Bench."""

from pathlib import Path

import pytest

from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.device_budgets import compare_budgets, device_limits
from zcpt_ray.search.local import run_search_locally


@pytest.mark.data
def test_the_limits_of_devices() -> None:
    """On a Raspberry Pi 4 at 19.3 ms the best network has 92.50 %."""
    limits = device_limits("raspi4", "cifar10", 0.3, milliseconds=19.3)
    shared = device_limits("raspi4", "cifar10", 0.3)
    assert (shared.table["latency"] <= shared.latency).mean() == pytest.approx(0.3, abs=1e-3)
    assert limits.best == pytest.approx(92.5, abs=0.1)
    assert limits.flops is not None
    within = limits.table[limits.table["flops"] <= limits.flops]
    assert (within["latency"] <= limits.latency).mean() >= 0.9
    more = limits.table[limits.table["flops"] <= limits.flops + 0.01]
    assert len(more) == len(within) or (more["latency"] <= limits.latency).mean() < 0.9
    assert device_limits("edgetpu", "cifar10", 0.3).flops is None


@pytest.mark.data
def test_limits_are_compared(tmp_path: Path) -> None:
    config = SearchConfig(dataset="cifar10", proxy="params", num_proposals=1, num_validations=1, batch_size=4)
    run = lambda search, directory: run_search_locally(search, directory)  # noqa: E731
    (row,) = compare_budgets(config, ["raspi4"], [0], 0.3, tmp_path, run).to_dict("records")
    limits = device_limits("raspi4", "cifar10", 0.3)
    assert float(row["within ms [%]"]) <= float(row["best within ms [%]"]) == round(limits.best, 2)
    assert row["kept"] in ("0 of 1", "1 of 1")


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--share must lie between 0 and 1, got 1"):
        device_limits("raspi4", "cifar10", 1.0)
    with pytest.raises(UserError, match="measured the space nasbench201, not 'darts'"):
        compare_budgets(SearchConfig(space="darts"), ["raspi4"], [0], 0.3, tmp_path, run_search_locally)
