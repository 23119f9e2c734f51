"""What a grid of trainings ends in: its tables and figures, printed and saved."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from zcpt_ray.reports import figures
from zcpt_ray.reports.output import Output
from zcpt_ray.reports.published_trainings import TABLE_4
from zcpt_ray.reports.tables import with_dashes, write_table
from zcpt_ray.reports.training_tables import (
    Trained,
    by_architecture,
    by_method,
    learning_curves,
    sizes_and_errors,
    training_pairs,
    training_table,
)

TRAININGS_TITLE = "Test error [%] after the last epoch, mean ± standard deviation over search and training seeds"
PAIRS_TITLE = "Differences of mean test errors [%] with 95 % bootstrap intervals, over seeds in common"


def report_trainings(trained: Sequence[Trained], output: Output) -> pd.DataFrame | None:
    """Print and save the table of the finished trainings, by architecture and by method; None where none is finished.

    Also the differences, pair by pair. Saved only: learning curves, and error against parameters.
    """
    if not trained:
        return None
    tables = [training_table(groups) for groups in (by_architecture(trained), by_method(trained)) if groups]
    table = with_dashes(pd.concat(tables, ignore_index=True))
    output.table(table, "trainings", TRAININGS_TITLE)
    if not (pairs := training_pairs(trained)).empty:
        output.table(pairs, "pairs", PAIRS_TITLE)
    curves = learning_curves(trained)
    write_table(curves, output.out / "learning-curves")
    output.figure(figures.learning_curves(curves), "learning-curves")
    output.figure(sizes_figure(trained), "error-and-params")
    return table


def sizes_figure(trained: Sequence[Trained]) -> Figure:
    """Test error against parameters; DARTS' networks on CIFAR-10 beside those of the paper's table 4."""
    config = trained[0].result.config
    beside = TABLE_4 if (config.space, config.dataset) == ("darts", "cifar10") else None
    return figures.error_and_params(sizes_and_errors(trained), beside)
