"""How long the candidate ops of a space take, from passes of whole networks."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls
from torch import nn

from zcpt_ray.arch import ArchSpec
from zcpt_ray.engine.timing import FEWEST_ROUNDS, time_in_turn
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.stopwatch import Conditions, Stopwatch, in_groups
from zcpt_ray.search.methods import random_arch
from zcpt_ray.spaces import Space
from zcpt_ray.spaces.costs import candidate_ops
from zcpt_ray.spaces.module_space import ModuleSpace

NETWORKS = 24
"""Networks that ops are timed in, at least."""
PER_OPTION = 2
"""Whole networks that are timed per option, where what an option takes can only be told from them."""
TRIES = 20
"""How many times as many networks are drawn until each op is in one."""
Op = tuple[int, int]
"""An edge, and the place of a candidate there."""


def run_apart(space: Space, conditions: Conditions) -> bool:
    """Whether each option is an op that runs by itself, and takes what it takes whatever the others are."""
    if not isinstance(space, ModuleSpace):
        return True
    with torch.device("meta"):
        ops = candidate_ops(space.trained_form(space.edges, conditions.num_classes)).values()
    return set(_options(space)) == set(ops) and all(reached == ((),) for reached in space.decision_tree.reached)


def fit_options(
    space: Space, stopwatch: Stopwatch, random: np.random.Generator, report: Callable[[str], None]
) -> tuple[dict[Op, list[float]], float]:
    """Milliseconds of each option and of the rest, whose sums are closest to what whole networks take."""
    options = _options(space)
    count = max(NETWORKS, PER_OPTION * len(options))
    archs = [random_arch(space, random) for _ in range(count)]
    totals: list[float] = []
    for some in in_groups(archs):
        totals += stopwatch.time([stopwatch.conditions.network(space, arch) for arch in some])
        report(f"{len(totals)} of {len(archs)} whole networks timed")
    used = [set(_used(space, arch)) for arch in archs]
    *taken, rest = _fitted(np.array([[option in each for option in options] for each in used], float), totals)
    return {option: [value, value] for option, value in zip(options, taken, strict=True)}, rest


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


def time_ops(
    space: Space, stopwatch: Stopwatch, random: np.random.Generator, report: Callable[[str], None]
) -> tuple[dict[Op, list[float]], float]:
    """Milliseconds of each op, and of what runs beside ops, so that their sums are what whole networks take.

    Raises:
        UserError: some op is in no random network.
    """
    conditions = stopwatch.conditions
    archs = _covering(space, conditions, random)
    by_op: dict[Op, list[float]] = {}
    totals: list[float] = []
    known: dict[str, np.ndarray] = {}
    for some in in_groups(archs):
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
    slope, rest = _fitted(np.array(sums)[:, None], totals)
    return {op: [slope * value for value in taken] for op, taken in by_op.items()}, rest


def _options(space: Space) -> list[Op]:
    """Every candidate of every edge."""
    return [(edge, place) for edge, each in enumerate(space.edges) for place in range(len(each.candidates))]


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


def _fitted(parts: np.ndarray, totals: Sequence[float]) -> list[float]:
    """What the `parts` [networks, parts] count for in what networks take, and what is there anyhow; each from 0 on.

    By share, so that quick networks count as well.
    """
    columns = np.column_stack([parts, np.ones(len(parts))]) / np.array(totals)[:, None]
    found: list[float] = nnls(columns, np.ones(len(parts)))[0].tolist()
    return found
