"""From op scores to tables: correlations with an oracle, picks and their errors, counts and ranks of ops."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from zcpt_ray.arch import ArchSpec
from zcpt_ray.benchmarks.entries import BenchmarkRow
from zcpt_ray.errors import UserError
from zcpt_ray.spaces import find_space


def spearman_table(scores: pd.DataFrame, oracle: str) -> pd.DataFrame:
    """Spearman correlation of each function with `oracle`: per edge over its ops, then the mean over the edges.

    `oracle` is a column of the table or, at iteration 0, another function in it. Columns of the result: `space`,
    `function`, `iteration`, `seed`, `spearman`; scores that do not differ on an edge correlate with nothing, 0.

    Raises:
        UserError: no such oracle.
        ValueError: a score is NaN.
    """
    keys = ["space", "seed", "iteration", "edge", "op"]
    table = scores
    if oracle not in scores:
        if oracle not in set(scores["function"]):
            raise UserError(f"no oracle {oracle!r} among the scores of {', '.join(scores['function'].unique())}")
        truth = scores.loc[scores["function"] == oracle, [*keys, "score"]].rename(columns={"score": oracle})
        table = scores.merge(truth, on=keys)
    groups = ["space", "function", "iteration", "seed"]
    per_edge = (
        table.groupby([*groups, "edge"], sort=False)[["score", oracle]]
        .apply(_spearman)
        .rename("spearman")
        .reset_index()
    )
    return per_edge.groupby(groups, sort=False)["spearman"].mean().reset_index()


def _spearman(edge: pd.DataFrame) -> float:
    values = edge.to_numpy(float)
    if np.isnan(values).any():
        raise ValueError("a score is NaN: it orders nothing")
    if (np.ptp(np.nan_to_num(values, neginf=-1e300), axis=0) == 0).any():
        return 0.0
    return float(spearmanr(values[:, 0], values[:, 1]).statistic)


def picks(scores: pd.DataFrame) -> pd.DataFrame:
    """The row of the best op of each edge at iteration 0.

    Of equals it is the one with more parameters, then the later one.
    """
    first = scores[scores["iteration"] == 0].reset_index(drop=True)
    first["position"] = first.index
    best = (
        first.sort_values(["score", "params", "position"])
        .groupby(["space", "function", "seed", "edge"], sort=False)
        .tail(1)
    )
    return best.sort_values("position").drop(columns="position")


def picked_table(
    scores: pd.DataFrame, query: Callable[[str], BenchmarkRow] | None, dataset: str = "cifar10"
) -> pd.DataFrame:
    """Per function the architecture of its best ops at iteration 0 (table 1).

    With `query`, what a benchmark knows of an architecture, also its test error [%] and rank.
    """
    rows = []
    for (name, function, seed), chosen in picks(scores).groupby(["space", "function", "seed"], sort=False):
        space = find_space(str(name))
        op_of = dict(zip(chosen["edge"], chosen["op"], strict=True))
        arch = space.encode(ArchSpec(space.name, tuple((op_of[edge.name],) for edge in space.edges)))
        row = {"function": function, "seed": seed, "architecture": arch}
        if query:
            found = query(arch)[dataset]
            row |= {"error": found.error, "rank": found.rank}
        rows.append(row)
    return pd.DataFrame(rows)


def op_counts(archs: Mapping[str, Sequence[ArchSpec]], candidates: Sequence[str]) -> pd.DataFrame:
    """How often each op is in some architectures, a row per group of them (tables A1 and A2)."""
    rows = []
    for name, group in archs.items():
        ops = [op for arch in group for kept in arch.kept for op in kept]
        rows.append({"architectures": name} | {op: ops.count(op) for op in candidates})
    return pd.DataFrame(rows)


def mean_ranks(scores: pd.DataFrame) -> pd.DataFrame:
    """Per space, function and op at iteration 0: the mean `rank` over edges and seeds, 1 the worst.

    `picked` is on how many edges the op is best.
    """
    first = scores[scores["iteration"] == 0].copy()
    keys = ["space", "function", "seed", "edge"]
    first["rank"] = first.groupby(keys)["score"].rank()
    ranks = first.groupby(["space", "function", "op"], sort=False)["rank"].mean()
    picked = picks(scores).groupby(["space", "function", "op"]).size()
    return pd.DataFrame({"rank": ranks, "picked": picked}).fillna({"picked": 0}).reset_index()
