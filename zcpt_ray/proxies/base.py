"""What a zero-cost proxy is, and the one place where scores are taken."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from zcpt_ray.arch import PartialArch
from zcpt_ray.data import Batch
from zcpt_ray.errors import UserError
from zcpt_ray.supernet import MaskedSupernet, Supernet


@dataclass(frozen=True)
class Proxy:
    """A zero-cost proxy S: greater is better.

    `score(net, batch)` takes any network and leaves it as it was. `score_variants(supernet, archs, batch)`, where there is one,
    gives the same numbers (1e-5 relative) for many partly decided architectures at once.
    """

    name: str
    score: Callable[[nn.Module, Batch], float]
    reference: str
    score_variants: Callable[[Supernet, Sequence[PartialArch], Batch], list[float]] | None = None


def score_archs(proxy: Proxy, supernet: Supernet, archs: Sequence[PartialArch], batch: Batch) -> list[float]:
    """S of each of `archs` on `batch`, in float32 without TF32; batched over the architectures where the proxy can.

    Raises:
        UserError: a score is NaN.
    """
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        if proxy.score_variants:
            scores = proxy.score_variants(supernet, archs, batch)
        else:
            scores = [proxy.score(MaskedSupernet(supernet, arch), batch) for arch in archs]
    for arch, score in zip(archs, scores, strict=True):
        if math.isnan(score):
            raise UserError(f"proxy {proxy.name!r} gave NaN on a minibatch of {len(batch.images)} for {arch}")
    return scores
