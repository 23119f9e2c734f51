"""A file in the official format of NAS-Bench-201, of two networks."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

ARCHS = ["|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|"]
SETS = {
    "cifar10-valid": ["x-valid", "ori-test"],
    "cifar10": ["ori-test"],
    "cifar100": ["x-valid", "x-test", "ori-test"],
    "ImageNet16-120": ["x-valid", "x-test", "ori-test"],
}


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return print, ("executed",)


def trial(dataset: str, seed: int, epochs: int, accuracy: float) -> dict[str, object]:
    """One training run as nas-bench-201's ResultsCount stores it; what counts is the accuracy of the last epoch."""
    names = SETS[dataset]
    curve = {
        f"{name}@{i}": accuracy + index - (epochs - 1 - i) for index, name in enumerate(names) for i in range(epochs)
    }
    return {
        "name": "infer.tiny",
        "net_state_dict": None,
        "train_acc1es": OrderedDict((i, 50.0) for i in range(epochs)),
        "train_acc5es": None,
        "train_losses": OrderedDict((i, 1.0) for i in range(epochs)),
        "train_times": OrderedDict((i, np.float64(2.0)) for i in range(epochs)),
        "arch_config": {"channel": 16, "num_cells": 5, "arch_str": ARCHS[0], "class_num": 10},
        "params": 0.073306,
        "flop": np.float64(7.78305),
        "seed": seed,
        "epochs": epochs,
        "latency": [0.01],
        "eval_names": names,
        "eval_acc1es": curve,
        "eval_times": dict.fromkeys(curve, 0.1),
        "eval_losses": dict.fromkeys(curve, 1.0),
    }


def results(index: int, seeds: dict[str, list[int]], epochs: int, base: float) -> dict[str, object]:
    return {
        "arch_index": index,
        "arch_str": ARCHS[index],
        "all_results": {(d, s): trial(d, s, epochs, base + s / 1000) for d, known in seeds.items() for s in known},
        "dataset_seed": seeds,
        "clear_net_done": True,
    }


def official_file(path: Path, zipped: bool) -> Path:
    seeds = [
        {dataset: [777, 888, 999] for dataset in SETS},
        {"cifar10-valid": [777], "cifar10": [777, 999], "cifar100": [777], "ImageNet16-120": [777]},
    ]
    content = {
        "meta_archs": ARCHS,
        "arch2infos": {
            index: {
                "full": results(index, seeds[index], 4, 80 + index),
                "less": results(index, {dataset: [777] for dataset in SETS}, 2, 60),
            }
            for index in range(2)
        },
        "evaluated_indexes": {0, 1},
    }
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    if not zipped:  # written by numpy 1, which called the module of its scalars otherwise
        written = path.read_bytes()
        assert b"cnumpy._core.multiarray\nscalar\n" in written
        path.write_bytes(written.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    return path
