"""From records of searches to tables, for people and as files."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from zcpt_ray.benchmarks.entries import BenchmarkRow
from zcpt_ray.reports.published import paper_covers, published_error
from zcpt_ray.resources import column_of
from zcpt_ray.search.records import ScoredCandidate, SearchResult
from zcpt_ray.storage.paths import AnyPath, write_whole

BENCHMARK_TITLE = "The best candidate in the benchmark's table"
PARETO_TITLE = "Score against size"
COSTS_TITLE = "The best candidate's networks"


def candidate_table(result: SearchResult) -> pd.DataFrame:
    """One row per distinct candidate, best first; `score` is summed over the V minibatches, a dash where V = 0."""
    validated = result.config.num_validations > 0
    return pd.DataFrame(
        [
            {
                "#": rank,
                "architecture": c.arch,
                "score": f"{c.score:.2f}" if validated else "-",
                "times proposed": c.times_proposed,
            }
            | ({"finalist accuracy [%]": _percent(c.finalist_accuracy)} if result.config.finalists else {})
            for rank, c in enumerate(result.candidates, start=1)
        ]
    )


def _percent(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{accuracy:.2f}"


def pareto_table(result: SearchResult) -> pd.DataFrame:
    """One row per candidate, fewest parameters first; `best for its params` where none of at most so many scores more.

    The same for multiply-adds, and for what else the search limits. Amounts are those of the network that one would
    train, on one image.
    """
    rows = [
        {"score": c.score, **amounts_of(c), "architecture": c.arch}
        for c in sorted(result.candidates, key=lambda c: (c.params, c.flops, -c.score))
    ]
    table = pd.DataFrame(rows)
    for size in amounts_of(result.best):
        best_up_to = [table["score"][table[size] <= limit].max() for limit in table[size]]
        table[f"best for its {size.split(' [')[0]}"] = table["score"] >= best_up_to
    return table[
        [*(column for column in table if column != "architecture"), "architecture"]
    ]  # it may be hundreds of letters long


def amounts_of(candidate: ScoredCandidate) -> dict[str, float]:
    """What a candidate takes up, by the column of a table: parameters, multiply-adds, and what the search limits."""
    sizes = {"params_m": candidate.params / 1e6, "flops_m": candidate.flops / 1e6}
    return {column_of(name): amount for name, amount in {**sizes, **candidate.resources}.items()}


def benchmark_table(benchmark: BenchmarkRow) -> pd.DataFrame:
    """One row per data set, with what is known of one architecture: errors, rank, parameters and multiply-adds."""
    rows = [
        {
            "dataset": dataset,
            "test error [%]": f"{entry.error:.2f}",
            "validation error [%]": _number(entry.validation_error, 1, ".2f"),
            "rank": entry.rank,
            "params [M]": _number(entry.params, 1e6, ".3f"),
            "FLOPs [M]": _number(entry.flops, 1e6, ".1f"),
        }
        for dataset, entry in benchmark.items()
    ]
    table = pd.DataFrame(rows)
    return table.loc[:, (table != "-").any()]


def _number(value: float | None, unit: float, style: str) -> str:
    return "-" if value is None else format(value / unit, style)


def comparison_table(named: Mapping[str, Sequence[SearchResult]], beside_paper: bool = True) -> pd.DataFrame:
    """One row per named search, whose results differ in their seed only: its cost, and what a benchmark says of it.

    `training seeds` says on which data sets the benchmark knows single ones of the networks found, and how many
    (`cifar10 1-3`); on the others an error is the mean that it gives for a network. Where a benchmark lacks some
    architecture, the errors are those of the picks it knows, and the table says how many of the picks and of the
    distinct candidates these are. `paper`, where the paper has that space and data set and it is wanted, is its
    CIFAR-10 error of the search of that name (N = 10, V = 100).
    """
    rows = []
    for name, results in named.items():
        config, evaluations = results[0].config, sum(result.num_evaluations for result in results)
        seconds = sum(result.task_seconds for result in results)
        row: dict[str, Any] = {
            "search": name,
            "dataset": config.dataset,
            "N": config.num_proposals,
            "V": config.num_validations,
        }
        row |= {"batch": config.batch_size, "seeds": len(results), "scores": evaluations // len(results)}
        row |= {"s per score": f"{seconds / evaluations:.3g}" if evaluations else "-"}
        if all(result.benchmark is not None for result in results):
            row |= benchmark_errors(results) | benchmark_coverage(results)
        if beside_paper and paper_covers(config.space, config.dataset):
            row |= paper_column(name, config.space)
        rows.append(row)
    return with_dashes(pd.DataFrame(rows))


def paper_column(search: str, space: str) -> dict[str, str]:
    """The paper's error of a search as a cell of the column `paper`."""
    published = published_error(search, space)
    return {"paper": as_printed(published.mean, published.deviation) if published else "-"}


