"""`zcpt correlate`: how proxies rank networks beside the accuracies that a tabular benchmark has of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console

from zcpt_ray.cli.console import one_line_errors, open_console, require_some
from zcpt_ray.cli.flags import Cluster, Help, OwnCode, parse
from zcpt_ray.configs import SearchConfig
from zcpt_ray.keywords import SEARCH_ONLY

CORRELATE_HELP = Help(
    "correlate",
    """Score networks of a tabular benchmark by proxies, and compare with their accuracies.

Spearman, Kendall and Pearson of logs with 95 % intervals, the pick of each proxy and what it costs. Several proxies
joined by + are ranked together.""",
    (
        "zcpt correlate --space nasbench201 --dataset cifar10 --proxies all --count 200",
        "zcpt correlate --space transnas101-micro --image-size 64 --task class_scene --proxies nwot nwot+synflow",
        "zcpt correlate --joined runs/nasbench201 runs/macro --out runs/map",
    ),
    dict.fromkeys((*SEARCH_ONLY, "proxy", "num_validations"), "each network is scored on one minibatch"),
)


@dataclass(frozen=True)
class CorrelateFlags:
    """What to compare, and where."""

    config: SearchConfig
    proxies: tuple[str, ...] = ("all",)
    """Proxies, several joined by +, or all."""
    count: int = 200
    """Networks that are drawn from the table; 0 takes all."""
    task: str = ""
    """What the table has values of, as class_scene, where the images are another data set's."""
    joined: tuple[str, ...] = ()
    """Folders of finished correlations, of one space each: only a map of proxies and spaces is made of them."""
    smoke: bool = False
    """As small as it goes: shows that everything runs."""
    out: str = "runs/correlation"
    """Folder, local or a URI, of scores, tables and plots. The same command goes on where it stopped."""
    own: OwnCode = field(default_factory=OwnCode)
    cluster: Cluster = field(default_factory=Cluster)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse flags, score the networks, print and save table and plots."""
    with one_line_errors():
        run(parse(CorrelateFlags(SearchConfig(dataset="cifar10", batch_size=64)), CORRELATE_HELP, argv), open_console())


def run(flags: CorrelateFlags, console: Console) -> None:
    """Score the networks, print and save table and plots.

    Raises:
        UserError: an unknown name, a missing table, missing data, or a folder of something else.
    """
    if flags.joined:
        show_map(flags, console)
        return
    config, count = flags.config, 4 if flags.smoke else flags.count
    require_some(proxies=flags.proxies)
    networks = f"{count} networks" if count else "all networks"
    console.print(
        f"Correlate scores and accuracies of {networks} of {config.space} on {flags.task or config.dataset}",
        highlight=False,
    )
    from zcpt_ray.cli.running import spread
    from zcpt_ray.experiments.correlation import correlate_proxies
    from zcpt_ray.reports.correlation_report import readable_correlations, write_correlations
    from zcpt_ray.reports.terminal import print_table
    from zcpt_ray.storage.paths import any_path, require_storage

    require_storage(out := any_path(flags.out))

    def say(line: str) -> None:
        console.print(line, highlight=False)

    found = correlate_proxies(config, flags.proxies, count, out, spread(flags.cluster, config.device), say, flags.task)
    for name, reason in found.skipped.items():
        say(f"left out {name}: {reason}")
    write_correlations(found.table, found.scores, out)
    print_table(console, readable_correlations(found.table), f"{len(found.scores)} networks, 95 % intervals")
    console.print(
        f"Table: {out / 'correlation.csv'} (.md, .tex, .parquet); scores: {out / 'networks.parquet'}; plots:"
        f" {out / 'correlation.png'} (.svg)",
        soft_wrap=True,
        highlight=False,
    )


def show_map(flags: CorrelateFlags, console: Console) -> None:
    """Join finished correlations in one table and one figure.

    Raises:
        UserError: a folder without a finished correlation.
    """
    from zcpt_ray.reports.correlation_report import joined_correlations, readable_map, write_map
    from zcpt_ray.reports.terminal import print_table
    from zcpt_ray.storage.paths import any_path, require_storage

    require_storage(out := any_path(flags.out))
    table = joined_correlations([any_path(folder) for folder in flags.joined])
    write_map(table, out)
    print_table(console, readable_map(table), "Spearman correlation with accuracy")
    console.print(
        f"Table: {out / 'map.csv'} (.md, .tex, .parquet); figure: {out / 'map.png'} (.svg)",
        soft_wrap=True,
        highlight=False,
    )
