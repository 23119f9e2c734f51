"""Searches on the HTML page: one with all that is known of it, or several that lie in one folder beside each other."""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

import pandas as pd

from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.reports import figures, page
from zcpt_ray.reports.ablation_tables import (
    ablation_table,
    cell_name,
    cells,
    proposals_validations_table,
    search_errors,
    setting_columns,
    sorts_by,
    varied_fields,
)
from zcpt_ray.reports.decision_tables import BELOW_ZERO
from zcpt_ray.reports.page import PageFold, PagePart, PageText
from zcpt_ray.reports.page_parts import fine_print, pairs_part
from zcpt_ray.reports.paired_differences import paired_table
from zcpt_ray.reports.published import published_counts
from zcpt_ray.reports.run_folders import FoundSearch
from zcpt_ray.reports.tables import (
    BENCHMARK_TITLE,
    COSTS_TITLE,
    PARETO_TITLE,
    benchmark_name,
    benchmark_table,
    candidate_table,
    cost_table,
    pareto_table,
    with_dashes,
)
from zcpt_ray.resources import column_of
from zcpt_ray.search.records import SearchResult
from zcpt_ray.storage.parquet import read_parquet
from zcpt_ray.storage.paths import AnyPath

SETTINGS_TITLE = "Settings: test error [%], mean ± standard deviation over seeds"


def search_parts(searches: Sequence[FoundSearch]) -> tuple[PagePart, ...]:
    """One search, or several: settings beside each other, all of them in a table, each one folded."""
    if len(searches) == 1:
        return one_search(searches[0])
    results = [found.result for found in searches]
    fields = varied_fields(results)
    searches = sorted(searches, key=lambda found: sorts_by(found.result, fields))
    rows = [_row(found, fields) for found in searches]
    return (
        page.table(SETTINGS_TITLE, ablation_table(results)),
        *_setting_pairs(results),
        *_figure_4(results),
        page.table("All searches", with_dashes(pd.DataFrame(rows))),
        *(PageFold(f"{s.name}: {cell_name(s.result, (*fields, 'seed'))}", one_search(s)) for s in searches),
    )


def _row(found: FoundSearch, fields: Sequence[str]) -> dict[str, object]:
    """A search in the table of all: its setting, its seed, and what it found."""
    result = found.result
    row = {"search": found.name} | setting_columns(result, fields) | {"seed": result.config.seed}
    row["distinct"] = result.num_distinct
    row["score"] = result.best.score if result.config.num_validations > 0 else float("nan")
    row["params [M]"] = result.best.params / 1e6
    row |= {column_of(name): amount for name, amount in result.best.resources.items()}
    errors = {f"{name} [%]": f"{entry.error:.2f}" for name, entry in (result.benchmark or {}).items()}
    return row | errors | {"architecture": result.best.arch}


def _setting_pairs(results: Sequence[SearchResult]) -> list[PagePart]:
    fields = varied_fields(results)
    groups = {
        cell_name(group[0], fields): search_errors(group, benchmark_name(group[0].config.dataset))
        for group in cells(results).values()
    }
    pairs = paired_table(groups)
    return [] if pairs.empty else [PageFold("Settings, pair by pair", (pairs_part(pairs),))]


def _figure_4(results: Sequence[SearchResult]) -> list[PagePart]:
    """For each setting that was run with several N: the errors against N, and how many architectures were proposed."""
    alike: dict[SearchConfig, list[SearchResult]] = defaultdict(list)
    for result in results:
        setting = dataclasses.replace(result.config, num_proposals=1, num_validations=0, seed=0, device="auto")
        alike[setting].append(result)
    parts: list[PagePart] = []
    for config, group in alike.items():
        numbers = proposals_validations_table(group, benchmark_name(config.dataset))
        if numbers["N"].nunique() > 1:
            title = f"N and V (figure 4): {config.space} on {config.dataset}, {config.proxy}, {config.order} order"
            paper = published_counts(config.space, config.dataset, config.order)
            parts.append(page.picture(title, figures.drawn(figures.proposals_validations(numbers, paper), "svg")))
    return parts


def one_search(found: FoundSearch) -> tuple[PagePart, ...]:
    """The candidates, what is known of the best and its drawing, how it was decided, configuration and versions."""
    result, config = found.result, found.result.config
    seconds = ", ".join(f"{phase} {value:.1f} s" for phase, value in result.seconds.items())
    setting = f"{config.space} on {config.dataset}, {config.proxy}, {config.order} order, seed {config.seed}"
    parts: list[PagePart] = [
        PageText(f"{setting}. Best: {result.best.arch}"),
        PageText(f"{result.num_evaluations} proxy evaluations; {seconds}"),
        *_picture(found.directory / "best.svg", "The best architecture"),
        page.table("Candidates, best first", candidate_table(result)),
        *_picture(found.directory / "candidates.svg", "Scores as proposals came, and against size"),
    ]
    if config.limits:
        parts.append(page.table(PARETO_TITLE, pareto_table(result)))
    if result.benchmark:
        parts.append(page.table(BENCHMARK_TITLE, benchmark_table(result.benchmark)))
    if result.costs:
        parts.append(page.table(COSTS_TITLE, cost_table(result.costs)))
    return (*parts, *_replay(found.directory), fine_print(dataclasses.asdict(config), result.versions))


def _picture(path: AnyPath, title: str) -> list[PagePart]:
    """If it is there."""
    return [page.picture(title, path.read_bytes())] if path.exists() else []


def _replay(directory: AnyPath) -> list[PagePart]:
    parts = _picture(directory / "replay.svg", "How the best architecture was decided, edge by edge")
    path = directory / "replay.parquet"
    if not path.exists():
        return parts
    try:
        table = read_parquet(path)
    except UserError as error:
        return [*parts, PageText(str(error))]
    below = [PageText(BELOW_ZERO)] if "margin" in table and (table["margin"] < 0).any() else []
    return [*parts, *below, PageFold("The decisions in numbers", (page.table("Decisions, in order", table),))]
