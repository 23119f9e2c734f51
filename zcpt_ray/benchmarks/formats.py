"""The files that hold tables, one row per search space, and how each becomes the one form that is worked on."""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from zcpt_ray.spaces.nasbench1shot1.cell_graph import CellGraph, read_cell


@dataclass(frozen=True)
class TableFormat:
    """A parquet file below the data directory, and how to read it.

    `columns` are what it must have; `normalized` gives it the columns of `TabularBenchmark`. `key` maps an encoded
    architecture to the table's `arch`. A table that is not `complete` lacks architectures of the space. `validated`
    says that validation accuracies are those of the networks that were tested (NAS-Bench-201 trained others for them).
    `remedy` says where the file comes from. `other_scales`: data sets whose values are no accuracies in percent, but
    still the better the higher. `sample`: few have the file, and it lists some networks for studies.
    """

    file: str
    columns: tuple[str, ...]
    normalized: Callable[[pd.DataFrame], pd.DataFrame]
    key: Callable[[str], str] = str
    complete: bool = True
    validated: bool = False
    remedy: str = ""
    other_scales: tuple[str, ...] = ()
    sample: bool = False


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


def _renamed(columns: Mapping[str, str], key: Callable[[str], str] = str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Columns under our names; of rows that are the same network, the mean. `encoded` is one of those rows."""

    def normalize(table: pd.DataFrame) -> pd.DataFrame:
        named = table[["arch", *columns]].rename(columns=dict(columns)).assign(encoded=table["arch"])
        keyed = named.assign(arch=named["arch"].map(key)).groupby("arch", as_index=False, sort=False)
        return keyed.agg({"encoded": "first", **dict.fromkeys(columns.values(), "mean")})

    return normalize


def _part(file: str, columns: Mapping[str, str], key: Callable[[str], str] = str, **fields: Any) -> TableFormat:
    """A table of some networks of a space."""
    return TableFormat(file, ("arch", *columns), _renamed(columns, key), key, complete=False, sample=True, **fields)


TRANSNAS_TASKS = ("class_scene", "class_object", "jigsaw", "segmentsemantic", "room_layout", "normal", "autoencoder")
"""Accuracies in percent, and of the last three minus the loss, or structural similarity."""
TRANSNAS = {f"{task}_val": f"{task}_test" for task in TRANSNAS_TASKS}
TRANSFORMERS = {
    "c100_base": "cifar100_test",
    "c100_kd": "cifar100_kd_test",
    "flowers_base": "flowers_test",
    "flowers_kd": "flowers_kd_test",
    "chaoyang_base": "chaoyang_test",
    "chaoyang_kd": "chaoyang_kd_test",
}
"""Trained alone, and with a teacher (kd)."""

NASBENCH101 = TableFormat(
    "tables/nasbench101.parquet",
    ("arch", "encoded", "cifar10_test", "cifar10_valid", "params_cifar10"),
    normalized=lambda table: table,
    key=cell_key,
    validated=True,
)
"""All cells, by graph."""
NASBENCH101_FOR_1SHOT1 = replace(NASBENCH101, complete=False, normalized=lambda table: table.drop(columns="encoded"))
"""Every cell of NAS-Bench-1Shot1 is one of them; ranks are among all."""
NATS_SIZE = replace(
    NASBENCH201,
    file="tables/nats_size.parquet",
    remedy="Get NATS-sss-v1_0-50262-simple (https://github.com/D-X-Y/NATS-Bench) and run: "
    "zcpt convert FOLDER --space nats-size",
)
WHOLE_TABLES = {
    "nasbench201": NASBENCH201,
    "nats-size": NATS_SIZE,
    "nasbench101": NASBENCH101,
    **{f"nasbench1shot1-{number}": NASBENCH101_FOR_1SHOT1 for number in (1, 2, 3)},
}
"""Tables of whole spaces that `zcpt convert` makes; where one is there, it is read."""
TABLES = {
    "nasbench201": NASBENCH201,
    "nats-size": NATS_SIZE,
    "nasbench-macro": NASBENCH_MACRO,
    "nasbench1shot1-1": _cells("tables/nasbench1shot1_space1.parquet"),
    "nasbench1shot1-2": _cells("tables/nasbench1shot1_space2.parquet"),
    "nasbench1shot1-3": _cells("tables/nasbench1shot1_space3_partial.parquet"),
    "transnas101-micro": _part("tables/transnas101_micro.parquet", TRANSNAS, other_scales=TRANSNAS_TASKS[4:]),
    "transnas101-macro": _part("tables/transnas101_macro.parquet", TRANSNAS, other_scales=TRANSNAS_TASKS[4:]),
    "nasbench101": _part(
        "tables/nb101_500.parquet", {"val_accuracy": "cifar10_test", "params": "params_cifar10"}, cell_key
    ),
    "darts": _part("tables/nb301_500.parquet", {"val_accuracy": "cifar10_test", "params": "params_cifar10"}),
    "autoformer-tiny": _part(
        "tables/autoformer_tiny.parquet", TRANSFORMERS | {"imagenet_super": "imagenet_supernet_test"}
    ),
    "pit": _part("tables/pit.parquet", TRANSFORMERS),
    "accel-mbconv": _part(
        "tables/accel_nasbench.parquet",
        {"val_top1": "imagenet_test", "params": "params_imagenet", "macs_conv_linear": "flops_imagenet"},
    ),
}
"""The table of each search space that has one, were none of the whole space there."""
