"""From data to a trained model: search, train, compare with other networks on the same data, export."""

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from zcpt_ray.configs import SearchConfig
from zcpt_ray.datasets.minibatches import ImageSet
from zcpt_ray.engine.timing import Latency, cpu_threads, time_in_turn
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.fit_choices import (
    SMALL_UP_TO,
    TRAINING_SHARE,
    FitChoices,
    choose,
    doubts_said,
    fitting_epochs,
    fitting_networks,
    limits_said,
)
from zcpt_ray.experiments.latency_limits import conditions_of, measured_here
from zcpt_ray.experiments.single_search import RunSearch, run_or_read
from zcpt_ray.experiments.training_grid import Training, write_grid
from zcpt_ray.experiments.training_trial import training_directory
from zcpt_ray.fit_config import FitConfig
from zcpt_ray.reports.figures import error_and_latency
from zcpt_ray.reports.html_report import write_report
from zcpt_ray.reports.output import Output
from zcpt_ray.resources import RESOURCES
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.resources import USAGES
from zcpt_ray.spaces.known_networks import KNOWN_NETWORKS, WHOLE
from zcpt_ray.storage.paths import AnyPath, any_path
from zcpt_ray.storage.run_directory import claim_directory, read_json, strict_json, write_json
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.export import export_model
from zcpt_ray.training.model_file import MODEL_FILE, TrainedModel, load_model
from zcpt_ray.training.plan import TrainPlan
from zcpt_ray.training.records import TrainResult, kept_epoch
from zcpt_ray.training.trainer import train

log = logging.getLogger(__name__)
FOUND, LARGEST, RANDOM = "found", "max-params", "random"
VALIDATION, KEEPS = "validation error [%]", "keeps the limits"
"""Columns of the comparison."""
LARGEST_OF, RANDOM_ONES = 20, 3
"""How many draws the network with most parameters is taken from; how many random ones are trained."""
PASSES = 40
"""How often networks are timed in turn."""
Say = Callable[[str], None]


class Fitted(NamedTuple):
    """The most accurate model within the limits, by validation images; the table that it is from, best said in
    `verdict`; and where all is.
    """

    model: TrainedModel
    comparison: pd.DataFrame
    verdict: str
    directory: AnyPath


def fit(config: FitConfig, directory: AnyPath, run: RunSearch, say: Say = log.info) -> Fitted:
    """Search, train and compare; what `directory` has already is not done again.

    `run` runs a search in its folder. `say` is told each choice.

    Raises:
        UserError: missing data, a budget that nothing fits, or a directory of something else.
    """
    started = time.monotonic()
    claim_directory(
        directory, strict_json(dataclasses.asdict(config)), ("minutes",), lambda: not (directory / "search").exists()
    )
    networks = 1 if config.alone else 2 + RANDOM_ONES + len(KNOWN_NETWORKS) // 2
    choices = _kept_choices(directory) or choose(config, networks)
    for line in choices.said:
        say(line)
    search = measured_here(choices.search, say)
    if limits := limits_said(search):
        say(f"limits: {limits}")
    _keep_choices(directory, choices := replace(choices, search=search))
    result = run_or_read(Search.of(search), directory / "search", run).result
    archs = {FOUND: result.best.arch} | ({} if config.alone else _rivals(search, directory, run))
    plans = {name: TrainPlan.of(replace(choices.training, arch=arch)) for name, arch in archs.items()}
    images, tests = (plans[FOUND].dataset.load(split) for split in ("train", "test"))
    if not config.alone:
        plans |= _known(choices.training, images.image_shape[-1])
    training = choices.training
    if training.epochs is None:
        left = max(60 * config.minutes - (time.monotonic() - started), 60 * config.minutes * (1 - TRAINING_SHARE))
        speeds = fitting_networks(plans, images, math.inf if config.max_images else left * 0.95)
        if left_out := ", ".join(name for name in plans if name not in speeds):
            say(f"not trained, as there is no time: {left_out}: --minutes")
        fitting = [plans[name] for name in speeds]
        training, said = fitting_epochs(config, fitting, images, left * 0.95, list(speeds.values()))
        for line in said:
            say(line)
        choices = replace(choices, training=training, networks=tuple(speeds))
        _keep_choices(directory, choices)
    plans = {name: plans[name] for name in choices.networks or plans}
    for line in doubts_said(len(tests), training, len(images), len(plans)):
        say(line)
    grid = [
        Training(name, TrainPlan.of(replace(training, arch=plan.config.arch, space=plan.config.space)))
        for name, plan in plans.items()
    ]
    write_grid(grid, directory / "training")
    for number, each in enumerate(grid, start=1):
        say(f"train {each.arch_name} ({number} of {len(grid)})")
        for _ in train(each.plan, training_directory(directory / "training", each.plan)):
            pass
    return _compared(search, grid, images, len(tests), directory)


