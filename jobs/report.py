"""One HTML page about finished searches, ablations and trainings: it needs no network, and a phone can show it."""

import sys
import tempfile
from dataclasses import dataclass
from typing import Annotated

import tyro

from zcpt_ray.cli import Cluster, SearchJob, one_line_errors, open_console, run
from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.files import any_path, whole_file
from zcpt_ray.found_runs import find_runs
from zcpt_ray.report import report_page


@dataclass(frozen=True)
class Options:
    """What to report."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Folders, local or URIs: everything finished in and below them is reported."""
    out: str = "runs/report.html"
    """The page, local or a URI; with a name that does not end in .html, a folder for report.html."""
    smoke: bool = False
    """Report a small search that is run for this, beside RUNS."""


def main(options: Options) -> int:
    """Write the page; 1 if something could not be read, which the page and the last lines name."""
    if not options.runs and not options.smoke:
        raise UserError("name at least one folder with finished runs")
    with tempfile.TemporaryDirectory() as folder:
        if options.smoke:
            run(SearchJob(SearchConfig(), smoke=True, out=folder, cluster=Cluster(local=True)), open_console())
        runs = find_runs([any_path(place) for place in (*options.runs, *([folder] if options.smoke else ()))])
        text = report_page(runs)
    out = any_path(options.out)
    page = out if out.name.endswith(".html") else out / "report.html"
    try:
        with whole_file(page) as temporary:
            temporary.write_bytes(text.encode(errors="replace"))
    except OSError as error:
        raise UserError(f"cannot write {page}: {error}") from error
    open_console().print(f"Report: {page}", soft_wrap=True, highlight=False)
    for problem in runs.problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if runs.problems else 0


if __name__ == "__main__":
    with one_line_errors():
        sys.exit(main(tyro.cli(Options, description=__doc__)))
