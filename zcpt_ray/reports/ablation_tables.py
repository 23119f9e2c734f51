"""From the cells of an ablation to tables: one row per setting, over search seeds, beside the paper's."""

import dataclasses
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from zcpt_ray.configs import SearchConfig
from zcpt_ray.reports.paired_differences import mean_interval
from zcpt_ray.reports.published import paper_covers, published_cell, published_counts
from zcpt_ray.reports.tables import as_printed, benchmark_coverage, benchmark_errors, sample_deviation, search_cost
from zcpt_ray.search.records import SearchResult

FIELD_LABELS = {"num_proposals": "N", "num_validations": "V", "batch_size": "batch"}
"""What fields of the configuration are called in tables, if not by their own name."""
NOT_VARIED = ("seed", "device")
"""Fields that are no part of a setting."""
PAPER_SETTING = {"num_proposals": 10, "num_validations": 100}
"""N and V of the errors that the paper prints."""
Setting = tuple[Hashable, ...]
"""The values of the fields in which some searches differ."""


def varied_fields(results: Sequence[SearchResult], ignored: Sequence[str] = NOT_VARIED) -> tuple[str, ...]:
    """The fields of the configuration in which these searches differ, other than their seed and device."""
    names = [field.name for field in dataclasses.fields(SearchConfig) if field.name not in ignored]
    return tuple(name for name in names if len({getattr(result.config, name) for result in results}) > 1)


def sorts_by(result: SearchResult, fields: Sequence[str]) -> tuple[tuple[bool, float, str], ...]:
    """Order of settings: by these fields one after another, numbers by size and before what is none; then by seed."""
    values = [getattr(result.config, name) for name in (*fields, "seed")]
    return tuple((False, value, "") if isinstance(value, int | float) else (True, 0.0, str(value)) for value in values)


def cells(results: Sequence[SearchResult]) -> dict[Setting, list[SearchResult]]:
    """The searches by the values of the fields in which they differ, in order, and by seed; of equal ones the last."""
    fields = varied_fields(results)
    grouped: dict[Setting, dict[int, SearchResult]] = defaultdict(dict)
    for result in sorted(results, key=lambda result: sorts_by(result, fields)):
        grouped[tuple(getattr(result.config, name) for name in fields)][result.config.seed] = result
    return {setting: list(seeds.values()) for setting, seeds in grouped.items()}


def cell_name(result: SearchResult, fields: Sequence[str]) -> str:
    """What tells the setting of a search from the others: `order random, N 10`."""
    return ", ".join(f"{FIELD_LABELS.get(name, name)} {getattr(result.config, name)}" for name in fields) or "all"


def ablation_table(results: Sequence[SearchResult]) -> pd.DataFrame:
    """One row per setting, over its search seeds, with a column for each field of the configuration that varies.

    `distinct` is the mean number of different architectures among the proposals; scores and seconds (of all tasks) are
    means per search. Where a benchmark knows the picks there are their errors, as in `comparison_table`, and the
    paper's.
    """
    fields, rows = varied_fields(results), []
    for group in cells(results).values():
        row: dict[str, Any] = setting_columns(group[0], fields) | {"seeds": len(group)}
        if all(result.benchmark is not None for result in group):
            row |= benchmark_errors(group) | benchmark_coverage(group)
        row["distinct"] = f"{np.mean([result.num_distinct for result in group]):.3g}"
        row["scores"] = round(np.mean([result.num_evaluations for result in group]))
        row["seconds"] = round(np.mean([result.task_seconds for result in group]))
        rows.append(row | search_cost(group) | _paper(group[0].config, fields))
    return pd.DataFrame(rows).fillna("-")


def setting_columns(result: SearchResult, fields: Sequence[str]) -> dict[str, Any]:
    """These fields of the configuration as columns of a table."""
    values = {FIELD_LABELS.get(name, name): getattr(result.config, name) for name in fields}
    return {
        label: "-" if value is None else str(value) if dataclasses.is_dataclass(value) else value
        for label, value in values.items()
    }


def _paper(config: SearchConfig, varied: Sequence[str]) -> dict[str, str]:
    """The paper's errors of that setting, and its count of distinct architectures at our N.

    Its errors are of N = 10 and V = 100. Where N and V vary they stand beside these only; otherwise beside whatever all
    rows have.
    """
    if not paper_covers(config.space, config.dataset):
        return {}
    plain = (config.scoring, config.method) == ("zc-pt", "discretize")
    errors = published_cell(config.space, config.dataset, config.proxy, config.order) if plain else {}
    theirs = all(getattr(config, name) == value for name, value in PAPER_SETTING.items() if name in varied)
    row = {f"paper, {dataset}": as_printed(error.mean, error.deviation) for dataset, error in errors.items() if theirs}
    counts = published_counts(config.space, config.dataset, config.order) or {}
    if errors and config.proxy.startswith("nwot") and config.num_proposals in counts:
        row["paper, distinct"] = f"{counts[config.num_proposals]}"
    return row


def proposals_validations_table(results: Sequence[SearchResult], dataset: str) -> pd.DataFrame:
    """Figure 4 as numbers: per (N, V) the benchmark's test error [%], and how many architectures were proposed.

    `error` is the mean over search seeds of the networks' mean errors, `deviation` their standard deviation. Both are
    NaN where the benchmark does not know all picks. `dataset` is a data set of the benchmark.
    """
    grouped: dict[tuple[int, int], dict[int, SearchResult]] = defaultdict(dict)
    for result in results:
        grouped[result.config.num_proposals, result.config.num_validations][result.config.seed] = result
    rows = []
    for (proposals, validations), seeds in sorted(grouped.items()):
        errors = pd.Series(search_errors(list(seeds.values()), dataset), dtype=float).reindex(list(seeds))
        row: dict[str, float] = {"N": proposals, "V": validations, "seeds": len(seeds)}
        row |= {"error": errors.mean(skipna=False), "deviation": sample_deviation(errors)}
        rows.append(row | {"distinct": float(np.mean([result.num_distinct for result in seeds.values()]))})
    return pd.DataFrame(rows)


def interval_table(results: Sequence[SearchResult]) -> pd.DataFrame:
    """How certain the mean of each setting is: a row per setting and data set of the benchmark, in numbers.

    `error` [%] is the mean over search seeds of the picks' mean test errors, `deviation` that of a sample, `low` to
    `high` the 95 % interval of the mean (percentile bootstrap over seeds; NaN of one), `seconds` of all tasks per
    search. Only picks that the benchmark knows count: `seeds` says how many.
    """
    fields, rows = varied_fields(results), []
    for group in cells(results).values():
        setting = {"setting": cell_name(group[0], fields)} | setting_columns(group[0], fields)
        seconds = float(np.mean([result.task_seconds for result in group]))
        for dataset in dict.fromkeys(name for result in group for name in result.benchmark or ()):
            errors = list(search_errors(group, dataset).values())
            low, high = mean_interval(errors)
            row = {"dataset": dataset, "seeds": len(errors), "error": float(np.mean(errors))}
            row |= {"deviation": sample_deviation(errors), "low": low, "high": high, "seconds": seconds}
            rows.append(setting | row)
    return pd.DataFrame(rows)


def search_errors(results: Sequence[SearchResult], dataset: str) -> Mapping[Hashable, float]:
    """By search seed, the benchmark's mean test error [%] of what the search found, where it knows that."""
    known = {result.config.seed: result.benchmark for result in results if result.benchmark}
    return {seed: entry[dataset].error for seed, entry in known.items() if dataset in entry}