def _keep_choices(directory: AnyPath, choices: FitChoices) -> None:
    write_json(directory / "choices.json", dataclasses.asdict(choices))


def _kept_choices(directory: AnyPath) -> FitChoices | None:
    """Those of an earlier start: the time that is left says something else by now."""
    if not (directory / "choices.json").exists():
        return None
    kept = read_json(directory / "choices.json")
    search, training = SearchConfig.from_dict(kept["search"]), TrainConfig.from_dict(kept["training"])
    return FitChoices(search, training, tuple(kept["said"]), tuple(kept.get("networks", ())))


def _rivals(search: SearchConfig, directory: AnyPath, run: RunSearch) -> dict[str, str]:
    """Networks of the same space that keep the same limits, not searched for: of most parameters, and random ones."""
    found = {}
    for method, count in (("max-param", LARGEST_OF), ("random", RANDOM_ONES)):
        config = replace(search, method=method, num_proposals=count, num_validations=0)
        candidates = run_or_read(
            Search.of(config), directory / "others" / method, run, measured=False
        ).result.candidates
        if method == "max-param":
            found[LARGEST] = max(candidates, key=lambda candidate: candidate.params).arch
        else:
            found |= {f"{RANDOM} {index}": candidate.arch for index, candidate in enumerate(candidates)}
    return found


def _known(training: TrainConfig, image_size: int) -> dict[str, TrainPlan]:
    """Well-known networks in the form for images of this size, whatever the limits."""
    small = image_size <= SMALL_UP_TO
    names = [name for name in KNOWN_NETWORKS if name.endswith("-cifar") == small]
    return {name: TrainPlan.of(replace(training, space=name, arch=WHOLE)) for name in names}


def _compared(
    search: SearchConfig, grid: list[Training], images: ImageSet, num_tests: int, directory: AnyPath
) -> Fitted:
    """The table of all networks, and the model of the one that is delivered."""
    folders = {each.arch_name: training_directory(directory / "training", each.plan) for each in grid}
    models = {name: load_model(folder) for name, folder in folders.items()}
    latencies = dict(zip(models, _latencies(list(models.values())), strict=True))
    num_tests = min(num_tests, grid[0].config.max_images or num_tests)
    of_this_machine = bool(search.device_table and conditions_of(any_path(search.device_table)))
    rows = []
    for each in grid:
        result, latency = TrainResult.load(folders[each.arch_name]), latencies[each.arch_name]
        wrong = result.error / 100
        row: dict[str, object] = {
            "network": each.arch_name,
            "test error [%]": result.error,
            "standard error": 100 * math.sqrt(wrong * (1 - wrong) / num_tests),
            VALIDATION: kept_epoch(result.history).validation_error,
            RESOURCES["params_m"].column: result.params / 1e6,
            RESOURCES["flops_m"].column: result.flops / 1e6,
            RESOURCES["latency_ms"].column: latency.median_ms,
            "epochs": len(result.history),
        }
        if search.limits:
            amounts = _amounts(search, each.plan, images)
            if of_this_machine:
                amounts["latency_ms"] = latency.median_ms
            row[KEEPS] = _keeps(amounts, search.limits)
            row |= {RESOURCES[name].column: amounts[name] for name in amounts if RESOURCES[name].column not in row}
        rows.append(row)
    table = pd.DataFrame(rows).sort_values("test error [%]", ignore_index=True)
    name = delivered(table)
    metrics = {**models[name].info.metrics, "latency_ms": latencies[name].median_ms}
    model = TrainedModel(replace(models[name].info, metrics=metrics), models[name].network)
    model.save(directory / MODEL_FILE)
    return Fitted(model, table, "; ".join(filter(None, (verdict(table), _said_of(name, table)))), directory)


