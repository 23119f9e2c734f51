"""Which operation scoring functions track the truth (section 3, appendices A.3 and A.4): tables and figures of the study."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pandas as pd
import tyro

from zcpt_ray import plots, study
from zcpt_ray.benchmarks import load_benchmark
from zcpt_ray.cli import Cluster, SearchJob, one_line_errors, open_console, require_some, run
from zcpt_ray.configs import SearchConfig, run_id, smoke
from zcpt_ray.errors import UserError
from zcpt_ray.proxies import PROXIES
from zcpt_ray.published import FIGURE_2, TABLE_1, paper_covers
from zcpt_ray.results import readable, terminal_table, write_table
from zcpt_ray.scoring import SCORINGS
from zcpt_ray.search import DISCRETIZE, resolve
from zcpt_ray.spaces import SPACES

Part = Literal["initial", "progressive", "toy-chain", "final-ops"]
ZERO_COST = ("zc-pt(nwot)", "disc-zc(nwot)", "zc-pt(synflow)", "disc-zc(synflow)", "tenas")
ORACLES = ("best-acc", "avg-acc")
TOY_PROXY = "nwot"


@dataclass(frozen=True)
class Options:
    """What to study; scores that were taken before are read."""

    config: SearchConfig
    parts: tuple[Part, ...] = ("initial", "progressive", "toy-chain", "final-ops")
    """initial: figure 2 left, tables 1, A1, A12. progressive: figure 2 right. toy-chain: figures A5 to A7. final-ops: table A2."""
    functions: tuple[str, ...] = ZERO_COST
    """Scoring functions, beside the oracles; darts, darts-pt and disc-acc train a supernet (paper: 60 --epochs)."""
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    """Search seeds of the progressive part; the others use the first."""
    longest_chain: int = 8
    """The toy chains have 1 to so many layers, 4 ops each; scoring all networks of the longest takes longest."""
    published: Path | None = None
    """Instead of taking scores: a CSV with the columns edge, scorer and one per op, for the initial part."""
    smoke: bool = False
    """Shrink everything to seconds; a chain of three layers stands in for the space."""
    cluster: Cluster = field(default_factory=Cluster)
    out: Path = Path("runs/operation_scoring")
    """Folder for scores, tables (.csv, .md, .tex, .parquet) and figures (.png, .svg)."""


class Report:
    """Prints and saves what the parts give."""

    def __init__(self, options: Options) -> None:
        self.out = options.out
        self.console = open_console()

    def table(self, table: pd.DataFrame, name: str, title: str) -> None:
        write_table(table, self.out / name)
        self.console.print(terminal_table(readable(table), title))


def initial(report: Report, scores: pd.DataFrame, oracles: tuple[str, ...]) -> None:
    """Iteration 0: correlations, what each function picks and what that is worth, and the scores themselves."""
    correlations = {oracle: study.spearman_table(scores, oracle) for oracle in oracles}
    by_function = {oracle: table.groupby("function", sort=False)["spearman"].mean() for oracle, table in correlations.items()}
    space, dataset = SPACES[scores["space"].iloc[0]], scores["dataset"].iloc[0]
    beside_paper = paper_covers(space.name, dataset)
    means = pd.DataFrame(by_function)
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


def progressive(report: Report, scores: pd.DataFrame, oracle: str) -> None:
    """Correlation with the oracle while edges are decided."""
    correlations = study.spearman_table(scores, oracle)
    table = correlations.pivot_table("spearman", "function", "iteration", sort=False).reset_index()
    table.columns = ["function", *(f"{edges} decided" for edges in table.columns[1:])]
    report.table(table, "progressive-spearman", f"Spearman correlation with {oracle} by edges decided, mean over seeds")
    plots.save_figure(plots.progressive_scoring(correlations, oracle), report.out / "progressive-spearman")


def toy_chain(report: Report, scores: pd.DataFrame, oracle: str) -> None:
    """How the functions drift from the oracle as a chain grows."""
    correlations = study.spearman_table(scores, oracle)
    table = correlations.pivot_table("spearman", "space", "function", sort=False).reset_index()
    report.table(table, "toy-chain-spearman", f"Spearman correlation with {oracle} on chains (figure A6)")
    plots.save_figure(plots.toy_chain_correlation(correlations, oracle), report.out / "toy-chain-spearman")
    ranks = study.mean_ranks(scores)
    report.table(ranks, "toy-chain-ops", "Mean rank of each op, and on how many edges it is best (figure A7)")
    plots.save_figure(plots.toy_chain_ops(ranks, list(ranks["function"].unique())), report.out / "toy-chain-ops")


def final_ops(report: Report, config: SearchConfig, cluster: Cluster) -> None:
    """Which ops the proposed architectures hold, beside the best ten of the benchmark."""
    space, benchmark, archs = SPACES[config.space], load_benchmark(config.space), {}
    if benchmark and benchmark.knows(config.dataset):
        top = benchmark.accuracies(config.dataset, "test accuracy").nlargest(10).index
        archs["top 10 of the benchmark"] = [space.decode(str(arch)) for arch in top]
    for scoring in ("disc-zc", "zc-pt"):
        search = replace(config, scoring=scoring, method=DISCRETIZE, num_validations=0)
        result = run(SearchJob(search, out=report.out / f"final-ops-{run_id(search)}", cluster=cluster), report.console)
        proposed = [[candidate.arch] * candidate.times_proposed for candidate in result.candidates]
        archs[f"{scoring}({config.proxy})"] = [space.decode(arch) for same in proposed for arch in same]
    counts = study.op_counts(archs, space.edges[0].candidates)
    report.table(counts, "final-ops", f"Ops in {config.num_proposals} proposed architectures (table A2)")


def main(options: Options) -> None:
    """Take or read the scores, part by part, and show each part as soon as it is there."""
    require_some(seeds=options.seeds, functions=options.functions, parts=options.parts)
    if options.longest_chain < 1 or options.config.seed:
        raise UserError("--longest-chain must be at least 1, and seeds are given by --seeds")
    resolve(options.config)
    report = Report(options)
    if options.smoke:
        small = replace(smoke(options.config), space="toy-chain-3")
        options = replace(options, config=small, seeds=options.seeds[:1], longest_chain=2)
    base = replace(options.config, seed=options.seeds[0])
    functions = [study.with_function(base, function) for function in dict.fromkeys((*ORACLES, *options.functions))]
    if options.published:
        initial(report, study.read_published_scores(options.published, SPACES[base.space]), ORACLES)
        return
    trains = any(SCORINGS[config.scoring].needs == "trained supernet" for config in functions)
    spread = options.cluster.spread(base, show_logs=trains)
    benchmark = load_benchmark(base.space)
    oracles = ORACLES if benchmark and benchmark.knows(base.dataset) else ("best-zc(nwot)",)
    if oracles != ORACLES:
        report.console.print(f"No accuracies of {base.space} on {base.dataset}: the oracle is {oracles[0]} instead.")
        functions = [*(f for f in functions if f.scoring not in ORACLES), study.with_function(base, oracles[0])]

    def take(runs: list[study.StudyRun]) -> pd.DataFrame:
        return study.run_study(runs, options.out / "scores", spread, report.console.print)

    if "initial" in options.parts:
        runs = [study.StudyRun(config, oracles) for config in functions]
        initial(report, take(runs), oracles)
    if "progressive" in options.parts:
        runs = [
            study.StudyRun(replace(config, seed=seed), oracles[:1], progressive=True)
            for config in functions
            for seed in options.seeds
        ]
        progressive(report, take(runs), oracles[0])
    if "toy-chain" in options.parts:
        chains = [replace(base, space=f"toy-chain-{length}") for length in range(1, options.longest_chain + 1)]
        names = tuple(f"{scoring}({TOY_PROXY})" for scoring in ("best-zc", "disc-zc", "zc-pt"))
        runs = [study.StudyRun(study.with_function(chain, name), names[:1]) for chain in chains for name in names]
        toy_chain(report, take(runs), names[0])
    if "final-ops" in options.parts:
        final_ops(report, base, options.cluster)


if __name__ == "__main__":
    description = f"{__doc__}\n\nscorings: {', '.join(SCORINGS)}\n\nproxies: {', '.join(PROXIES)}"
    with one_line_errors():
        main(tyro.cli(tyro.conf.OmitArgPrefixes[Options], default=Options(SearchConfig()), description=description))
