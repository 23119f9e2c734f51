"""One training as the work of a trial, and where it lies."""

import dataclasses
from collections.abc import Callable, Iterator

from zcpt_ray.experiments.grids import Metrics
from zcpt_ray.storage.paths import AnyPath
from zcpt_ray.training.plan import TrainPlan
from zcpt_ray.training.records import EpochMetrics
from zcpt_ray.training.trainer import train

Train = Callable[[TrainPlan, AnyPath], Iterator[EpochMetrics]]
"""`training.trainer.train`, or the same on several workers."""


def train_and_report(plan: TrainPlan, out: AnyPath, emit: Callable[[Metrics], object], train: Train = train) -> None:
    """A training as the work of a trial: `emit` gets each epoch, those of an earlier start included."""
    seconds = 0.0
    for metrics in train(plan, training_directory(out, plan)):
        done, seconds = metrics.epoch + 1, seconds + metrics.seconds
        so_far = {"epoch": done, "fraction": done / plan.recipe.epochs, "total_seconds": seconds}
        emit(dataclasses.asdict(metrics) | so_far)


def training_directory(out: AnyPath, plan: TrainPlan) -> AnyPath:
    """Where a training keeps its checkpoint and result."""
    return out / "trials" / plan.run_id