def delivered(table: pd.DataFrame) -> str:
    """The network of the table of a fit that becomes `model.pt`.

    Of those that keep the limits it is the most accurate one on the validation images; without these, the one found.
    Of equals it is the one found, or else the first by name: the table is sorted by test errors, which decide nothing.
    """
    fitting = table[table[KEEPS] == "yes"] if KEEPS in table else table
    judged = fitting.dropna(subset=[VALIDATION])
    if judged.empty:
        return FOUND
    best = set(judged["network"][judged[VALIDATION] == judged[VALIDATION].min()])
    return FOUND if FOUND in best else min(best)


def _said_of(name: str, table: pd.DataFrame) -> str:
    """That another network than the one that was found is the model, in words."""
    errors = table.set_index("network")[VALIDATION]
    if name == FOUND:
        return ""
    return f"the model is {name}, with {errors[name]:.2f} % validation error; found has {errors[FOUND]:.2f} %"


def _latencies(models: list[TrainedModel]) -> list[Latency]:
    """Of one image on one thread of this machine's CPU, in turn."""
    with cpu_threads(1):
        return [Latency.of(taken) for taken in time_in_turn([model.one_pass() for model in models], PASSES).T.tolist()]


def _amounts(search: SearchConfig, plan: TrainPlan, images: ImageSet) -> dict[str, float]:
    """What a network takes up of what the search limits; NaN where that is a device's that did not measure it."""
    there = Search.of(replace(search, space=plan.config.space, method="discretize", max=()))
    found = {}
    for name in search.limits:
        if RESOURCES[name].of_device and plan.config.space != search.space:
            found[name] = math.nan
        else:
            found[name] = USAGES[name](there, images).of(there.space.decode(plan.config.arch))
    return found


def _keeps(amounts: Mapping[str, float], limits: Mapping[str, float]) -> str:
    if any(amounts[name] > limit for name, limit in limits.items()):
        return "no"
    return "not known" if any(math.isnan(amount) for amount in amounts.values()) else "yes"


def verdict(table: pd.DataFrame) -> str:
    """Whether the search was worth it, from the table of a fit, in one line; nothing without that to compare with."""
    by_name = table.set_index("network")
    if LARGEST not in by_name.index:
        return ""
    found, largest = (by_name.loc[name] for name in (FOUND, LARGEST))
    drawn = by_name[[str(name).startswith(RANDOM) for name in by_name.index]]["test error [%]"]
    gain, noise = largest["test error [%]"] - found["test error [%]"], largest["standard error"]
    beside = f"found {found['test error [%]']:.2f} %, max-params {largest['test error [%]']:.2f} %"
    beside += f", random {drawn.mean():.2f} % on average" if len(drawn) else ""
    beside += f" (standard error of one {noise:.2f})"
    if gain < noise:
        return f"parameters alone pick {'better' if gain < -noise else 'as well'} here: {beside}"
    return f"the search found more than parameters alone: {beside}"


def report_fit(fitted: Fitted, output: Output, say: Say) -> None:
    """Export the model, write and print the comparison, and write the report."""
    directory, info = fitted.directory, fitted.model.info
    for line in _exported(fitted):
        say(line)
    output.table(fitted.comparison, "comparison", f"On {info.config.dataset}, trained alike")
    if len(fitted.comparison) > 1:
        output.figure(error_and_latency(fitted.comparison), "comparison")
    if fitted.verdict:
        say(fitted.verdict[0].upper() + fitted.verdict[1:])
    page, _ = write_report([directory], directory)
    say(f"Report: {page}")
    say(
        f"Model: {directory / MODEL_FILE}, {info.params / 1e6:.3f} M parameters, {info.metrics['latency_ms']:.2f} ms,"
        f" test error {info.metrics['top1_error']:.2f} %"
    )


def _exported(fitted: Fitted) -> list[str]:
    """Write the model as ONNX and as a plain PyTorch file; what was written, or why not, in lines."""
    if not isinstance(fitted.directory, Path):
        return [f"not exported, as {fitted.directory} is no local folder: zcpt export {fitted.directory} --out FOLDER"]
    lines = []
    for form in ("onnx", "py"):
        try:
            lines += [f"{form}: {path}" for path in export_model(fitted.model, form, fitted.directory)]
        except UserError as error:
            lines.append(f"{form}: not written: {error}")
    return lines
