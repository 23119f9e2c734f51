"""Training a found network by a recipe: `train` yields a row of metrics per epoch and can be stopped and taken up at
any of them.

All randomness of an epoch comes from the training seed and its number; learning rate and drop path follow from the
number alone. So a checkpoint holds weights, momentum and the rows so far, and on a CPU a training that was taken up
ends as one that never stopped.
"""

import contextlib
import dataclasses
import io
import logging
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zcpt_ray.datasets.minibatches import Batch, ImageSet, held_out_places
from zcpt_ray.devices import DEVICES, LOOK_STEPS, card_name
from zcpt_ray.engine.inspection import module_costs
from zcpt_ray.engine.memory import saved
from zcpt_ray.engine.precision import fast_convolutions
from zcpt_ray.errors import UserError
from zcpt_ray.seeding import derive_seed, generator
from zcpt_ray.storage.paths import AnyPath, write_whole
from zcpt_ray.training.averaging import AveragedWeights
from zcpt_ray.training.image_feed import Feed, WorkerPart
from zcpt_ray.training.model_file import MODEL_FILE, TrainedModel, trained_model
from zcpt_ray.training.objective import TOP, Objective, judged, no_totals, over_all_workers
from zcpt_ray.training.optimizer import optimizer
from zcpt_ray.training.plan import TrainPlan, claim, compile_options, ready_to_train, require_shapes, training_device
from zcpt_ray.training.records import EpochMetrics, TrainResult, kept_epoch
from zcpt_ray.versions import versions

log = logging.getLogger(__name__)
ALONE = WorkerPart()


def train(plan: TrainPlan, directory: AnyPath | None = None, worker: WorkerPart = ALONE) -> Iterator[EpochMetrics]:
    """Train as `plan` says, yielding each epoch; first those that the directory has already.

    Each epoch leaves a checkpoint there, and the last one `training.json` and `model.pt`; a training that is finished
    reads no data.
    Where several processes train one network together, `worker` is this one's part, and torch.distributed must be set
    up; all yield the same.

    Raises:
        UserError: at once, what `training_device` refuses, or a directory that is another run's; later, missing data,
            too few images, a damaged checkpoint, or a loss that is not finite.
    """
    training_device(plan.config)
    if directory and worker.rank == 0:
        claim(plan, directory)
    return _train(plan, directory, worker)


def _train(plan: TrainPlan, directory: AnyPath | None, worker: WorkerPart) -> Iterator[EpochMetrics]:
    if directory and worker.world_size == 1 and (directory / "training.json").exists():
        history = list(TrainResult.load(directory).history)
        yield from history
        if not (directory / MODEL_FILE).exists():  # an earlier version trained it
            trainer = Trainer(plan, worker)
            if trainer.load(directory / "checkpoint.pt") == history:
                trainer.model_file(history).save(directory / MODEL_FILE)
        return
    trainer = Trainer(plan, worker)
    history = trainer.load(directory and directory / "checkpoint.pt")
    keeps = directory if worker.rank == 0 else None
    if keeps and _is_over(plan, history):  # it was killed after the last epoch
        trainer.keep_result(keeps, history)
    yield from history
    while not _is_over(plan, history):
        metrics = trainer.run_epoch(len(history))
        history.append(metrics)
        trainer.note_best(history)
        log.info(_line(metrics, plan.recipe.epochs))
        if keeps:
            trainer.save(keeps / "checkpoint.pt", history)
            if _is_over(plan, history):  # before the last epoch is told: whoever hears of it may stop us
                trainer.keep_result(keeps, history)
        yield metrics


def _is_over(plan: TrainPlan, history: list[EpochMetrics]) -> bool:
    """Whether all epochs are done, or so many without a better one that it ends early."""
    if len(history) == plan.recipe.epochs:
        return True
    patience = plan.config.patience
    return bool(patience and history) and len(history) - 1 - kept_epoch(history).epoch >= patience


def _line(metrics: EpochMetrics, epochs: int) -> str:
    held_out = "" if metrics.validation_error is None else f" validation error {metrics.validation_error:.2f}%,"
    return (
        f"epoch {metrics.epoch + 1} of {epochs}: loss {metrics.train_loss:.3f},{held_out} test error"
        f" {metrics.top1_error:.2f}%, {metrics.images_per_second:.0f} images/s"
    )


