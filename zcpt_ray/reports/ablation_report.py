"""What an ablation ends in: its tables and figures, printed and saved."""

from collections.abc import Sequence

import pandas as pd

from zcpt_ray.reports.ablation_tables import (
    ablation_table,
    cell_name,
    cells,
    interval_table,
    proposals_validations_table,
    search_errors,
    varied_fields,
)
from zcpt_ray.reports.figures import proposals_validations, settings_with_intervals
from zcpt_ray.reports.output import Output
from zcpt_ray.reports.paired_differences import paired_table
from zcpt_ray.reports.published import published_counts
from zcpt_ray.reports.tables import benchmark_name, write_table
from zcpt_ray.search.records import SearchResult


def report_ablation(results: Sequence[SearchResult], output: Output) -> pd.DataFrame | None:
    """Print and save the table of the finished cells; None where none is finished.

    Saved only: figure 4 where nothing but N and V varies, the means with their intervals, as a table and a figure, and
    the differences of settings, seed by seed.
    """
    if not results:
        return None
    errors = "; test errors [%], mean ± standard deviation" if any(result.benchmark for result in results) else ""
    table = ablation_table(results)
    output.table(table, "ablation", f"Searches over seeds{errors}")
    if dataset := _known_dataset(results):
        varied = set(varied_fields(results))
        if varied and varied <= {"num_proposals", "num_validations"}:
            _save_figure_4(results, dataset, output)
        _save_pairs(results, dataset, output)
        intervals = interval_table(results)
        write_table(intervals, output.out / "intervals")
        output.figure(settings_with_intervals(intervals), "intervals")
    return table


def _known_dataset(results: Sequence[SearchResult]) -> str | None:
    """Of what the benchmark knows the data set of the search, or else its first."""
    known = [name for result in results if result.benchmark for name in result.benchmark]
    own = benchmark_name(results[0].config.dataset)
    return own if own in known else next(iter(known), None)


def _save_figure_4(results: Sequence[SearchResult], dataset: str, output: Output) -> None:
    table, config = proposals_validations_table(results, dataset), results[0].config
    write_table(table, output.out / "proposals-validations")
    paper = published_counts(config.space, config.dataset, config.order)
    output.figure(proposals_validations(table, paper), "proposals-validations")


def _save_pairs(results: Sequence[SearchResult], dataset: str, output: Output) -> None:
    fields = varied_fields(results)
    settings = {cell_name(group[0], fields): search_errors(group, dataset) for group in cells(results).values()}
    pairs = paired_table(settings)
    if not pairs.empty:
        write_table(pairs, output.out / "pairs")
