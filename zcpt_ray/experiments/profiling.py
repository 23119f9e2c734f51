"""How long the ops of a space take on this machine: a table that a search can keep a latency with."""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from zcpt_ray.benchmarks.latencies import REST, OpLatencies
from zcpt_ray.devices import cpu_name
from zcpt_ray.engine.timing import Latency, cpu_threads
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.op_timing import fit_options, run_apart, time_ops
from zcpt_ray.experiments.stopwatch import Conditions, Stopwatch, in_groups
from zcpt_ray.search.methods import random_arch
from zcpt_ray.seeding import generator
from zcpt_ray.spaces import Space
from zcpt_ray.versions import versions

CHECKED = 50
"""Networks that predictions are checked on."""


def profile_space(
    space: Space, conditions: Conditions, report: Callable[[str], None] = lambda _: None, seed: int = 0
) -> OpLatencies:
    """Time every candidate op of a space on this machine's CPU, and see how well that predicts whole networks.

    Random networks, which have each op several times, run in turn. By torch an op is timed where it is in them, and by
    onnxruntime alone, as there its nodes are fused. What whole networks take is then fitted to the sums. One network
    runs beside all others, all the time: by it, times are corrected for a machine that is slower at times.

    Depths, widths and decisions inside of others are no ops that run somewhere: what such options take is fitted to
    whole networks.

    Raises:
        UserError: `onnxruntime` is not installed, no network has some op, or the space has no supernet.
    """
    if not space.has_supernet:
        raise UserError(
            f"the networks of space {space.name!r} differ in shape everywhere, so that no op has a time of its own:"
            " limit --max-flops, or give --device-table a file of whole networks, with columns arch and latency_ms"
        )
    started = time.perf_counter()
    random = generator(seed, "profile", space.name)
    measure = time_ops if run_apart(space, conditions) else fit_options
    with cpu_threads(conditions.threads):
        stopwatch = Stopwatch(conditions, conditions.network(space, random_arch(space, random)))
        by_op, rest = measure(space, stopwatch, random, report)
        rows: list[tuple[str, str, float, float, float]] = [(REST, REST, rest, rest, rest)]
        for index, edge in enumerate(space.edges):
            for place, op in enumerate(edge.candidates):
                rows.append((edge.name, op, *Latency.of(by_op.get((index, place), [0.0, 0.0]))))
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
    `spearman`: rank correlation of both, 0 where all are predicted alike; `drift` [%]: by how much the machine is
    slower at times than it mostly was.
    """
    usage, archs = found.usage(space), [random_arch(space, random) for _ in range(CHECKED)]
    measured: list[float] = []
    for some in in_groups(archs):
        measured += stopwatch.time([stopwatch.conditions.network(space, arch) for arch in some])
        report(f"predictions checked on {len(measured)} of {len(archs)} whole networks")
    predicted = np.array([usage.of(arch) for arch in archs])
    errors = 100 * np.abs(predicted / np.array(measured) - 1)
    return {
        "networks": len(archs),
        "median_error": float(np.median(errors)),
        "p90_error": float(np.quantile(errors, 0.9)),
        "spearman": float(spearmanr(predicted, measured).statistic) if np.ptp(predicted) else 0.0,
        "drift": 100 * float(np.quantile(stopwatch.seen, 0.9) / np.median(stopwatch.seen) - 1),
    }
