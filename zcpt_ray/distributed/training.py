"""Training one network on several GPUs or machines: Ray Train starts the workers, each runs `training.train` on its
part.

A worker that dies takes the others with it; all are started again, and go on after the last checkpoint.
"""

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
from pyarrow import fs
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from zcpt_ray.distributed.autoscaling import nodes_to_come
from zcpt_ray.distributed.cluster import (
    TaskResources,
    places,
    plain_errors,
    refuse_node_local,
    require_seen,
    set_up_process,
    task_options,
    this_node,
)
from zcpt_ray.distributed.own_code import send_by_value
from zcpt_ray.distributed.watchdog import Looks, watched
from zcpt_ray.errors import UserError
from zcpt_ray.storage.paths import AnyPath, any_path
from zcpt_ray.training.image_feed import WorkerPart
from zcpt_ray.training.plan import TrainPlan, claim
from zcpt_ray.training.records import EpochMetrics, TrainResult
from zcpt_ray.training.trainer import train

EPOCH_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Workers:
    """How many workers train a network together, and what each asks Ray for; `gpus` only where the cluster has any."""

    count: int
    cpus: int = 1
    gpus: int = 1
    max_failures: int = 3
    """How often workers are started again after one died."""

    def __post_init__(self) -> None:
        if self.count < 1 or self.cpus < 1 or self.gpus < 1:
            raise UserError(
                f"training takes at least 1 worker with 1 CPU, got {self.count} with {self.cpus} and {self.gpus} GPUs"
            )


def train_in_parallel(plan: TrainPlan, directory: AnyPath, workers: Workers) -> Iterator[EpochMetrics]:
    """As `training.train`, with each minibatch divided among `workers`. A process that is connected to Ray calls this.

    Each worker's batch norms see its own part, as usual. What they know of all data is averaged after each epoch. If
    the caller stops iterating, the workers stop at the end of their epoch.

    Raises:
        UserError: at once, what `train` refuses, a batch size that cannot be divided, more than the cluster has, or a
            directory that not every node sees; later, what `train` raises in a worker, or processes that died too
            often.
    """
    if plan.recipe.batch_size % workers.count:
        raise UserError(f"a batch of {plan.recipe.batch_size} cannot be divided among {workers.count} workers")
    directory = directory.absolute()
    if (directory / "training.json").exists():
        claim(plan, directory)
        return iter(TrainResult.load(directory).history)
    scaling = _scaling(plan.config.device, workers)
    claim(plan, directory)
    refuse_node_local(directory)
    return _train(plan, directory, workers, scaling)


def _scaling(device: str, workers: Workers) -> ray.train.ScalingConfig:
    """What Ray Train starts on the cluster as it is now or may grow to be; asked for more, it would wait for ever."""
    options = task_options(device, TaskResources(workers.cpus, workers.gpus))
    room = places(options)
    if workers.count > room and not nodes_to_come():
        each = f"{options['num_cpus']:g} CPUs and {options['num_gpus']:g} GPUs"
        raise UserError(
            f"{workers.count} workers ask for {each} each, and the nodes of the cluster have room for {room} of them"
        )
    use_gpu = options["num_gpus"] > 0
    each_worker = {"CPU": options["num_cpus"], **({"GPU": options["num_gpus"]} if use_gpu else {})}
    return ray.train.ScalingConfig(num_workers=workers.count, use_gpu=use_gpu, resources_per_worker=each_worker)


def _train(
    plan: TrainPlan, directory: AnyPath, workers: Workers, scaling: ray.train.ScalingConfig
) -> Iterator[EpochMetrics]:
    send_by_value(plan)
    options = {"num_cpus": workers.cpus, "num_gpus": workers.gpus if scaling.use_gpu else 0}
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # paths stay what they are here
    actor: Any = _Progress  # the decorator's type has no remote()
    here = NodeAffinitySchedulingStrategy(this_node(), soft=False)
    progress, looks = actor.options(scheduling_strategy=here).remote(), Looks()
    filesystem, path = (None, str(directory)) if isinstance(directory, Path) else fs.FileSystem.from_uri(str(directory))
    trainer = TorchTrainer(
        _work,
        train_loop_config={
            "plan": plan,
            "directory": str(directory),
            "options": options,
            "progress": progress,
            "watchdog": looks.watchdog,
        },
        scaling_config=scaling,
        run_config=ray.train.RunConfig(
            name="ray",
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=ray.train.FailureConfig(max_failures=workers.max_failures),
        ),
    )
    with ThreadPoolExecutor(1) as pool, plain_errors(f"; what is finished is kept in {directory}"):
        fitting = pool.submit(trainer.fit)
        try:
            yield from _follow(progress, fitting, looks)
        finally:
            with suppress(ray.exceptions.RayError):
                ray.get(progress.stop.remote())
    failure = fitting.exception()
    if reason := ray.get(progress.failure.remote()):
        raise UserError(reason) from failure
    if failure:
        raise UserError(f"training in parallel failed: {str(failure).strip().splitlines()[-1]}") from failure


def _follow(progress: Any, fitting: "Future[Any]", looks: Looks) -> Iterator[EpochMetrics]:
    """The epochs as they come, until nothing more can come."""
    seen = 0
    while True:
        over = fitting.done()
        rows = ray.get(progress.rows_from.remote(seen))
        yield from rows
        looks.look("and all start again from the last epoch")
        seen += len(rows)
        if over:
            return
        time.sleep(EPOCH_POLL_SECONDS)


@ray.remote(num_cpus=0)
class _Progress:
    """What the workers have to tell, and whether they are to stop."""

    def __init__(self) -> None:
        self.rows: dict[int, EpochMetrics] = {}
        self.reason = ""
        self.stopped = False

    def add(self, metrics: EpochMetrics) -> bool:
        """Take an epoch, again after workers were started again; whether they are to stop."""
        self.rows.setdefault(metrics.epoch, metrics)
        return self.stopped

    def rows_from(self, epoch: int) -> list[EpochMetrics]:
        return [self.rows[known] for known in range(epoch, len(self.rows))]

    def fail(self, reason: str) -> None:
        """Note why it is no use to go on, or to start again."""
        self.reason = self.reason or reason

    def failure(self) -> str:
        return self.reason

    def stop(self) -> None:
        self.stopped = True


def _work(loop: dict[str, Any]) -> None:
    """One worker."""
    set_up_process(loop["options"])
    context, progress = ray.train.get_context(), loop["progress"]
    if ray.get(progress.failure.remote()):
        return
    worker = WorkerPart(context.get_world_rank(), context.get_world_size())
    try:
        require_seen(any_path(loop["directory"]), "config.json")
        with watched(loop["watchdog"], "worker", worker.rank) as alive:
            for metrics in train(loop["plan"], any_path(loop["directory"]), worker):
                alive()
                if broadcast_from_rank_zero(worker.rank == 0 and ray.get(progress.add.remote(metrics))):
                    return
    except UserError as error:
        ray.get(progress.fail.remote(str(error)))
        raise
