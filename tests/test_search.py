import contextlib
import dataclasses
import math
from pathlib import Path

import pytest
import torch

from zcpt_ray import proxies
from zcpt_ray.configs import SearchConfig, smoke
from zcpt_ray.data import local_device
from zcpt_ray.errors import UserError
from zcpt_ray.proxies import Proxy
from zcpt_ray.records import Progress, RunStore
from zcpt_ray.search import SearchData, load_data, propose, resolve, run_search_locally, validate

CONFIG = SearchConfig(space="toy-chain-2", num_proposals=3, num_validations=12, batch_size=8)


def test_a_search_repeats_itself() -> None:
    one, two = (run_search_locally(CONFIG, RunStore(CONFIG)) for _ in range(2))
    assert dataclasses.replace(one, seconds={}) == dataclasses.replace(two, seconds={})
    assert sum(candidate.times_proposed for candidate in one.candidates) == 3
    assert one.num_evaluations == 3 * 2 * 4 + 12 * len(one.candidates)


def test_a_search_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Interrupted at every point in turn, with nothing done twice."""

    class InterruptError(Exception):
        pass

    done: list[Progress] = []

    def stop_soon(progress: Progress) -> None:
        if done and progress == done[-1]:
            return
        done.append(progress)
        raise InterruptError

    result = None
    while result is None:
        with contextlib.suppress(InterruptError):
            result = run_search_locally(CONFIG, RunStore(CONFIG, tmp_path), stop_soon)
    assert len(set(done)) == len(done) >= 6
    whole = run_search_locally(CONFIG, RunStore(CONFIG))
    assert dataclasses.replace(result, seconds={}) == dataclasses.replace(whole, seconds={})


def test_proposals_share_weights_and_differ_in_minibatches(data: SearchData) -> None:
    one, same, other = (propose(CONFIG, data, index) for index in (0, 0, 1))
    assert one.decisions == same.decisions
    assert one.decisions != other.decisions
    assert one.num_evaluations == 2 * 4


def test_only_who_reads_the_data_set_knows_it(data: SearchData) -> None:
    """A worker gets the images, and may lie on a machine without the folder that they came from."""
    config = dataclasses.replace(CONFIG, dataset="./not/here")
    assert propose(config, data, 0).decisions == propose(CONFIG, data, 0).decisions
    assert validate(config, data, "nor_conv_3x3>skip_connect", range(1)).measures
    for read in (resolve, load_data):
        with pytest.raises(UserError, match=r"unknown dataset './not/here'; choose from digits, "):
            read(config)


@pytest.mark.parametrize("order", ["fixed", "random", "global-op-iter", "global-edge-once"])
@pytest.mark.parametrize("scoring", ["zc-pt", "disc-zc"])
def test_decisions_keep_the_best_op_of_their_edge(order: str, scoring: str, data: SearchData) -> None:
    config = dataclasses.replace(CONFIG, space="nasbench201", order=order, scoring=scoring)
    proposal = propose(config, data, 0)
    assert sorted(d.edge for d in proposal.decisions) == sorted(edge.name for edge in resolve(config).space.edges)
    for decision in proposal.decisions:
        assert decision.scores[decision.kept[0]] == max(decision.scores.values())
    if order == "fixed":
        assert [d.edge for d in proposal.decisions] == [edge.name for edge in resolve(config).space.edges]


def test_validation_slices_add_up(data: SearchData) -> None:
    arch = "nor_conv_3x3>skip_connect"
    whole = validate(CONFIG, data, arch, range(6)).measures
    parts = validate(CONFIG, data, arch, range(0, 4)).measures | validate(CONFIG, data, arch, range(4, 6)).measures
    assert whole == parts
    assert len(set(whole.values())) == 6


@pytest.mark.parametrize("field", ["space", "dataset", "proxy", "scoring", "order", "method"])
def test_unknown_names_list_the_known_ones(field: str) -> None:
    with pytest.raises(UserError, match=f"unknown {field} 'nonsense'; choose from .+, "):
        resolve(dataclasses.replace(CONFIG, **{field: "nonsense"}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_proposals": 0}, "num_proposals must be at least 1, got 0"),
        ({"num_validations": -1}, "num_validations must be at least 0, got -1"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"device": "tpu"}, "unknown device 'tpu'; choose from auto, cpu, cuda"),
    ],
)
def test_numbers_out_of_range(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(CONFIG, **changes)


def test_a_batch_must_fit_the_data() -> None:
    with pytest.raises(UserError, match="batch_size 5000 is more than the 719 images of digits's search half"):
        load_data(dataclasses.replace(CONFIG, batch_size=5000))


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="'cuda' was asked for, but torch sees no GPU"):
        local_device("cuda")
    assert local_device("auto") == "cpu"


def test_nan_stops_the_search_and_loses_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A proxy that breaks in the second proposal: the first one is on disk, and a mended proxy goes on from there."""
    calls = []

    def score(net: object, batch: object) -> float:
        calls.append(net)
        return math.nan if len(calls) == 12 else float(len(calls) % 5)

    config = dataclasses.replace(CONFIG, proxy="breaking")
    monkeypatch.setitem(proxies.PROXIES, "breaking", Proxy("breaking", (score,), "test"))
    with pytest.raises(UserError, match="'breaking' gave NaN"):
        run_search_locally(config, RunStore(config, tmp_path))
    assert RunStore(config, tmp_path).missing_proposals() == [1, 2]
    assert run_search_locally(config, RunStore(config, tmp_path)).best.score > 0


