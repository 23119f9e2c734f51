"""Converts the official NAS-Bench-201 file into the table that `benchmarks` reads.

    python -m zcpt_ray.convert_nasbench201 NAS-Bench-201-v1_1-096897.pth

The file is a pickle, and a pickle can run code. It is loaded with `torch.load(weights_only=True)`: containers, numbers, tensors
and numpy scalars are built, anything else is refused. The nas-bench-201 package, which would load it without that protection and
twice over, is given one architecture's results at a time.
"""

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import tyro
from nas_201_api.api_utils import ArchResults

from zcpt_ray.benchmarks import table_path
from zcpt_ray.errors import UserError

SEEDS = (777, 888, 999)
SPLITS = {
    ("cifar10", "test"): ("cifar10", "ori-test"),
    ("cifar10", "valid"): ("cifar10-valid", "x-valid"),
    ("cifar100", "test"): ("cifar100", "x-test"),
    ("cifar100", "valid"): ("cifar100", "x-valid"),
    ("imagenet16_120", "test"): ("ImageNet16-120", "x-test"),
    ("imagenet16_120", "valid"): ("ImageNet16-120", "x-valid"),
}
"""Our (dataset, split) -> the benchmark's (dataset, set)."""

_SCALAR = np.float64(0).__reduce__()[0]  # how numpy pickles a scalar

TRUSTED: list[Any] = [
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (_SCALAR, "numpy.core.multiarray.scalar"),  # its name before numpy 2, when the official files were written
    np.dtype,
    *(type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")),
]
"""What the file may build beside torch's own list of containers and tensors."""


def convert(source: Path, target: Path) -> pd.DataFrame:
    """Write the table of the official file `source` to `target`, and return it.

    Accuracies in percent after 200 epochs (`_e12`: after 12), mean over the training seeds and per seed.

    Raises:
        UserError: the file is missing, damaged, of another format, or asks for something that is not trusted.
    """
    try:
        with torch.serialization.safe_globals(TRUSTED):
            content = torch.load(source, map_location="cpu", weights_only=True)
        rows = [_row(content["meta_archs"][index], results) for index, results in sorted(content["arch2infos"].items())]
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, LookupError, TypeError, AttributeError, ValueError) as error:
        reason = str(error).splitlines()[0] if isinstance(error, OSError | pickle.UnpicklingError) else repr(error)
        raise UserError(f"cannot read {source} as a NAS-Bench-201 file: {reason}") from error
    if not rows:
        raise UserError(f"{source} holds no architecture")
    table = pd.DataFrame(rows)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.tmp")
    table.to_parquet(temporary)
    os.replace(temporary, target)
    return table


def _row(arch: str, results: dict[str, Any]) -> dict[str, Any]:
    full, less = (ArchResults.create_from_state_dict(results[length]) for length in ("full", "less"))
    row: dict[str, Any] = {"arch": arch}
    for (dataset, split), (trained, evaluated) in SPLITS.items():
        for epochs, trial in (("", full), ("_e12", less)):
            known = trained in trial.get_dataset_names()
            row[f"{dataset}_{split}{epochs}"] = trial.get_metrics(trained, evaluated)["accuracy"] if known else None
        for number, seed in enumerate(SEEDS):
            known = seed in full.dataset_seed.get(trained, [])
            row[f"{dataset}_{split}_seed{number}"] = (
                full.get_metrics(trained, evaluated, is_random=seed)["accuracy"] if known else None
            )
        if split == "test" and trained in full.get_dataset_names():
            costs = full.get_compute_costs(trained)
            row[f"params_{dataset}"], row[f"flops_{dataset}"] = (round(costs[name] * 1e6) for name in ("params", "flops"))
    return row


def main(source: tyro.conf.Positional[Path], out: Path | None = None) -> None:
    """Convert the official NAS-Bench-201 file into a parquet table.

    Args:
        source: the file, such as NAS-Bench-201-v1_1-096897.pth.
        out: where to write the table; by default where the jobs look for it.
    """
    target = out or table_path("nasbench201")
    assert target is not None
    try:
        table = convert(source, target)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{len(table)} architectures -> {target}")


if __name__ == "__main__":
    tyro.cli(main)
