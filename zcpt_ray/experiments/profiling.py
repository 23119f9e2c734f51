"""How long the ops of a space take on this machine: a table that a search can keep a latency with."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.optimize import nnls
from scipy.stats import spearmanr
from torch import Tensor, nn

from zcpt_ray.arch import ArchSpec
from zcpt_ray.benchmarks.latencies import REST, OpLatencies
from zcpt_ray.devices import cpu_name
from zcpt_ray.engine.timing import FEWEST_ROUNDS, Latency, Pass, cpu_threads, rounds_for, time_in_turn
from zcpt_ray.errors import UserError
from zcpt_ray.search.methods import random_arch
from zcpt_ray.seeding import generator
from zcpt_ray.spaces import Space
from zcpt_ray.spaces.costs import candidate_ops
from zcpt_ray.versions import versions

RUNTIMES = ("torch", "onnxruntime")
NETWORKS, CHECKED, TOGETHER = 24, 50, 10
"""Networks that ops are timed in, at least; that predictions are checked on; that run in turn."""
TRIES = 20
"""How many times as many networks are drawn until each op is in one."""
Op = tuple[int, int]
"""An edge, and the place of a candidate there."""


@dataclass(frozen=True)
class Conditions:
    """What latencies depend on beside the network: `batch_size` images [C, H, W] at once, on so many CPU threads."""

    image_shape: tuple[int, ...]
    num_classes: int
    batch_size: int = 1
    threads: int = 1
    runtime: str = "torch"

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise UserError(f"unknown runtime {self.runtime!r}; choose from {', '.join(RUNTIMES)}")
        for name in ("batch_size", "threads"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def images(self) -> Tensor:
        """As the network gets them."""
        return torch.zeros(self.batch_size, *self.image_shape)

    def network(self, space: Space, arch: ArchSpec) -> nn.Module:
        """The network that one would train, ready to run."""
        with torch.random.fork_rng([]):
            return space.trained_form(space.single_path(arch), self.num_classes).eval()

    def run(self, network: nn.Module, *inputs: Any) -> Pass:
        """A pass, of images or of what an op reads."""
        given = inputs or (self.images,)
        if self.runtime == "torch":
            return lambda: network(*given)
        from zcpt_ray.training.export import onnx_pass  # every search imports this module, few want that one

        return onnx_pass(network, given, self.threads)


class Stopwatch:
    """Times networks beside one that always runs."""

    def __init__(self, conditions: Conditions, reference: nn.Module) -> None:
        self.conditions = conditions
        self.reference = conditions.run(reference)
        self.first = float(np.median(time_in_turn([self.reference], FEWEST_ROUNDS)))
        self.rounds = rounds_for(self.first)
        self.seen: list[float] = []

    def time(self, networks: Sequence[nn.Module]) -> list[float]:
        """Milliseconds of each, medians over rounds, as if the reference took what it did at `first`."""
        passes = [self.reference, *(self.conditions.run(network) for network in networks)]
        reference, *medians = np.median(time_in_turn(passes, self.rounds), axis=0).tolist()
        self.seen.append(reference)
        return [self.first * median / reference for median in medians]

    @property
    def pace(self) -> float:
        """How many times as long all takes on the machine as it mostly was."""
        return float(np.median(self.seen)) / self.first


def profile_space(
    space: Space, conditions: Conditions, report: Callable[[str], None] = lambda _: None, seed: int = 0
) -> OpLatencies:
    """Time every candidate op of a space on this machine's CPU, and see how well that predicts whole networks.

    Random networks, which have each op several times, run in turn. By torch an op is timed where it is in them, and by
    onnxruntime alone, as there its nodes are fused. What whole networks take is then fitted to the sums. One network
    runs beside all others, all the time: by it, times are corrected for a machine that is slower at times.

    Raises:
        UserError: `onnxruntime` is not installed, or no network has some op.
    """
    started = time.perf_counter()
    random = generator(seed, "profile", space.name)
    archs = _covering(space, conditions, random)
    with cpu_threads(conditions.threads):
        stopwatch = Stopwatch(conditions, conditions.network(space, archs[0]))
        by_op, sums, totals = _time_ops(space, stopwatch, archs, report)
        slope, rest = _fitted(sums, totals)
        rows: list[tuple[str, str, float, float, float]] = [(REST, REST, rest, rest, rest)]
        for index, edge in enumerate(space.edges):
            for place, op in enumerate(edge.candidates):
                latency = Latency.of([slope * value for value in by_op.get((index, place), [0.0, 0.0])])
                rows.append((edge.name, op, *latency))
        table = pd.DataFrame(rows, columns=["edge", "op", "latency_ms", "low_ms", "high_ms"])
        about = {"space": space.name, "edges": [edge.name for edge in space.edges], **vars(conditions)}
        found = OpLatencies(table, about | {"cpu": cpu_name(), "versions": versions()})
        check = check_prediction(found, space, stopwatch, random, report)
    table[["latency_ms", "low_ms", "high_ms"]] *= stopwatch.pace
    return OpLatencies(table, found.about | {"check": check, "seconds": time.perf_counter() - started})


def check_prediction(
    found: OpLatencies,
    space: Space,
    stopwatch: "Stopwatch",
    random: np.random.Generator,
    report: Callable[[str], None] = lambda _: None,
) -> dict[str, float]:
    """How well a table predicts random networks that it was not made from.

    `networks`: their number; `median_error` and `p90_error` [%]: of the prediction, as a share of what was measured;
    `spearman`: rank correlation of both; `drift` [%]: by how much the machine is slower at times than it mostly was.
    """
    usage, archs = found.usage(space), [random_arch(space, random) for _ in range(CHECKED)]
    measured: list[float] = []
    for some in _some(archs):
        measured += stopwatch.time([stopwatch.conditions.network(space, arch) for arch in some])
        report(f"predictions checked on {len(measured)} of {len(archs)} whole networks")
    predicted = np.array([usage.of(arch) for arch in archs])
    errors = 100 * np.abs(predicted / np.array(measured) - 1)
    return {
        "networks": len(archs),
        "median_error": float(np.median(errors)),
        "p90_error": float(np.quantile(errors, 0.9)),
        "spearman": float(spearmanr(predicted, measured).statistic),
        "drift": 100 * float(np.quantile(stopwatch.seen, 0.9) / np.median(stopwatch.seen) - 1),
    }


def measure_networks(space: Space, archs: Sequence[ArchSpec], conditions: Conditions) -> list[Latency]:
    """How long whole networks take on this machine."""
    found: list[Latency] = []
    with cpu_threads(conditions.threads):
        for some in _some(archs):
            passes = [conditions.run(conditions.network(space, arch)) for arch in some]
            rounds = rounds_for(float(np.median(time_in_turn(passes, 1))))
            found += [Latency.of(taken) for taken in time_in_turn(passes, 2 * rounds).T.tolist()]
    return found


def _covering(space: Space, conditions: Conditions, random: np.random.Generator) -> list[ArchSpec]:
    """Random architectures in which every op is used; what only chooses an input is no op here.

    Raises:
        UserError: some op is in none.
    """
    with torch.device("meta"):
        places = candidate_ops(space.trained_form(space.edges, conditions.num_classes)).values()
    wanted = {(edge, space.edges[edge].candidates[place]) for edge, place in places}
    archs: list[ArchSpec] = []
    for _ in range(TRIES * NETWORKS):
        arch = random_arch(space, random)
        new = wanted & set(space.used(arch))
        if new or len(archs) < NETWORKS:
            archs.append(arch)
        wanted -= new
        if not wanted and len(archs) >= NETWORKS:
            return archs
    edge, op = sorted(wanted)[0]
    raise UserError(f"space {space.name!r}: op {op!r} of edge {space.edges[edge].name!r} is in no random network")


def _time_ops(
    space: Space, stopwatch: Stopwatch, archs: Sequence[ArchSpec], report: Callable[[str], None]
) -> tuple[dict[Op, list[float]], list[float], list[float]]:
    """Milliseconds of each op, and, per network, the sum of the medians of its ops and what the whole of it takes."""
    conditions = stopwatch.conditions
    by_op: dict[Op, list[float]] = {}
    totals: list[float] = []
    known: dict[str, np.ndarray] = {}
    for some in _some(archs):
        networks = [conditions.network(space, arch) for arch in some]
        for network, arch in zip(networks, some, strict=True):
            ops = _its_ops(space, network, arch)
            if conditions.runtime == "torch":
                _time_in_place(network, stopwatch, ops, by_op)
            else:
                _time_alone(network, conditions, ops, by_op, known)
        totals += stopwatch.time(networks)
        report(f"ops timed in {len(totals)} of {len(archs)} networks")
    medians = {op: float(np.median(taken)) for op, taken in by_op.items()}
    sums = [sum(medians[op] for op in _used(space, arch)) for arch in archs]
    return by_op, sums, totals


def _used(space: Space, arch: ArchSpec) -> list[Op]:
    return [(edge, space.edges[edge].candidates.index(op)) for edge, op in space.used(arch)]


def _its_ops(space: Space, network: nn.Module, arch: ArchSpec) -> dict[nn.Module, Op]:
    """The ops of a single-path network that run, with their places in the whole space."""
    used = set(_used(space, arch))
    places = {
        op: (edge, space.edges[edge].candidates.index(arch.kept[edge][place]))
        for op, (edge, place) in candidate_ops(network).items()
    }
    return {op: place for op, place in places.items() if place in used}


def _time_in_place(
    network: nn.Module, stopwatch: Stopwatch, ops: dict[nn.Module, Op], by_op: dict[Op, list[float]]
) -> None:
    """Time ops where they are, in passes of the whole network, and of the reference in turn."""
    started: dict[nn.Module, float] = {}
    taken = dict.fromkeys(ops, 0.0)

    def begin(module: nn.Module, _: Any) -> None:
        started[module] = time.perf_counter()

    def end(module: nn.Module, _: Any, __: Any) -> None:
        taken[module] = 1000 * (time.perf_counter() - started[module])

    run = stopwatch.conditions.run(network)
    time_in_turn([run], rounds=1)
    passes: list[dict[nn.Module, float]] = []

    def noted() -> None:
        run()
        passes.append(dict(taken))

    hooks = [hook for op in ops for hook in (op.register_forward_pre_hook(begin), op.register_forward_hook(end))]
    reference = time_in_turn([stopwatch.reference, noted], stopwatch.rounds)[:, 0]
    for hook in hooks:
        hook.remove()
    factor = stopwatch.first / float(np.median(reference))
    for times in passes[-2 * stopwatch.rounds :][1::2]:
        _add(by_op, ops, {op: factor * value for op, value in times.items()})


def _time_alone(
    network: nn.Module,
    conditions: Conditions,
    ops: dict[nn.Module, Op],
    by_op: dict[Op, list[float]],
    known: dict[str, np.ndarray],
) -> None:
    """Time ops by themselves, each on what it reads in the network; what is `known` is not timed again."""
    read: dict[nn.Module, tuple[Any, ...]] = {}
    hooks = [op.register_forward_pre_hook(lambda module, inputs: read.update({module: inputs})) for op in ops]
    with torch.no_grad():
        network(conditions.images)
    for hook in hooks:
        hook.remove()
    keys = {op: f"{op} {[tuple(given.shape) for given in read[op]]}" for op in read}
    new = {key: op for op, key in keys.items() if key not in known}
    taken = time_in_turn([conditions.run(op, *read[op]) for op in new.values()], FEWEST_ROUNDS)
    known |= dict(zip(new, taken.T, strict=True))
    for row in range(FEWEST_ROUNDS):
        _add(by_op, ops, {op: float(known[key][row]) for op, key in keys.items()})


def _add(by_op: dict[Op, list[float]], ops: dict[nn.Module, Op], taken: dict[nn.Module, float]) -> None:
    """Note what the ops of one pass took: those of an edge, which cells may repeat, added up."""
    sums: dict[Op, float] = {}
    for op, place in ops.items():
        sums[place] = sums.get(place, 0.0) + taken.get(op, 0.0)
    for place, value in sums.items():
        by_op.setdefault(place, []).append(value)


def _fitted(sums: Sequence[float], totals: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept, from 0 on, of what networks take over the sums of their ops; by share, so that all count."""
    columns = np.stack([np.array(sums), np.ones(len(sums))], axis=1) / np.array(totals)[:, None]
    slope, rest = nnls(columns, np.ones(len(sums)))[0]
    return float(slope), float(rest)


def _some(archs: Sequence[ArchSpec]) -> Iterator[Sequence[ArchSpec]]:
    return (archs[start : start + TOGETHER] for start in range(0, len(archs), TOGETHER))
