"""Training a supernet for the scorings that ask a trained one, as DARTS (Liu et al. 2019) and DARTS-PT (Wang et al.
2021) do.
"""

import copy
import hashlib
import itertools
import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zcpt_ray.arch import PartialArch
from zcpt_ray.datasets.minibatches import Batch, ImageSet, epoch_of_minibatches
from zcpt_ray.devices import LOOK_STEPS
from zcpt_ray.engine.inspection import batch_statistics
from zcpt_ray.engine.memory import saved
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.errors import UserError
from zcpt_ray.search.resolved import Search
from zcpt_ray.seeding import derive_seed
from zcpt_ray.storage.paths import cache_directory, write_whole
from zcpt_ray.storage.run_directory import read_json

log = logging.getLogger(__name__)
RETRAINING_SHARE = 0.1
"""Of the learning rate, once edges are decided: DARTS-PT's."""


class SupernetTrainer:
    """Trains `supernet` in place on the search half, and its alphas on the held-out half.

    On the held-out half it also judges architectures.
    Every epoch leaves a checkpoint in the cache directory, named by what led to it: the same training, started again,
    goes on from there, and one that is finished is not repeated.
    """

    def __init__(self, search: Search, supernet: Supernet, images: ImageSet, held_out: ImageSet) -> None:
        config = search.config
        limit = config.training.max_images
        self.config = config.training
        self.supernet = supernet
        self.images = images.thinned_by_class(limit) if limit else images
        self.held_out = held_out.thinned_by_class(limit) if limit else held_out
        for half, name in ((self.images, "search"), (self.held_out, "held-out")):
            if missing := images.num_classes - len(np.unique(half.labels)):
                raise UserError(
                    f"{missing} of the {images.num_classes} classes of {config.dataset} have no image in its {name}"
                    " half of the training images: a supernet trained on that would judge ops wrongly"
                )
        if (fewest := min(len(self.images), len(self.held_out))) < self.config.training_batch_size:
            raise UserError(
                f"training needs a batch of {self.config.training_batch_size} images in each half, there are {fewest}"
            )
        self.seed = derive_seed(config.seed, "supernet training")
        self.device = next(supernet.parameters()).device
        # Alphas start at nearly the same value, as in DARTS: exactly the same where they stay fixed.
        drawn = torch.Generator().manual_seed(derive_seed(self.seed, "alphas"))
        scale = 0.0 if self.config.fixed_alpha else 1e-3
        self.alphas = [
            (scale * torch.randn(len(edge.candidates), generator=drawn)).to(self.device).requires_grad_()
            for edge in supernet.edges
        ]
        self.history = [
            config.space + json.dumps(dict(search.own)) * bool(search.own),
            config.dataset + images.fingerprint,
            f"{len(self.images)} by class" if limit else str(len(images)),
            str(config.seed),
            str(self.config),
        ]

    def fit(self, arch: PartialArch) -> None:
        """Train the weights of `arch`: for `epochs`, with the alphas, at first; then for `retrain_epochs`."""
        first = arch == PartialArch.all_open(arch.edges)
        self.history.append(str(arch.kept))
        self._fit(arch, self.config.epochs if first else self.config.retrain_epochs, first, self._cached())

    def alpha(self, edge: int, op: str) -> float:
        """The softmax weight of an op on its edge, in [0, 1]."""
        candidates = self.supernet.edges[edge].candidates
        return float(torch.softmax(self.alphas[edge].detach(), 0)[candidates.index(op)])

    def accuracy(self, arch: PartialArch) -> float:
        """Accuracy of `arch` on the held-out half, in [0, 1]; batch norms use the statistics of each minibatch."""
        right = torch.zeros((), dtype=torch.int64, device=self.device)
        with batch_statistics(self.supernet), torch.no_grad():
            weights = self.edge_weights(arch)
            for batch in epoch_of_minibatches(self.held_out, self.config.training_batch_size, self.device.type):
                right += (self.supernet(batch.images, weights).argmax(1) == batch.labels).sum()
        return int(right) / len(self.held_out)

    def accuracy_after_training(self, arch: PartialArch) -> float:
        """The same once a copy was trained as `arch` for `retrain_epochs`. It is never done twice."""
        removed = [str(sorted(arch.removed))] * bool(arch.removed)
        kept = self._cached(str(arch.kept), *removed).with_suffix(".json")
        if kept.exists():
            accuracy = read_json(kept)
            if not isinstance(accuracy, float):
                raise UserError(f"{kept} is damaged (it holds no number); delete it to have it computed again")
            return accuracy
        other = copy.copy(self)
        other.supernet = copy.deepcopy(self.supernet)
        other._fit(arch, self.config.retrain_epochs, first=False, checkpoint=None)
        accuracy = other.accuracy(arch)
        write_whole(kept, json.dumps(accuracy))
        return accuracy

    def _cached(self, *more: str) -> Path:
        digest = hashlib.blake2b(json.dumps([*self.history, *more]).encode(), digest_size=8).hexdigest()
        return cache_directory() / "supernets" / f"{digest}.pt"

    def edge_weights(self, arch: PartialArch) -> list[tuple[float | Tensor, ...]]:
        """As `PartialArch.edge_weights`, with the softmax of the alphas on open edges, as tensors.

        The weight of a removed op is not given to the others.
        Where ops weigh otherwise than 1/|O| at first, they do so on average (inputs of a node: as in PC-DARTS, Xu et
        al. 2020).
        """
        weights: list[tuple[float | Tensor, ...]] = []
        for edge, alpha, ops, values in zip(arch.edges, self.alphas, arch.kept, arch.edge_weights(), strict=True):
            if ops is None:
                mixed = (torch.softmax(alpha, 0) * len(alpha) * edge.open_weight).unbind()
                weights.append(tuple(weight if value else 0.0 for weight, value in zip(mixed, values, strict=True)))
            else:
                weights.append(values)
        return weights

    def _fit(self, arch: PartialArch, epochs: int, first: bool, checkpoint: Path | None) -> None:
        c = self.config
        rate = c.learning_rate if first else RETRAINING_SHARE * c.learning_rate
        sgd = torch.optim.SGD(self.supernet.parameters(), rate, c.momentum, weight_decay=c.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, max(epochs, 1), min(c.min_learning_rate, rate))
        adam = torch.optim.Adam(self.alphas, c.alpha_learning_rate, (0.5, 0.999), weight_decay=1e-3)
        done = _load(checkpoint, self, sgd, schedule, adam) if checkpoint else 0
        for epoch in range(done, epochs):
            seed = derive_seed(self.seed, *self.history, str(arch.kept), epoch)
            held_out = itertools.cycle(
                epoch_of_minibatches(self.held_out, c.training_batch_size, self.device.type, seed + 1)
            )
            losses: list[Tensor] = []
            for batch in epoch_of_minibatches(self.images, c.training_batch_size, self.device.type, seed):
                if first and not c.fixed_alpha:
                    self._step(arch, next(held_out), adam, self.alphas)
                losses.append(self._step(arch, batch, sgd, list(self.supernet.parameters())))
                if len(losses) % LOOK_STEPS == 1:
                    _mean_loss(losses)
            schedule.step()
            open_edges, loss = len(arch.open_edges), _mean_loss(losses)
            log.info("supernet with %d open edges, epoch %d of %d: loss %.3f", open_edges, epoch + 1, epochs, loss)
            if checkpoint:
                _save(checkpoint, epoch + 1, self, sgd, schedule, adam)

    def _step(self, arch: PartialArch, batch: Batch, optimizer: torch.optim.Optimizer, tensors: list[Tensor]) -> Tensor:
        self.supernet.train()
        loss = F.cross_entropy(self.supernet(batch.images, self.edge_weights(arch)), batch.labels)
        for tensor, gradient in zip(tensors, torch.autograd.grad(loss, tensors, materialize_grads=True), strict=True):
            tensor.grad = gradient
        if tensors is not self.alphas:
            torch.nn.utils.clip_grad_norm_(tensors, self.config.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()


def _mean_loss(losses: list[Tensor]) -> float:
    """Mean of the losses so far; on a GPU it waits for them.

    Raises:
        UserError: one is not finite.
    """
    loss = float(torch.stack(losses).cpu().double().mean())
    if not math.isfinite(loss):
        raise UserError(f"supernet training diverged: loss {loss}; try a lower learning_rate")
    return loss


def _save(path: Path, epoch: int, trainer: SupernetTrainer, *optimizers: Any) -> None:
    state = {
        "epoch": epoch,
        "supernet": trainer.supernet.state_dict(),
        "alphas": [alpha.detach() for alpha in trainer.alphas],
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    write_whole(path, saved(state))


def _load(path: Path, trainer: SupernetTrainer, *optimizers: Any) -> int:
    """Restore what `_save` wrote, if anything; the number of epochs that are done."""
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location=trainer.device, weights_only=True)
        trainer.supernet.load_state_dict(state["supernet"])
        with torch.no_grad():
            for alpha, value in zip(trainer.alphas, state["alphas"], strict=True):
                alpha.copy_(value)
        for optimizer, value in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(value)
    except Exception as error:  # a damaged archive can fail in any way
        raise UserError(f"{path} is damaged ({error!r}); delete it to have it trained again") from error
    return int(state["epoch"])
