"""Grids of searches and of trainings as Ray Tune experiments.

Tune places the trials, retries them and logs what they report. What a trial has done it keeps itself, in a directory
named by its configuration: whoever is killed, the same grid started again repeats nothing, whatever Tune remembers of
it.
"""

import importlib.util
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from zcpt_ray.distributed.cluster import TaskResources, refuse_node_local, require_seen, set_up_process, task_options
from zcpt_ray.distributed.own_code import send_by_value
from zcpt_ray.distributed.watchdog import Looks, watched
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.grids import GridOutcome, GridProgress, Metrics, Trial, Work
from zcpt_ray.registry import lookup
from zcpt_ray.storage.paths import AnyPath, require_storage

MAX_FAILURES = 3
MARK = ".zcpt_ray"
"""A file in the grid's folder: a node where it is missing, be it one that came later, has a folder of its own there."""
REPORT_SECONDS = 1.0


@dataclass(frozen=True)
class GridOptions:
    """How a grid is run.

    `early_stopping` is ASHA on `judged_by`, over so many epochs, 0 is none; `trackers` are names of `TRACKERS`.
    """

    resources: TaskResources = field(default_factory=TaskResources)
    device: str = "auto"
    early_stopping: int = 0
    judged_by: str = "top1_error"
    trackers: tuple[str, ...] = ()
    experiment: str = "zcpt_ray"


def mlflow_tracker(experiment: str) -> tune.Callback:
    """Ray's callback for MLflow, which reads `MLFLOW_TRACKING_URI`."""
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    return MLflowLoggerCallback(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI"), experiment_name=experiment)


def wandb_tracker(experiment: str) -> tune.Callback:
    """Ray's callback for Weights & Biases, which reads `WANDB_API_KEY`."""
    from ray.air.integrations.wandb import WandbLoggerCallback

    return WandbLoggerCallback(project=experiment)


TRACKERS: dict[str, Callable[[str], tune.Callback]] = {"mlflow": mlflow_tracker, "wandb": wandb_tracker}
"""By the name of the package that each needs."""


def run_grid(
    trials: Sequence[Trial],
    work: Work,
    out: AnyPath,
    options: GridOptions,
    report: Callable[[GridProgress], None] = lambda _: None,
) -> GridOutcome:
    """Run every trial on the Ray cluster that this process is connected to; logs for TensorBoard lie in `out/tune`.

    A trial whose process dies starts again, at most 3 times, and takes up what it has kept. One that ends in an error
    of the user's is not repeated and stops no other.

    Raises:
        UserError: `out` cannot be written or not be seen from every node, a tracker is unknown or not installed, or the
            cluster cannot run a trial.
    """
    require_trackers(options.trackers)
    asked = task_options(options.device, options.resources)
    require_storage(out)
    refuse_node_local(out)
    looks = Looks()
    watch, watchdog = _Watch(len(trials), report, looks), looks.watchdog
    callbacks = [watch, *(TRACKERS[name](options.experiment) for name in options.trackers)]
    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "RAY_CHDIR_TO_TRIAL_DIR": "0"}
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"  # what a trial reports as it fails has no error rate
    (out / MARK).write_text("")
    send_by_value([trial.payload for trial in trials])
    payloads = ray.put({trial.name: trial.payload for trial in trials})

    def trainable(config: dict[str, Any]) -> None:
        set_up_process(asked)
        name = config["trial"]["name"]
        with watched(watchdog, "trial", name) as alive:

            def emit(row: Metrics) -> None:
                alive()
                tune.report(row)

            try:
                require_seen(out.absolute(), MARK)
                work(ray.get(payloads)[name], out.absolute(), emit)
            except UserError as error:
                tune.report({"failure": str(error), "fraction": 1.0})

    bundle = {"CPU": asked["num_cpus"], "GPU": asked["num_gpus"]}
    found = tune.Tuner(
        tune.with_resources(trainable, tune.PlacementGroupFactory([bundle])),
        param_space={"trial": tune.grid_search([{"name": trial.name, **trial.columns} for trial in trials])},
        tune_config=tune.TuneConfig(
            scheduler=_early_stopping(options.early_stopping, options.judged_by),
            reuse_actors=True,  # a process starts in seconds, and a trial may end in as many
            trial_dirname_creator=lambda trial: trial.config["trial"]["name"],
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(out.absolute()),
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            callbacks=callbacks,
            verbose=0,
        ),
    ).fit()
    return _outcome(found)


def _outcome(found: Any) -> GridOutcome:
    """Rows are told apart by what their configuration says: their order changes."""
    metrics: dict[str, Metrics] = {}
    failures: dict[str, str] = {}
    stopped = []
    for result in found:
        if result.config is None:  # Tune ends quietly when it is interrupted, with trials that never ran
            raise KeyboardInterrupt
        name = result.config["trial"]["name"]
        reported = metrics[name] = result.metrics or {}
        if result.error:
            failures[name] = str(result.error).strip().splitlines()[-1]
        elif "failure" in reported:
            failures[name] = reported["failure"]
        elif "fraction" not in reported:
            failures[name] = "it ended without a report"
        elif reported["fraction"] < 1:
            stopped.append(name)
    return GridOutcome(metrics, failures, tuple(stopped))


def _early_stopping(epochs: int, judged_by: str) -> ASHAScheduler | None:
    if not epochs:
        return None
    return ASHAScheduler(
        time_attr="epoch", metric=judged_by, mode="min", max_t=epochs, grace_period=max(1, epochs // 10)
    )


def require_trackers(names: Sequence[str]) -> None:
    """Find out now whether they are there.

    Raises:
        UserError: one is unknown or not installed.
    """
    for name in names:
        lookup(TRACKERS, name, "tracker")
        if importlib.util.find_spec(name) is None:
            raise UserError(f"tracker {name!r} is not installed: .venv/bin/pip install -e '.[{name}]'")


class _Watch(tune.Callback):
    """Counts trials as Tune goes on. Tune calls it in the driver's process."""

    def __init__(self, total: int, report: Callable[[GridProgress], None], looks: Looks) -> None:
        self.total = total
        self.report = report
        self.looks = looks
        self.fractions: dict[str, float] = {}
        self.ended: dict[str, bool] = {}
        self.running: set[str] = set()
        self.last = 0.0

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks, for a way to restore that is not ours; what draws on a terminal cannot be pickled.
        return {}

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.running.add(trial.trial_id)

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Metrics, **info: Any) -> None:
        self.fractions[trial.trial_id] = result["fraction"]
        if "failure" in result:
            self.ended[trial.trial_id] = False

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.ended.setdefault(trial.trial_id, True)
        self.fractions[trial.trial_id] = 1.0
        self.running.discard(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.ended[trial.trial_id] = False
        self.fractions[trial.trial_id] = 1.0
        self.running.discard(trial.trial_id)

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        if time.monotonic() - self.last > REPORT_SECONDS:
            self.last = time.monotonic()
            self._tell()
            self.looks.look()

    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        self._tell()

    def _tell(self) -> None:
        good = sum(self.ended.values())
        fraction = sum(self.fractions.values()) / self.total
        self.report(GridProgress(self.total, good, len(self.running), len(self.ended) - good, fraction))
