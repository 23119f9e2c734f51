"""The parts of the operation-scoring study, from taking scores to tables and figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from zcpt_ray import plots, study
from zcpt_ray.benchmarks import load_benchmark
from zcpt_ray.cli import Cluster, Report, SearchJob, run
from zcpt_ray.configs import SearchConfig, run_id
from zcpt_ray.published import FIGURE_2, TABLE_1
from zcpt_ray.score_tables import Spread
from zcpt_ray.scoring import SCORINGS
from zcpt_ray.search import DISCRETIZE
from zcpt_ray.spaces import find_space

Part = Literal["initial", "progressive", "toy-chain", "final-ops"]
ZERO_COST = ("zc-pt(nwot)", "disc-zc(nwot)", "zc-pt(synflow)", "disc-zc(synflow)", "tenas")
ORACLES = ("best-acc", "avg-acc")
TOY_PROXY = "nwot"
UNUSED = {
    "seed": "seeds are given by --seeds",
    "scoring": "scorings are given by --functions",
    "method": "every part discretizes",
    "num_validations": "no part validates",
    "evaluations": "no part has evolution",
    "max_params": "no part keeps a budget",
    "max_flops": "no part keeps a budget",
}
"""Fields of the configuration that no part takes from it, and why."""


@dataclass(frozen=True)
class Study:
    """What the parts have in common: `config` with the first seed, and that with each function, oracles included."""

    config: SearchConfig
    functions: tuple[SearchConfig, ...]
    oracles: tuple[str, ...]
    seeds: tuple[int, ...]
    longest_chain: int
    cluster: Cluster
    spread: Spread
    report: Report

    @classmethod
    def of(
        cls,
        config: SearchConfig,
        functions: Sequence[str],
        seeds: tuple[int, ...],
        longest_chain: int,
        cluster: Cluster,
        report: Report,
    ) -> "Study":
        """The study of these functions beside the oracles: accuracies, or scores of every network where there are none.

        Raises:
            UserError: an unknown function, or no such cluster.
        """
        configs = [study.with_function(config, function) for function in dict.fromkeys((*ORACLES, *functions))]
        trains = any(SCORINGS[each.scoring].needs == "trained supernet" for each in configs)
        spread = cluster.spread(config, show_logs=trains)
        benchmark = load_benchmark(config.space)
        oracles = ORACLES if benchmark and benchmark.knows(config.dataset) else ("best-zc(nwot)",)
        if oracles != ORACLES:
            report.console.print(f"No accuracies of {config.space} on {config.dataset}: the oracle is {oracles[0]} instead.")
            configs = [*(each for each in configs if each.scoring not in ORACLES), study.with_function(config, oracles[0])]
        return cls(config, tuple(configs), oracles, seeds, longest_chain, cluster, spread, report)

    def take(self, runs: Sequence[study.StudyRun]) -> pd.DataFrame:
        """The scores of some runs, taken or read."""
        return study.run_study(runs, self.report.out / "scores", self.spread, self.report.console.print)


def initial(this: Study) -> None:
    """Iteration 0, on the first seed."""
    report_initial(this.report, this.take([study.StudyRun(config, this.oracles) for config in this.functions]), this.oracles)


def report_initial(report: Report, scores: pd.DataFrame, oracles: Sequence[str] = ORACLES) -> None:
    """Correlations at iteration 0, what each function picks and what that is worth, and the scores themselves."""
    space, dataset = find_space(scores["space"].iloc[0]), scores["dataset"].iloc[0]
    beside_paper = (space.name, dataset) == ("nasbench201", "cifar10")
    correlations = {oracle: study.spearman_table(scores, oracle) for oracle in oracles}
    means = pd.DataFrame({o: table.groupby("function", sort=False)["spearman"].mean() for o, table in correlations.items()})
    if beside_paper:
        means["paper"] = means.index.map(FIGURE_2).astype(float)
    report.table(means.reset_index(), "initial-spearman", "Spearman correlation with the oracles at iteration 0, mean over edges")
    plots.save_figure(plots.initial_scoring(correlations), report.out / "initial-spearman")
    benchmark = load_benchmark(space.name)
    if benchmark and not benchmark.knows(dataset):
        benchmark = None
    picked = study.picked_table(scores, benchmark, dataset)
    if beside_paper:
        printed = {name: f"{error} (rank {rank})" for name, (error, rank) in TABLE_1.items()}
        picked["paper"] = [printed.get(name, "") for name in picked["function"]]
    report.table(picked, "initial-picked", "The architecture that each function picks at iteration 0 (table 1)")
    archs = {str(row.function): [space.decode(str(row.architecture))] for row in picked.itertuples()}
    report.table(study.op_counts(archs, space.edges[0].candidates), "initial-ops", "Ops picked at iteration 0 (table A1)")
    wide = scores.pivot_table("score", ["function", "edge"], "op", sort=False).reset_index()
    report.table(wide, "initial-scores", "Op scores at iteration 0, greater is better (table A12)")


def progressive(this: Study) -> None:
    """Correlation with the first oracle while edges are decided."""
    oracle, report = this.oracles[0], this.report
    configs = [replace(config, seed=seed) for config in this.functions for seed in this.seeds]
    correlations = study.spearman_table(this.take([study.StudyRun(c, (oracle,), progressive=True) for c in configs]), oracle)
    table = correlations.pivot_table("spearman", "function", "iteration", sort=False).reset_index()
    table.columns = ["function", *(f"{edges} decided" for edges in table.columns[1:])]
    report.table(table, "progressive-spearman", f"Spearman correlation with {oracle} by edges decided, mean over seeds")
    plots.save_figure(plots.progressive_scoring(correlations, oracle), report.out / "progressive-spearman")


def toy_chain(this: Study) -> None:
    """How the functions drift from the oracle as a chain grows."""
    names, report = tuple(f"{scoring}({TOY_PROXY})" for scoring in ("best-zc", "disc-zc", "zc-pt")), this.report
    oracle = names[0]
    chains = [replace(this.config, space=f"toy-chain-{length}") for length in range(1, this.longest_chain + 1)]
    scores = this.take([study.StudyRun(study.with_function(chain, name), (oracle,)) for chain in chains for name in names])
    correlations = study.spearman_table(scores, oracle)
    table = correlations.pivot_table("spearman", "space", "function", sort=False).reset_index()
    report.table(table, "toy-chain-spearman", f"Spearman correlation with {oracle} on chains (figure A6)")
    plots.save_figure(plots.toy_chain_correlation(correlations, oracle), report.out / "toy-chain-spearman")
    ranks = study.mean_ranks(scores)
    report.table(ranks, "toy-chain-ops", "Mean rank of each op, and on how many edges it is best (figure A7)")
    plots.save_figure(plots.toy_chain_ops(ranks, list(ranks["function"].unique())), report.out / "toy-chain-ops")


def final_ops(this: Study) -> None:
    """Which ops the proposed architectures hold, beside the best ten of the benchmark."""
    config, report = this.config, this.report
    space, benchmark, archs = find_space(config.space), load_benchmark(config.space), {}
    if benchmark and benchmark.knows(config.dataset):
        top = benchmark.accuracies(config.dataset, "test accuracy").nlargest(10).index
        archs["top 10 of the benchmark"] = [space.decode(str(arch)) for arch in top]
    for scoring in ("disc-zc", "zc-pt"):
        search = replace(config, scoring=scoring, method=DISCRETIZE, num_validations=0)
        result = run(SearchJob(search, out=str(report.out / f"final-ops-{run_id(search)}"), cluster=this.cluster), report.console)
        proposed = [[candidate.arch] * candidate.times_proposed for candidate in result.candidates]
        archs[f"{scoring}({config.proxy})"] = [space.decode(arch) for same in proposed for arch in same]
    counts = study.op_counts(archs, space.edges[0].candidates)
    report.table(counts, "final-ops", f"Ops in {config.num_proposals} proposed architectures (table A2)")


PARTS: dict[Part, Callable[[Study], None]] = {
    "initial": initial,
    "progressive": progressive,
    "toy-chain": toy_chain,
    "final-ops": final_ops,
}
"""In the order they are run and shown."""
