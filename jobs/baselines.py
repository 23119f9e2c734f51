"""Searches of the paper by name, with any proxies and seeds: one table beside the paper's table 2."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import tyro

from zcpt_ray.baselines import SEARCHES, named_search, naswot_draws, search_label
from zcpt_ray.benchmarks import DATASETS, load_benchmark
from zcpt_ray.cli import Cluster, SearchJob, one_line_errors, open_console, require_some, run
from zcpt_ray.configs import SearchConfig, run_id, smoke
from zcpt_ray.errors import UserError
from zcpt_ray.proxies import PROXIES
from zcpt_ray.published import paper_covers
from zcpt_ray.results import comparison_table, mean_and_deviation, paper_column, terminal_table, write_table
from zcpt_ray.search import load_data, resolve

TITLE = "Test error [%], mean ± standard deviation over search seeds and single training seeds, of naswot over draws"


@dataclass(frozen=True)
class Options:
    """Which searches to run; those that are finished are read."""

    config: SearchConfig
    searches: tuple[str, ...] = ("zero-cost-pt", "zero-cost-disc", "random", "max-param")
    """Their names: what a name does not fix is as the other flags say."""
    proxies: tuple[str, ...] = ("nwot-released",)
    """Each search is run with each of them, but for searches that use none or bring their own."""
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    """Search seeds."""
    naswot_draws: int = 0
    """Also NASWOT with N = 1000 by each proxy, averaged over so many draws from the scores of every network (paper: 500)."""
    smoke: bool = False
    """Shrink each search to seconds, with one seed."""
    cluster: Cluster = field(default_factory=Cluster)
    out: Path = Path("runs/baselines")
    """Folder of the run directories and of table.csv, .md, .tex and .parquet."""


def main(options: Options) -> None:
    """Run them one after another; Ray spreads each over its cluster."""
    require_some(searches=options.searches, proxies=options.proxies, seeds=options.seeds)
    console = open_console()
    named: dict[str, SearchConfig] = {}
    for name in options.searches:
        for proxy in options.proxies:
            config = named_search(name, replace(options.config, proxy=proxy))
            label = search_label(name, config)
            named.setdefault(label, smoke(config) if options.smoke else config)
    for config in named.values():
        resolve(config)
    results = {}
    for label, config in named.items():
        configs = [replace(config, seed=seed) for seed in (options.seeds[:1] if options.smoke else options.seeds)]
        jobs = [SearchJob(c, cluster=options.cluster, out=options.out / f"{label.replace(' ', '-')}-{run_id(c)}") for c in configs]
        results[label] = [run(job, console) for job in jobs]
        table = comparison_table(results, beside_paper=not options.smoke)
        write_table(table, options.out / "table")
    if options.naswot_draws:
        drawn = [naswot_row(options, proxy) for proxy in options.proxies]
        table = pd.DataFrame([*table.astype(str).to_dict("records"), *drawn]).fillna("-")
        write_table(table, options.out / "table")
    console.print(terminal_table(table, TITLE))


def naswot_row(options: Options, proxy: str) -> dict[str, str]:
    """NASWOT from the table of the scores of every network by `proxy`, made if it is not there."""
    config = replace(options.config, proxy=proxy, scoring="best-zc", seed=options.seeds[0])
    benchmark = load_benchmark(config.space)
    if benchmark is None:
        raise UserError(f"--naswot-draws needs the benchmark table of {config.space!r}, which is not there")
    scores = pd.Series(load_data(config, options.cluster.spread(config)).values)
    row = {"search": f"naswot {proxy}", "dataset": config.dataset, "N": "1000", "V": "1", "batch": str(config.batch_size)}
    for dataset in DATASETS:
        errors = 100 - benchmark.accuracies(dataset, "test accuracy")
        drawn = naswot_draws(scores, errors, draws=options.naswot_draws)
        row[dataset] = mean_and_deviation(drawn.mean(), drawn.std())
    if paper_covers(config.space, config.dataset) and not options.smoke:
        row |= paper_column(f"naswot {proxy}")
    return row


if __name__ == "__main__":
    description = f"{__doc__}\n\nsearches: {', '.join(SEARCHES)}\n\nproxies: {', '.join(PROXIES)}"
    with one_line_errors():
        main(tyro.cli(tyro.conf.OmitArgPrefixes[Options], default=Options(SearchConfig()), description=description))
