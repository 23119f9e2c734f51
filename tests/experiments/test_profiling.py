"""Timing the ops of a space: what is timed, and that it adds up. Not how long it takes."""

import dataclasses
import itertools
import logging
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from choice_networks import ConvNet

import zcpt_ray as zc
from zcpt_ray.arch import PartialArch
from zcpt_ray.configs import SearchConfig
from zcpt_ray.engine import timing
from zcpt_ray.engine.ops import ReLUConvBN
from zcpt_ray.engine.timing import Latency, time_in_turn
from zcpt_ray.errors import UserError
from zcpt_ray.experiments import op_timing, profiling, stopwatch
from zcpt_ray.experiments.latency_limits import conditions_of, measured_here
from zcpt_ray.experiments.profiling import check_prediction, profile_space
from zcpt_ray.experiments.stopwatch import Conditions, Stopwatch
from zcpt_ray.spaces import SPACES
from zcpt_ray.spaces.toy_chain import ToyChain

CONDITIONS = Conditions((3, 8, 8), 10)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(op_timing, "FEWEST_ROUNDS", 3)
    monkeypatch.setattr(stopwatch, "FEWEST_ROUNDS", 3)
    monkeypatch.setattr(timing, "FEWEST_ROUNDS", 3)
    monkeypatch.setattr(timing, "MOST_ROUNDS", 5)
    monkeypatch.setattr(profiling, "CHECKED", 12)


def test_each_runs_twice_in_turn_and_the_second_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    clock = itertools.count()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(clock)))
    taken = time_in_turn([lambda: calls.append("a"), lambda: calls.append("b")], rounds=2)
    assert calls == ["a", "a", "b", "b"] * 4  # two rounds warm up
    assert taken.tolist() == [[1000.0, 1000.0]] * 2
    assert Latency.of([1.0, 2.0, 3.0]) == Latency(2.0, 1.0, 3.0)


