"""Training by recipe beside a plain training loop, step by step."""

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from zcpt_ray.cli.timings.engine import NETWORK
from zcpt_ray.cli.timings.reference import Timing
from zcpt_ray.datasets.augmentation import draw_epoch
from zcpt_ray.datasets.minibatches import ImageSet
from zcpt_ray.devices import local_device
from zcpt_ray.spaces.darts.network import EvaluationNetwork
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.image_feed import WorkerPart
from zcpt_ray.training.plan import TrainPlan
from zcpt_ray.training.recipes import Recipe
from zcpt_ray.training.trainer import Trainer

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
        "separable 3x3": (
            "('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
            "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)"
        ),
        "larger kernels": (
            "('sep_conv_5x5', 0), ('sep_conv_3x3', 1), ('dil_conv_5x5', 0), ('sep_conv_5x5', 2), "
            "('skip_connect', 1), ('sep_conv_3x3', 3), ('dil_conv_3x3', 0), ('max_pool_3x3', 2)"
        ),
    }.items()
}
"""Normal cells: that of DARTS' second order search, and one with most ops."""


def training_rows(timing: Timing) -> Iterator[tuple[str, dict[str, float]]]:
    """Training by recipe: NAS-Bench-201's networks and DARTS' (20 cells, C = 36, auxiliary head, drop path)."""
    device = local_device(timing.device)
    size = (4, 4) if timing.smoke else (None, None)
    jobs = {
        f"nasbench201 {arch}": (TrainConfig(arch, recipe="nb201"), 8 if timing.smoke else 128) for arch in TRAINED_201
    }
    jobs |= {
        name: (TrainConfig(arch, "darts", channels=size[0], num_cells=size[1]), 8 if timing.smoke else 96)
        for name, arch in TRAINED_DARTS.items()
    }
    for what, (config, batch_size) in jobs.items():
        config = replace(
            config, dataset=timing.dataset, batch_size=batch_size, max_images=4 * batch_size, device=device
        )
        yield f"training {what}, {batch_size} images", compare_trainings(config)
        if device == "cpu" and config.space == "nasbench201":
            yield "in bfloat16, beside the same loop", compare_trainings(replace(config, precision="bfloat16"))
            if not timing.smoke:  # a minute of compiling each
                yield "compiled, beside the same loop", compare_trainings(replace(config, compile=True))
    if device == "cuda":
        config = TrainConfig(TRAINED_DARTS["darts, separable 3x3"], "darts", timing.dataset, device=device)
        speed = {}
        for way, precision in (("ours", "auto"), ("reference", "float32")):
            trainer = Trainer(TrainPlan.of(replace(config, precision=precision)), WorkerPart())
            trainer.run_epoch(0)  # warm up
            speed[way] = trainer.run_epoch(1).images_per_second
        what = (
            f"darts, recipe cifar, {speed['ours']:.0f} images/s with AMP, {speed['reference']:.0f} without: 600 epochs"
            " of 50,000"
        )
        yield (
            what,
            {way: 600 * 50_000 / rate for way, rate in speed.items()} | {"ratio": speed["ours"] / speed["reference"]},
        )


def compare_trainings(config: TrainConfig) -> dict[str, float]:
    """Seconds per step of `Trainer` and of `plain_training`, in turn, from the same weights on the same images.

    The loss of the first step must agree, and that of the second, after a step of both, about: rounding grows from step
    to step.
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
    trainer = Trainer(TrainPlan.of(config), WorkerPart())
    _in_mid_training(trainer.net, trainer.recipe)
    for step, batch in enumerate(trainer.feed.training_epoch(seed=0)):
        torch.manual_seed(step)
        loss, _, count = trainer.step(batch).tolist()
        yield loss / count


def plain_training(config: TrainConfig) -> Iterator[float]:
    """The same as scripts do it.

    Every image is augmented on its own, in NCHW order; torch's modules are as they are, parameters updated one by one.
    """
    trainer = Trainer(TrainPlan.of(config), WorkerPart())
    net, recipe, images = trainer.untrained().to(trainer.device), trainer.recipe, trainer.images
    _in_mid_training(net, recipe)
    optimizer = torch.optim.SGD(
        net.parameters(), recipe.learning_rate, recipe.momentum, 0, recipe.weight_decay, recipe.nesterov, foreach=False
    )
    draws = draw_epoch(len(images), images.padding, images.flip, seed=0)
    for step, part in enumerate(trainer.worker.training_parts(len(images), recipe.batch_size)):
        chosen = draws[part]
        drawn = zip(
            chosen.order.tolist(), chosen.shift.tolist(), chosen.mirror.tolist(), chosen.cutout.tolist(), strict=True
        )
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


def _plain_image(
    images: ImageSet, recipe: Recipe, index: int, shift: list[int], mirror: bool, centre: list[float]
) -> torch.Tensor:
    """Padded, cropped, mirrored, normalised, a square cut out: [C, H, W]."""
    raw = images.take(np.array([index]))[0]
    (row, column), (height, width) = shift, raw.shape[1:]
    raw = np.pad(raw, ((0, 0), *2 * ((images.padding, images.padding),)))[
        :, row : row + height, column : column + width
    ]
    image = torch.from_numpy(np.ascontiguousarray(raw[:, :, ::-1] if mirror else raw)).float() / 255
    image = (image - torch.tensor(images.mean)[:, None, None]) / torch.tensor(images.std)[:, None, None]
    if recipe.cutout:
        mask, (y, x), half = np.ones((height, width), np.float32), (int(c * height) for c in centre), recipe.cutout // 2
        mask[max(y - half, 0) : y + half, max(x - half, 0) : x + half] = 0
        image *= torch.from_numpy(mask)
    return image
