"""Converts the official NAS-Bench-201 file, `NAS-Bench-201-v1_1-096897.pth`, into the table that is read here.

The file is a pickle, and a pickle can run code. It is loaded with `torch.load(weights_only=True)`: containers, numbers,
tensors and numpy scalars are built, anything else is refused. The nas-bench-201 package, which would load it without
that protection and twice over, is given one architecture's results at a time.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from nas_201_api.api_utils import ArchResults

from zcpt_ray.errors import UserError
from zcpt_ray.storage.paths import whole_file

TRAINING_SEEDS = (777, 888, 999)
"""With which the benchmark's networks were trained."""
OFFICIAL_SETS = {
    ("cifar10", "test"): ("cifar10", "ori-test"),
    ("cifar10", "valid"): ("cifar10-valid", "x-valid"),
    ("cifar100", "test"): ("cifar100", "x-test"),
    ("cifar100", "valid"): ("cifar100", "x-valid"),
    ("imagenet16_120", "test"): ("ImageNet16-120", "x-test"),
    ("imagenet16_120", "valid"): ("ImageNet16-120", "x-valid"),
}
"""Our (dataset, split) -> the benchmark's (dataset, set)."""

_SCALAR = np.float64(0).__reduce__()[0]  # how numpy pickles a scalar

TRUSTED_TYPES: list[Any] = [
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (_SCALAR, "numpy.core.multiarray.scalar"),  # its name before numpy 2, when the official files were written
    np.dtype,
    *(type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")),
]
"""What the file may build beside torch's own list of containers and tensors."""


def convert(source: Path, target: Path) -> pd.DataFrame:
    """Write the table of an official file to `target`, and return it.

    `index` is the number that the file gives an architecture. Accuracies in percent after 200 epochs (`_e12`: after
    12), mean over the training seeds and per seed.

    Raises:
        UserError: the file is missing, damaged, of another format, or asks for something that is not trusted.
    """
    try:
        with torch.serialization.safe_globals(TRUSTED_TYPES):
            content = torch.load(source, map_location="cpu", weights_only=True)
        rows = [
            {"index": index, **official_row(content["meta_archs"][index], results["full"], results["less"])}
            for index, results in sorted(content["arch2infos"].items())
        ]
    except Exception as error:  # a damaged pickle can fail in any way
        reason = str(error).splitlines()[0] if isinstance(error, OSError | pickle.UnpicklingError) else repr(error)
        raise UserError(f"cannot read {source} as a NAS-Bench-201 file: {reason}") from error
    return written_table(rows, target, f"{source} holds no architecture")


def written_table(rows: list[dict[str, Any]], target: Path, nothing: str) -> pd.DataFrame:
    """A table of these rows, which `target` has then whole.

    Raises:
        UserError: there are no rows; `nothing` says so.
    """
    if not rows:
        raise UserError(nothing)
    table = pd.DataFrame(rows)
    with whole_file(target) as temporary:
        table.to_parquet(temporary)
    return table


def official_row(arch: str, long: dict[str, Any], short: dict[str, Any]) -> dict[str, Any]:
    """The row of an architecture, from its results after long and short trainings, as NATS-Bench keeps them too."""
    full, less = (ArchResults.create_from_state_dict(results) for results in (long, short))
    row: dict[str, Any] = {"arch": arch}
    for (dataset, split), (trained, evaluated) in OFFICIAL_SETS.items():
        for epochs, trial in (("", full), ("_e12", less)):
            known = trained in trial.get_dataset_names()
            row[f"{dataset}_{split}{epochs}"] = trial.get_metrics(trained, evaluated)["accuracy"] if known else None
        for number, seed in enumerate(TRAINING_SEEDS):
            known = seed in full.dataset_seed.get(trained, [])
            row[f"{dataset}_{split}_seed{number}"] = (
                full.get_metrics(trained, evaluated, is_random=seed)["accuracy"] if known else None
            )
        if split == "test" and trained in full.get_dataset_names():
            costs = full.get_compute_costs(trained)
            row[f"params_{dataset}"], row[f"flops_{dataset}"] = (
                round(costs[name] * 1e6) for name in ("params", "flops")
            )
    return row
