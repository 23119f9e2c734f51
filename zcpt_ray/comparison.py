"""Searches side by side: named ones by proxy and seed, and NASWOT by draws, as rows of one table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd
from rich.console import Console

from zcpt_ray.baselines import named_search, naswot_draws, search_label
from zcpt_ray.benchmarks import require_benchmark
from zcpt_ray.cli import Cluster, SearchJob, run
from zcpt_ray.configs import SearchConfig, run_id
from zcpt_ray.files import AnyPath
from zcpt_ray.published import paper_covers
from zcpt_ray.records import SearchResult
from zcpt_ray.results import comparison_table, mean_and_deviation, paper_column, terminal_table, write_table
from zcpt_ray.search import load_data, resolve

TITLE = "Test error [%], mean ± standard deviation over search seeds and single training seeds, of naswot over draws"
NASWOT_FLAG = "--naswot-draws"


def named_searches(config: SearchConfig, names: Sequence[str], proxies: Sequence[str]) -> dict[str, SearchConfig]:
    """The searches of these names, each with each proxy that it asks, by what they are called in the table.

    Raises:
        UserError: an unknown name.
    """
    named: dict[str, SearchConfig] = {}
    for name in names:
        for proxy in proxies:
            search = named_search(name, replace(config, proxy=proxy))
            resolve(search)
            named.setdefault(search_label(name, search), search)
    return named


@dataclass(frozen=True)
class Comparison:
    """Where searches that stand beside each other run and leave their table, and whether the paper's errors belong beside them."""

    out: AnyPath
    cluster: Cluster
    console: Console
    beside_paper: bool

    def of_searches(self, named: dict[str, SearchConfig], seeds: Sequence[int]) -> pd.DataFrame:
        """Run or read each search with each seed; the table is saved as often as it has a row more."""
        results: dict[str, list[SearchResult]] = {}
        for label, config in named.items():
            configs = [replace(config, seed=seed) for seed in seeds]
            jobs = [
                SearchJob(c, cluster=self.cluster, out=str(self.out / f"{label.replace(' ', '-')}-{run_id(c)}")) for c in configs
            ]
            results[label] = [run(job, self.console) for job in jobs]
            table = comparison_table(results, self.beside_paper)
            write_table(table, self.out / "table")
        return table

    def with_naswot(self, table: pd.DataFrame, config: SearchConfig, proxies: Sequence[str], draws: int) -> pd.DataFrame:
        """The same with a row of NASWOT for each proxy, saved too."""
        drawn = [self._naswot_row(replace(config, proxy=proxy, scoring="best-zc"), draws) for proxy in proxies]
        table = pd.DataFrame([*table.astype(str).to_dict("records"), *drawn]).fillna("-")
        write_table(table, self.out / "table")
        return table

    def show(self, table: pd.DataFrame) -> None:
        """Print it."""
        self.console.print(terminal_table(table, TITLE))

    def _naswot_row(self, config: SearchConfig, draws: int) -> dict[str, str]:
        """NASWOT from the table of the scores of every network by the proxy, made if it is not there."""
        benchmark, label = require_benchmark(config.space, NASWOT_FLAG), f"naswot {config.proxy}"
        scores = pd.Series(load_data(config, self.cluster.spread(config)).values)
        row = {"search": label, "dataset": config.dataset, "N": "1000", "V": "1", "batch": str(config.batch_size)}
        for dataset in benchmark.datasets:
            drawn = naswot_draws(scores, 100 - benchmark.accuracies(dataset, "test accuracy"), draws=draws)
            row[dataset] = mean_and_deviation(drawn)
        return row | (paper_column(label, config.space) if self.beside_paper and paper_covers(config.space, config.dataset) else {})
