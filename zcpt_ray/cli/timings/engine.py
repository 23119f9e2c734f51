"""The engine beside the released code's way: steps, proposals, validations, many networks, memory, every proxy."""

import os
import resource
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from zcpt_ray.arch import PartialArch
from zcpt_ray.cli.timings.reference import (
    PROXY,
    WAYS,
    Timing,
    batch_of,
    compare,
    perturbed,
    proposal_calls,
    reference_score,
)
from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.proxies import PROXIES
from zcpt_ray.proxies.base import measure_archs
from zcpt_ray.spaces import SPACES
from zcpt_ray.spaces.base import Space
from zcpt_ray.spaces.darts.candidates import everywhere
from zcpt_ray.spaces.darts.space import Darts
from zcpt_ray.spaces.mobilenet import BlockGroup, MobileNet
from zcpt_ray.spaces.nasbench201 import NASBench201
from zcpt_ray.spaces.nasbench_macro import NASBenchMacro

NETWORK = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"


def nasbench201_rows(timing: Timing) -> Iterator[tuple[str, dict[str, float]]]:
    """A whole proposal, validations, how a step grows, and many networks."""
    size = 16 if timing.smoke else timing.batch_size
    batch, space = batch_of(timing, size), NASBench201()
    device = batch.images.device
    supernet = space.supernet(10, seed=0).to(device)
    step = [perturbed(PartialArch.all_open(space.edges))]
    kept = space.decode(NETWORK).kept
    yield f"proposal of 30 scores, batch {size}", compare(timing, supernet, proposal_calls(space, kept), batch, every=5)
    masked = compare(timing, supernet, [[PartialArch(space.edges, kept)]] * 3, batch)
    yield f"3 validations, as a masked supernet, batch {size}", masked
    network = space.network(space.decode(NETWORK), 10, seed=0).to(device)
    alone = compare(timing, network, [[PartialArch(network.edges, kept)]] * 3, batch)
    yield f"3 validations, as a network alone, batch {size}", alone
    for smaller in timing.some((size // 8, size // 4, size // 2)):
        yield f"step of 5 scores, batch {smaller}", compare(timing, supernet, step, batch_of(timing, smaller))
    every = space.edges[0].candidates
    for ops in timing.some((every[2:4], every[1:4], every[1:], every)):
        part = NASBench201(ops=ops)
        calls = [perturbed(PartialArch.all_open(part.edges))]
        seconds = compare(timing, part.supernet(10, 0).to(device), calls, batch_of(timing, size // 4))
        yield f"step with |O| = {len(ops)}, batch {size // 4}", seconds
    for networks_batch in timing.some((size // 4, size // 2)):
        rate = rate_of_networks(timing, networks_batch, 8 if timing.smoke else 160)
        yield f"a network, many scored, batch {networks_batch}", rate


def darts_rows(timing: Timing) -> Iterator[tuple[str, dict[str, float]]]:
    """Every fourth step of a DARTS proposal in random order that keeps separable convolutions; and how a step grows."""
    size, every = (4, 16) if timing.smoke else (64, 4)
    batch, darts = batch_of(timing, size), SPACES["darts"]
    kept = [("sep_conv_3x3",) if "sep_conv_3x3" in edge.candidates else edge.candidates[-2:] for edge in darts.edges]
    calls = proposal_calls(darts, kept, np.random.default_rng(0))
    scores = sum(map(len, calls))
    seconds = compare(timing, darts.supernet(10, seed=0).to(batch.images.device), calls[::every], batch, every=7)
    yield f"darts: each {every}th of the {len(calls)} steps ({scores} scores) of a proposal, batch {size}", seconds
    darts_ops = darts.edges[0].candidates
    sizes = ((3, 16, darts_ops), (8, 8, darts_ops), (8, 16, darts_ops[2:5]), (8, 16, darts_ops))
    for cells, channels, ops in timing.some(sizes):
        part = Darts("part", everywhere(*ops), channels=channels, num_cells=cells)
        step = [perturbed(PartialArch.all_open(part.edges), 7)[:2]]
        seconds = compare(timing, part.supernet(10, seed=0).to(batch.images.device), step, batch)
        yield f"darts: 2 scores, {cells} cells, C = {channels}, |O| = {len(ops)}, batch {size}", seconds


def layerwise_rows(timing: Timing) -> Iterator[tuple[str, dict[str, float]]]:
    """Proposals of the layer-wise spaces in random order, and how a step grows there."""
    macro_size, mobile_size, pixels, every = (4, 2, 32, 20) if timing.smoke else (64, 8, 224, 7)
    batch = batch_of(timing, macro_size)
    macro = _compare_in_random_order(timing, NASBenchMacro(), batch)
    yield f"nasbench-macro: proposal of 24 scores, batch {macro_size}", macro
    for layers, width in timing.some(((2, 32), (4, 32), (8, 32), (4, 16), (4, 64))):
        part = MobileNet(groups=(BlockGroup(width, layers, 1),))
        yield (
            f"step with {layers} layers of {width} channels at 16 px, batch {macro_size}",
            _compare_middle_step(timing, part, batch),
        )
    drawn = batch_of(timing, mobile_size)
    batch = Batch(F.interpolate(drawn.images, size=pixels), drawn.labels)
    mobile = _compare_in_random_order(timing, MobileNet(), batch, every)  # all steps would take too long
    yield f"mobilenet, {pixels} px: each {every}th of a proposal's 21 steps, batch {mobile_size}", mobile


def _compare_in_random_order(timing: Timing, space: Space, batch: Batch, every: int = 1) -> dict[str, float]:
    calls = proposal_calls(space, [edge.candidates[-1:] for edge in space.edges], np.random.default_rng(0))[::every]
    return compare(timing, space.supernet(10, seed=0).to(batch.images.device), calls, batch)


def _compare_middle_step(timing: Timing, space: Space, batch: Batch) -> dict[str, float]:
    """The step of the middle layer."""
    middle = perturbed(PartialArch.all_open(space.edges), len(space.edges) // 2)
    return compare(timing, space.supernet(10, seed=0).to(batch.images.device), [middle], batch)


def peak_memory(way: str, timing: Timing, name: str, size: int) -> float:
    """GiB that a process takes at most to score a step; on a GPU, of its memory.

    For us it is a step of global-op-iter, with many edges.
    The reference scores one architecture after another, so one is enough to see its peak.
    """
    space, batch = SPACES[name], batch_of(timing, size)
    supernet = space.supernet(10, seed=0).to(batch.images.device)
    arch = PartialArch.all_open(space.edges)
    archs = [variant for edge in arch.open_edges[:6] for variant in perturbed(arch, edge)]
    WAYS[way](supernet, archs if way == "ours" else archs[:1], batch)
    if batch.images.is_cuda:
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def rate_of_networks(timing: Timing, batch_size: int, count: int) -> dict[str, float]:
    """Seconds per network of NAS-Bench-201 when many are scored: random ones, all cores.

    Ours takes slices of them on a one-thread worker per core, as a score table is filled. The reference builds one
    network after another, with hooks, in one process that has all cores; it is timed on every eighth.
    """
    space, chosen = NASBench201(), np.random.default_rng(0).choice(15625, count, replace=False)
    indices, workers = np.sort(chosen).tolist(), os.cpu_count() or 1
    slices = [indices[start::workers] for start in range(workers)]
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(
            pool.map(score_networks, [timing] * workers, [batch_size] * workers, [part[:2] for part in slices])
        )  # warm up
        started = time.perf_counter()
        parts = list(pool.map(score_networks, [timing] * workers, [batch_size] * workers, slices))
        seconds = {"ours": (time.perf_counter() - started) / count}
    scores = dict(
        zip([index for part in slices for index in part], [score for part in parts for score in part], strict=True)
    )
    batch, sample = batch_of(timing, batch_size), indices[::8]
    started = time.perf_counter()
    for index in sample:
        network = space.network(space.arch(index), 10, seed=0).to(batch.images.device)
        whole = PartialArch.whole(network.edges)
        np.testing.assert_allclose(reference_score(network, whole, batch), scores[index], rtol=1e-5)
    seconds["reference"] = (time.perf_counter() - started) / len(sample)
    return seconds | {"ratio": seconds["reference"] / seconds["ours"]}


def score_networks(timing: Timing, batch_size: int, indices: Sequence[int]) -> list[float]:
    """Scores of the networks of NAS-Bench-201 with these indices."""
    space, batch = NASBench201(), batch_of(timing, batch_size)
    archs = [PartialArch(space.edges, space.arch(index).kept) for index in indices]
    measured = measure_archs(PROXY, space.supernet(10, seed=0).to(batch.images.device), archs, batch, alone=True)
    return PROXY.combine(measured)


def proxy_seconds(timing: Timing, batch_size: int) -> pd.DataFrame:
    """Per proxy, seconds per score of the supernet with an op removed (a step of 5), and of a network on its own."""
    space, batch, rows = NASBench201(), batch_of(timing, batch_size), []
    supernet = space.supernet(10, seed=0).to(batch.images.device)
    step = perturbed(PartialArch.all_open(space.edges))[: 1 if timing.smoke else None]
    network = [PartialArch(space.edges, space.decode(NETWORK).kept)]
    for proxy in PROXIES.values():
        row: dict[str, object] = {"proxy": proxy.name}
        for what, archs, alone in (("supernet", step, False), ("network", network, True)):
            measure_archs(proxy, supernet, archs[:1], batch, alone)
            started = time.perf_counter()
            measure_archs(proxy, supernet, archs, batch, alone)
            row[f"s per {what}"] = f"{(time.perf_counter() - started) / len(archs):.3g}"
        rows.append(
            row | {"batch norm": proxy.batch_norm, "dtype": proxy.dtype, "needs": ", ".join(proxy.needs) or "-"}
        )
    return pd.DataFrame(rows)
