"""What the package knows of kinds of modules: one row each.

All give themselves first values (`initialization`), by `reset_parameters` or a method of that sense. What any
activation reads is seen by `relu_codes`, as a module or as a function.
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
OTHER_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


@dataclass(frozen=True)
class ModuleKind:
    """Modules of some `types`.

    `weighted`: their weights are those that proxies over weights look at, and make multiply-adds. `when_flowing`: what
    stands for them where synflow follows positive numbers: themselves, the identity, or a ReLU.
    """

    name: str
    types: tuple[type[nn.Module], ...]
    weighted: bool = False
    when_flowing: Literal["itself", "identity", "relu"] = "itself"


MODULE_KINDS = (
    ModuleKind("convolution", (nn.Conv1d, nn.Conv2d, nn.Conv3d), weighted=True),
    ModuleKind("linear layer", (nn.Linear,), weighted=True),
    ModuleKind("attention", (nn.MultiheadAttention,), weighted=True),
    ModuleKind("embedding", (nn.Embedding,)),
    ModuleKind("batch norm", BATCH_NORMS),  # synflow makes it the identity itself
    ModuleKind("norm", OTHER_NORMS, when_flowing="identity"),
    ModuleKind(
        "activation",
        (
            *(nn.ReLU6, nn.Hardtanh, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.PReLU, nn.LeakyReLU, nn.RReLU),
            *(nn.ELU, nn.CELU, nn.SELU, nn.Softplus, nn.Threshold),
        ),
        when_flowing="relu",
    ),
    ModuleKind("gate", (nn.Sigmoid, nn.Hardsigmoid, nn.Tanh, nn.Softmax)),
)
WEIGHTED = tuple(kind for row in MODULE_KINDS if row.weighted for kind in row.types)
"""Modules whose weights proxies look at."""


def when_flowing(module: nn.Module) -> str:
    """What stands for a module where synflow follows positive numbers."""
    return next((row.when_flowing for row in MODULE_KINDS if isinstance(module, row.types)), "itself")
