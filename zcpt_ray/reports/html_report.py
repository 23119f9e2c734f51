"""The report of finished searches and trainings as one HTML page, from what their directories hold and nothing else."""

from collections.abc import Hashable, Iterable, Mapping, Sequence

import pandas as pd

from zcpt_ray.reports import page
from zcpt_ray.reports.ablation_tables import cells
from zcpt_ray.reports.figures import drawn, error_and_latency
from zcpt_ray.reports.page import PagePart, PageSection
from zcpt_ray.reports.page_parts import pairs_part
from zcpt_ray.reports.paired_differences import paired_table
from zcpt_ray.reports.run_folders import FoundRuns, find_runs
from zcpt_ray.reports.search_section import search_parts
from zcpt_ray.reports.tables import benchmark_errors, benchmark_name, mean_and_deviation, with_dashes
from zcpt_ray.reports.training_section import training_parts
from zcpt_ray.reports.training_tables import Trained, each_once
from zcpt_ray.search.records import SearchResult
from zcpt_ray.storage.parquet import read_parquet
from zcpt_ray.storage.paths import AnyPath, write_whole

PAGE_TITLE = "Zero-cost searches and trainings"
COMPARISON_FILE = "comparison.parquet"


def report_page(runs: FoundRuns, title: str = PAGE_TITLE, comparisons: Mapping[str, pd.DataFrame] | None = None) -> str:
    """The page: what failed, a summary of all runs, then a section for each fit, folder of searches and grid."""
    fits = [
        PageSection(place, f"fit{index}", (page.table("Trained alike on the same images", table), *_compared(table)))
        for index, (place, table) in enumerate((comparisons or {}).items())
    ]
    sections: list[PageSection] = []
    rows: list[dict[str, object]] = []
    for place, searches in runs.searches.items():
        name = place if len(searches) > 1 else str(searches[0].directory)
        sections.append(PageSection(name, f"run{len(sections)}", search_parts(searches)))
        rows.append({"run": name} | _search_summary([found.result for found in searches]))
    for place, trainings in runs.trainings.items():
        sections.append(PageSection(place, f"run{len(sections)}", training_parts(trainings)))
        rows.append({"run": place} | _training_summary(trainings, runs.trials.get(place)))
    anchors = [section.anchor for section in sections]
    if len(runs.trainings) > 1 and not (pairs := paired_table(_by_seeds(runs))).empty:
        sections.append(PageSection("Grids of trainings, pair by pair", f"run{len(sections)}", (pairs_part(pairs),)))
    summary = page.table("All runs", with_dashes(pd.DataFrame(rows)), anchors)
    return page.render(title, summary, [*fits, *sections], runs.problems)


def write_report(places: Sequence[AnyPath], out: AnyPath) -> tuple[AnyPath, list[str]]:
    """Write the page about everything finished in and below some folders; where it is, and what could not be read.

    `out` is the page, or, with a name that does not end in .html, a folder for report.html.

    Raises:
        UserError: there is nothing to report, or the page cannot be written.
    """
    runs = find_runs(places)
    page = out if out.name.endswith(".html") else out / "report.html"
    write_whole(page, report_page(runs, comparisons=_comparisons(places)).encode(errors="replace"))
    return page, runs.problems


def _comparisons(places: Sequence[AnyPath]) -> dict[str, pd.DataFrame]:
    """What fits have written: found networks beside others that were trained alike, by the folder of the fit."""
    found = {str(place): place / COMPARISON_FILE for place in places}
    tables = {place: read_parquet(path) for place, path in found.items() if path.exists()}
    return {place: table for place, table in tables.items() if "network" in table}


def _compared(table: pd.DataFrame) -> list[PagePart]:
    """The figure of a fit's comparison, where there is something to compare."""
    if len(table) < 2 or not {"latency [ms]", "standard error"} <= set(table):
        return []
    return [page.picture("Error against latency", drawn(error_and_latency(table), "svg"))]


def _by_seeds(runs: FoundRuns) -> dict[str, Mapping[Hashable, float]]:
    """Test errors of each grid by what its architecture is called there (the search seed) and training seed."""
    return {
        place: {(t.name, t.result.config.seed): t.result.error for t in trained}
        for place, trained in runs.trainings.items()
    }


def _search_summary(results: Sequence[SearchResult]) -> dict[str, object]:
    """The errors are of the search's own data set, over its seeds.

    Of several settings there are the least and the greatest mean.
    """
    groups = list(cells(results).values())
    errors = [benchmark_errors(group).get(benchmark_name(group[0].config.dataset)) for group in groups]
    known = sorted((text for text in errors if text), key=lambda text: float(text.split("±")[0]))
    hours = sum(result.task_seconds for result in results) / 3600
    return {
        "kind": "search" if len(results) == 1 else "ablation" if len(groups) > 1 else "searches",
        "space": _all(result.config.space for result in results),
        "dataset": _all(result.config.dataset for result in results),
        "runs": len(results),
        "test error [%]": known[0] if len(known) == 1 else f"{known[0]} to {known[-1]}" if known else "-",
        "params [M]": _range([result.best.params / 1e6 for result in results]),
        "hours": f"{hours:.2f}",
    }


def _training_summary(trained: Sequence[Trained], trials: int | None) -> dict[str, object]:
    """`trials` is how many the grid has in all, finished or not."""
    results = each_once(trained)
    return {
        "kind": "trainings",
        "space": _all(result.config.space for result in results),
        "dataset": _all(result.config.dataset for result in results),
        "runs": f"{len(results)}/{trials}" if trials and trials > len(results) else len(results),
        "test error [%]": mean_and_deviation([result.error for result in results]),
        "best [%]": f"{min(result.error for result in results):.2f}",
        "params [M]": _range([result.params / 1e6 for result in results]),
        "hours": f"{sum(result.seconds for result in results) / 3600:.2f}",
    }


def _all(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _range(numbers: Sequence[float]) -> str:
    ends = dict.fromkeys(f"{number:.2f}" for number in (min(numbers), max(numbers)))
    return " to ".join(ends)
