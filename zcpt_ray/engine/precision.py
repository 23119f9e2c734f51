"""How torch computes: the precision of float32 products and convolutions, and cuDNN's kernels."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def exact_float32() -> Iterator[None]:
    """Inside, products and convolutions are float32 whatever the user has set: no TF32, no bfloat16.

    Nothing else is changed, and afterwards each setting is as it was.
    """
    with _precisions("ieee", *_convolutions(), *_products()):
        yield


@contextmanager
def fast_convolutions() -> Iterator[None]:
    """Inside, cuDNN looks for its fastest kernels, in TF32 where the GPU has it; as `exact_float32` otherwise."""
    before = torch.backends.cudnn.benchmark
    with _precisions("tf32", *_convolutions()[:1]):
        torch.backends.cudnn.benchmark = True
        try:
            yield
        finally:
            torch.backends.cudnn.benchmark = before


def _convolutions() -> list[Any]:
    """What holds the precision of convolutions, cuDNN's first."""
    backends: Any = torch.backends
    has_parts = hasattr(backends.cudnn, "conv")  # not before torch 2.9
    return [backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn.conv] if has_parts else [backends.cudnn]


def _products() -> list[Any]:
    there = [torch.backends.cuda.matmul]
    return [*there, torch.backends.mkldnn.matmul] if hasattr(torch.backends.mkldnn, "matmul") else there


@contextmanager
def _precisions(wanted: str, *holders: Any) -> Iterator[None]:
    with ExitStack() as stack:
        for holder in holders:
            stack.enter_context(_precision(holder, wanted))
        yield


@contextmanager
def _precision(holder: Any, wanted: str) -> Iterator[None]:
    name, value = ("fp32_precision", wanted) if hasattr(holder, "fp32_precision") else ("allow_tf32", wanted == "tf32")
    before = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, before)
