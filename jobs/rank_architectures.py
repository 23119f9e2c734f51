"""How a proxy ranks given architectures end to end, over V minibatches, beside the errors that the paper gives for its own."""

from dataclasses import dataclass, field
from pathlib import Path

from zcpt_ray.cli import Cluster, open_console, start
from zcpt_ray.configs import SearchConfig, smoke
from zcpt_ray.files import any_path
from zcpt_ray.published import DARTS_ERRORS
from zcpt_ray.ranking import random_archs, rank_archs, read_archs
from zcpt_ray.results import readable, terminal_table, write_table
from zcpt_ray.spaces import find_space


@dataclass(frozen=True)
class Options:
    """What to rank."""

    config: SearchConfig
    file: Path | None = None
    """A JSON object of architectures by name, as text or, on DARTS, as lists `normal` and `reduce`; without one, random ones."""
    match: str = ""
    """Of the file, only names in which this regular expression is found."""
    count: int = 10
    """How many random ones."""
    smoke: bool = False
    """As small as it goes: shows that everything runs."""
    cluster: Cluster = field(default_factory=Cluster)
    out: str = "runs/ranking"
    """Folder, local or a URI, of ranking.csv, .md, .tex and .parquet."""


def main(options: Options) -> None:
    """Score them all, then print and save the table."""
    config = smoke(options.config) if options.smoke else options.config
    archs = (
        read_archs(options.file, find_space(config.space), options.match) if options.file else random_archs(config, options.count)
    )
    console = open_console()
    table = rank_archs(config, archs, options.cluster.spread(config), console.print)
    if any(name in DARTS_ERRORS for name in archs):
        table.insert(2, "paper, test error [%]", table["name"].map(DARTS_ERRORS).astype(float))
    write_table(table, any_path(options.out) / "ranking")
    console.print(terminal_table(readable(table.drop(columns="architecture")), f"{config.proxy} end to end, mean of V minibatches"))


UNUSED = dict.fromkeys(
    ("scoring", "method", "order", "num_proposals", "evaluations", "max_params", "max_flops"), "nothing is searched"
)

if __name__ == "__main__":
    start(main, Options(SearchConfig(num_validations=10)), __doc__ or "", unused=UNUSED)