def mean_and_deviation(values: Sequence[float] | np.ndarray) -> str:
    """As tables print it: `5.88±0.38`, and of one value `5.88`."""
    return as_printed(float(np.mean(values)), sample_deviation(values))


def sample_deviation(values: Sequence[float] | np.ndarray | pd.Series) -> float:
    """The standard deviation of a sample (n - 1); NaN of one value.

    All that tables and figures show are of this kind, as the paper's are.
    """
    return float(np.std(np.asarray(values, float), ddof=1)) if len(values) > 1 else float("nan")


def as_printed(mean: float, deviation: float) -> str:
    """As tables print a mean and the standard deviation, if that is no NaN."""
    return f"{mean:.2f}" if np.isnan(deviation) else f"{mean:.2f}±{deviation:.2f}"


def search_cost(results: Sequence[SearchResult]) -> dict[str, str]:
    """What one of these searches took on average, in GPU-days or CPU-hours.

    It follows from the seconds and resources of the tasks. Nothing where records do not say what they ran on, or some
    ran on GPUs and some did not.
    """
    for kind, unit, seconds in (("GPU", "GPU-days", 86400), ("CPU", "CPU-hours", 3600)):
        shares = [result.resources.get(kind, 0) for result in results]
        if all(shares):
            times = [result.task_seconds for result in results]
            return {f"search [{unit}]": f"{np.dot(times, shares) / len(results) / seconds:.3g}"}
        if any(shares):
            break
    return {}


def cost_table(costs: Mapping[str, Mapping[str, int]]) -> pd.DataFrame:
    """One row per network that an architecture makes."""
    return pd.DataFrame(
        [
            {"network": name, "params [M]": f"{cost['params'] / 1e6:.3f}", "FLOPs [M]": f"{cost['flops'] / 1e6:.1f}"}
            for name, cost in costs.items()
        ]
    )


def with_dashes(table: pd.DataFrame) -> pd.DataFrame:
    """A dash where there is nothing; columns of numbers that lack none stay that."""
    lacking = [column for column in table if table[column].isna().any()]
    texts = table.astype(dict.fromkeys(lacking, object))
    return texts.where(table.notna(), "-")


def write_table(table: pd.DataFrame, stem: AnyPath) -> None:
    """The table as .csv and .parquet for programs, .md and .tex for people, beside each other."""
    write_whole(stem.with_suffix(".csv"), table.to_csv(index=False))
    write_whole(stem.with_suffix(".parquet"), table.to_parquet())
    shown = readable(table)
    cells = shown.map(lambda value: value.replace("|", "\\|") if isinstance(value, str) else value)
    write_whole(stem.with_suffix(".md"), cells.to_markdown(index=False, disable_numparse=True) + "\n")
    write_whole(stem.with_suffix(".tex"), shown.to_latex(index=False, escape=True))


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers as a person reads them: three decimals, and a dash for what there is not."""
    return table.map(lambda value: ("-" if np.isnan(value) else f"{value:.3f}") if isinstance(value, float) else value)


def benchmark_errors(group: Sequence[SearchResult]) -> dict[str, str]:
    """Per data set the errors of what a group of searches found, over search seeds and training seeds.

    `training seeds` says how many single trainings the table has of a network; of others it has the mean only.
    """
    known = [result.benchmark for result in group if result.benchmark]
    row, trained = {}, []
    for dataset in known[0] if known else ():
        counts = sorted({len(entry[dataset].error_per_seed) for entry in known})
        if any(counts):
            trained.append(f"{dataset} {'-'.join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))}")
        row[dataset] = mean_and_deviation(benchmark_values(group, dataset))
    return row | {"training seeds": ", ".join(trained) or "-"}


def benchmark_values(group: Sequence[SearchResult], dataset: str) -> list[float]:
    """Test errors [%] of what these searches found: of each training seed that the benchmark has, or their mean."""
    known = [result.benchmark for result in group if result.benchmark and dataset in result.benchmark]
    return [error for entry in known for error in entry[dataset].error_per_seed or [entry[dataset].error]]


def benchmark_name(dataset: str) -> str:
    """What benchmarks call a data set."""
    return dataset.replace("-", "_")


def benchmark_coverage(group: Sequence[SearchResult]) -> dict[str, str]:
    """How many of the best candidates, and of each search's distinct ones, the benchmark knows, unless it knows all."""
    picks, candidates = sum(bool(result.benchmark) for result in group), sum(len(result.candidates) for result in group)
    known = sum(len(result.candidates) if result.num_known is None else result.num_known for result in group)
    if (picks, known) == (len(group), candidates):
        return {}
    return {"picks known": f"{picks}/{len(group)}", "candidates known": f"{known}/{candidates}"}
