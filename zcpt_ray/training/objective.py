"""What a training makes small, and how it and errors are added up over minibatches and workers."""

import logging
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.datasets.minibatches import Batch, ImageSet
from zcpt_ray.devices import DEVICES
from zcpt_ray.training.recipes import Recipe

log = logging.getLogger(__name__)
TOP = 5
UNEVEN = 1.5
"""How many times as many images as the smallest class the largest has before that is said."""
WEIGHTS = (0.1, 10.0)
"""Between which what an image counts in the loss stays."""


@dataclass(frozen=True)
class Objective:
    """Cross-entropy, with what a recipe adds to it; `class_weights` [classes] where images of rare classes count more.

    With `mixup` images are mixed pairwise, by a share drawn from Beta(mixup, mixup) for each minibatch, and so are
    their losses (Zhang et al. 2018).
    """

    recipe: Recipe
    class_weights: Tensor | None = None
    mixup: float = 0.0

    @classmethod
    def of(cls, recipe: Recipe, images: ImageSet, mixup: float, device: str) -> "Objective":
        """For training on `images`."""
        if not recipe.balanced:
            return cls(recipe, None, mixup)
        counts = np.bincount(images.labels, minlength=images.num_classes)
        present = counts[counts > 0]
        if present.max() > UNEVEN * present.min():
            _say_once(
                f"classes have {present.min()} to {present.max()} training images: rare ones count more in the loss"
            )
        weights = np.clip(len(images.labels) / len(present) / np.maximum(counts, 1), *WEIGHTS)
        return cls(recipe, torch.tensor(weights, dtype=torch.float32, device=device), mixup)

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The loss to be made small, that of the main head, and how many images the network is right about."""
        labels, others, share = batch.labels, batch.labels, 1.0
        images = batch.images
        if self.mixup:
            share = float(torch.distributions.Beta(self.mixup, self.mixup).sample())
            images, others = share * images + (1 - share) * images.flip(0), labels.flip(0)
        outputs = model(images)
        logits, auxiliary = outputs if isinstance(outputs, tuple) else (outputs, None)
        loss = whole = self._mixed(logits, labels, others, share)
        if auxiliary is not None:
            whole = loss + self.recipe.auxiliary * self._mixed(auxiliary, labels, others, share)
        return whole, loss, (logits.argmax(1) == labels).sum()

    def _mixed(self, logits: Tensor, labels: Tensor, others: Tensor, share: float) -> Tensor:
        loss = self._entropy(logits, labels)
        return loss if share == 1 else share * loss + (1 - share) * self._entropy(logits, others)

    def _entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        smoothing = self.recipe.label_smoothing
        return F.cross_entropy(logits, labels, weight=self.class_weights, label_smoothing=smoothing)


@cache
def _say_once(line: str) -> None:
    log.info(line)


def judged(logits: Tensor, labels: Tensor) -> Tensor:
    """Sums over a minibatch: loss, right answers, right ones among the first five, images."""
    best = logits.topk(min(TOP, logits.shape[1])).indices == labels[:, None]
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([loss, best[:, 0].sum(), best.sum(), loss.new_tensor(len(best))])


def no_totals(count: int, device: str) -> Tensor:
    """So many sums, of nothing yet."""
    dtype = torch.float64 if DEVICES[device].has_float64 else torch.float32
    return torch.zeros(count, dtype=dtype, device=device)


def over_all_workers(totals: Tensor, world_size: int) -> list[float]:
    """The sums of all workers."""
    if world_size > 1:
        torch.distributed.all_reduce(totals)
    return [float(value) for value in totals.tolist()]
