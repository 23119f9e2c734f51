"""The parts of the operation-scoring study, from taking scores to tables and figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from zcpt_ray.arch import ArchSpec
from zcpt_ray.benchmarks.tables import load_benchmark
from zcpt_ray.configs import SearchConfig
from zcpt_ray.experiments.single_search import RunSearch, run_or_read
from zcpt_ray.experiments.study import StudyRun, run_study, with_function
from zcpt_ray.reports import figures
from zcpt_ray.reports.output import Output
from zcpt_ray.reports.published import FIGURE_2, TABLE_1
from zcpt_ray.reports.study_tables import mean_ranks, op_counts, picked_table, spearman_table
from zcpt_ray.search.resolved import DISCRETIZE, Search
from zcpt_ray.search.score_tables import Spread
from zcpt_ray.spaces import find_space

StudyPart = Literal["initial", "progressive", "toy-chain", "final-ops"]

ORACLES = ("best-acc", "avg-acc")
TOY_PROXY = "nwot"


@dataclass(frozen=True)
class Study:
    """What the parts have in common: `config` with the first seed, and that with each function, oracles included.

    `spread` and `run_search` say where scores are taken and searches run.
    """

    config: SearchConfig
    functions: tuple[SearchConfig, ...]
    oracles: tuple[str, ...]
    seeds: tuple[int, ...]
    longest_chain: int
    spread: Spread
    run_search: RunSearch
    output: Output

    def take(self, runs: Sequence[StudyRun]) -> pd.DataFrame:
        """The scores of some runs, taken or read."""
        return run_study(runs, self.output.out / "scores", self.spread, self.output.console.print)


def functions_beside_oracles(
    config: SearchConfig, functions: Sequence[str]
) -> tuple[tuple[SearchConfig, ...], tuple[str, ...]]:
    """`config` with each function, oracles included, and the names of the oracles.

    The oracles are accuracies, or scores of every network where there are none.

    Raises:
        UserError: an unknown function.
    """
    configs = [with_function(config, function) for function in dict.fromkeys((*ORACLES, *functions))]
    benchmark = load_benchmark(config.space)
    if benchmark and benchmark.knows(config.dataset):
        return tuple(configs), ORACLES
    oracle = "best-zc(nwot)"
    others = (each for each in configs if each.scoring not in ORACLES)
    return (*others, with_function(config, oracle)), (oracle,)


def initial(study: Study) -> None:
    """Iteration 0, on the first seed."""
    scores = study.take([StudyRun.of(config, study.oracles) for config in study.functions])
    report_initial(study.output, scores, study.oracles)


def report_initial(output: Output, scores: pd.DataFrame, oracles: Sequence[str] = ORACLES) -> None:
    """Correlations at iteration 0, what each function picks and what that is worth, and the scores themselves."""
    space, dataset = find_space(scores["space"].iloc[0]), scores["dataset"].iloc[0]
    beside_paper = (space.name, dataset) == ("nasbench201", "cifar10")
    correlations = {oracle: spearman_table(scores, oracle) for oracle in oracles}
    means = pd.DataFrame(
        {o: table.groupby("function", sort=False)["spearman"].mean() for o, table in correlations.items()}
    )
    if beside_paper:
        means["paper"] = means.index.map(FIGURE_2).astype(float)
    output.table(
        means.reset_index(), "initial-spearman", "Spearman correlation with the oracles at iteration 0, mean over edges"
    )
    output.figure(figures.initial_scoring(correlations), "initial-spearman")
    benchmark = load_benchmark(space.name)
    if benchmark and not benchmark.knows(dataset):
        benchmark = None
    picked = picked_table(scores, benchmark.query if benchmark else None, dataset)
    if beside_paper:
        printed = {name: f"{error} (rank {rank})" for name, (error, rank) in TABLE_1.items()}
        picked["paper"] = [printed.get(name, "") for name in picked["function"]]
    output.table(picked, "initial-picked", "The architecture that each function picks at iteration 0 (table 1)")
    archs = {str(row.function): [space.decode(str(row.architecture))] for row in picked.itertuples()}
    output.table(op_counts(archs, space.edges[0].candidates), "initial-ops", "Ops picked at iteration 0 (table A1)")
    wide = scores.pivot_table("score", ["function", "edge"], "op", sort=False).reset_index()
    output.table(wide, "initial-scores", "Op scores at iteration 0, greater is better (table A12)")


def progressive(study: Study) -> None:
    """Correlation with the first oracle while edges are decided."""
    oracle, output = study.oracles[0], study.output
    configs = [replace(config, seed=seed) for config in study.functions for seed in study.seeds]
    scores = study.take([StudyRun.of(config, (oracle,), progressive=True) for config in configs])
    correlations = spearman_table(scores, oracle)
    table = correlations.pivot_table("spearman", "function", "iteration", sort=False).reset_index()
    table.columns = ["function", *(f"{edges} decided" for edges in table.columns[1:])]
    output.table(table, "progressive-spearman", f"Spearman correlation with {oracle} by edges decided, mean over seeds")
    output.figure(figures.progressive_scoring(correlations, oracle), "progressive-spearman")


def toy_chain(study: Study) -> None:
    """How the functions drift from the oracle as a chain grows."""
    names, output = tuple(f"{scoring}({TOY_PROXY})" for scoring in ("best-zc", "disc-zc", "zc-pt")), study.output
    oracle = names[0]
    chains = [replace(study.config, space=f"toy-chain-{length}") for length in range(1, study.longest_chain + 1)]
    runs = [StudyRun.of(with_function(chain, name), (oracle,)) for chain in chains for name in names]
    scores = study.take(runs)
    correlations = spearman_table(scores, oracle)
    table = correlations.pivot_table("spearman", "space", "function", sort=False).reset_index()
    output.table(table, "toy-chain-spearman", f"Spearman correlation with {oracle} on chains (figure A6)")
    output.figure(figures.toy_chain_correlation(correlations, oracle), "toy-chain-spearman")
    ranks = mean_ranks(scores)
    output.table(ranks, "toy-chain-ops", "Mean rank of each op, and on how many edges it is best (figure A7)")
    output.figure(figures.toy_chain_ops(ranks, list(ranks["function"].unique())), "toy-chain-ops")


def final_ops(study: Study) -> None:
    """Which ops the proposed architectures hold, beside the best ten of the benchmark."""
    config, output = study.config, study.output
    space, benchmark = find_space(config.space), load_benchmark(config.space)
    archs: dict[str, list[ArchSpec]] = {}
    if benchmark and benchmark.knows(config.dataset):
        top = benchmark.accuracies(config.dataset, "test accuracy").nlargest(10).index
        archs["top 10 of the benchmark"] = [space.decode(str(arch)) for arch in top]
    for scoring in ("disc-zc", "zc-pt"):
        search = Search.of(replace(config, scoring=scoring, method=DISCRETIZE, num_validations=0))
        result = run_or_read(search, output.out / f"final-ops-{search.run_id}", study.run_search).result
        proposed = [[candidate.arch] * candidate.times_proposed for candidate in result.candidates]
        archs[f"{scoring}({config.proxy})"] = [space.decode(arch) for same in proposed for arch in same]
    counts = op_counts(archs, space.edges[0].candidates)
    output.table(counts, "final-ops", f"Ops in {config.num_proposals} proposed architectures (table A2)")


STUDY_PARTS: dict[StudyPart, Callable[[Study], None]] = {
    "initial": initial,
    "progressive": progressive,
    "toy-chain": toy_chain,
    "final-ops": final_ops,
}
"""In the order they are run and shown."""
