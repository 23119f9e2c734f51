"""`zcpt rank`: how a proxy ranks given architectures end to end, over V minibatches."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from zcpt_ray.cli.console import one_line_errors, open_console, print_next
from zcpt_ray.cli.flags import Cluster, Help, OwnCode, parse, words_of
from zcpt_ray.configs import SearchConfig
from zcpt_ray.keywords import SEARCH_ONLY

RANK_HELP = Help(
    "rank",
    "Score given architectures, or random ones, end to end over V minibatches.",
    (
        "zcpt rank --count 5 --num-validations 4 --batch-size 64",
        "zcpt rank --space darts --file genotypes.json --match seed0",
        "zcpt rank --proxy synflow --file archs.json --out runs/synflow",
    ),
    dict.fromkeys(SEARCH_ONLY, "nothing is searched"),
)


@dataclass(frozen=True)
class RankFlags:
    """What to rank."""

    config: SearchConfig
    file: Path | None = None
    """A JSON object of architectures by name, as text or, on DARTS, as lists `normal` and `reduce`; without one, random
    ones."""
    match: str = ""
    """Of the file, only names in which this regular expression is found."""
    count: int = 10
    """How many random ones."""
    smoke: bool = False
    """As small as it goes: shows that everything runs."""
    out: str = "runs/ranking"
    """Folder, local or a URI, of ranking.csv, .md, .tex and .parquet."""
    own: OwnCode = field(default_factory=OwnCode)
    cluster: Cluster = field(default_factory=Cluster)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse flags, score the architectures, print and save the table."""
    with one_line_errors():
        run(parse(RankFlags(SearchConfig(num_validations=10)), RANK_HELP, argv), open_console())


def run(flags: RankFlags, console: Console) -> None:
    """Score them all, then print and save the table.

    Raises:
        UserError: an unknown name, missing data, or a file that holds no architectures of the space.
    """
    config = flags.config
    console.print(f"Rank architectures of {config.space} on {config.dataset} by {config.proxy}", highlight=False)
    from zcpt_ray.cli.running import spread
    from zcpt_ray.experiments.ranking import random_archs, rank_archs, read_archs
    from zcpt_ray.reports.published_trainings import DARTS_ERRORS
    from zcpt_ray.reports.tables import readable, write_table
    from zcpt_ray.reports.terminal import print_table
    from zcpt_ray.search.resolved import Search, smoke
    from zcpt_ray.storage.paths import any_path, require_storage

    search = Search.of(replace(smoke(config) if flags.smoke else config, method="random"))  # nothing is proposed
    if flags.file:
        archs = read_archs(flags.file, search.space, flags.match)
    else:
        archs = random_archs(search.space, flags.count, config.seed)
    require_storage(out := any_path(flags.out))
    table = rank_archs(search, archs, spread(flags.cluster, config.device), console.print)
    if any(name in DARTS_ERRORS for name in archs):
        table.insert(2, "paper, test error [%]", table["name"].map(DARTS_ERRORS).astype(float))
    write_table(table, out / "ranking")
    print_table(console, readable(table), f"{search.proxy.name} end to end, mean of V minibatches")
    console.print(f"Table: {out / 'ranking.csv'} (and .md, .tex, .parquet)", soft_wrap=True, highlight=False)
    found = ("--arch", table["architecture"].iloc[0])
    dataset = (search.config.dataset, *words_of(search.config.images))
    print_next(console, ("train", "--space", config.space, "--dataset", *dataset, *found, *flags.own.words))
