"""Trainings by recipe beside the recipe written out plainly, on real images, loss by loss."""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zcpt_ray.datasets.augmentation import draw_epoch
from zcpt_ray.datasets.minibatches import Batch, ImageSet
from zcpt_ray.seeding import derive_seed
from zcpt_ray.spaces.darts.network import EvaluationNetwork
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.image_feed import WorkerPart
from zcpt_ray.training.plan import TrainPlan
from zcpt_ray.training.trainer import Trainer

GENOTYPE = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_5x5', 0), ('sep_conv_3x3', 1),"
    " ('dil_conv_3x3', 0), ('skip_connect', 2), ('skip_connect', 0), ('max_pool_3x3', 2)], normal_concat=range(2, 6),"
    " reduce=[('max_pool_3x3', 0), ('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 2), ('dil_conv_5x5', 1),"
    " ('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 1)], reduce_concat=range(2, 6))"
)
CELL = "|nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|"
SMALL = TrainConfig("", dataset="cifar10", batch_size=16, max_images=48)
DARTS = dataclasses.replace(SMALL, arch=GENOTYPE, space="darts", recipe="cifar", channels=8, num_cells=4, epochs=3)
NB201 = dataclasses.replace(SMALL, arch=CELL, space="nasbench201", recipe="nb201", epochs=2)


def exactly(net: torch.nn.Module) -> None:
    """Have it compute in float64, where rounding does not grow to anything within some steps."""
    net.double().register_forward_pre_hook(lambda _, inputs: (inputs[0].double(),))


def ours(trainer: Trainer, seen: list[Tensor]) -> list[float]:
    """Losses of every step in float64, and the images that it saw."""
    exactly(trainer.net)
    losses: list[float] = []
    step = trainer.step

    def noted(batch: Batch) -> Tensor:
        seen.append(batch.images)
        totals = step(batch)
        losses.append(float(totals[0] / totals[2]))
        return totals

    trainer.step = noted  # type: ignore[method-assign]
    for epoch in range(trainer.recipe.epochs):
        trainer.run_epoch(epoch)
    return losses


def cut(pixels: np.ndarray, shift: list[int], mirror: bool) -> np.ndarray:
    """Four black pixels around an image, 32 of the 40 rows and columns, from right to left if mirrored."""
    whole = np.zeros((3, 40, 40), np.uint8)
    whole[:, 4:36, 4:36] = pixels
    part = whole[:, shift[0] : shift[0] + 32, shift[1] : shift[1] + 32]
    return part[:, :, ::-1] if mirror else part


def blank(image: np.ndarray, centre: list[float]) -> None:
    """A square of 16 pixels, as much of it as lies inside."""
    row, column = (int(32 * share) for share in centre)
    image[:, max(0, row - 8) : row + 8, max(0, column - 8) : column + 8] = 0


def minibatches(images: ImageSet, size: int, seed: int, squares: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Augmented images and labels, image by image."""
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (images.mean, images.std))
    draws = draw_epoch(len(images), 4, True, seed)
    batch = []
    for place, index in enumerate(draws.order.tolist()):
        pixels = cut(images.take(np.array([index]))[0], draws.shift[place].tolist(), bool(draws.mirror[place]))
        image = (pixels.astype(np.float32) / 255 - mean) / std
        if squares:
            blank(image, draws.cutout[place].tolist())
        batch.append(torch.from_numpy(image))
        if len(batch) == size:
            yield torch.stack(batch), torch.from_numpy(images.labels[draws.order[place + 1 - size : place + 1].numpy()])
            batch = []


class PlainSGD:
    """SGD with momentum 0.9 and weight decay, by hand."""

    def __init__(self, weights: list[Tensor], decay: float, nesterov: bool) -> None:
        self.weights, self.decay, self.nesterov = weights, decay, nesterov
        self.velocity = [torch.zeros_like(weight) for weight in weights]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for weight, velocity in zip(self.weights, self.velocity, strict=True):
            assert weight.grad is not None
            gradient = weight.grad + self.decay * weight
            velocity.mul_(0.9).add_(gradient)
            weight -= rate * (gradient + 0.9 * velocity if self.nesterov else velocity)


@torch.no_grad()
def clip(weights: list[Tensor], most: float) -> None:
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
    for gradient in gradients:
        gradient *= min(1.0, most / (norm + 1e-6))  # as torch has it


def plain(trainer: Trainer, rate: float, decay: float, darts: bool, seen: list[Tensor]) -> Iterator[float]:
    """The recipe as its paper gives it: for DARTS clip 5, cutout 16, auxiliary 0.4, drop path 0.2; or Nesterov.

    Images are compared with those `seen`, and these are learnt from: a rounding grows a thousandfold within some steps.
    """
    net, config = trainer.net, trainer.plan.config
    epochs, size = config.epochs, config.batch_size
    assert epochs
    assert size
    exactly(net)
    weights, others = list(net.parameters()), iter(seen)
    sgd = PlainSGD(weights, decay, nesterov=not darts)
    for epoch in range(epochs):
        if isinstance(net, EvaluationNetwork):
            net.set_drop_path(0.2 * epoch / epochs)
        net.train()
        torch.manual_seed(derive_seed(trainer.seed, "epoch", epoch, "rank", 0))  # for drop path
        seed = derive_seed(trainer.seed, "epoch", epoch, "images")
        for images, labels in minibatches(trainer.images, size, seed, squares=darts):
            same = next(others)
            np.testing.assert_allclose(images, same, rtol=1e-4, atol=1e-5)
            outputs = net(same)
            logits, auxiliary = outputs if darts else (outputs, None)
            loss = F.cross_entropy(logits, labels)
            (loss + 0.4 * F.cross_entropy(auxiliary, labels) if darts else loss).backward()
            if darts:
                clip(weights, 5.0)
            sgd.step(rate * (1 + math.cos(math.pi * epoch / epochs)) / 2)
            net.zero_grad()
            yield loss.item()


@pytest.mark.data
@pytest.mark.parametrize(
    ("config", "rate", "decay"), [(DARTS, 0.025, 3e-4), (NB201, 0.1, 5e-4)], ids=["cifar", "nb201"]
)
def test_losses_are_those_of_the_recipe_written_out(config: TrainConfig, rate: float, decay: float) -> None:
    one, other = (Trainer(TrainPlan.of(config), WorkerPart()) for _ in range(2))
    seen: list[Tensor] = []
    found = np.array(ours(one, seen))
    with torch.random.fork_rng([]):
        expected = np.array(list(plain(other, rate, decay, config.space == "darts", seen)))
    assert len(found) == len(expected) == 3 * (config.epochs or 0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
