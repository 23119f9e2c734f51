"""Finalists: the best candidates of a search, trained for a few epochs; the most accurate of them is its result."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd

from zcpt_ray.benchmarks.tables import require_benchmark
from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.grids import GridOutcome, Trial, run_grid_locally
from zcpt_ray.experiments.training_trial import train_and_report, training_directory
from zcpt_ray.search.records import ScoredCandidate, SearchResult
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.run_files import FINALISTS
from zcpt_ray.spaces.costs import Costs
from zcpt_ray.storage.paths import AnyPath
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.plan import TrainPlan
from zcpt_ray.training.records import TrainResult, kept_epoch

HELD_OUT = 0.5
"""Share of the training images that finalists are judged on."""
BENCHMARK_EPOCHS = 12
"""Those after which a tabular benchmark has accuracies on its validation images."""
TrainFinalists = Callable[[Sequence[Trial], AnyPath], GridOutcome]
"""Trains them in a folder: one after another in this process, or as trials on a cluster."""


def train_here(trials: Sequence[Trial], out: AnyPath) -> GridOutcome:
    """One after another in this process."""
    return run_grid_locally(trials, train_and_report, out)


def require_finalists(search: Search) -> None:
    """Refuse what cannot be trained, or looked up, before any work.

    Raises:
        UserError: no table that has accuracies after a few epochs, or a recipe that does not serve the space.
    """
    if not search.config.finalists:
        return
    if search.config.finalist_source == "benchmark":
        _benchmark_accuracies(search.config)
    elif not search.space.recipe:
        raise UserError(f"space {search.space.name!r} names no recipe to train finalists with")


def judged(
    result: SearchResult, search: Search, directory: AnyPath, train: TrainFinalists = train_here
) -> SearchResult:
    """`result` with the accuracies of its finalists, the most accurate first; itself where the search has none.

    One whose training was stopped early has no accuracy, and comes after the others.

    Each is trained on one half of the training images and judged on the other, the same for all, with the recipe of its
    space; or a tabular benchmark is asked for the accuracy after 12 epochs. What the trainings took is part of
    `seconds`. Of equals the better score wins.

    Raises:
        UserError: trainings failed, each for the reason that is given; what is trained is kept.
    """
    count = search.config.finalists
    if not count:
        return result
    chosen = result.candidates[:count]
    if search.config.finalist_source == "benchmark":
        table, seconds = _benchmark_accuracies(search.config), 0.0
        found: list[float | None] = [float(table[candidate.arch]) for candidate in chosen]
    else:
        found, seconds = _trained(chosen, search, directory, train)
    finalists = [
        replace(candidate, finalist_accuracy=accuracy) for candidate, accuracy in zip(chosen, found, strict=True)
    ]
    finalists.sort(key=lambda candidate: -(candidate.finalist_accuracy or 0.0))
    best = finalists[0]
    return replace(
        result,
        best=best,
        candidates=(*finalists, *result.candidates[count:]),
        seconds={**result.seconds, "finalists": seconds},
        costs=_costs(search, best) if best != result.best else result.costs,
    )


def _benchmark_accuracies(config: SearchConfig) -> pd.Series:
    """Accuracy [%] on validation images after 12 epochs, of every architecture."""
    if config.finalist_epochs != BENCHMARK_EPOCHS:
        raise UserError(
            f"the benchmark has accuracies after {BENCHMARK_EPOCHS} epochs, not after {config.finalist_epochs}: leave"
            " out --finalist-epochs, or --finalist-source"
        )
    benchmark = require_benchmark(config.space, "--finalist-source benchmark")
    return benchmark.accuracies(config.dataset, "validation accuracy after 12 epochs")


def _trained(
    chosen: Sequence[ScoredCandidate], search: Search, directory: AnyPath, train: TrainFinalists
) -> tuple[list[float | None], float]:
    """Validation accuracies [%], None of those that were stopped early, and the seconds that the trainings took."""
    out, plans = directory / FINALISTS, [TrainPlan.of(_training(search, candidate.arch)) for candidate in chosen]
    trials = [
        Trial(plan.run_id, plan, {"arch": plan.config.arch, "place": place})
        for place, plan in enumerate(plans, start=1)
    ]
    missing = [trial for trial in trials if not _is_trained(out, trial.payload)]
    outcome = train(missing, out) if missing else GridOutcome({}, {})
    if outcome.failures:
        raise UserError("; ".join(dict.fromkeys(outcome.failures.values())))
    accuracies: list[float | None] = []
    seconds = 0.0
    for trial in trials:
        if trial.name in outcome.stopped:
            accuracies.append(None)
            seconds += outcome.metrics[trial.name]["total_seconds"]
            continue
        result = TrainResult.load(training_directory(out, trial.payload))
        error = kept_epoch(result.history).validation_error
        accuracies.append(None if error is None else 100 - error)
        seconds += result.seconds
    return accuracies, seconds


def _is_trained(out: AnyPath, plan: TrainPlan) -> bool:
    return (training_directory(out, plan) / "training.json").exists()


def _training(search: Search, arch: str) -> TrainConfig:
    config = search.config
    return TrainConfig(
        arch,
        space=config.space,
        dataset=config.dataset,
        recipe=search.space.recipe_on(config.dataset),
        seed=config.seed,
        epochs=config.finalist_epochs,
        max_images=config.finalist_images,
        validation_share=HELD_OUT,
        device=config.device,
        images=config.images,
    )


def _costs(search: Search, best: ScoredCandidate) -> dict[str, dict[str, int]]:
    images = search.dataset.load("train")
    networks = Costs(search.space, images.num_classes, images.image_shape).networks(search.space.decode(best.arch))
    return {name: dataclasses.asdict(cost) for name, cost in networks.items()}
