"""The files that hold tables, one row per search space, and how each becomes the one form that is worked on."""

import ast
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from zcpt_ray.spaces.nasbench1shot1.cell_graph import CellGraph, read_cell


@dataclass(frozen=True)
class TableFormat:
    """A parquet file below the data directory, and how to read it.

    `columns` are what it must have; `normalized` gives it the columns of `TabularBenchmark`. `key` maps an encoded
    architecture to the table's `arch`. A table that is not `complete` lacks architectures of the space. `validated`
    says that validation accuracies are those of the networks that were tested (NAS-Bench-201 trained others for them).
    `remedy` says where the file comes from.
    """

    file: str
    columns: tuple[str, ...]
    normalized: Callable[[pd.DataFrame], pd.DataFrame]
    key: Callable[[str], str] = str
    complete: bool = True
    validated: bool = False
    remedy: str = ""


NASBENCH201_DATASETS = ("cifar10", "cifar100", "imagenet16_120")

NASBENCH201 = TableFormat(
    "tables/nasbench201.parquet",
    (
        "arch",
        *(f"{kind}_{d}" for d in NASBENCH201_DATASETS for kind in ("params", "flops")),
        *(f"{d}_test" for d in NASBENCH201_DATASETS),
    ),
    normalized=lambda table: table,
    remedy="Get NAS-Bench-201-v1_1-096897.pth (https://github.com/D-X-Y/NAS-Bench-201) and run: "
    "zcpt convert-nasbench201 FILE",
)


def normalize_macro(table: pd.DataFrame) -> pd.DataFrame:
    """Name the columns of NAS-Bench-Macro (Su et al. 2021): accuracies in percent on CIFAR-10."""
    names = {f"test_acc_seed{seed}": f"cifar10_test_seed{seed}" for seed in range(3)}
    return table.rename(
        columns={**names, "mean_acc": "cifar10_test", "params": "params_cifar10", "flops": "flops_cifar10"}
    )


NASBENCH_MACRO = TableFormat(
    "tables/nasbench_macro.parquet",
    ("arch", "test_acc_seed0", "test_acc_seed1", "test_acc_seed2", "mean_acc", "params", "flops"),
    normalize_macro,
)


def normalize_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Turn cells of NAS-Bench-101 after 108 epochs, with errors in [0, 1] of three trainings, into accuracies.

    Graphs without errors, and repeated ones, are left out.

    Raises:
        ValueError: a matrix that cannot be read.
    """
    table = table.dropna(subset=["val1", "test1"])
    ops = zip(*(table[f"node{node}"] for node in range(1, 6)), strict=True)
    graphs = [
        CellGraph.from_matrix(nodes, ast.literal_eval(text)) for nodes, text in zip(ops, table["matrix"], strict=True)
    ]
    found = {f"cifar10_test_seed{seed - 1}": 100 - 100 * table[f"test{seed}"] for seed in (1, 2, 3)}
    valid = 100 - 100 * table[["val1", "val2", "val3"]].mean(axis=1)
    columns = {"arch": [graph.canonical() for graph in graphs], **found, "cifar10_valid": valid}
    return pd.DataFrame({**columns, "cifar10_test": pd.DataFrame(found).mean(axis=1)}).drop_duplicates("arch")


def cell_key(arch: str) -> str:
    """The name of an encoded NAS-Bench-1Shot1 architecture, and of all that are trained as the same graph."""
    return CellGraph.from_parents(*read_cell(arch)).canonical()


def _cells(file: str) -> TableFormat:
    columns = (
        *(f"{kind}{run}" for kind in ("val", "test") for run in (1, 2, 3)),
        *(f"node{node}" for node in range(1, 6)),
        "matrix",
    )
    return TableFormat(file, columns, normalize_cells, cell_key, complete=False, validated=True)


TABLES = {
    "nasbench201": NASBENCH201,
    "nasbench-macro": NASBENCH_MACRO,
    "nasbench1shot1-1": _cells("tables/nasbench1shot1_space1.parquet"),
    "nasbench1shot1-2": _cells("tables/nasbench1shot1_space2.parquet"),
    "nasbench1shot1-3": _cells("tables/nasbench1shot1_space3_partial.parquet"),
}
"""The table of each search space that has one."""
