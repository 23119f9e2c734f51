"""The paper's tables and figures beside ours: from the files that a table's commands have left, one row per number."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd

from zcpt_ray.reports.published import (
    CONVOLUTIONS_OF_SUBSPACES,
    FIGURE_2,
    FIGURE_4,
    FIGURE_A6,
    OPS_OF_GENOTYPES,
    PUBLISHED_ERRORS,
    TABLE_1,
    TABLE_2,
    TABLE_5,
    TABLE_A1,
    TABLE_A2,
    PublishedError,
)
from zcpt_ray.reports.published_trainings import TABLE_4, TABLE_7_PARAMS_M, TABLE_A3
from zcpt_ray.reports.run_folders import search_directories
from zcpt_ray.reports.tables import as_printed, benchmark_values, sample_deviation
from zcpt_ray.search.records import SearchResult
from zcpt_ray.spaces.mobilenet import MOBILENET_OPS, MobileNet
from zcpt_ray.storage.parquet import read_parquet
from zcpt_ray.storage.paths import AnyPath

ROUNDING = 0.01
"""The paper prints two digits, and of fewer training seeds than the table has now."""

BATCH_SIZE = 256
"""Images per minibatch in the paper's searches of NAS-Bench-201."""


@dataclass(frozen=True)
class Compared:
    """A number that the paper prints, with its standard deviation, 0 if it prints none, and what ours are.

    Where it prints no number, both are NaN.

    The paper's errors are over search seeds and the single training seeds that NAS-Bench-201 has of a network; so are
    ours. Of no value there is no mean.
    """

    row: str
    quantity: str
    paper: PublishedError
    ours: Sequence[float]

    def cells(self) -> dict[str, object]:
        """A row of the table. `within`: the ranges mean ± deviation, the paper's and ours, have a number in common."""
        mean = float(np.mean(self.ours)) if len(self.ours) else math.nan
        deviation = sample_deviation(self.ours) if len(self.ours) > 1 else 0.0
        difference = mean - self.paper.mean
        near = abs(difference) <= self.paper.deviation + deviation + ROUNDING
        found = {"row": self.row, "quantity": self.quantity, "paper": self.paper.mean}
        found |= {"paper deviation": self.paper.deviation, "ours": mean, "deviation": deviation}
        within = "-" if math.isnan(difference) else "yes" if near else "no"
        each = " ".join(f"{value:g}" for value in self.ours)
        return found | {"values": len(self.ours), "difference": difference, "within": within, "each": each}


Compare = Callable[..., Iterator[Compared]]
"""The numbers of a table or figure from the folders that its commands have filled."""
Printed = Mapping[str, Mapping[str, PublishedError]]
"""By row and data set."""
NameOf = Callable[[SearchResult], str]
"""Which row a search belongs to."""


def comparison_table(compared: Sequence[Compared]) -> pd.DataFrame:
    """One row per number of the paper."""
    return pd.DataFrame([each.cells() for each in compared])


def in_short(table: pd.DataFrame) -> pd.DataFrame:
    """The table for people: means with deviations, as the paper prints them."""
    rows = [
        {
            "row": row["row"],
            "quantity": row["quantity"],
            "paper": _mean_or_dash(row["paper"], row["paper deviation"]),
            "ours": _mean_or_dash(row["ours"], row["deviation"]),
            "difference": "-" if math.isnan(row["difference"]) else f"{round(row['difference'], 2) + 0.0:+.2f}",
            "within": row["within"],
        }
        for row in table.to_dict("records")
    ]
    return pd.DataFrame(rows)


def _mean_or_dash(mean: float, deviation: float) -> str:
    return "-" if math.isnan(mean) else as_printed(mean, deviation or math.nan)


def _results(folder: AnyPath) -> list[SearchResult]:
    return [SearchResult.load(directory) for directory in search_directories(folder)]


def _of_errors(results: Sequence[SearchResult], printed: Printed, name: NameOf) -> Iterator[Compared]:
    """Rows of errors by data set."""
    for row, errors in printed.items():
        group = [result for result in results if name(result) == row]
        for dataset, error in errors.items():
            yield _error(row, error, group, dataset)


def _error(row: str, printed: PublishedError, results: Sequence[SearchResult], dataset: str) -> Compared:
    """The errors of what was found; where proxies saw other minibatches than the paper's, the row says so."""
    sizes = {result.config.batch_size for result in results if result.num_evaluations} - {BATCH_SIZE}
    batches = "".join(f", batch {size}" for size in sorted(sizes))
    return Compared(row, f"{dataset}: test error [%]{batches}", printed, benchmark_values(results, dataset))


