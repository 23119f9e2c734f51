"""What grids end in: tables and figures of ablations and of trainings, printed and saved."""

from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd

from zcpt_ray import plots
from zcpt_ray.ablation import cell_directory
from zcpt_ray.ablation_results import ablation_table, cell_name, cells, proposals_validations_table, search_errors, varied_fields
from zcpt_ray.cli import Report
from zcpt_ray.configs import SearchConfig, TrainConfig, run_id
from zcpt_ray.published import FIGURE_4, TABLE_4
from zcpt_ray.records import SearchResult
from zcpt_ray.results import write_table
from zcpt_ray.training_grid import Training, training_directory
from zcpt_ray.training_records import TrainResult
from zcpt_ray.training_results import learning_curves, paired_table, training_table


def report_ablation(configs: Sequence[SearchConfig], report: Report) -> None:
    """The cells that are finished, over their seeds; figure 4 where N and V alone vary; differences of settings, by seed."""
    folders = [cell_directory(report.out, config) for config in configs]
    results = [SearchResult.load(folder) for folder in folders if (folder / "result.json").exists()]
    if not results:
        return
    report.table(ablation_table(results), "ablation", "Searches over seeds; test errors [%], mean ± standard deviation")
    datasets = list(next((result.benchmark for result in results if result.benchmark), None) or ())
    fields = varied_fields(results)
    if datasets and set(fields) & {"num_proposals", "num_validations"} and not set(fields) - {"num_proposals", "num_validations"}:
        table = proposals_validations_table(results, datasets[0])
        write_table(table, report.out / "proposals-validations")
        first = results[0].config
        paper = FIGURE_4 if (first.space, first.dataset) == ("nasbench201", "cifar10") else None
        plots.save_figure(plots.proposals_validations(table, paper), report.out / "proposals-validations")
    if datasets:
        settings = {cell_name(group[0], fields): search_errors(group, datasets[0]) for group in cells(results).values()}
        pairs = paired_table(settings)
        if not pairs.empty:
            write_table(pairs, report.out / "pairs")


def report_trainings(grid: Sequence[Training], report: Report) -> None:
    """The trainings that are finished, by architecture and all together; learning curves, and error against parameters."""
    groups: dict[str, list[TrainResult]] = defaultdict(list)
    for training in grid:
        folder = training_directory(report.out, training.config)
        if (folder / "training.json").exists():
            groups[training.arch_name].append(TrainResult.load(folder))
    if not groups:
        return
    searches = list({id(t.search): t.search for t in grid if t.search}.values())
    each = {run_id(result.config): result for results in groups.values() for result in results}  # searches may agree
    together = {"all": list(each.values())} if len(groups) > 1 else {}
    title = "Test error [%] after the last epoch, mean ± standard deviation over search and training seeds"
    report.table(training_table({**groups, **together}, searches), "trainings", title)
    errors: dict[str, dict[Hashable, float]] = {name: {r.config.seed: r.error for r in results} for name, results in groups.items()}
    if not (pairs := paired_table(errors)).empty:
        report.table(pairs, "pairs", "Differences of mean test errors [%] with 95 % bootstrap intervals, over training seeds")
    write_table(learning_curves(groups), report.out / "learning-curves")
    plots.save_figure(plots.learning_curves(learning_curves(groups)), report.out / "learning-curves")
    rows = [_size_and_error(name, results) for name, results in groups.items()]
    first = grid[0].config
    paper = {n: (row[3], row[0]) for n, row in TABLE_4.items() if row[3]} if _as_table_4(first) else None
    plots.save_figure(plots.error_and_params(pd.DataFrame(rows), paper), report.out / "error-and-params")


def _as_table_4(config: TrainConfig) -> bool:
    return (config.space, config.dataset) == ("darts", "cifar10")


def _size_and_error(name: str, results: Sequence[TrainResult]) -> dict[str, object]:
    errors = [result.error for result in results]
    deviation = float(np.std(errors, ddof=1)) if len(errors) > 1 else float("nan")
    return {"trained": name, "params [M]": results[0].params / 1e6, "error": float(np.mean(errors)), "deviation": deviation}
