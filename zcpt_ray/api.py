"""The Python API: what `import zcpt_ray as zc` offers. A function called as a command of `zcpt` does the same."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar, Unpack

import numpy as np
import pandas as pd
from rich.console import Console
from torch import nn

from zcpt_ray.benchmarks.tables import as_written
from zcpt_ray.cli.console import open_console
from zcpt_ray.cli.flags import Cluster
from zcpt_ray.cli.grid_flags import GridFlags
from zcpt_ray.cli.running import run_search_there, run_trials, search_runner, spread
from zcpt_ray.configs import SearchConfig
from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.ablation import finished_cells, grid, search_and_report, shared_runs, trials
from zcpt_ray.experiments.correlation import correlate_proxies
from zcpt_ray.experiments.fitting import Fitted, report_fit
from zcpt_ray.experiments.fitting import fit as fit_network
from zcpt_ray.experiments.latency_limits import measured_here
from zcpt_ray.experiments.ranking import rank_archs
from zcpt_ray.experiments.single_search import run_directory
from zcpt_ray.experiments.training_trial import training_directory
from zcpt_ray.fit_config import FitConfig
from zcpt_ray.keywords import RankFields, SearchFields, TrainFields
from zcpt_ray.proxies import Proxy, find_proxy
from zcpt_ray.proxies.base import score_network
from zcpt_ray.registration import registered_space
from zcpt_ray.reports.ablation_report import report_ablation
from zcpt_ray.reports.correlation_report import write_correlations
from zcpt_ray.reports.html_report import write_report
from zcpt_ray.reports.output import Output
from zcpt_ray.reports.search_report import doubts, report_best
from zcpt_ray.result import Result
from zcpt_ray.search.inputs import fitted_to_data, load_data
from zcpt_ray.search.presets import with_preset
from zcpt_ray.search.records import SearchResult
from zcpt_ray.search.resolved import Search, with_proxy
from zcpt_ray.search.resolved import smoke as as_small
from zcpt_ray.spaces import Space, find_space
from zcpt_ray.storage.paths import any_path
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.plan import TrainPlan
from zcpt_ray.training.records import TrainResult
from zcpt_ray.training.trainer import train as train_epochs

log = logging.getLogger(__name__)
C = TypeVar("C", SearchConfig, TrainConfig, FitConfig)
Place = str | Path
"""A folder or file, `~` allowed; where runs lie also a URI such as s3://bucket/runs."""


def search(
    *,
    out: Place | None = None,
    ray: bool = True,
    address: str = "",
    cpus_per_task: int = 1,
    gpus_per_task: float = 1.0,
    smoke: bool = False,
    progress: bool = True,
    preset: str = "",
    **config: Unpack[SearchFields],
) -> Result:
    """Search a space for an architecture; other arguments are the fields of `SearchConfig`.

    Args:
        out: Run directory or URI; by default runs/ and a name made from the configuration. What it holds is taken up.
        ray: On Ray; False runs in this process.
        address: Ray cluster to join; by default the one this machine is part of, or a new one here.
        cpus_per_task: CPUs, and so threads, of each task.
        gpus_per_task: GPUs of each task, where there are any; a fraction lets tasks share one.
        smoke: As small as it goes: shows that everything runs.
        progress: Show how far it is, as bars or lines.
        preset: "recommended" takes settings that were found to work, where `config` does not say otherwise.

    Raises:
        UserError: an unknown name, a number out of range, missing data, or a directory of another run.
    """
    wanted = with_preset(_configured(SearchConfig, "search", config), preset, config)
    given = fitted_to_data(wanted, config)
    found = Search.of(measured_here(as_small(given) if smoke else given, log.info))
    there = Cluster(not ray, address, cpus_per_task, gpus_per_task)
    directory = run_directory(found, out)
    outcome = run_search_there(found, directory, there, open_console(), quiet=not progress)
    report_best(outcome.result, found.space, directory, Console(quiet=True), anew=not outcome.was_finished)
    for line in doubts(outcome.result):
        log.warning(line)
    return Result(outcome.result, directory, found.space)