def of_table_2(*folders: AnyPath) -> Iterator[Compared]:
    """By search and proxy."""
    results = [result for folder in folders for result in _results(folder)]
    return _of_errors(results, {row: {"cifar10": error} for row, error in TABLE_2.items()}, _search_name)


def _search_name(result: SearchResult) -> str:
    """As table 2 calls it. The paper's nwot is the released reading."""
    config = result.config
    proxy = config.proxy.replace("nwot-released", "nwot")
    if config.method == "discretize" and config.scoring == "zc-pt":
        return f"zero-cost-pt {proxy}"
    if config.method == "discretize" and config.scoring == "disc-zc":
        return f"zero-cost-disc {proxy}"
    if config.method == "discretize":
        return config.scoring + ("-fixed-alpha" if config.training.fixed_alpha else "")
    if config.method == "random":
        return f"naswot {proxy}" if config.num_proposals > 1 else "random"
    return {"prune": "te-nas"}.get(config.method, config.method)


def of_table_5(folder: AnyPath) -> Iterator[Compared]:
    """By order."""
    return _of_errors(_results(folder), TABLE_5, lambda result: result.config.order)


def of_settings(folder: AnyPath) -> Iterator[Compared]:
    """Of zc-pt with nwot in random order: what the text leaves open, changed one by one."""
    results = sorted(_results(folder), key=lambda result: (result.config.batch_size, _setting(result)))
    for setting, group in groupby(results, key=_setting):
        values = benchmark_values(list(group), "cifar10")
        yield Compared(setting, "cifar10: test error [%]", TABLE_2["zero-cost-pt nwot"], values)


def _setting(result: SearchResult) -> str:
    config = result.config
    judged = f"judged with {config.validation_weights}" if config.validation_weights else "each judged with its own"
    sets = "1 set" if config.proposal_weights == 1 else f"{config.proposal_weights} sets"
    weights = f"proposed with {sets} of weights, {judged}"
    return f"{config.proxy}, batch {config.batch_size}: {weights}"


def of_other_spaces(folder: AnyPath) -> Iterator[Compared]:
    """Zero-Cost-PT in the spaces of tables A10 and A11, those that were searched."""
    others = {space: rows for space, rows in PUBLISHED_ERRORS.items() if space != "nasbench201"}
    printed = {space: {"cifar10": rows["zero-cost-pt nwot"]} for space, rows in others.items()}
    return _of_errors(_results(folder), printed, lambda result: result.config.space)


def of_table_4(folder: AnyPath) -> Iterator[Compared]:
    """What is found on DARTS, by order: the size of the network that one trains, and its ops."""
    results = _results(folder)
    for order, counts in OPS_OF_GENOTYPES.items():
        found = [result for result in results if result.config.order == order]
        params = TABLE_4[f"Zero-Cost-PT, {order}"].params_m
        assert params
        sizes = [result.costs["trained"]["params"] / 1e6 for result in found]
        yield Compared(order, "parameters [M]", PublishedError(params, 0.05), sizes)  # printed with one digit
        for op, count in counts.items():
            yield Compared(order, f"{op} of 16", count, _count(op, found))


def _count(op: str, results: Sequence[SearchResult]) -> list[float]:
    """How often the genotype of each has the op."""
    return [float(result.best.arch.count(f"'{op}'")) for result in results]


def of_table_a9(folder: AnyPath) -> Iterator[Compared]:
    """What is found on the subspaces of DARTS; the other ops are skips, in S4 noise, and in S1 several."""
    results = _results(folder)
    for (space, dataset), count in CONVOLUTIONS_OF_SUBSPACES.items():
        found = [result for result in results if (result.config.space, result.config.dataset) == (space, dataset)]
        yield Compared(f"{space}, {dataset}", "sep_conv_3x3 of 16", count, _count("sep_conv_3x3", found))


def of_table_7(folder: AnyPath) -> Iterator[Compared]:
    """What is found on the MobileNet-like space: its size, and its layers by op, which the paper only draws."""
    results = _results(folder)
    more = (1000 - 10) * (MobileNet().head + 1)  # for the classes of ImageNet, on which the paper's are trained
    sizes = [(result.costs["scored"]["params"] + more) / 1e6 for result in results]
    yield Compared("network", "parameters [M]", PublishedError(TABLE_7_PARAMS_M, 0.05), sizes)  # printed with one digit
    for op in MOBILENET_OPS:
        counts = [float(result.best.arch.split(",").count(op)) for result in results]
        yield Compared(op, "layers of 21", PublishedError(math.nan, math.nan), counts)


