"""The released code's way, in our own words, and how it is timed beside the engine.

That way: copy the network for every score, run every op and removed ones on zeros, leave autograd recording, multiply
two float matrices for each ReLU and each ReLU-conv-BN block, take the log-determinant on the host. On DARTS and in
layer-wise spaces a removed op is left out altogether.
"""

import copy
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from zcpt_ray.arch import PartialArch
from zcpt_ray.datasets import find_dataset
from zcpt_ray.datasets.base import halves
from zcpt_ray.datasets.minibatches import Batch, draw_minibatch
from zcpt_ray.devices import local_device
from zcpt_ray.engine.ops import ReLUConvBN
from zcpt_ray.engine.relu_codes import RELUS
from zcpt_ray.engine.supernet import MaskedSupernet, Supernet
from zcpt_ray.proxies import PROXIES
from zcpt_ray.proxies.base import score_archs
from zcpt_ray.spaces.base import Space

PROXY = PROXIES["nwot-released"]
Size = TypeVar("Size")
Way = Callable[[Supernet, Sequence[PartialArch], Batch], list[float]]
"""Scores of architectures of a supernet on a minibatch."""


@dataclass(frozen=True)
class Timing:
    """What minibatches come from, their size, where they are, and whether all is to be as small as it goes."""

    dataset: str
    batch_size: int
    device: str
    smoke: bool

    @property
    def repetitions(self) -> int:
        """How often each way is timed, in turn."""
        return 1 if self.smoke else 3

    def some(self, sizes: Sequence[Size]) -> Sequence[Size]:
        """The sizes at which a thing is timed to see how it grows; the first where all is to be small."""
        return sizes[:1] if self.smoke else sizes


def reference(supernet: Supernet, archs: Sequence[PartialArch], batch: Batch) -> list[float]:
    """The released code's way."""
    return [reference_score(supernet, arch, batch) for arch in archs]


def reference_score(supernet: Supernet, arch: PartialArch, batch: Batch) -> float:
    """Of one architecture."""
    net = MaskedSupernet(copy.deepcopy(supernet), arch).eval()
    kernel = np.zeros((len(batch.images), len(batch.images)))

    def observe(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal kernel
        code = (inputs[0].detach().reshape(len(inputs[0]), -1) > 0).float()
        kernel = kernel + (code @ code.T).cpu().numpy() + ((1 - code) @ (1 - code).T).cpu().numpy()

    for module in net.modules():
        if isinstance(module, (*RELUS, ReLUConvBN)):
            module.register_forward_pre_hook(observe)
    net(batch.images)
    return float(np.linalg.slogdet(kernel)[1])


def seconds_per_score(supernet: Supernet, archs: Sequence[PartialArch], batch: Batch) -> float:
    """Of the reference, after a warm-up."""
    reference_score(supernet, archs[0], batch)
    started = time.perf_counter()
    for arch in archs:
        reference_score(supernet, arch, batch)
    return (time.perf_counter() - started) / len(archs)


def ours(supernet: Supernet, archs: Sequence[PartialArch], batch: Batch) -> list[float]:
    """The batched, folded engine."""
    return score_archs(PROXY, supernet, archs, batch)


WAYS: dict[str, Way] = {"ours": ours, "reference": reference}


def compare(
    timing: Timing, supernet: Supernet, calls: Sequence[Sequence[PartialArch]], batch: Batch, every: int = 1
) -> dict[str, float]:
    """Median seconds of both ways over the same calls, taken in turn, after a warm-up of each at the same size.

    The reference takes one architecture after another, so where it takes long it is timed on each `every`th of them,
    and its seconds are scaled. Scores must agree to 1e-5; of calls that both score whole, they must rate the same
    variant worst. `convolutions` is the share of our time that convolutions take, by torch's profiler.
    """
    archs = [arch for call in calls for arch in call]
    sample = range(0, len(archs), every)
    ours(supernet, calls[0], batch)
    reference_score(supernet, archs[0], batch)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(timing.repetitions):
        started = time.perf_counter()
        found = [ours(supernet, call, batch) for call in calls]  # on the host: nothing is left running on a GPU
        seconds["ours"].append(time.perf_counter() - started)
        started = time.perf_counter()
        expected = [reference_score(supernet, archs[index], batch) for index in sample]
        seconds["reference"].append((time.perf_counter() - started) * len(archs) / len(sample))
        scores = [score for call in found for score in call]
        np.testing.assert_allclose([scores[index] for index in sample], expected, rtol=1e-5)
        if every == 1:
            _require_same_worst(found, expected)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    share = convolution_seconds(lambda: [ours(supernet, call, batch) for call in calls], batch) / medians["ours"]
    return medians | {"ratio": medians["reference"] / medians["ours"], "convolutions": min(share, 1.0)}


def _require_same_worst(found: Sequence[Sequence[float]], expected: Sequence[float]) -> None:
    start = 0
    for scores in found:
        others = expected[start : start + len(scores)]
        start += len(scores)
        if np.argmin(scores) != np.argmin(others):
            raise RuntimeError(f"ours and the reference rate different variants worst: {scores}, {others}")


CONVOLUTIONS = (
    "aten::mkldnn_convolution",
    "aten::cudnn_convolution",
    "aten::_conv_depthwise2d",
    "aten::addmm_",
    "mkldnn::_convolution_pointwise",
    "mkldnn::_convolution_pointwise_",
)
"""Operators that convolve; DARTS' pointwise convolutions are products of matrices."""


def convolution_seconds(work: Callable[[], object], batch: Batch) -> float:
    """Seconds that convolutions take within `work`: of the CPU, or of the GPU that `batch` is on."""
    on_gpu = batch.images.device.type != "cpu"
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    with profile(activities=kinds) as seen:
        work()
    rows = [row for row in seen.key_averages() if row.key in CONVOLUTIONS]
    return sum(float(row.device_time_total if on_gpu else row.self_cpu_time_total) for row in rows) / 1e6


def proposal_calls(
    space: Space, kept: Sequence[tuple[str, ...]], random: np.random.Generator | None = None
) -> list[list[PartialArch]]:
    """The perturbed supernets of each step of a proposal that decides for `kept`; in random order if wanted."""
    arch, calls = PartialArch.all_open(space.edges), []
    for stage in space.stages:
        lanes = [[edge for edge in lane if edge in arch.open_edges] for lane in stage]
        if random:
            lanes = [random.permutation(lane).tolist() for lane in lanes]
        for step in itertools.zip_longest(*lanes):
            edges = [edge for edge in step if edge is not None]
            calls.append([variant for edge in edges for variant in perturbed(arch, edge)])
            for edge in edges:
                arch = arch.discretize(edge, kept[edge])
    return calls


def perturbed(arch: PartialArch, edge: int = 0) -> list[PartialArch]:
    """One step's variants: each op of an edge removed in turn."""
    return [arch.perturb(edge, op) for op in arch.edges[edge].candidates]


@cache
def batch_of(timing: Timing, batch_size: int | None = None) -> Batch:
    """A minibatch of the search half, of the usual size or another."""
    images, _ = halves(find_dataset(timing.dataset))
    return draw_minibatch(images, batch_size or timing.batch_size, seed=0, device=local_device(timing.device))
