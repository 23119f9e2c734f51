"""How fast the engine is, beside a plain implementation of the released code's way, in one run.

That way, in our own words: copy the network for every score, run every op and removed ones on zeros, leave autograd recording,
multiply two float matrices for each ReLU and each ReLU-conv-BN block, take the log-determinant on the host. On DARTS and in
layer-wise spaces a removed op is left out altogether.
"""

import copy
import itertools
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import tyro
from rich.console import Console

from zcpt_ray.ablation import grid, search_cells, shared_runs
from zcpt_ray.arch import PartialArch
from zcpt_ray.augmentation import draw_epoch
from zcpt_ray.cli import one_line_errors
from zcpt_ray.configs import SearchConfig, TrainConfig
from zcpt_ray.darts_network import EvaluationNetwork
from zcpt_ray.data import Batch, ImageSet, draw_minibatch, local_device
from zcpt_ray.errors import UserError
from zcpt_ray.layers import RELUS
from zcpt_ray.ops import ReLUConvBN
from zcpt_ray.proxies import PROXIES, measure_archs, score_archs
from zcpt_ray.recipes import Recipe
from zcpt_ray.records import RunStore
from zcpt_ray.registry import lookup
from zcpt_ray.results import terminal_table, write_table
from zcpt_ray.search import load_data, run_search_locally
from zcpt_ray.spaces import SPACES, Space
from zcpt_ray.spaces.darts import OPS as OPS_OF_DARTS
from zcpt_ray.spaces.darts import Darts, everywhere
from zcpt_ray.spaces.mobilenet import MobileNet, Stage
from zcpt_ray.spaces.nasbench201 import OPS, NASBench201
from zcpt_ray.spaces.nasbench_macro import NASBenchMacro
from zcpt_ray.supernet import MaskedSupernet, Supernet
from zcpt_ray.training import Share, Trainer, resolve

PROXY = PROXIES["nwot-released"]
NETWORK = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
TRAINED_201 = (
    NETWORK,
    "|nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_1x1~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    "|nor_conv_1x1~0|+|avg_pool_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_1x1~1|avg_pool_3x3~2|",
)
"""Two that searches find, and one that has every op."""
REDUCE = (
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6)"
)
TRAINED_DARTS = {
    f"darts, {name}": f"Genotype(normal=[{cell}], normal_concat=range(2, 6), {REDUCE})"
    for name, cell in {
        "separable 3x3": "('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
        "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)",
        "larger kernels": "('sep_conv_5x5', 0), ('sep_conv_3x3', 1), ('dil_conv_5x5', 0), ('sep_conv_5x5', 2), "
        "('skip_connect', 1), ('sep_conv_3x3', 3), ('dil_conv_3x3', 0), ('max_pool_3x3', 2)",
    }.items()
}
"""Normal cells: that of DARTS' second order search, and one with most ops."""
Way = Callable[[Supernet, Sequence[PartialArch], Batch], list[float]]


def reference(supernet: Supernet, archs: Sequence[PartialArch], batch: Batch) -> list[float]:
    """The released code's way."""
    return [_reference_score(supernet, arch, batch) for arch in archs]


def _reference_score(supernet: Supernet, arch: PartialArch, batch: Batch) -> float:
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


def ours(supernet: Supernet, archs: Sequence[PartialArch], batch: Batch) -> list[float]:
    """The batched, folded engine."""
    return score_archs(PROXY, supernet, archs, batch)


PROXIES_PART = "proxies"
WAYS: dict[str, Way] = {"ours": ours, "reference": reference}


@dataclass(frozen=True)
class Options:
    """What to time."""

    parts: tuple[str, ...] = ("nasbench201", "darts", "layer-wise", "ablation", "training", "scaling", PROXIES_PART)
    """Spaces, a grid of N and V, trainings, workers on Ray, and `proxies`: every proxy on NAS-Bench-201."""
    dataset: str = "digits"
    """Data set that the minibatches come from."""
    batch_size: int = 256
    """Images per minibatch."""
    device: str = "auto"
    """cpu, cuda, or auto: a GPU if there is one."""
    smoke: bool = False
    """Small batches, to see that everything runs."""
    out: Path = Path("runs/benchmark")
    """Folder for benchmark.csv."""


