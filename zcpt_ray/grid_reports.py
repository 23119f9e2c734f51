"""What grids end in: tables and figures of ablations and of trainings, printed and saved."""

from collections.abc import Sequence

import pandas as pd

from zcpt_ray import plots
from zcpt_ray.ablation import cell_directory
from zcpt_ray.ablation_results import ablation_table, cell_name, cells, proposals_validations_table, search_errors, varied_fields
from zcpt_ray.cli import Report
from zcpt_ray.configs import SearchConfig
from zcpt_ray.published import FIGURE_4
from zcpt_ray.records import SearchResult
from zcpt_ray.report import sizes_figure
from zcpt_ray.results import benchmark_name, write_table
from zcpt_ray.training_grid import Training, training_directory
from zcpt_ray.training_records import TrainResult
from zcpt_ray.training_results import (
    Trained,
    by_architecture,
    by_method,
    learning_curves,
    paired_table,
    training_pairs,
    training_table,
)


def report_ablation(configs: Sequence[SearchConfig], report: Report) -> None:
    """The cells that are finished, over their seeds; figure 4 where N and V alone vary; differences of settings, by seed."""
    folders = [cell_directory(report.out, config) for config in configs]
    results = [SearchResult.load(folder) for folder in folders if (folder / "result.json").exists()]
    if not results:
        return
    errors = "; test errors [%], mean ± standard deviation" if any(result.benchmark for result in results) else ""
    report.table(ablation_table(results), "ablation", f"Searches over seeds{errors}")
    known = next((result.benchmark for result in results if result.benchmark), None) or {}
    own = benchmark_name(results[0])
    dataset = own if own in known else next(iter(known), None)
    fields = varied_fields(results)
    if dataset and set(fields) & {"num_proposals", "num_validations"} and not set(fields) - {"num_proposals", "num_validations"}:
        table = proposals_validations_table(results, dataset)
        write_table(table, report.out / "proposals-validations")
        first = results[0].config
        paper = FIGURE_4 if (first.space, first.dataset) == ("nasbench201", "cifar10") else None
        plots.save_figure(plots.proposals_validations(table, paper), report.out / "proposals-validations")
    if dataset:
        settings = {cell_name(group[0], fields): search_errors(group, dataset) for group in cells(results).values()}
        pairs = paired_table(settings)
        if not pairs.empty:
            write_table(pairs, report.out / "pairs")


def report_trainings(grid: Sequence[Training], report: Report) -> None:
    """The trainings that are finished, by architecture and all together; learning curves, and error against parameters."""
    folders = [(training, training_directory(report.out, training.config)) for training in grid]
    trained = [Trained(t.arch_name, TrainResult.load(f), t.search) for t, f in folders if (f / "training.json").exists()]
    if not trained:
        return
    title = "Test error [%] after the last epoch, mean ± standard deviation over search and training seeds"
    tables = [training_table(groups) for groups in (by_architecture(trained), by_method(trained)) if groups]
    report.table(pd.concat(tables, ignore_index=True).fillna("-"), "trainings", title)
    if not (pairs := training_pairs(trained)).empty:
        report.table(pairs, "pairs", "Differences of mean test errors [%] with 95 % bootstrap intervals, over seeds in common")
    curves = learning_curves(trained)
    write_table(curves, report.out / "learning-curves")
    plots.save_figure(plots.learning_curves(curves), report.out / "learning-curves")
    plots.save_figure(sizes_figure(trained), report.out / "error-and-params")