def test_without_validation_the_most_proposed_wins() -> None:
    config = dataclasses.replace(CONFIG, num_validations=0)
    result = run_search_locally(config, RunStore(config))
    assert result.best.times_proposed == max(c.times_proposed for c in result.candidates)
    assert result.best.score == 0


def test_smoke_is_a_small_search() -> None:
    small = smoke(SearchConfig(order="fixed"))
    assert (small.order, small.num_proposals, small.num_validations, small.batch_size) == ("fixed", 2, 3, 4)
    assert smoke(SearchConfig(num_proposals=1, num_validations=0)).num_validations == 0


@pytest.mark.data
def test_a_search_on_cifar10_finds_a_good_network() -> None:
    from zcpt_ray.benchmarks import load_benchmark

    config = SearchConfig(dataset="cifar10", num_proposals=1, num_validations=0, batch_size=64)
    found = load_benchmark("nasbench201").query(run_search_locally(config, RunStore(config)).best.arch)
    assert found["cifar10"]["rank"] < 3000


@pytest.mark.parametrize("method", ["discretize", "random", "evolution", "max-param"])
@pytest.mark.parametrize("budget", [{"max_params": 0.005}, {"max_flops": 4.0}, {"max_params": 0.005, "max_flops": 4.0}])
def test_every_proposal_keeps_within_the_budget(method: str, budget: dict[str, float]) -> None:
    """In a toy chain of 3 layers two convolutions 3x3 are too much: 5,338 parameters and 5.2 million multiply-adds at least."""
    config = dataclasses.replace(
        CONFIG, space="toy-chain-3", method=method, num_proposals=6, num_validations=1, evaluations=60, **budget
    )
    result = run_search_locally(config, RunStore(config))
    for candidate in result.candidates:
        assert candidate.params <= 5000
        assert candidate.flops <= 4_000_000
        assert candidate.arch.count("nor_conv_3x3") <= 1
    assert any("nor_conv_3x3" in candidate.arch for candidate in result.candidates)
    assert sum(candidate.times_proposed for candidate in result.candidates) == 6


def test_without_a_budget_more_is_proposed() -> None:
    config = dataclasses.replace(CONFIG, space="toy-chain-3", method="max-param", num_validations=0)
    assert run_search_locally(config, RunStore(config)).best.params == 3 * 2336 + 464 + 32 + 170


def test_a_budget_that_nothing_fits() -> None:
    with pytest.raises(UserError, match=r"nothing in 'toy-chain-2' fits the budget: the smallest network has 0.001 M parameters"):
        load_data(dataclasses.replace(CONFIG, max_params=0.0001))


def test_a_method_without_a_budget() -> None:
    with pytest.raises(UserError, match="'prune' keeps no budget"):
        resolve(dataclasses.replace(CONFIG, method="prune", max_params=1))


def test_a_proxy_that_needs_a_thin_form() -> None:
    with pytest.raises(UserError, match="'tenas' does not serve space 'darts': it has no thin form"):
        resolve(SearchConfig(space="darts", proxy="tenas"))
