"""`zcpt search`: propose N architectures, validate them on V minibatches, show and keep what was found."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rich.console import Console

from zcpt_ray.cli.console import NOTHING_FOUND, one_line_errors, open_console, print_next
from zcpt_ray.cli.flags import Cluster, Help, OwnCode, given_flags, parse, words_of
from zcpt_ray.configs import SearchConfig
from zcpt_ray.search.presets import SEARCH_PRESETS, with_preset

SEARCH_DESCRIPTION = (
    "Search a space with Zero-Cost-PT, or a baseline: propose N architectures, validate them on V minibatches."
)
SEARCH_EXAMPLES = (
    "zcpt search --dataset digits --batch-size 64 --num-proposals 4 --num-validations 8 --out runs/first",
    "zcpt search --space darts --dataset ~/photos --batch-size 64 --max-params 4.5",
    "zcpt search --space my_space.py --plugin my_proxy.py --proxy mine --local",
)


@dataclass(frozen=True)
class SearchFlags:
    """A search and where it runs."""

    config: SearchConfig
    out: str | None = None
    """Run directory, local or a URI as s3://bucket/run; by default runs/ and a name made from the configuration. The
    same command goes on where it stopped, and with more proposals or validations it takes what is there.
    """
    smoke: bool = False
    """As small as it goes, seconds or a minute or two: shows that everything runs, not what the method finds."""
    preset: str = ""
    """Settings that were found to work; what other flags say holds."""
    own: OwnCode = field(default_factory=OwnCode)
    cluster: Cluster = field(default_factory=Cluster)


def main(argv: Sequence[str] | None = None, description: str = SEARCH_DESCRIPTION, **defaults: Any) -> None:
    """Parse flags, run the search, print its tables. `defaults` are fields of the configuration.

    Raises:
        SystemExit: bad input, which is told in one line.
    """
    with one_line_errors():
        help_texts = Help("search", description, SEARCH_EXAMPLES, choices=_presets)
        flags = parse(SearchFlags(SearchConfig(**defaults)), help_texts, argv)
        given = {*given_flags(argv), *defaults}
        run(replace(flags, config=with_preset(flags.config, flags.preset, given)), open_console())


def _presets() -> dict[str, Iterable[str]]:
    return {"preset": SEARCH_PRESETS}


def run(flags: SearchFlags, console: Console) -> None:
    """Run the search, or read its result if it has been finished before, and print the tables.

    Raises:
        UserError: a name or a value that is not known, missing data, or a directory of another run.
        SystemExit: scores told nothing apart.
    """
    console.print(told(flags.config) + (", as small as it goes" if flags.smoke else ""), highlight=False)
    # Now that it is said what happens: this imports torch, which takes seconds.
    from zcpt_ray.benchmarks.tables import benchmark_note, has_partial_table
    from zcpt_ray.cli.running import run_search_there
    from zcpt_ray.experiments.latency_limits import measured_here
    from zcpt_ray.experiments.single_search import run_directory
    from zcpt_ray.reports.search_report import print_result, report_best
    from zcpt_ray.search.resolved import Search, smoke

    config = smoke(flags.config) if flags.smoke else flags.config
    search = Search.of(measured_here(config, lambda line: console.print(line, highlight=False)))
    directory = run_directory(search, flags.out)

    def tell(finished: bool) -> None:
        if finished:
            line = f"This search is finished; its result is in {directory}. Delete that folder to run it again."
        else:
            line = f"Run directory: {directory}"
        console.print(line, soft_wrap=True, highlight=False)

    outcome = run_search_there(search, directory, flags.cluster, console, tell=tell)
    space = search.config.space
    print_result(outcome.result, console, benchmark_note(space, search.config.dataset), has_partial_table(space))
    report_best(outcome.result, search.space, directory, console, anew=not outcome.was_finished)
    dataset, images = search.config.dataset, words_of(search.config.images)
    if not outcome.result.told_apart:
        sys.exit(NOTHING_FOUND)
    print_next(
        console,
        ("train", "--searches", directory, "--dataset", dataset, *images, *flags.own.words),
        ("report", directory),
    )


def told(config: SearchConfig) -> str:
    """What a search is about to do, in one line."""
    if config.method != "discretize":
        how = f"by method {config.method}"
    else:
        asked = config.scoring == "zc-pt" or config.proxy != SearchConfig.proxy  # others may have a proxy of their own
        how = f"by {config.scoring}{f' with {config.proxy}' if asked else ''}, {config.order} order"
    numbers = f"N = {config.num_proposals}, V = {config.num_validations}, batch {config.batch_size}"
    return f"Search {config.space} on {config.dataset} {how}, {numbers}, seed {config.seed}"
