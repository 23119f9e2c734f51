"""The report of finished searches and trainings as one HTML page, from what their directories hold and nothing else."""

import dataclasses
import io
import json
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from zcpt_ray import page, plots
from zcpt_ray.ablation_results import (
    ablation_table,
    cell_name,
    cells,
    proposals_validations_table,
    search_errors,
    setting_columns,
    sorts_by,
    varied_fields,
)
from zcpt_ray.configs import SearchConfig
from zcpt_ray.files import AnyPath
from zcpt_ray.found_runs import Found, FoundRuns
from zcpt_ray.page import Code, Fold, Part, Section, Text
from zcpt_ray.published import FIGURE_4, TABLE_4
from zcpt_ray.records import SearchResult
from zcpt_ray.results import (
    BELOW_ZERO,
    benchmark_errors,
    benchmark_name,
    benchmark_table,
    candidate_table,
    cost_table,
    mean_and_deviation,
)
from zcpt_ray.training_results import (
    Trained,
    by_architecture,
    by_method,
    each_once,
    learning_curves,
    paired_table,
    sizes_and_errors,
    training_pairs,
    training_table,
)

TITLE = "Zero-cost searches and trainings"
Searches = Sequence[Found]


def report_page(runs: FoundRuns, title: str = TITLE) -> str:
    """The page: a summary of all runs, then a section for each folder of searches and each grid; on top, what failed."""
    sections: list[Section] = []
    rows: list[dict[str, object]] = []
    for place, searches in runs.searches.items():
        name = place if len(searches) > 1 else str(searches[0].directory)
        sections.append(Section(name, f"run{len(sections)}", search_parts(searches)))
        rows.append({"run": name} | _search_summary([found.result for found in searches]))
    for place, trainings in runs.trainings.items():
        sections.append(Section(place, f"run{len(sections)}", training_parts(trainings)))
        rows.append({"run": place} | _training_summary(trainings, runs.trials.get(place)))
    if len(runs.trainings) > 1 and not (pairs := paired_table(_by_seeds(runs))).empty:
        sections.append(Section("Grids of trainings, pair by pair", f"run{len(sections)}", (_pairs(pairs),)))
    summary = page.table("All runs", pd.DataFrame(rows).fillna("-"), [section.anchor for section in sections[: len(rows)]])
    return page.render(title, summary, sections, runs.problems)


def _by_seeds(runs: FoundRuns) -> dict[str, Mapping[Hashable, float]]:
    """Test errors of each grid by what its architecture is called there (the search seed) and training seed."""
    return {place: {(t.name, t.result.config.seed): t.result.error for t in trained} for place, trained in runs.trainings.items()}


def _search_summary(results: Sequence[SearchResult]) -> dict[str, object]:
    """The errors are of the search's own data set, over its seeds; of several settings the least and the greatest mean."""
    groups = list(cells(results).values())
    errors = [benchmark_errors(group).get(benchmark_name(group[0])) for group in groups]
    known = sorted((text for text in errors if text), key=lambda text: float(text.split("±")[0]))
    hours = sum(result.seconds["propose"] + result.seconds["validate"] for result in results) / 3600
    return {
        "kind": "search" if len(results) == 1 else "ablation" if len(groups) > 1 else "searches",
        "space": _all(result.config.space for result in results),
        "dataset": _all(result.config.dataset for result in results),
        "runs": len(results),
        "test error [%]": known[0] if len(known) == 1 else f"{known[0]} to {known[-1]}" if known else "-",
        "params [M]": _range([result.best.params / 1e6 for result in results]),
        "hours": f"{hours:.2f}",
    }


