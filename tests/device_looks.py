"""Counts how often a program looks at numbers that lie on the device. On a GPU each look waits for all that runs."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

LOOKS = ("aten._local_scalar_dense", "aten.nonzero", "aten.is_nonzero", "aten.equal", "aten.masked_select")
"""The operators behind `float(x)`, `x.item()`, `bool(x)`, an index that is a mask, and the like."""


class DeviceLooks(TorchDispatchMode):
    """Inside, `count` grows with each look."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        masked = str(func).startswith("aten.index.") and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        self.count += masked or str(func).startswith(LOOKS)
        return func(*args, **(kwargs or {}))
