"""`zcpt report`: one HTML page about finished searches, ablations and trainings."""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from zcpt_ray.cli.console import one_line_errors, open_console
from zcpt_ray.cli.flags import Cluster, Help, parse
from zcpt_ray.errors import UserError

REPORT_HELP = Help(
    "report",
    "Make one HTML page about finished searches, ablations and trainings; it needs no network.",
    ("zcpt report runs", "zcpt report runs/first runs/training --out first.html", "zcpt report s3://bucket/runs"),
)


@dataclass(frozen=True)
class ReportFlags:
    """What to report."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Folders, local or URIs: everything finished in and below them is reported."""
    out: str = "runs/report.html"
    """The page, local or a URI; with a name that does not end in .html, a folder for report.html."""
    smoke: bool = False
    """Report a small search that is run for this, beside RUNS."""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse flags, write the page; exits with 1 if something could not be read."""
    with one_line_errors():
        if not run(parse(ReportFlags(), REPORT_HELP, argv), open_console()):
            sys.exit(1)


def run(flags: ReportFlags, console: Console) -> bool:
    """Write the page; False if something could not be read, which the page and the last lines name.

    Raises:
        UserError: nothing to report, or the page cannot be written.
    """
    if not flags.runs and not flags.smoke:
        raise UserError("name at least one folder with finished runs")
    from zcpt_ray.reports.html_report import write_report
    from zcpt_ray.storage.paths import any_path

    with tempfile.TemporaryDirectory() as folder:
        places = [*flags.runs]
        if flags.smoke:
            from zcpt_ray.cli import search
            from zcpt_ray.configs import SearchConfig

            search.run(search.SearchFlags(SearchConfig(), folder, smoke=True, cluster=Cluster(local=True)), console)
            places.append(folder)
        page, problems = write_report([any_path(place) for place in places], any_path(flags.out))
    console.print(f"Report: {page}", soft_wrap=True, highlight=False)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return not problems