def _training_summary(trained: Sequence[Trained], trials: int | None) -> dict[str, object]:
    """`trials` is how many the grid has in all, finished or not."""
    results = each_once(trained)
    return {
        "kind": "trainings",
        "space": _all(result.config.space for result in results),
        "dataset": _all(result.config.dataset for result in results),
        "runs": f"{len(results)}/{trials}" if trials and trials > len(results) else len(results),
        "test error [%]": mean_and_deviation([result.error for result in results]),
        "best [%]": f"{min(result.error for result in results):.2f}",
        "params [M]": _range([result.params / 1e6 for result in results]),
        "hours": f"{sum(result.seconds for result in results) / 3600:.2f}",
    }


def _all(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _range(numbers: Sequence[float]) -> str:
    ends = dict.fromkeys(f"{number:.2f}" for number in (min(numbers), max(numbers)))
    return " to ".join(ends)


def search_parts(searches: Searches) -> tuple[Part, ...]:
    """One search, or several that lie in one folder: settings beside each other, all of them in a table, each one folded."""
    if len(searches) == 1:
        return one_search(searches[0])
    results = [found.result for found in searches]
    parts: list[Part] = [page.table("Settings: test error [%], mean ± standard deviation over seeds", ablation_table(results))]
    parts += _setting_pairs(results)
    parts += _figure_4(results)
    fields = varied_fields(results)
    searches = sorted(searches, key=lambda found: sorts_by(found.result, fields))
    rows = [
        {"search": found.name} | setting_columns(found.result, fields) | {"seed": found.result.config.seed} | _found(found.result)
        for found in searches
    ]
    parts.append(page.table("All searches", pd.DataFrame(rows).fillna("-")))
    parts += [Fold(f"{found.name}: {cell_name(found.result, (*fields, 'seed'))}", one_search(found)) for found in searches]
    return tuple(parts)


def _found(result: SearchResult) -> dict[str, object]:
    validated = result.config.num_validations > 0
    row: dict[str, object] = {"distinct": len(result.candidates), "score": result.best.score if validated else float("nan")}
    row["params [M]"] = result.best.params / 1e6
    errors = {f"{name} [%]": f"{entry['error']:.2f}" for name, entry in (result.benchmark or {}).items()}
    return row | errors | {"architecture": result.best.arch}


def _setting_pairs(results: Sequence[SearchResult]) -> list[Part]:
    fields = varied_fields(results)
    groups = {cell_name(group[0], fields): search_errors(group, benchmark_name(group[0])) for group in cells(results).values()}
    pairs = paired_table(groups)
    return [] if pairs.empty else [Fold("Settings, pair by pair", (_pairs(pairs),))]


def _pairs(pairs: pd.DataFrame) -> Part:
    return page.table("Test error [%] of the first less the second over seeds that both have, mean [95 % interval]", pairs)


def _figure_4(results: Sequence[SearchResult]) -> list[Part]:
    """For each setting that was run with several N: the errors against N, and how many architectures were proposed."""
    alike: dict[SearchConfig, list[SearchResult]] = defaultdict(list)
    for result in results:
        alike[dataclasses.replace(result.config, num_proposals=1, num_validations=0, seed=0, device="auto")].append(result)
    parts: list[Part] = []
    for config, group in alike.items():
        numbers = proposals_validations_table(group, benchmark_name(group[0]))
        if numbers["N"].nunique() > 1:
            title = f"N and V (figure 4): {config.space} on {config.dataset}, {config.proxy}, {config.order} order"
            paper = FIGURE_4 if (config.space, config.order, config.dataset) == ("nasbench201", "random", "cifar10") else None
            parts.append(page.picture(title, plots.drawn(plots.proposals_validations(numbers, paper), "svg")))
    return parts


def one_search(found: Found) -> tuple[Part, ...]:
    """The candidates of a search, what is known of the best and its drawing, how it was decided, configuration and versions."""
    result, config = found.result, found.result.config
    seconds = ", ".join(f"{phase} {value:.1f} s" for phase, value in result.seconds.items())
    setting = f"{config.space} on {config.dataset}, {config.proxy}, {config.order} order, seed {config.seed}"
    parts: list[Part] = [
        Text(f"{setting}. Best: {result.best.arch}"),
        Text(f"{result.num_evaluations} proxy evaluations; {seconds}"),
        *_pictures(found.directory, {"best.svg": "The best architecture"}),
        page.table("Candidates, best first", candidate_table(result)),
    ]
    if result.benchmark:
        parts.append(page.table("The best candidate in the benchmark's table", benchmark_table(result.benchmark)))
    if result.costs:
        parts.append(page.table("The best candidate's networks", cost_table(result.costs)))
    parts += _replay(found.directory)
    return (*parts, *_fine_print(dataclasses.asdict(config), result.versions))


def _pictures(directory: AnyPath, titles: Mapping[str, str]) -> list[Part]:
    return [page.picture(title, (directory / name).read_bytes()) for name, title in titles.items() if (directory / name).exists()]


def _replay(directory: AnyPath) -> list[Part]:
    parts = _pictures(directory, {"replay.svg": "How the best architecture was decided, edge by edge"})
    if not (directory / "replay.parquet").exists():
        return parts
    try:
        table = pd.read_parquet(io.BytesIO((directory / "replay.parquet").read_bytes()))
    except (OSError, ValueError) as error:
        return [*parts, Text(f"{directory / 'replay.parquet'} cannot be read: {error}")]
    below = [Text(BELOW_ZERO)] if "margin" in table and (table["margin"] < 0).any() else []
    return [*parts, *below, Fold("The decisions in numbers", (page.table("Decisions, in order", table),))]


def _fine_print(config: Mapping[str, object], versions: Mapping[str, str]) -> tuple[Part, ...]:
    used = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (Fold("Configuration and versions", (Code(json.dumps(config, indent=1)), Text(used))),)


def training_parts(trained: Sequence[Trained]) -> tuple[Part, ...]:
    """A grid: methods over all seeds, architectures over training seeds, pairs, curves, error against size, every training."""
    trained = sorted(trained, key=lambda training: (training.name, training.result.config.seed))
    methods, first = by_method(trained), trained[0].result
    parts: list[Part] = []
    if methods:
        parts.append(page.table("Over search and training seeds: test error [%] after the last epoch", training_table(methods)))
    parts.append(page.table("By architecture, over training seeds", training_table(by_architecture(trained))))
    if not (pairs := training_pairs(trained)).empty:
        parts.append(Fold("Pair by pair", (_pairs(pairs),)))
    parts += [
        page.picture("Learning curves", plots.drawn(plots.learning_curves(learning_curves(trained)), "svg")),
        page.picture("Test error against parameters", plots.drawn(sizes_figure(trained), "svg")),
        page.table("Every training", pd.DataFrame([_trained(training) for training in trained])),
    ]
    return (*parts, *_fine_print(dataclasses.asdict(first.config), first.versions))


def sizes_figure(trained: Sequence[Trained]) -> Figure:
    """Test error against parameters; DARTS' networks on CIFAR-10 beside those of the paper's table 4."""
    config = trained[0].result.config
    paper = {name: (row[3], row[0]) for name, row in TABLE_4.items() if row[3] is not None and row[0] is not None}
    beside = paper if (config.space, config.dataset) == ("darts", "cifar10") else None
    return plots.error_and_params(sizes_and_errors(trained), beside)


def _trained(trained: Trained) -> dict[str, object]:
    result, last = trained.result, trained.result.history[-1]
    return {
        "trained": trained.name,
        "seed": result.config.seed,
        "epochs": len(result.history),
        "test error [%]": f"{result.error:.2f}",
        "top-5 error [%]": f"{last.top5_error:.2f}",
        "train error [%]": f"{last.train_error:.2f}",
        "params [M]": f"{result.params / 1e6:.3f}",
        "FLOPs [M]": f"{result.flops / 1e6:.1f}",
        "images/s": round(float(np.median([metrics.images_per_second for metrics in result.history]))),
        "seconds": f"{result.seconds:.1f}",
        "device": result.device,
        "architecture": result.config.arch,
    }