class Trainer:
    """A network in training, its optimizer, and its data."""

    def __init__(self, plan: TrainPlan, worker: WorkerPart) -> None:
        self.plan, self.recipe, self.worker = plan, plan.recipe, worker
        self.device, self.precision = training_device(plan.config)
        (self.images, validation), test = self._training_images(), self._load("test")
        self.seed = derive_seed(plan.config.seed, "training")
        require_shapes(plan, self.images.num_classes, self.images.image_shape)
        self.net = ready_to_train(self.untrained(), self.device, self.precision)
        self.feed, self.tests = self._feed(self.images), self._feed(test)
        self.validation = self._feed(validation) if validation else None
        self.objective = Objective.of(self.recipe, self.images, plan.config.mixup, self.device)
        self.averaged = AveragedWeights(self.net, plan.config.ema) if plan.config.ema else None
        self.best: dict[str, Tensor] = {}
        self.optimizer = optimizer(self.net, self.recipe)
        if plan.config.compile:
            self.net.compile(options=compile_options(self.device))
        self.model = self.net
        if worker.world_size > 1:  # the graph is the same in each step: parameters that lead nowhere do no harm
            self.model = nn.parallel.DistributedDataParallel(self.net, broadcast_buffers=False, static_graph=True)

    def untrained(self) -> nn.Module:
        """The network as the training starts with it, on the CPU."""
        return self.plan.untrained(self.images.num_classes, derive_seed(self.seed, "weights"))

    def run_epoch(self, epoch: int) -> EpochMetrics:
        """Train for an epoch, then test. Torch's global random state is as before."""
        started = time.perf_counter()
        kind = self.device if DEVICES[self.device].has_random_state else "cuda"
        devices = [torch.get_device_module(kind).current_device()] if kind == self.device else []
        with torch.random.fork_rng(devices, device_type=kind), fast_convolutions():
            torch.manual_seed(derive_seed(self.seed, "epoch", epoch, "rank", self.worker.rank))
            train_loss, train_error = self._train_epoch(epoch)
            seconds = time.perf_counter() - started
            with self.averaged.applied(self.net) if self.averaged else contextlib.nullcontext():
                test_loss, top1_error, top5_error = self._test(self.tests)
                validation_error = self._test(self.validation)[1] if self.validation else None
        self._check_finite(test_loss, epoch)
        return EpochMetrics(
            epoch=epoch,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            train_loss=train_loss,
            train_error=train_error,
            test_loss=test_loss,
            top1_error=top1_error,
            top5_error=top5_error,
            images_per_second=len(self.images) / seconds,
            seconds=time.perf_counter() - started,
            validation_error=validation_error,
        )

    def note_best(self, history: list[EpochMetrics]) -> None:
        """Keep the weights as they are, if the last epoch is the best on a validation split."""
        if self.validation and kept_epoch(history) is history[-1]:
            self.best = {name: value.detach().clone() for name, value in self._tested_weights().items()}

    def save(self, path: AnyPath, history: list[EpochMetrics]) -> None:
        """Write what `load` takes up."""
        state = {
            "history": [dataclasses.asdict(metrics) for metrics in history],
            "network": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "averaged": self.averaged.state() if self.averaged else {},
        }
        write_whole(path, saved(state))

    def keep_result(self, directory: AnyPath, history: list[EpochMetrics]) -> None:
        """Write what a training that is over leaves: the network, then the result, which says that all is there."""
        self.model_file(history).save(directory / MODEL_FILE)
        self.result(history).save(directory)

    def load(self, path: AnyPath | None) -> list[EpochMetrics]:
        """Take up what `save` wrote, if anything: that of the first worker, for all. The epochs that are done.

        Raises:
            UserError: the file is damaged.
        """
        content = [path.read_bytes() if path and self.worker.rank == 0 and path.exists() else None]
        if self.worker.world_size > 1:  # the others may not see the file
            torch.distributed.broadcast_object_list(content)
        if content[0] is None:
            return []
        try:
            state: dict[str, Any] = torch.load(io.BytesIO(content[0]), map_location=self.device, weights_only=True)
            history = [EpochMetrics(**metrics) for metrics in state["history"]]
            self.net.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.best = state.get("best", {})  # checkpoints of earlier versions have none
            if self.averaged:
                self.averaged.load(state["averaged"])
        except Exception as error:  # a damaged archive can fail in any way
            reason = str(error).splitlines()[0] if str(error) else repr(error)
            raise UserError(f"{path} is damaged ({reason}); delete it to have the training start again") from error
        return history

    def result(self, history: list[EpochMetrics]) -> TrainResult:
        """The record of the training that is finished."""
        with torch.device("meta"):
            net = self.plan.build(self.images.num_classes)
        params, flops = (
            sum(costs.values()) for costs in module_costs(net, self.images.image_shape, self.plan.space.counts_biases)
        )
        name = card_name(self.device) if self.device != "cpu" else "cpu"
        device = f"{self.worker.world_size} x {name}" if self.worker.world_size > 1 else name
        return TrainResult(self.plan.config, tuple(history), params, flops, device, versions(), dict(self.plan.own))

    def model_file(self, history: list[EpochMetrics]) -> TrainedModel:
        """The network as it is now, with all that its use needs."""
        weights = {name: value.detach().cpu() for name, value in (self.best or self._tested_weights()).items()}
        found, metrics = self.result(history), dataclasses.asdict(kept_epoch(history))
        return trained_model(self.plan, self.images, weights, metrics, (found.params, found.flops))

    def _feed(self, images: ImageSet) -> Feed:
        return Feed(images, self.recipe, self.device, self.worker, self.plan.config.loader_workers)

    def _tested_weights(self) -> dict[str, Tensor]:
        return self.averaged.values if self.averaged else self.net.state_dict()

    def _training_images(self) -> tuple[ImageSet, ImageSet | None]:
        """Those to learn from and, of each class its share, those that are held out, if any are."""
        images, share = self._load("train"), self.plan.config.validation_share
        if not share:
            return images, None
        held_out = held_out_places(images.labels, share, generator(self.plan.config.dataset, "validation split"))
        if not 0 < held_out.sum() <= len(images) - 2:
            raise UserError(f"validation_share {share:g} of {len(images)} training images leaves nothing on one side")
        return images.part(np.flatnonzero(~held_out)), images.part(np.flatnonzero(held_out))

    def _load(self, split: str) -> ImageSet:
        images = self.plan.dataset.load(split)
        images = images.thinned(self.plan.config.max_images or len(images))
        if split == "train" and not self.worker.training_parts(len(images), self.recipe.batch_size):
            sizes = f"a batch of {self.recipe.batch_size}, {len(images)} images and {self.worker.world_size} workers"
            raise UserError(f"each worker needs at least 2 images of a minibatch, got {sizes}")
        return images

    def _train_epoch(self, epoch: int) -> tuple[float, float]:
        """Mean loss of the main head, and top-1 error [%]."""
        self.model.train()
        self.plan.space.set_drop_path(self.net, self.recipe.drop_path * epoch / self.recipe.epochs)
        steps = len(self.worker.training_parts(len(self.images), self.recipe.batch_size))
        totals = no_totals(3, self.device)  # loss, right answers, images
        for step, batch in enumerate(self.feed.training_epoch(derive_seed(self.seed, "epoch", epoch, "images"))):
            done = epoch + step / steps if self.recipe.per_step else epoch
            for group in self.optimizer.param_groups:
                group["lr"] = self.recipe.learning_rate * self.recipe.schedule(done, self.recipe.epochs)
            totals += self.step(batch)
            if step % LOOK_STEPS == 0:
                self._check_finite(float(totals[0]), epoch)
        loss, right, images = over_all_workers(totals, self.worker.world_size)
        self._check_finite(loss, epoch)
        return loss / images, 100 * (1 - right / images)

    def step(self, batch: Batch) -> Tensor:
        """Learn from a minibatch: the sum of the losses of the main head, right answers, images."""
        with self._autocast():
            whole, loss, right = self.objective(self.model, batch)
        whole.backward()  # type: ignore[no-untyped-call]
        if self.recipe.gradient_clip < float("inf"):
            nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.averaged:
            self.averaged.update(self.net)
        count = len(batch.labels)
        return torch.stack([loss.detach().float() * count, right, loss.new_tensor(count)])

    @torch.no_grad()
    def _test(self, feed: Feed) -> tuple[float, float, float | None]:
        """Mean loss, top-1 and top-5 error [%]; of five classes or fewer, any is among the first five.

        The network is left as it is, but for batch statistics, which workers average.
        """
        self.net.eval()
        if self.worker.world_size > 1:
            for buffer in self.net.buffers():
                torch.distributed.all_reduce(buffer)
                buffer.div_(self.worker.world_size, rounding_mode=None if buffer.is_floating_point() else "floor")
        totals = no_totals(4, self.device)
        for batch in feed.test_epoch():
            with self._autocast():
                outputs = self.net(batch.images)
            logits = (outputs[0] if isinstance(outputs, tuple) else outputs).float()
            totals += judged(logits, batch.labels)
        loss_sum, right, among_five, images = over_all_workers(totals, self.worker.world_size)
        top5_error = 100 * (1 - among_five / images) if logits.shape[1] > TOP else None
        return loss_sum / images, 100 * (1 - right / images), top5_error

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        return (
            torch.autocast(self.device, self.precision) if self.precision != torch.float32 else contextlib.nullcontext()
        )

    def _check_finite(self, loss: float, epoch: int) -> None:
        if not abs(loss) < float("inf"):
            raise UserError(f"training diverged in epoch {epoch + 1}: loss {loss}; try a lower learning rate")