def compare(supernet: Supernet, calls: Sequence[Sequence[PartialArch]], batch: Batch) -> dict[str, float]:
    """Seconds of both ways over the same calls, taken in turn; scores must agree to 1e-5 and rate the same variant worst."""
    seconds = dict.fromkeys(WAYS, 0.0)
    for archs in calls:
        scores = {}
        for name, way in WAYS.items():
            started = time.perf_counter()
            scores[name] = way(supernet, archs, batch)  # ends on the host: nothing is left running on a GPU
            seconds[name] += time.perf_counter() - started
        np.testing.assert_allclose(scores["ours"], scores["reference"], rtol=1e-5)
        assert np.argmin(scores["ours"]) == np.argmin(scores["reference"])
    return seconds | {"ratio": seconds["reference"] / seconds["ours"]}


def proposal_calls(
    space: Space, kept: Sequence[tuple[str, ...]], random: np.random.Generator | None = None
) -> list[list[PartialArch]]:
    """The perturbed supernets of each step of a proposal that decides for `kept`, edge by edge, in random order if wanted."""
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


def darts_rows(options: Options) -> Iterator[tuple[str, dict[str, float]]]:
    """Every fourth step of a DARTS proposal in random order that keeps separable convolutions; and how a step grows."""
    size, every = (4, 16) if options.smoke else (64, 4)
    batch, darts = _batch(options, size), SPACES["darts"]
    kept = [("sep_conv_3x3",) if "sep_conv_3x3" in edge.candidates else edge.candidates[-2:] for edge in darts.edges]
    calls = proposal_calls(darts, kept, np.random.default_rng(0))
    scores = sum(map(len, calls))
    seconds = compare(darts.supernet(10, seed=0).to(batch.images.device), calls[::every], batch)
    yield f"darts: each {every}th of the {len(calls)} steps ({scores} scores) of a proposal, batch {size}", seconds
    for cells, channels, ops in ((3, 16, OPS_OF_DARTS), (8, 8, OPS_OF_DARTS), (8, 16, OPS_OF_DARTS[2:5]), (8, 16, OPS_OF_DARTS)):
        part = Darts("part", everywhere(*ops), channels=channels, num_cells=cells)
        step = [perturbed(PartialArch.all_open(part.edges), 7)[:2]]
        seconds = compare(part.supernet(10, seed=0).to(batch.images.device), step, batch)
        yield f"darts: 2 scores, {cells} cells, C = {channels}, |O| = {len(ops)}, batch {size}", seconds


def layerwise_rows(options: Options) -> Iterator[tuple[str, dict[str, float]]]:
    """Proposals of the layer-wise spaces, which keep each edge's last op, in random order; and how a step grows there."""
    macro_size, mobile_size, pixels, every = (4, 2, 32, 20) if options.smoke else (64, 8, 224, 7)
    batch = _batch(options, macro_size)
    macro = _compare_in_random_order(NASBenchMacro(), batch)
    yield f"nasbench-macro: proposal of 24 scores, batch {macro_size}", macro
    for layers, width in ((2, 32), (4, 32), (8, 32), (4, 16), (4, 64)):
        part = MobileNet(stages=(Stage(width, layers, 1),))
        yield f"step with {layers} layers of {width} channels at 16 px, batch {macro_size}", _compare_middle_step(part, batch)
    drawn = _batch(options, mobile_size)
    batch = Batch(F.interpolate(drawn.images, size=pixels), drawn.labels)
    mobile = _compare_in_random_order(MobileNet(), batch, every)  # all steps would take the reference an hour on a CPU
    yield f"mobilenet, {pixels} px: each {every}th of a proposal's 21 steps, batch {mobile_size}", mobile


def _compare_in_random_order(space: Space, batch: Batch, every: int = 1) -> dict[str, float]:
    calls = proposal_calls(space, [edge.candidates[-1:] for edge in space.edges], np.random.default_rng(0))[::every]
    return compare(space.supernet(10, seed=0).to(batch.images.device), calls, batch)