def load_result(directory: Place) -> Result:
    """The result of a finished search.

    Raises:
        UserError: there is none, it is damaged, or its space is not known.
    """
    place = any_path(directory)
    if not (place / "result.json").exists():
        raise UserError(f"no finished search in {place}: it has no result.json")
    result = SearchResult.load(place)
    return Result(result, place, find_space(result.config.space))


def score(net: nn.Module, batch: Batch, proxy: str | Proxy = "nwot") -> float:
    """The zero-cost score of any network on a minibatch: greater is better. The network stays as it was.

    Args:
        net: Images float32 [B, C, H, W] -> logits [B, classes].
        batch: Images, on the network's device, and labels.
        proxy: A name or a record.

    Raises:
        UserError: an unknown proxy, one that only ranks networks against each other (tenas), or a NaN.
    """
    return score_network(find_proxy(proxy) if isinstance(proxy, str) else proxy, net, batch)


def rank(
    archs: str | Sequence[str] | Mapping[str, str],
    *,
    proxies: str | Sequence[str] = ("nwot-released",),
    ray: bool = False,
    **config: Unpack[RankFields],
) -> pd.DataFrame:
    """Score architectures end to end, by each of `proxies`: one row per architecture, best by the first proxy first.

    Args:
        archs: Encoded architectures, or these by name.
        proxies: Names; each is a column: the mean score over V minibatches.
        ray: Spread over Ray; False scores in this process.
        config: `RankFields`; V is 10 unless `num_validations` says otherwise.

    Raises:
        UserError: an unknown name, an architecture that is not of the space, or missing data.
    """
    _require_known("rank", config, ("proxies", *RankFields.__annotations__))
    given = fitted_to_data(SearchConfig(**{"num_validations": 10, **_named(config)}), config)
    proxies = [proxies] if isinstance(proxies, str) else list(proxies)
    archs = [archs] if isinstance(archs, str) else archs
    if not proxies or not archs:
        raise UserError("rank needs at least one architecture and one proxy")
    searches = [Search.of(replace(with_proxy(given, proxy), method="random")) for proxy in proxies]
    space, data = searches[0].space, load_data(searches[0])
    texts = archs if isinstance(archs, Mapping) else {str(arch): arch for arch in archs}
    encoded = {name: as_written(space, text) for name, text in texts.items()}
    there = spread(Cluster(local=not ray), given.device)
    tables = [rank_archs(search, encoded, there, data=data).set_index("name") for search in searches]
    scores = pd.DataFrame({name: table["score"] for name, table in zip(proxies, tables, strict=True)})
    joined = tables[0].drop(columns="score").join(scores).sort_values(proxies[0], ascending=False)
    known = [column for column in ("test error [%]", "rank") if column in joined]
    return joined[[*proxies, "params [M]", "FLOPs [M]", *known, "architecture"]].reset_index()


def correlate(
    proxies: str | Sequence[str] = "all",
    *,
    count: int = 200,
    task: str = "",
    out: Place = "runs/correlation",
    ray: bool = False,
    **config: Unpack[RankFields],
) -> pd.DataFrame:
    """How proxies rank random networks of a tabular benchmark beside their accuracies: one row per proxy, best first.

    Args:
        proxies: Names, several joined by +, or "all".
        count: Networks; 0 takes all that the table has.
        task: What the table has values of, where images are another data set's; by default the data set.
        out: Folder or URI of scores, tables and plots. What it holds is taken up.
        ray: Spread over Ray; False scores in this process.
        config: `RankFields`; data set cifar10 and minibatches of 64 images unless they say otherwise.

    Columns: `proxy`; `Spearman`, `Kendall`, `Pearson of logs`, `Spearman, top tenth`, each with ` low` and ` high` of
    its 95 % interval; `pick [%]`, the accuracy of the network that it scores best; `regret [%]`; `seconds per network`.

    Raises:
        UserError: an unknown name, a missing table, missing data, or a folder of something else.
    """
    _require_known("correlate", config, ("proxies", *RankFields.__annotations__))
    given = SearchConfig(**{"dataset": "cifar10", "batch_size": 64, **_named(config)})
    names, place = [proxies] if isinstance(proxies, str) else list(proxies), any_path(out)
    found = correlate_proxies(given, names, count, place, spread(Cluster(local=not ray), given.device), log.info, task)
    write_correlations(found.table, found.scores, place)
    return found.table


