"""The operation-scoring study (section 3 and appendices A.3, A.4): every function's op scores, as records in one long
table.

Columns of a scores table, a row per op of an open edge: `space`, `dataset`, `function`, `seed`, `iteration` (edges
decided so far), `edge`, `op`, `score` (greater is better), `params` (of the op, for ties), and a column per oracle: its
score of the same op in the same supernet, which later iterations of two functions do not share.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from zcpt_ray.arch import PartialArch
from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.proxies import PROXIES
from zcpt_ray.search.inputs import SearchData, benchmark_values, load_data, network_values
from zcpt_ray.search.oracles import Oracle
from zcpt_ray.search.proposal import OpScorer
from zcpt_ray.search.resolved import Search, with_proxy
from zcpt_ray.search.score_tables import ScoreTable, Spread, spread_locally
from zcpt_ray.search.scoring import SCORINGS, EveryScore, Evidence, TrainedSupernet
from zcpt_ray.seeding import derive_seed, generator
from zcpt_ray.spaces import Space
from zcpt_ray.storage.parquet import read_parquet
from zcpt_ray.storage.paths import AnyPath, whole_file


@dataclass(frozen=True)
class StudyRun:
    """One function on one space and seed: at iteration 0, or `progressive`, edge by edge to the end.

    `oracles` are functions, by name, whose scores stand beside every score as columns.
    """

    search: Search
    oracles: Mapping[str, Search]
    progressive: bool = False

    @classmethod
    def of(cls, config: SearchConfig, oracles: Sequence[str], progressive: bool = False) -> "StudyRun":
        """From names, all looked up.

        Raises:
            UserError: one is unknown.
        """
        named = {name: Search.of(with_function(config, name)) for name in oracles}
        return cls(Search.of(config), named, progressive)

    @property
    def function(self) -> str:
        """Its name, as in `zc-pt(nwot)`."""
        return function_name(self.search.config)

    @property
    def file_name(self) -> str:
        """Where its scores are kept: named by all that they depend on."""
        parts = [self.function, self.search.run_id, *self.oracles, *["progressive"] * self.progressive]
        return "-".join(parts) + ".parquet"

    @property
    def reads(self) -> object:
        """Runs for which this is equal read the same data and oracles."""
        config = self.search.config
        if any(isinstance(search.scoring.evidence, EveryScore) for search in (self.search, *self.oracles.values())):
            source: object = ScoreTable(self.search).path
        else:
            source = config.space, config.dataset
        return self.search.scoring.evidence, tuple(self.oracles), source


def function_name(config: SearchConfig) -> str:
    """The scoring, with the proxy in brackets where it takes one."""
    scoring = SCORINGS[config.scoring]
    return f"{config.scoring}({config.proxy})" if scoring.asks_proxy and not scoring.proxy else config.scoring


def with_function(config: SearchConfig, function: str) -> SearchConfig:
    """`config` with the scoring and the proxy that `function` names.

    Raises:
        UserError: no such scoring or proxy, or a proxy is missing or too much.
    """
    match = re.fullmatch(r"([\w-]+)(?:\(([\w+-]+)\))?", function)
    scoring, proxy = match.groups() if match else (function, None)
    known = scoring in SCORINGS and set((proxy or config.proxy).split("+")) <= set(PROXIES)
    asked = with_proxy(config, proxy or config.proxy)
    if not known or function_name(changed := replace(asked, scoring=scoring)) != function:
        raise UserError(
            f"unknown scoring function {function!r}; choose from {', '.join(SCORINGS)}, with a proxy in brackets where"
            f" it takes one, as in zc-pt(nwot): {', '.join(PROXIES)}"
        )
    return changed


def run_study(
    runs: Sequence[StudyRun],
    directory: AnyPath,
    spread: Spread = spread_locally,
    report: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """The scores tables of all `runs`, joined; each is a file in `directory`, and one that is there is read.

    Raises:
        UserError: missing data, a function whose evidence is not to be had, or edges that do not keep one of several
            ops.
    """
    _refuse_other_edges(runs)
    missing = [run for run in runs if not (directory / run.file_name).exists()]
    for run in missing:  # before any is worked on: a missing table is noticed now
        for search in (run.search, *run.oracles.values()):
            benchmark_values(search)
    done = len(runs) - len(missing)
    for members in _grouped(missing):
        for run, scores in _score_group(members, spread):
            with whole_file(directory / run.file_name) as temporary:
                scores.to_parquet(temporary)
            done += 1
            config = run.search.config
            report(f"{done}/{len(runs)} {run.function}, {config.space}, seed {config.seed}")
    remedy = "delete it to have it computed again"
    tables = [read_parquet(directory / run.file_name, remedy) for run in runs]
    return pd.concat(tables, ignore_index=True)


def _refuse_other_edges(runs: Sequence[StudyRun]) -> None:
    for space in {run.search.config.space: run.search.space for run in runs}.values():
        for edge in space.edges:
            if edge.keep != 1 or len(edge.candidates) == 1:
                raise UserError(
                    f"the study needs edges that keep one of several ops; {edge.name!r} of {space.name!r} "
                    f"keeps {edge.keep}"
                )


def _grouped(runs: Sequence[StudyRun]) -> list[list[StudyRun]]:
    """The runs that read the same, together."""
    groups: dict[object, list[StudyRun]] = {}
    for run in runs:
        groups.setdefault(run.reads, []).append(run)
    return list(groups.values())


@dataclass(frozen=True)
class StudyData:
    """What the runs of a group read, and per oracle the value of every network."""

    data: SearchData
    values: Mapping[str, dict[str, float] | None]


def _score_group(members: Sequence[StudyRun], spread: Spread) -> Iterator[tuple[StudyRun, pd.DataFrame]]:
    """The scores tables of runs that read the same, as they are finished."""
    first = members[0]
    data = load_data(first.search, spread)
    values = {name: network_values(search, data.images, spread) for name, search in first.oracles.items()}
    shared = StudyData(data, values)
    if isinstance(first.search.scoring.evidence, TrainedSupernet):
        # Once for each seed, before several functions ask for it at the same time.
        trainings = {(run.search.config.seed, run.search.config.training): run for run in members}
        list(spread(_train, shared, list(trainings.values())))
    yield from spread(score_run, shared, members)


def _train(shared: StudyData, run: StudyRun) -> None:
    OpScorer(run.search, shared.data)  # leaves a checkpoint


def score_run(shared: StudyData, run: StudyRun) -> pd.DataFrame:
    """The scores table of one run. Edges are decided in an order and on minibatches that depend on the seed alone."""
    search, config, space = run.search, run.search.config, run.search.space
    scorer = OpScorer(search, shared.data)
    oracles = {name: Oracle.of(space, known) for name, known in shared.values.items() if known is not None}
    arch = PartialArch.all_open(space.edges)
    drawn = generator(config.seed, "study", "order").permutation(len(arch.edges)).tolist()
    order = [edge for edge in drawn if edge in arch.open_edges]
    tables = []
    for iteration, decided in enumerate(order if run.progressive else order[:1]):
        step = scorer.step(arch, derive_seed(config.seed, "study", "minibatch", iteration))
        table = _scores_table(run, scorer.op_params, arch, step(arch.open_edges), oracles)
        tables.append(table.assign(iteration=iteration))
        arch = arch.discretize(decided, step.best(decided, arch))
        if run.progressive:
            scorer.decided(arch)
    return pd.concat(tables).assign(space=config.space, dataset=config.dataset, seed=config.seed)


def _scores_table(
    run: StudyRun,
    op_params: Sequence[Sequence[int]],
    arch: PartialArch,
    scores: Mapping[int, Sequence[float]],
    oracles: Mapping[str, Oracle],
) -> pd.DataFrame:
    rows = []
    for index, values in scores.items():
        edge = arch.edges[index]
        for op, score, params in zip(edge.candidates, values, op_params[index], strict=True):
            row = {"function": run.function, "edge": edge.name, "op": op, "score": score, "params": params}
            for name, oracle in oracles.items():
                scoring = run.oracles[name].scoring
                row[name] = scoring.score(Evidence(oracle=oracle), arch, [(index, op)])[0]
            rows.append(row)
    return pd.DataFrame(rows)


def read_published_scores(path: Path, space: Space) -> pd.DataFrame:
    """The scores table of a CSV as the paper's authors published theirs: columns `edge` (index), `scorer`, one per op.

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