def _compare_middle_step(space: Space, batch: Batch) -> dict[str, float]:
    """The step of the middle layer."""
    middle = perturbed(PartialArch.all_open(space.edges), len(space.edges) // 2)
    return compare(space.supernet(10, seed=0).to(batch.images.device), [middle], batch)


def perturbed(arch: PartialArch, edge: int = 0) -> list[PartialArch]:
    """One step's variants: each op of an edge removed in turn."""
    return [arch.perturb(edge, op) for op in arch.edges[edge].candidates]


def peak_memory(way: str, options: Options, name: str, size: int) -> float:
    """GiB that a process takes at most to score a step (on a GPU: of its memory): for us one of global-op-iter, with many edges.

    The reference scores one architecture after another, so one is enough to see its peak.
    """
    space, batch = SPACES[name], _batch(options, size)
    supernet = space.supernet(10, seed=0).to(batch.images.device)
    arch = PartialArch.all_open(space.edges)
    archs = [variant for edge in arch.open_edges[:6] for variant in perturbed(arch, edge)]
    WAYS[way](supernet, archs if way == "ours" else archs[:1], batch)
    if batch.images.is_cuda:
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def rate_of_networks(options: Options, batch_size: int, count: int) -> dict[str, float]:
    """Seconds per network of NAS-Bench-201 when many are scored: random ones, all cores.

    Ours takes slices of them on a one-thread worker per core, as a score table is filled. The reference builds one network after
    another, with hooks, in one process that has all cores; it is timed on every eighth.
    """
    space, chosen = NASBench201(), np.random.default_rng(0).choice(15625, count, replace=False)
    indices, workers = np.sort(chosen).tolist(), os.cpu_count() or 1
    slices = [indices[start::workers] for start in range(workers)]
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(score_networks, [options] * workers, [batch_size] * workers, [part[:2] for part in slices]))  # warm up
        started = time.perf_counter()
        parts = list(pool.map(score_networks, [options] * workers, [batch_size] * workers, slices))
        seconds = {"ours": (time.perf_counter() - started) / count}
    scores = dict(zip([index for part in slices for index in part], [score for part in parts for score in part], strict=True))
    batch, sample = _batch(options, batch_size), indices[::8]
    started = time.perf_counter()
    for index in sample:
        network = space.network(space.arch(index), 10, seed=0).to(batch.images.device)
        whole = PartialArch.whole(network.edges)
        np.testing.assert_allclose(_reference_score(network, whole, batch), scores[index], rtol=1e-5)
    seconds["reference"] = (time.perf_counter() - started) / len(sample)
    return seconds | {"ratio": seconds["reference"] / seconds["ours"]}


def score_networks(options: Options, batch_size: int, indices: Sequence[int]) -> list[float]:
    """Scores of the networks of NAS-Bench-201 with these indices."""
    space, batch = NASBench201(), _batch(options, batch_size)
    archs = [PartialArch(space.edges, space.arch(index).kept) for index in indices]
    measured = measure_archs(PROXY, space.supernet(10, seed=0).to(batch.images.device), archs, batch, alone=True)
    return PROXY.combine(measured)


def proxy_seconds(options: Options, batch_size: int) -> pd.DataFrame:
    """Per proxy, seconds per score of the supernet with an op removed (a step of 5), and of a network on its own."""
    space, batch, rows = NASBench201(), _batch(options, batch_size), []
    supernet = space.supernet(10, seed=0).to(batch.images.device)
    step = perturbed(PartialArch.all_open(space.edges))
    network = [PartialArch(space.edges, space.decode(NETWORK).kept)]
    for proxy in PROXIES.values():
        row: dict[str, object] = {"proxy": proxy.name}
        for what, archs, alone in (("supernet", step, False), ("network", network, True)):
            measure_archs(proxy, supernet, archs[:1], batch, alone)
            started = time.perf_counter()
            measure_archs(proxy, supernet, archs, batch, alone)
            row[f"s per {what}"] = f"{(time.perf_counter() - started) / len(archs):.3g}"
        rows.append(row | {"batch norm": proxy.batch_norm, "dtype": proxy.dtype, "needs": ", ".join(proxy.needs) or "-"})
    return pd.DataFrame(rows)


@cache
def _batch(options: Options, batch_size: int | None = None) -> Batch:
    config = SearchConfig(dataset=options.dataset, batch_size=batch_size or options.batch_size, device=options.device)
    return draw_minibatch(load_data(config).images, config.batch_size, seed=0, device=local_device(config.device))


