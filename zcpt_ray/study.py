"""The operation-scoring study (section 3 and appendices A.3, A.4): every function's op scores, as records in one long table.

Columns of a scores table, a row per op of an open edge: `space`, `dataset`, `function`, `seed`, `iteration` (edges decided so far),
`edge`, `op`, `score` (greater is better), `params` (of the op, for ties), and a column per oracle: its score of the same op in the
same supernet, which later iterations of two functions do not share.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from zcpt_ray.arch import ArchSpec, PartialArch
from zcpt_ray.benchmarks import TabularBenchmark
from zcpt_ray.configs import SearchConfig, run_id
from zcpt_ray.errors import UserError
from zcpt_ray.files import AnyPath, whole_file
from zcpt_ray.oracles import Oracle
from zcpt_ray.proxies import PROXIES
from zcpt_ray.score_tables import Spread, TableKey, spread_locally
from zcpt_ray.scoring import SCORINGS, Evidence
from zcpt_ray.search import OpScorer, SearchData, benchmark_values, load_data, network_values
from zcpt_ray.seeding import derive_seed, generator
from zcpt_ray.spaces import Space, find_space


@dataclass(frozen=True)
class StudyRun:
    """One function on one space and seed: at iteration 0, or `progressive`, edge by edge to the end.

    `oracles` names the functions, each a row of the oracles' scorings, that stand beside every score as columns.
    """

    config: SearchConfig
    oracles: tuple[str, ...]
    progressive: bool = False

    @property
    def function(self) -> str:
        """Its name, as in `zc-pt(nwot)`."""
        return function_name(self.config)

    @property
    def file_name(self) -> str:
        """Where its scores are kept: named by all that they depend on."""
        parts = [self.function, run_id(self.config), *self.oracles, *["progressive"] * self.progressive]
        return "-".join(parts) + ".parquet"


def function_name(config: SearchConfig) -> str:
    """The scoring, with the proxy in brackets where it takes one."""
    scoring = SCORINGS[config.scoring]
    takes_proxy = scoring.needs.startswith("proxy") and not scoring.proxy
    return f"{config.scoring}({config.proxy})" if takes_proxy else config.scoring


def with_function(config: SearchConfig, function: str) -> SearchConfig:
    """`config` with the scoring and the proxy that `function` names.

    Raises:
        UserError: no such scoring or proxy, or a proxy is missing or too much.
    """
    match = re.fullmatch(r"([\w-]+)(?:\(([\w-]+)\))?", function)
    scoring, proxy = match.groups() if match else (function, None)
    known = scoring in SCORINGS and (proxy is None or proxy in PROXIES)
    if not known or function_name(changed := replace(config, scoring=scoring, proxy=proxy or config.proxy)) != function:
        raise UserError(
            f"unknown scoring function {function!r}; choose from {', '.join(SCORINGS)}, with a proxy in brackets where it takes "
            f"one, as in zc-pt(nwot): {', '.join(PROXIES)}"
        )
    return changed


def run_study(
    runs: Sequence[StudyRun],
    directory: AnyPath,
    spread: Spread = spread_locally,
    report: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """The scores tables of all `runs`, joined; each is a file in `directory`, and one that is there is not computed again.

    Raises:
        UserError: missing data, a function whose evidence is not to be had, or edges that do not keep one of several ops.
    """
    for name in {run.config.space for run in runs}:
        for edge in find_space(name).edges:
            if edge.keep != 1 or len(edge.candidates) == 1:
                raise UserError(f"the study needs edges that keep one of several ops; {edge.name!r} of {name!r} keeps {edge.keep}")
    missing = [run for run in runs if not (directory / run.file_name).exists()]
    groups: dict[object, list[StudyRun]] = {}
    for run in missing:
        for config in (run.config, *(with_function(run.config, name) for name in run.oracles)):
            benchmark_values(config)  # before any group is worked on: a missing table is noticed now
        groups.setdefault(_reads(run), []).append(run)
    done = len(runs) - len(missing)
    for members in groups.values():
        config, oracles = members[0].config, members[0].oracles
        data = load_data(config, spread)
        shared = data, {name: network_values(with_function(config, name), data.images, spread) for name in oracles}
        if SCORINGS[config.scoring].needs == "trained supernet":  # once, before several functions ask for it at the same time
            trainings = {(run.config.seed, run.config.training): run for run in members}
            list(spread(_train, shared, list(trainings.values())))
        for run, scores in spread(score_run, shared, members):
            with whole_file(directory / run.file_name) as temporary:
                scores.to_parquet(temporary)
            done += 1
            report(f"{done}/{len(runs)} {run.function}, {run.config.space}, seed {run.config.seed}")
    return pd.concat([pd.read_parquet(io.BytesIO((directory / run.file_name).read_bytes())) for run in runs], ignore_index=True)


def _reads(run: StudyRun) -> object:
    """Runs for which this is equal read the same data and oracles."""
    needs = SCORINGS[run.config.scoring].needs
    tables = any("best-zc" in name for name in (run.function, *run.oracles))
    return needs, run.oracles, TableKey.of(run.config) if tables else (run.config.space, run.config.dataset)


Shared = tuple[SearchData, dict[str, dict[str, float] | None]]
"""What the runs of a group read, and per oracle the value of every network."""


def _train(shared: Shared, run: StudyRun) -> None:
    OpScorer(run.config, shared[0])  # leaves a checkpoint


def score_run(shared: Shared, run: StudyRun) -> pd.DataFrame:
    """The scores table of one run. Edges are decided in an order and on minibatches that depend on the seed alone."""
    config, (data, truths) = run.config, shared
    scorer = OpScorer(config, data)
    values = {name: Oracle.of(scorer.parts.space, known) for name, known in truths.items() if known is not None}
    arch = PartialArch.all_open(scorer.parts.space.edges)
    drawn = generator(config.seed, "study", "order").permutation(len(arch.edges)).tolist()
    order = [edge for edge in drawn if edge in arch.open_edges]
    tables = []
    for iteration, decided in enumerate(order if run.progressive else order[:1]):
        step = scorer.step(arch, derive_seed(config.seed, "study", "minibatch", iteration))
        tables.append(_scores_table(run.function, scorer, arch, step(arch.open_edges), values).assign(iteration=iteration))
        arch = arch.discretize(decided, step.best(decided, arch))
        if run.progressive:
            scorer.decided(arch)
    return pd.concat(tables).assign(space=config.space, dataset=config.dataset, seed=config.seed)


def _scores_table(
    function: str, scorer: OpScorer, arch: PartialArch, scores: dict[int, list[float]], truths: dict[str, Oracle]
) -> pd.DataFrame:
    rows = []
    for index, values in scores.items():
        edge = arch.edges[index]
        for op, score, params in zip(edge.candidates, values, scorer.op_params[index], strict=True):
            row = {"function": function, "edge": edge.name, "op": op, "score": score, "params": params}
            for name, oracle in truths.items():
                scoring = SCORINGS[name.split("(")[0]]
                row[name] = scoring.score(Evidence(oracle=oracle), arch, [(index, op)])[0]
            rows.append(row)
    return pd.DataFrame(rows)


def read_published_scores(path: Path, space: Space) -> pd.DataFrame:
    """The scores table of a CSV with the columns `edge` (index), `scorer` and one per op, as the paper's authors published theirs.

    They print what was measured; the sign of functions that remove an op is turned here, so that greater is better.

    Raises:
        UserError: the file is missing or has other columns.
    """
    try:
        wide = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    ops = list(space.edges[0].candidates)
    if not {"edge", "scorer", *ops} <= set(wide):
        raise UserError(f"{path} needs the columns edge, scorer, {', '.join(ops)}; it has {', '.join(map(str, wide))}")
    last = len(space.edges) - 1
    numbers = all(pd.api.types.is_numeric_dtype(wide[op]) and wide[op].notna().all() for op in ops)
    if not numbers or not set(wide["edge"]) <= set(range(last + 1)):
        raise UserError(f"{path} needs an edge of 0 to {last} and a number for each op in every row")
    long = wide.melt(["edge", "scorer"], ops, "op", "score").rename(columns={"scorer": "function"})
    removing = long["function"].str.startswith(("zc-pt", "darts-pt", "tenas"))
    long["score"] = long["score"].where(~removing, -long["score"])
    params = space.supernet(10, seed=0).op_params()
    long["params"] = [params[edge][ops.index(op)] for edge, op in zip(long["edge"], long["op"], strict=True)]
    long["edge"] = [space.edges[edge].name for edge in long["edge"]]
    return long.assign(space=space.name, dataset="cifar10", seed=0, iteration=0)


def spearman_table(scores: pd.DataFrame, oracle: str) -> pd.DataFrame:
    """Spearman correlation of each function with `oracle`: per edge over its ops, then the mean over the edges.

    `oracle` is a column of the table or, at iteration 0, another function in it. Columns of the result: `space`, `function`,
    `iteration`, `seed`, `spearman`; scores that do not differ on an edge correlate with nothing, 0.
    """
    keys = ["space", "seed", "iteration", "edge", "op"]
    table = scores
    if oracle not in scores:
        if oracle not in set(scores["function"]):
            raise UserError(f"no oracle {oracle!r} among the scores of {', '.join(scores['function'].unique())}")
        truth = scores.loc[scores["function"] == oracle, [*keys, "score"]].rename(columns={"score": oracle})
        table = scores.merge(truth, on=keys)
    groups = ["space", "function", "iteration", "seed"]
    per_edge = table.groupby([*groups, "edge"], sort=False)[["score", oracle]].apply(_spearman).rename("spearman").reset_index()
    return per_edge.groupby(groups, sort=False)["spearman"].mean().reset_index()


def _spearman(edge: pd.DataFrame) -> float:
    values = edge.to_numpy(float)
    assert not np.isnan(values).any()
    if (np.ptp(np.nan_to_num(values, neginf=-1e300), axis=0) == 0).any():
        return 0.0
    return float(spearmanr(values[:, 0], values[:, 1]).statistic)


def picks(scores: pd.DataFrame) -> pd.DataFrame:
    """The row of the best op of each edge at iteration 0: of equals the one with more parameters, then the later one."""
    first = scores[scores["iteration"] == 0].reset_index(drop=True)
    first["position"] = first.index
    best = first.sort_values(["score", "params", "position"]).groupby(["space", "function", "seed", "edge"], sort=False).tail(1)
    return best.sort_values("position").drop(columns="position")


def picked_table(scores: pd.DataFrame, benchmark: TabularBenchmark | None, dataset: str = "cifar10") -> pd.DataFrame:
    """Per function the architecture of its best ops at iteration 0 (table 1), and with a benchmark its test error [%] and rank."""
    rows = []
    for (name, function, seed), chosen in picks(scores).groupby(["space", "function", "seed"], sort=False):
        space = find_space(str(name))
        op_of = dict(zip(chosen["edge"], chosen["op"], strict=True))
        arch = space.encode(ArchSpec(space.name, tuple((op_of[edge.name],) for edge in space.edges)))
        row = {"function": function, "seed": seed, "architecture": arch}
        if benchmark:
            found = benchmark.query(arch)[dataset]
            row |= {"error": found["error"], "rank": found["rank"]}
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
    """Per space, function and op at iteration 0: the mean rank over edges and seeds, 1 the worst, and on how many it is best."""
    first = scores[scores["iteration"] == 0].copy()
    keys = ["space", "function", "seed", "edge"]
    first["rank"] = first.groupby(keys)["score"].rank()
    ranks = first.groupby(["space", "function", "op"], sort=False)["rank"].mean()
    picked = picks(scores).groupby(["space", "function", "op"]).size()
    return pd.DataFrame({"rank": ranks, "picked": picked}).fillna({"picked": 0}).reset_index()