def of_table_a3(folder: AnyPath) -> Iterator[Compared]:
    """By search seed, with tenas."""
    results = {result.config.seed: result for result in _results(folder) if result.config.proxy == "tenas"}
    for seed, error in enumerate(TABLE_A3.errors):
        found = [results[seed]] if seed in results else []
        yield _error(f"seed {seed}", PublishedError(error, 0.0), found, "cifar10")


def of_figure_4(folder: AnyPath) -> Iterator[Compared]:
    """Distinct architectures by N."""
    results = _results(folder)
    for proposals, count in FIGURE_4.items():
        by_seed = {r.config.seed: r.num_distinct for r in results if r.config.num_proposals == proposals}
        yield Compared(f"N = {proposals}", "distinct architectures", PublishedError(count, 0.0), list(by_seed.values()))


def _tables(folder: AnyPath, name: str) -> list[pd.DataFrame]:
    """Those of that name in `folder` and in the folders of each seed."""
    paths: list[AnyPath] = sorted(folder.glob(f"**/{name}.parquet"), key=str)
    return [read_parquet(path) for path in paths]


def _cells(tables: Sequence[pd.DataFrame], row: str, column: str) -> list[float]:
    """A cell of each of the tables that have that row. The paper's nwot is the released reading."""
    row = row.replace("(nwot)", "(nwot-released)")
    return [float(table[column].to_dict()[row]) for table in tables if row in table.index]


def of_figure_2(folder: AnyPath) -> Iterator[Compared]:
    """Spearman correlation with best-acc at iteration 0, by function."""
    tables = [table.set_index("function") for table in _tables(folder, "initial-spearman")]
    for function, correlation in FIGURE_2.items():
        ours = _cells(tables, function, "best-acc")
        yield Compared(function, "Spearman correlation", PublishedError(correlation, 0.0), ours)


def of_table_1(folder: AnyPath) -> Iterator[Compared]:
    """The error of what each function picks at iteration 0."""
    tables = [table.set_index("function") for table in _tables(folder, "initial-picked")]
    for function, pick in TABLE_1.items():
        ours = _cells(tables, function, "error")
        yield Compared(function, "cifar10: test error [%]", PublishedError(pick.error, 0.0), ours)


def of_table_a1(folder: AnyPath) -> Iterator[Compared]:
    """How often each op is picked at iteration 0."""
    return _of_counts(_tables(folder, "initial-ops"), TABLE_A1, "edges of 6")


def of_table_a2(folder: AnyPath) -> Iterator[Compared]:
    """How often each op is in ten proposed architectures."""
    return _of_counts(_tables(folder, "final-ops"), TABLE_A2, "edges of 60")


def _of_counts(tables: Sequence[pd.DataFrame], printed: Mapping[str, Mapping[str, int]], of: str) -> Iterator[Compared]:
    indexed = [table.set_index("architectures") for table in tables]
    for group, counts in printed.items():
        for op, count in counts.items():
            yield Compared(group, f"{op}, {of}", PublishedError(count, 0.0), _cells(indexed, group, op))


def of_figure_a6(folder: AnyPath) -> Iterator[Compared]:
    """Spearman correlation with best-zc on the longest chain."""
    tables = [table.set_index("space") for table in _tables(folder, "toy-chain-spearman")]
    for (space, function), correlation in FIGURE_A6.items():
        ours = _cells(tables, space, function)
        yield Compared(f"{space}, {function}", "Spearman correlation", PublishedError(correlation, 0.0), ours)


COMPARED: dict[str, Compare] = {
    "table1": of_table_1,
    "table2": of_table_2,
    "table4": of_table_4,
    "table5": of_table_5,
    "table7": of_table_7,
    "tableA1": of_table_a1,
    "tableA2": of_table_a2,
    "tableA3": of_table_a3,
    "tableA9": of_table_a9,
    "tableA10": of_other_spaces,
    "settings": of_settings,
    "figure2": of_figure_2,
    "figure4": of_figure_4,
    "figureA6": of_figure_a6,
}
"""By the name that `zcpt reproduce` takes."""