@pytest.mark.parametrize("name", ["toy-chain-2", "darts-small", "nasbench1shot1-1"])
def test_a_profile_has_every_op(name: str, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    space, lines = SPACES[name], list[str]()
    if name == "darts-small":  # its network has twenty cells
        monkeypatch.setattr(space, "trained_form", partial(space.trained_form, channels=4, num_cells=3))
    state = torch.random.get_rng_state()
    found = profile_space(space, dataclasses.replace(CONDITIONS, image_shape=(3, 16, 16)), lines.append)
    assert torch.equal(torch.random.get_rng_state(), state)
    rest, *ops = zip(found.table["edge"], found.table["op"], strict=True)
    assert rest == ("", "")
    assert ops == [(edge.name, op) for edge in space.edges for op in edge.candidates]
    assert (found.table["low_ms"] <= found.table["high_ms"]).all()
    usage = found.usage(space)
    arch = space.arch(0) if name == "toy-chain-2" else None
    if arch:
        times = found.table.set_index(["edge", "op"])["latency_ms"]
        total = times["", ""] + sum(times[e.name, ops[0]] for e, ops in zip(space.edges, arch.kept, strict=True))
        assert usage.of(arch) == pytest.approx(total)
    check = found.about["check"]
    assert check["networks"] == 12
    assert 0 <= check["median_error"] <= check["p90_error"]
    assert re_said(found) in found.told()
    assert lines[-1] == "predictions checked on 12 of 12 whole networks"


def test_equal_predictions_rank_nothing(quick: None) -> None:
    """On a machine where no op can be told from the others."""
    space = SPACES["toy-chain-2"]
    found = profile_space(space, CONDITIONS)
    alike = dataclasses.replace(found, table=found.table.assign(latency_ms=1.0))
    watch = Stopwatch(CONDITIONS, CONDITIONS.network(space, space.arch(0)))
    check = check_prediction(alike, space, watch, np.random.default_rng(0))
    assert check["spearman"] == 0
    assert "rank correlation 0.000" in dataclasses.replace(alike, about=alike.about | {"check": check}).told()


def test_options_that_do_not_run_apart(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Depths, widths and choices inside of others, on a machine where each module takes 1 ms."""
    space = zc.space_of(ConvNet)
    monkeypatch.setattr(stopwatch.Stopwatch, "pace", 1.0)
    monkeypatch.setattr(
        stopwatch.Stopwatch,
        "time",
        lambda self, nets: self.seen.append(1.0) or [len(list(net.modules())) for net in nets],
    )
    found = profile_space(space, dataclasses.replace(CONDITIONS, image_shape=(3, 32, 32)))
    assert found.about["check"]["p90_error"] < 1e-6
    times = found.table.set_index(["edge", "op"])["latency_ms"]
    assert set(times.index) == {("", "")} | {(edge.name, op) for edge in space.edges for op in edge.candidates}
    archs, usage = [space.arch(index) for index in range(space.num_archs)], found.usage(space)
    taken = [usage.of(arch) for arch in archs]
    summed = [times["", ""] + sum(times[space.edges[edge].name, op] for edge, op in space.used(arch)) for arch in archs]
    assert taken == pytest.approx(summed)
    assert usage.least(PartialArch.all_open(space.edges)) == pytest.approx(min(taken))


def test_shapes_that_differ_everywhere_have_no_profile() -> None:
    with pytest.raises(UserError, match="networks of space 'pit' differ in shape everywhere, so that no op has a time"):
        profile_space(SPACES["pit"], CONDITIONS)


def re_said(found: profiling.OpLatencies) -> str:
    return f"predictions of 12 other networks miss by {found.about['check']['median_error']:.1f} % (median)"


def test_an_op_that_takes_longer_is_seen(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """One op takes 5 ms, which is far more than all others take, by a clock that other work does not disturb: each
    layer of a network advances it by 0.05 ms, and asking it by next to nothing.
    """
    now = 0.0

    def clock(seconds: float = 1e-9) -> float:
        nonlocal now
        now += seconds
        return now

    def layer_runs(*_: object) -> None:
        clock(5e-5)

    def slow_layer_runs(*_: object) -> None:
        clock(0.005)

    space = ToyChain(2)
    build = space.trained_form

    def with_hooks(*arguments: object, **options: object) -> torch.nn.Module:
        net = build(*arguments, **options)
        blocks = [module for module in net.modules() if isinstance(module, ReLUConvBN)]
        slow = [block.conv for block in blocks if block.conv.kernel_size == (3, 3)]
        for module in net.modules():
            if not list(module.children()):
                module.register_forward_hook(slow_layer_runs if module in slow else layer_runs)
        return net

    monkeypatch.setattr(timing.time, "perf_counter", clock)
    monkeypatch.setattr(space, "trained_form", with_hooks)
    table = profile_space(space, CONDITIONS).table.set_index(["edge", "op"])["latency_ms"]
    for edge in space.edges:
        assert 4 < table[edge.name, "nor_conv_3x3"] < 12
        assert table[edge.name, "nor_conv_1x1"] < 2.5


def test_the_profile_of_this_machine_is_made_once(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("ZCPT_CACHE", str(tmp_path))
    config = SearchConfig(space="toy-chain-2", dataset="digits", max_latency_ms=50)
    one, again = measured_here(config), measured_here(config)
    assert one == again
    assert one.device_table
    assert caplog.text.count("time the ops of toy-chain-2 on this machine, once") == 1
    assert conditions_of(Path(one.device_table)) == Conditions((3, 32, 32), 10)
    assert measured_here(SearchConfig()).device_table is None
    monkeypatch.setattr("zcpt_ray.experiments.latency_limits.cpu_name", lambda: "another")
    assert conditions_of(Path(one.device_table)) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"threads": 0}, "threads must be at least 1, got 0"), ({"runtime": "tvm"}, "unknown runtime 'tvm'; choose")],
)
def test_conditions_that_cannot_be(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(CONDITIONS, **changes)


@pytest.mark.slow
def test_ops_by_onnxruntime(quick: None) -> None:
    pytest.importorskip("onnxruntime")
    space = ToyChain(2)
    found = profile_space(space, dataclasses.replace(CONDITIONS, image_shape=(3, 32, 32), runtime="onnxruntime"))
    times = found.table.set_index(["edge", "op"])["latency_ms"]
    for edge in space.edges:
        assert times[edge.name, "nor_conv_3x3"] > times[edge.name, "skip_connect"]