def nasbench201_rows(options: Options) -> Iterator[tuple[str, dict[str, float]]]:
    """A whole proposal, validations, how a step grows, and many networks."""
    size = 16 if options.smoke else options.batch_size
    batch, space = _batch(options, size), NASBench201()
    device = batch.images.device
    supernet = space.supernet(10, seed=0).to(device)
    step = [perturbed(PartialArch.all_open(space.edges))]
    compare(supernet, step, _batch(options, 16))  # warm up
    kept = space.decode(NETWORK).kept
    yield f"proposal of 30 scores, batch {size}", compare(supernet, proposal_calls(space, kept), batch)
    masked = compare(supernet, [[PartialArch(space.edges, kept)]] * 3, batch)
    yield f"3 validations, as a masked supernet, batch {size}", masked
    network = space.network(space.decode(NETWORK), 10, seed=0).to(device)
    alone = compare(network, [[PartialArch(network.edges, kept)]] * 3, batch)
    yield f"3 validations, as a network alone, batch {size}", alone
    for smaller in (size // 8, size // 4, size // 2):
        yield f"step of 5 scores, batch {smaller}", compare(supernet, step, _batch(options, smaller))
    for ops in (OPS[2:4], OPS[1:4], OPS[1:], OPS):
        part = NASBench201(ops=ops)
        calls = [perturbed(PartialArch.all_open(part.edges))]
        seconds = compare(part.supernet(10, 0).to(device), calls, _batch(options, size // 4))
        yield f"step with |O| = {len(ops)}, batch {size // 4}", seconds
    for networks_batch in (size // 4, size // 2):
        rate = rate_of_networks(options, networks_batch, 8 if options.smoke else 160)
        yield f"a network, many scored, batch {networks_batch}", rate


def ablation_rows(options: Options) -> Iterator[tuple[str, dict[str, float]]]:
    """A grid of N and V whose cells share what they compute, beside its cells one by one; the results must be the same."""
    base = SearchConfig(dataset=options.dataset, batch_size=4 if options.smoke else 16, device=options.device)
    axes = {"num_proposals": (1, 2) if options.smoke else (1, 2, 3, 5, 10), "num_validations": (1, 3, 10, 30), "seed": (0,)}
    (cells,) = shared_runs(grid(base, "proposals-validations", axes)).values()
    data, seconds, found = load_data(base), {}, {}
    started = time.perf_counter()
    with TemporaryDirectory() as folder:
        found["ours"] = [result.candidates for result in search_cells(cells, Path(folder), data=data)]
    seconds["ours"] = time.perf_counter() - started
    started = time.perf_counter()
    found["reference"] = [run_search_locally(cell, RunStore(cell), data=data).candidates for cell in cells]
    seconds["reference"] = time.perf_counter() - started
    assert found["ours"] == found["reference"]
    what = f"{len(cells)} cells, N = {axes['num_proposals']}, V = {axes['num_validations']}, batch {base.batch_size}"
    yield what, seconds | {"ratio": seconds["reference"] / seconds["ours"]}


def training_rows(options: Options) -> Iterator[tuple[str, dict[str, float]]]:
    """Training by recipe: NAS-Bench-201's networks and DARTS' (20 cells, C = 36, auxiliary head, drop path)."""
    device = local_device(options.device)
    size = (4, 4) if options.smoke else (None, None)
    jobs = {f"nasbench201 {arch}": (TrainConfig(arch, recipe="nb201"), 8 if options.smoke else 128) for arch in TRAINED_201}
    jobs |= {
        name: (TrainConfig(arch, "darts", channels=size[0], num_cells=size[1]), 8 if options.smoke else 96)
        for name, arch in TRAINED_DARTS.items()
    }
    for what, (config, batch_size) in jobs.items():
        config = replace(config, dataset=options.dataset, batch_size=batch_size, max_images=4 * batch_size, device=device)
        yield f"training {what}, {batch_size} images", compare_trainings(config)
        if device == "cpu" and config.space == "nasbench201":
            yield "in bfloat16, beside the same loop", compare_trainings(replace(config, precision="bfloat16"))
            if not options.smoke:  # a minute of compiling each
                yield "compiled, beside the same loop", compare_trainings(replace(config, compile=True))
    if device == "cuda":
        config = TrainConfig(TRAINED_DARTS["darts, separable 3x3"], "darts", options.dataset, device=device)
        speed = {}
        for way, precision in (("ours", "auto"), ("reference", "float32")):
            trainer = Trainer(resolve(replace(config, precision=precision)), Share())
            trainer.run_epoch(0)  # warm up
            speed[way] = trainer.run_epoch(1).images_per_second
        what = f"darts, recipe cifar, {speed['ours']:.0f} images/s with AMP, {speed['reference']:.0f} without: 600 epochs of 50,000"
        yield what, {way: 600 * 50_000 / rate for way, rate in speed.items()} | {"ratio": speed["ours"] / speed["reference"]}


def scaling_rows(options: Options) -> Iterator[tuple[str, dict[str, float]]]:
    """A search with more and more workers, beside one worker's time divided by their number; start-up of the workers left out."""
    from zcpt_ray.scaling import pool_rate, sleeping_searches, time_searches  # Ray, which a machine that times the engine may lack

    numbers, batch_size = ((2, 2), 4) if options.smoke else ((8, 10), 32)
    config = SearchConfig(dataset=options.dataset, num_proposals=numbers[0], num_validations=numbers[1], batch_size=batch_size)
    for workers, seconds in time_searches(dict.fromkeys((1, 2), replace(config, device="cpu"))):
        yield f"search on NAS-Bench-201, N = {numbers[0]}, V = {numbers[1]}, batch {batch_size}: {workers} workers", seconds
    for workers, seconds in time_searches(sleeping_searches((1,), 1, 1) if options.smoke else sleeping_searches((1, 4, 16, 64))):
        yield f"search with a proxy that sleeps, {workers} workers", seconds
    rate = pool_rate(100 if options.smoke else 5000)
    yield f"a candidate that the pool takes in ({rate:.0f} a second)", {"ours": 1 / rate}


def compare_trainings(config: TrainConfig) -> dict[str, float]:
    """Seconds per step of `Trainer` and of `plain_training`, in turn, from the same weights on the same images.

    The loss of the first step must agree, and that of the second, after a step of both, about: rounding grows from step to step.
    """
    first = 2e-2 if config.precision == "bfloat16" else 1e-3
    config = replace(config, epochs=2)
    ways = {"ours": our_training(config), "reference": plain_training(config)}
    seconds = {name: [0.0] * 3 for name in ways}
    for step, tolerance in ((-1, first), (0, 0.1), (1, 1.0), (2, 1.0)):  # the first is a warm-up
        losses = {}
        for name, way in ways.items():
            started = time.perf_counter()
            losses[name] = next(way)
            seconds[name][step] = time.perf_counter() - started
        np.testing.assert_allclose(losses["ours"], losses["reference"], rtol=tolerance)
    per_step = {name: min(times) for name, times in seconds.items()}
    return per_step | {"ratio": per_step["reference"] / per_step["ours"]}


def our_training(config: TrainConfig) -> Iterator[float]:
    """Losses of the steps of an epoch."""
    trainer = Trainer(resolve(config), Share())
    _in_mid_training(trainer.net, trainer.recipe)
    for step, batch in enumerate(trainer.feed.training_epoch(seed=0)):
        torch.manual_seed(step)
        loss, _, count = trainer.step(batch).tolist()
        yield loss / count


def plain_training(config: TrainConfig) -> Iterator[float]:
    """The same as scripts do it: every image augmented on its own, NCHW, torch's modules as they are, parameters one by one."""
    trainer = Trainer(resolve(config), Share())
    net, recipe, images = trainer.untrained().to(trainer.device), trainer.recipe, trainer.images
    _in_mid_training(net, recipe)
    optimizer = torch.optim.SGD(
        net.parameters(), recipe.learning_rate, recipe.momentum, 0, recipe.weight_decay, recipe.nesterov, foreach=False
    )
    draws = draw_epoch(len(images), images.padding, images.flip, seed=0)
    for step, part in enumerate(trainer.share.training_parts(len(images), recipe.batch_size)):
        chosen = draws[part]
        drawn = zip(chosen.order.tolist(), chosen.shift.tolist(), chosen.mirror.tolist(), chosen.cutout.tolist(), strict=True)
        batch = torch.stack([_plain_image(images, recipe, *numbers) for numbers in drawn]).to(trainer.device)
        labels = torch.from_numpy(images.labels[chosen.order.numpy()]).to(trainer.device)
        torch.manual_seed(step)
        outputs = net(batch)
        logits, auxiliary = outputs if isinstance(outputs, tuple) else (outputs, None)
        loss = F.cross_entropy(logits, labels)
        whole = loss if auxiliary is None else loss + recipe.auxiliary * F.cross_entropy(auxiliary, labels)
        optimizer.zero_grad()
        whole.backward()  # type: ignore[no-untyped-call]
        if np.isfinite(recipe.gradient_clip):
            torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.gradient_clip, foreach=False)
        optimizer.step()
        yield loss.item()


def _in_mid_training(net: torch.nn.Module, recipe: Recipe) -> None:
    net.train()
    if isinstance(net, EvaluationNetwork):
        net.set_drop_path(recipe.drop_path / 2)


def _plain_image(images: ImageSet, recipe: Recipe, index: int, shift: list[int], mirror: bool, centre: list[float]) -> torch.Tensor:
    """Padded, cropped, mirrored, normalised, a square cut out: [C, H, W]."""
    raw = images.take(np.array([index]))[0]
    (row, column), (height, width) = shift, raw.shape[1:]
    raw = np.pad(raw, ((0, 0), *2 * ((images.padding, images.padding),)))[:, row : row + height, column : column + width]
    image = torch.from_numpy(np.ascontiguousarray(raw[:, :, ::-1] if mirror else raw)).float() / 255
    image = (image - torch.tensor(images.mean)[:, None, None]) / torch.tensor(images.std)[:, None, None]
    if recipe.cutout:
        mask, (y, x), half = np.ones((height, width), np.float32), (int(c * height) for c in centre), recipe.cutout // 2
        mask[max(y - half, 0) : y + half, max(x - half, 0) : x + half] = 0
        image *= torch.from_numpy(mask)
    return image


PARTS = {
    "nasbench201": nasbench201_rows,
    "darts": darts_rows,
    "layer-wise": layerwise_rows,
    "ablation": ablation_rows,
    "training": training_rows,
    "scaling": scaling_rows,
}


def main(options: Options) -> None:
    """Time the parts that are wanted, row by row."""
    if options.batch_size < 16:
        raise UserError(f"batch_size must be at least 16 to be halved three times, got {options.batch_size}")
    parts = [lookup(PARTS, part, "part") for part in options.parts if part != PROXIES_PART]
    console, device = Console(width=120), local_device(options.device)
    console.print(f"{PROXY.name}, float32 on {device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    rows: list[dict[str, str]] = []
    options.out.mkdir(parents=True, exist_ok=True)

    def add(what: str, seconds: dict[str, float]) -> None:
        rows.append({"seconds for": what, **{name: f"{value:.3g}" for name, value in seconds.items()}})
        pd.DataFrame(rows).to_csv(options.out / "benchmark.csv", index=False)
        console.print(f"{what}: " + ", ".join(f"{name} {value:.3g}" for name, value in seconds.items()))

    # First, while this process is small: on Linux a child starts with its parent's peak.
    for space, size in (("nasbench201", 16 if options.smoke else options.batch_size), ("darts", 4 if options.smoke else 64)):
        if space in options.parts:
            with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as fresh:
                peaks = {way: fresh.submit(peak_memory, way, options, space, size).result() for way in WAYS}
            add(f"peak memory, {space}, batch {size}, GiB", peaks | {"ratio": peaks["reference"] / peaks["ours"]})
    for part in parts:
        for what, seconds in part(options):
            add(what, seconds)
    console.print(terminal_table(pd.DataFrame(rows), "Ours beside the released code's way; ratio = reference / ours"))
    if PROXIES_PART in options.parts:
        size = (16 if options.smoke else options.batch_size) // 4
        proxies = proxy_seconds(options, size)
        write_table(proxies, options.out / "proxies")
        console.print(terminal_table(proxies, f"Every proxy, batch {size}"))


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Options, description=__doc__))