def train(result: Result | str, *, out: Place = "runs/training", **config: Unpack[TrainFields]) -> TrainResult:
    """Train what a search found best, or an encoded architecture; other arguments are the fields of `TrainConfig`.

    Space and data set are those of the search unless given. Each epoch leaves a checkpoint: the same call goes on.

    Raises:
        UserError: an unknown name, missing data, or a loss that is not finite.
    """
    given: dict[str, Any] = {"arch": result, **config}
    if isinstance(result, Result):
        found = {"arch": result.best.arch, "space": result.config.space, "dataset": result.config.dataset}
        given = {**found, **config}
    plan = TrainPlan.of(_configured(TrainConfig, "train", given))
    directory = training_directory(any_path(out), plan)
    for _ in train_epochs(plan, directory):
        pass
    return TrainResult.load(directory)


def fit(data: Place = "digits", *, out: Place | None = None, **config: Any) -> Fitted:
    """From images to a trained model; other arguments are the fields of `FitConfig`: `minutes`, `max_latency_ms`, ...

    What `out` (by default runs/fit- and the name of the data) holds already is not done again.

    Raises:
        UserError: an unknown name, missing data, or a budget that nothing fits.
    """
    given = _configured(FitConfig, "fit", {"dataset": str(data), **config})
    directory = any_path(out or f"runs/fit-{Path(given.dataset).name}")
    fitted = fit_network(given, directory, search_runner(Cluster(local=True), open_console(), quiet=True))
    report_fit(fitted, Output(directory, Console(quiet=True)), log.info)
    return fitted


def ablation(
    preset: str = "",
    *,
    axes: Mapping[str, Sequence[Any]] | None = None,
    out: Place = "runs/ablation",
    ray: bool = True,
    **config: Unpack[SearchFields],
) -> pd.DataFrame:
    """Search over a grid: one row per setting, over search seeds. Tables and figures are in `out`.

    Args:
        preset: A grid of the paper: proxies, orders, proposals-validations, darts-proxies, subspaces; "" is none.
        axes: By field of `SearchConfig` the values that it takes; search seeds are 0 to 3 unless given.
        out: Folder or URI of everything; all nodes of a cluster must see it. What it holds is taken up.
        ray: On Ray Tune; False runs one cell after another in this process.
        config: Fields of `SearchConfig` that all cells have.

    Raises:
        UserError: an unknown name; or some cells failed, each for the reason that is given, and the others are
            finished.
    """
    console, place = open_console(), any_path(out)
    base = fitted_to_data(_configured(SearchConfig, "ablation", config), config)
    for field, values in (axes or {}).items():
        if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
            raise UserError(f"axes give several values for a field, got {values!r} for {field}")
    cells = grid(base, preset, axes or {}, given=config)
    flags = GridFlags(Cluster(local=not ray))
    outcome = run_trials(trials(shared_runs(cells)), search_and_report, place, flags, console, base.device)
    if outcome.failures:
        raise UserError("; ".join(dict.fromkeys(outcome.failures.values())))
    table = report_ablation(finished_cells(cells, place), Output(place, console))
    return pd.DataFrame() if table is None else table


def report(places: Place | Sequence[Place], out: Place = "runs/report.html") -> Path:
    """Write one HTML page about everything finished in and below a folder, or several.

    Raises:
        UserError: there is nothing to report, or something cannot be read; the page is written all the same.
    """
    found = [places] if isinstance(places, str | Path) else places
    page, problems = write_report([any_path(place) for place in found], any_path(out))
    if problems:
        raise UserError(f"{page} is written, but: {'; '.join(problems)}")
    return Path(str(page))


def _configured(kind: type[C], function: str, config: Mapping[str, Any]) -> C:
    _require_known(function, config, [field.name for field in fields(kind)])
    return kind(**_named(config))


def _named(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with the name of a space that is given itself."""
    space = config.get("space")
    return {**config, "space": registered_space(space)} if isinstance(space, Space) else dict(config)


def _require_known(function: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    if unknown := [name for name in given if name not in known]:
        raise UserError(f"{function} takes no {', '.join(unknown)}; it takes {', '.join(known)}")
