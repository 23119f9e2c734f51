"""Limits of resources: how each is counted, and that searches keep them."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from zcpt_ray.arch import PartialArch
from zcpt_ray.benchmarks.latencies import ByArch, OpLatencies, device_table
from zcpt_ray.benchmarks.measured_devices import target_usage
from zcpt_ray.configs import SearchConfig
from zcpt_ray.devices import HW_NAS_TARGETS, TARGETS
from zcpt_ray.engine.activations import activation_bytes
from zcpt_ray.engine.timing import Latency
from zcpt_ray.errors import UserError
from zcpt_ray.experiments import latency_limits
from zcpt_ray.experiments.latency_limits import confirmed
from zcpt_ray.reports.html_report import report_page
from zcpt_ray.reports.run_folders import FoundRuns, FoundSearch
from zcpt_ray.reports.tables import PARETO_TITLE, pareto_table
from zcpt_ray.resources import RESOURCES
from zcpt_ray.search.budgets import Budget
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.methods import random_arch
from zcpt_ray.search.records import SearchResult
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.resources import USAGES
from zcpt_ray.spaces import SPACES
from zcpt_ray.spaces.costs import Costs, PeakMemory
from zcpt_ray.spaces.toy_chain import ToyChain

IMAGE = (3, 32, 32)
CHAIN = SPACES["toy-chain-2"]
CONFIG = SearchConfig(space="toy-chain-2", dataset="digits", batch_size=8, num_proposals=4, num_validations=2)


def milliseconds(text: str) -> float:
    """A made-up device: a convolution takes as long as it has weights."""
    return 1 + text.count("3x3") * 9 + text.count("1x1")


@pytest.fixture
def table(tmp_path: Path) -> str:
    """The latencies of all networks of the chain."""
    archs = [CHAIN.encode(CHAIN.arch(index)) for index in range(CHAIN.num_archs)]
    path = tmp_path / "device.parquet"
    pd.DataFrame({"arch": archs, "latency_ms": map(milliseconds, archs)}).to_parquet(path)
    return str(path)


@pytest.fixture
def hw_nas_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """A few rows as HW-NAS-Bench has them: one not measured, one whose output is constant."""
    space = SPACES["nasbench201"]
    archs = [space.encode(space.arch(index)) for index in (15_624, 12_345, 7_777, 0)]
    rows = pd.DataFrame({"arch": archs, "cifar10_raspi4_latency_ms": [20.0, 12.0, np.nan, 0.003]})
    (tmp_path / "tables").mkdir()
    rows.to_parquet(tmp_path / "tables/hw_nas_bench_nb201.parquet")
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    return rows


def test_limits_by_name_are_the_fields() -> None:
    by_name = SearchConfig(max=("params_m=0.5", "memory_mb=2"))
    assert by_name == SearchConfig(max_params=0.5, max_memory_mb=2.0)
    assert by_name == SearchConfig(max={"params_m": 0.5, "memory_mb": 2})
    assert by_name.limits == {"params_m": 0.5, "memory_mb": 2.0}
    assert set(USAGES) == set(RESOURCES)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max": ("watts=3",)}, "it knows no 'watts', but params_m, flops_m, memory_mb, file_mb, latency_ms, energy"),
        ({"max": ("params_m",)}, "--max takes NAME=NUMBER, as latency_ms=8, got params_m="),
        ({"max_latency_ms": -1}, "max_latency_ms must be a number of ms above 0, got -1"),
        ({"max_latency_ms": float("nan")}, "max_latency_ms must be a number of ms above 0, got nan"),
        ({"device": "raspi5"}, "unknown device 'raspi5'; choose from auto, cpu, cuda, xpu, mps, edgegpu, raspi4"),
        ({"target": "raspi4", "device_table": "x"}, "target 'raspi4' has a table of its own"),
    ],
)
def test_limits_that_cannot_be(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SearchConfig(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_latency_ms": 8}, "--max-latency-ms needs a device: --device edgegpu|raspi4"),
        ({"target": "raspi4"}, "are for a limit: give --max-latency-ms"),
        ({"method": "prune", "max_file_mb": 1}, "'prune' keeps no budget: leave out --max-file-mb"),
        ({"max_latency_ms": 8, "device_table": "none.parquet"}, "cannot read none.parquet: No such file"),
    ],
)
def test_limits_that_lack_something(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Search.of(dataclasses.replace(CONFIG, **fields))


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_is_no_device_to_compute_on(target: str) -> None:
    config = SearchConfig(device=target, max_latency_ms=5)
    assert (config.device, config.target) == ("auto", target)
    assert SearchConfig.from_dict(dataclasses.asdict(config)) == config


def test_the_file_holds_what_a_network_holds() -> None:
    space = SPACES["nasbench201"]
    costs, random = Costs(space, 10, IMAGE), np.random.default_rng(0)
    for _ in range(3):
        arch = random_arch(space, random)
        state = space.network(arch, 10, seed=0).state_dict()
        assert costs.file_mb.of(arch) * 1e6 == pytest.approx(sum(t.numel() * t.element_size() for t in state.values()))


def test_activations_by_hand() -> None:
    """Of two convolutions the second's output is alive beside the first's; the image is too."""
    with torch.device("meta"):
        net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 1))
    image, wide, narrow = (channels * 4 * 4 * 4 for channels in (3, 8, 4))
    assert activation_bytes(net, (3, 4, 4), [net[0], net[2]]) == (image + 2 * wide, {net[0]: wide, net[2]: narrow})


@pytest.mark.parametrize("name", ["nasbench201", "photos-small", "darts-small"])
def test_no_network_needs_less_memory_than_the_least(name: str) -> None:
    space, random = SPACES[name], np.random.default_rng(0)
    memory = PeakMemory(space, 10, IMAGE)
    least = memory.least(PartialArch.all_open(space.edges))
    found = [memory.of(random_arch(space, random)) for _ in range(10)]
    assert 0.01 < least <= min(found) < max(found) < 100


def test_a_table_of_networks(table: str) -> None:
    usage = device_table(table, CHAIN)
    start = PartialArch.all_open(CHAIN.edges)
    every = [milliseconds(CHAIN.encode(CHAIN.arch(index))) for index in range(CHAIN.num_archs)]
    assert (usage.least(start), usage.typical(start)) == (min(every), pytest.approx(np.mean(every)))
    one = start.discretize(1, ("nor_conv_3x3",))
    kept = [text for text in map(CHAIN.encode, map(CHAIN.arch, range(CHAIN.num_archs))) if text.endswith("conv_3x3")]
    assert usage.least(one) == min(map(milliseconds, kept))
    assert usage.of(CHAIN.decode(kept[-1])) == milliseconds(kept[-1])


def test_what_is_not_measured_fits_nothing() -> None:
    usage = ByArch(CHAIN, pd.Series({CHAIN.encode(CHAIN.arch(0)): 2.0, CHAIN.encode(CHAIN.arch(1)): np.nan}))
    assert usage.of(CHAIN.arch(0)) == 2.0
    assert usage.of(CHAIN.arch(1)) == usage.of(CHAIN.arch(2)) == float("inf")
    assert usage.least(PartialArch.all_open(CHAIN.edges)) == 2.0


def test_a_target_of_hw_nas_bench(hw_nas_bench: pd.DataFrame) -> None:
    space = SPACES["nasbench201"]
    usage = target_usage("latency_ms", "raspi4", space, "photos", 32)
    found = [usage.of(space.decode(arch)) for arch in hw_nas_bench["arch"]]
    assert found == [20.0, 12.0, float("inf"), float("inf")]  # of the last no image reaches the classifier
    assert usage.least(PartialArch.all_open(space.edges)) == 12.0
    for arguments, message in (
        (("latency_ms", "raspi4", CHAIN, "digits", 32), "raspi4 was measured on the space nasbench201 only, not 'toy"),
        (("latency_ms", "raspi4", space, "digits", 64), "measured images of 32 and 16 pixels, not 64"),
        (("energy_mj", "raspi4", space, "digits", 32), "has no energy of raspi4: it has latency_ms"),
        (("latency_ms", "fpga", space, "digits", 16), "has no latency of fpga: it has nothing"),
    ):
        with pytest.raises(UserError, match=message):
            target_usage(*arguments)


def test_a_target_of_accel_nasbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    space = SPACES["accel-mbconv"]
    with pytest.raises(UserError, match="--device a100 needs Accel-NASBench, and there is no"):
        target_usage("latency_ms", "a100", space, "cifar10", 32)
    archs = [space.encode(space.arch(index)) for index in (0, 77_777, 77_777, 123_456)]
    (tmp_path / "tables").mkdir()
    table = pd.DataFrame({"arch": archs, "a100_throughput_ips": [8000.0, 5000.0, 4000.0, np.nan]})
    table = table.assign(zcu102_throughput_ips=400.0, zcu102_latency_ms=[7.0, 8.0, 9.0, 10.0])
    table.to_parquet(tmp_path / "tables" / "accel_nasbench.parquet")
    usage = target_usage("latency_ms", "a100", space, "cifar10", 32)
    assert [usage.of(space.decode(arch)) for arch in archs] == [0.125, 0.2, 0.2, np.inf]
    measured = target_usage("latency_ms", "zcu102", space, "cifar10", 32)  # as published, not from the throughput
    assert [measured.of(space.decode(arch)) for arch in archs] == [7.0, 8.0, 8.0, 10.0]
    for arguments, message in (
        (("energy_mj", "a100", space), "Accel-NASBench has no energy of a100: it has latency_ms"),
        (("latency_ms", "3090", space), "has no 3090_throughput_ips by arch"),
        (("latency_ms", "a100", SPACES["nasbench201"]), "a100 was measured on the space accel-mbconv only, not"),
        (("latency_ms", "raspi4", space), "raspi4 was measured on the space nasbench201 only, not 'accel-mbconv'"),
    ):
        with pytest.raises(UserError, match=message):
            target_usage(*arguments, "cifar10", 32)
    config = SearchConfig(
        space="accel-mbconv", dataset="digits", method="random", device="a100", max_latency_ms=0.15, num_validations=0
    )
    assert config.target == "a100"
    assert {each.arch for each in run_search_locally(Search.of(config)).candidates} == {archs[0]}


def test_without_hw_nas_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    with pytest.raises(UserError, match="--device raspi4 needs HW-NAS-Bench, and there is no"):
        target_usage("latency_ms", "raspi4", SPACES["nasbench201"], "digits", 32)


@pytest.mark.data
def test_the_published_latencies_are_read_whole() -> None:
    space = SPACES["nasbench201"]
    for target in HW_NAS_TARGETS:
        usage = target_usage("latency_ms", target, space, "cifar10", 32)
        assert usage.least(PartialArch.all_open(space.edges)) > 0.3  # nothing that runs is faster
    heaviest = space.decode("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+" + "|".join(["", *NODE_3, ""]))
    assert target_usage("latency_ms", "raspi4", space, "cifar10", 32).of(heaviest) > 60


NODE_3 = [f"nor_conv_3x3~{node}" for node in range(3)]


@pytest.mark.parametrize("method", ["discretize", "random", "max-param", "evolution"])
def test_searches_keep_a_latency(method: str, table: str, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, method=method, max_latency_ms=11, device_table=table, evaluations=30)
    result = run_search_locally(Search.of(config))
    rows = result.to_frame()
    assert rows["latency_ms"].tolist() == [milliseconds(arch) for arch in rows["arch"]]
    assert rows["latency_ms"].max() <= 11
    pareto = pareto_table(result)
    assert {"latency [ms]", "best for its latency"} <= set(pareto)
    assert SearchResult.from_dict(result.to_dict()) == result
    page = report_page(FoundRuns({"run": [FoundSearch(tmp_path, result, "run")]}, {}, {}, []))
    assert PARETO_TITLE in page
    assert "latency [ms]" in page


def test_searches_keep_memory_and_file() -> None:
    largest = run_search_locally(Search.of(dataclasses.replace(CONFIG, method="max-param", num_validations=0))).best
    memory, costs = PeakMemory(CHAIN, 10, IMAGE), Costs(CHAIN, 10, IMAGE)
    arch = CHAIN.decode(largest.arch)
    limits = {"file_mb": 0.9 * costs.file_mb.of(arch), "memory_mb": memory.of(arch)}
    result = run_search_locally(Search.of(dataclasses.replace(CONFIG, max=limits)))
    for candidate in result.candidates:
        assert candidate.resources["file_mb"] == costs.file_mb.of(CHAIN.decode(candidate.arch)) <= limits["file_mb"]
        assert candidate.resources["memory_mb"] <= limits["memory_mb"]


def test_what_nothing_keeps(table: str) -> None:
    config = dataclasses.replace(CONFIG, max_latency_ms=0.5, device_table=table)
    with pytest.raises(UserError, match=r"the smallest network has 1.000 ms \(latency\), but max_latency_ms is 0.5"):
        run_search_locally(Search.of(config))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"arch": ["x"], "latency_ms": [1.0]}, "'x'"),
        ({"name": ["x"]}, "is no table of latencies: it needs columns arch and latency_ms"),
        ({"arch": ["a"], "latency_ms": [-1.0]}, "latency_ms must be numbers of milliseconds"),
        ({"edge": ["a"], "op": ["b"], "latency_ms": [1.0]}, "was not written by zcpt profile"),
    ],
)
@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_tables_that_are_none(rows: dict[str, list[object]], message: str, ending: str, tmp_path: Path) -> None:
    if ending == "csv" and "edge" in rows:
        message = "cannot read"
    path, frame = tmp_path / f"table.{ending}", pd.DataFrame(rows)
    frame.to_parquet(path) if ending == "parquet" else frame.to_csv(path)
    with pytest.raises(UserError, match=message):
        device_table(str(path), CHAIN)


def test_a_run_is_named_by_what_the_table_holds(table: str, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, max_latency_ms=11, device_table=table)
    moved = tmp_path / "moved.parquet"
    moved.write_bytes(Path(table).read_bytes())
    same = Search.of(dataclasses.replace(config, device_table=str(moved)))
    assert Search.of(config).run_id == same.run_id != Search.of(CONFIG).run_id
    pd.read_parquet(moved).assign(latency_ms=1.0).to_parquet(moved)
    assert Search.of(dataclasses.replace(config, device_table=str(moved))).run_id != same.run_id


def test_old_runs_have_their_names() -> None:
    """The limits that came later are no part of the name where they are not given."""
    later = {"max", "target", "device_table", "max_memory_mb", "max_file_mb", "max_latency_ms", "max_energy_mj"}
    assert not later & set(Search.of(CONFIG).identity)


def test_the_way_into_a_budget_is_even() -> None:
    """By hand: from 2 edges at 5.5 on average down to 6 in all; the first edge may not take it all."""

    class Sum:
        def of(self, arch: PartialArch) -> float:
            return self.typical(arch)

        def typical(self, arch: PartialArch) -> float:
            return sum(5.5 if ops is None else float(ops[0]) for ops in arch.kept)

        def least(self, arch: PartialArch) -> float:
            return sum(1.0 if ops is None else float(ops[0]) for ops in arch.kept)

    from zcpt_ray.arch import Edge

    edges = tuple(Edge(name, tuple(str(cost) for cost in range(1, 11))) for name in "ab")
    budget, start = Budget({"x": 6.0}, {"x": Sum()}), PartialArch.all_open(edges)
    wanted = [start.discretize(0, (str(cost),)) for cost in range(10, 0, -1)]
    first = budget.first_on_its_way(wanted)
    assert first.kept[0] == ("3",)  # 3 + 5.5 is half-way from 11 to 6; 5 could still be finished by a 1
    second = [first.discretize(1, (str(cost),)) for cost in range(10, 0, -1)]
    assert budget.first_on_its_way(second).kept[1] == ("3",)


def test_a_profile_is_kept_and_read(tmp_path: Path) -> None:
    space = ToyChain(2)
    ops = [(edge.name, op, float(position)) for edge in space.edges for position, op in enumerate(edge.candidates)]
    rows = pd.DataFrame([("", "", 0.5), *ops], columns=["edge", "op", "latency_ms"])
    rows = rows.assign(low_ms=rows["latency_ms"], high_ms=rows["latency_ms"])
    about = {"space": space.name, "edges": [edge.name for edge in space.edges], "image_shape": [3, 32, 32]}
    about |= {"num_classes": 10, "batch_size": 1, "threads": 1, "runtime": "torch", "cpu": "x", "check": {"drift": 1.0}}
    OpLatencies(rows, about).save(tmp_path / "p.parquet")
    usage = device_table(str(tmp_path / "p.parquet"), space)
    for index in range(space.num_archs):
        arch = space.arch(index)
        expected = 0.5 + sum(edge.candidates.index(*ops) for edge, ops in zip(space.edges, arch.kept, strict=True))
        assert usage.of(arch) == expected
    every = list(itertools.product(*(range(len(edge.candidates)) for edge in space.edges)))
    mean = 0.5 + float(np.mean([sum(places) for places in every]))
    assert usage.typical(PartialArch.all_open(space.edges)) == pytest.approx(mean, rel=0.25)  # of 16 drawn ones
    with pytest.raises(UserError, match="is of space 'toy-chain-2', not 'toy-chain-3': edge"):
        device_table(str(tmp_path / "p.parquet"), ToyChain(3))


def measured_as(values: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency_limits, "conditions_of", lambda table: latency_limits.Conditions(IMAGE, 10))
    times = lambda space, archs, conditions: [  # noqa: E731
        Latency(values[space.encode(arch)], 0.0, values[space.encode(arch)]) for arch in archs
    ]
    monkeypatch.setattr(latency_limits, "measure_networks", times)


def test_what_is_too_slow_when_measured_is_not_ranked(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = dataclasses.replace(CONFIG, method="random", num_proposals=12, max_latency_ms=11, device_table=table)
    result = run_search_locally(Search.of(config))
    first, second, *_ = (candidate.arch for candidate in result.candidates)
    taken = {candidate.arch: 5.0 for candidate in result.candidates} | {first: 12.0}
    measured_as(taken, monkeypatch)
    found = confirmed(result, CHAIN)
    assert found.best.arch == second
    assert first not in {candidate.arch for candidate in found.candidates}
    assert found.best.resources["measured_latency_ms"] == 5.0
    assert {"latency [ms]", "measured latency [ms]"} <= set(pareto_table(found))
    assert found.costs["scored"]["params"] == found.best.params
    measured_as(dict.fromkeys(taken, 12.5), monkeypatch)
    with pytest.raises(UserError, match=r"keeps 11 ms when it is measured: the fastest takes 12.50 ms"):
        confirmed(result, CHAIN)


def test_a_table_of_another_machine_measures_nothing(table: str) -> None:
    config = dataclasses.replace(CONFIG, max_latency_ms=11, device_table=table)
    result = run_search_locally(Search.of(config))
    assert confirmed(result, CHAIN) is result
