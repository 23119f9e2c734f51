"""Searches of the paper by name, with any proxies and seeds: one table beside the paper's table 2."""

from dataclasses import dataclass, field, replace

from zcpt_ray.baselines import SEARCHES
from zcpt_ray.benchmarks import require_benchmark
from zcpt_ray.cli import Cluster, open_console, require_some, start
from zcpt_ray.comparison import NASWOT_FLAG, Comparison, named_searches
from zcpt_ray.configs import SearchConfig, smoke
from zcpt_ray.errors import UserError
from zcpt_ray.files import any_path

UNUSED = {
    "seed": "seeds are given by --seeds",
    "proxy": "proxies are given by --proxies",
    "scoring": "--searches fixes it",
    "method": "--searches fixes it",
}


@dataclass(frozen=True)
class Options:
    """Which searches to run; those that are finished are read."""

    config: SearchConfig
    searches: tuple[str, ...] = ("zero-cost-pt", "zero-cost-disc", "random", "max-param")
    """Their names, which fix scoring and method, and some order, N and V; what they leave open is as the other flags say."""
    proxies: tuple[str, ...] = ("nwot-released",)
    """Each search is run with each of them, but for searches that use none or bring their own."""
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    """Search seeds."""
    naswot_draws: int = 0
    """Also NASWOT with N = 1000 by each proxy, averaged over so many draws from the scores of every network (paper: 500)."""
    smoke: bool = False
    """Shrink each search, with one seed."""
    cluster: Cluster = field(default_factory=Cluster)
    out: str = "runs/baselines"
    """Folder, local or a URI, of the run directories and of table.csv, .md, .tex and .parquet."""


def main(options: Options) -> None:
    """Run them one after another; Ray spreads each over its cluster."""
    require_some(searches=options.searches, proxies=options.proxies, seeds=options.seeds)
    named = named_searches(options.config, options.searches, options.proxies)
    config, seeds = replace(options.config, seed=options.seeds[0]), options.seeds
    if options.naswot_draws:
        benchmark = require_benchmark(config.space, NASWOT_FLAG)
        for dataset in benchmark.datasets:
            benchmark.accuracies(dataset, "test accuracy")  # raises where the table is a partial one
        if (config.max_params, config.max_flops) != (None, None):
            raise UserError(f"{NASWOT_FLAG} draws from all networks: leave out --max-params and --max-flops")
    if options.smoke:
        named, config, seeds = {label: smoke(search) for label, search in named.items()}, smoke(config), seeds[:1]
    comparison = Comparison(any_path(options.out), options.cluster, open_console(), beside_paper=not options.smoke)
    table = comparison.of_searches(named, seeds)
    if options.naswot_draws:
        table = comparison.with_naswot(table, config, options.proxies, options.naswot_draws)
    comparison.show(table)


if __name__ == "__main__":
    start(main, Options(SearchConfig()), __doc__ or "", {"searches": SEARCHES}, UNUSED)
