"""How proxies rank networks, as a table and a scatter plot of each."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from zcpt_ray.reports.figures import save_figure
from zcpt_ray.reports.tables import write_table
from zcpt_ray.storage.paths import AnyPath

COLUMNS = 4


def write_correlations(table: pd.DataFrame, scores: pd.DataFrame, out: AnyPath) -> None:
    """`correlation` and `networks` as tables, and the plots."""
    write_table(table, out / "correlation")
    write_table(scores, out / "networks")
    save_figure(scatter_plots(table, scores), out / "correlation")


def readable_correlations(table: pd.DataFrame) -> pd.DataFrame:
    """The table for people: each correlation with its interval."""
    shown: dict[str, object] = {"proxy": table["proxy"]}
    for title in ("Spearman", "Kendall", "Pearson of logs", "Spearman, top tenth"):
        numbers = zip(table[title], table[f"{title} low"], table[f"{title} high"], strict=True)
        shown[title] = [
            "-" if np.isnan(value) else f"{value:.2f} ({low:.2f}..{high:.2f})" for value, low, high in numbers
        ]
    for title, digits in (("pick [%]", 2), ("regret [%]", 2), ("seconds per network", 3)):
        shown[title] = ["-" if np.isnan(value) else f"{value:.{digits}f}" for value in table[title]]
    return pd.DataFrame(shown)


def _with_interval(value: float, low: float, high: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f} ({low:.2f}..{high:.2f})"


def scatter_plots(table: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """Per proxy, in the order of `table`, a plot of the networks' accuracies over their ranks by it."""
    rows = -(-len(table) // COLUMNS)
    figure = Figure(figsize=(3 * COLUMNS, 2.6 * rows), layout="constrained")
    places = np.atleast_1d(figure.subplots(rows, COLUMNS, sharey=True, squeeze=False)).ravel()
    lowest = np.percentile(scores["accuracy"], 5)
    for axes, (_, row) in zip(places, table.iterrows(), strict=False):
        ranks = scores[row["proxy"]].rank(pct=True)
        axes.scatter(ranks, scores["accuracy"], s=4, alpha=0.5, linewidths=0)
        axes.set_title(f"{row['proxy']}  {row['Spearman']:.2f}", fontsize=8)
        axes.set_ylim(lowest, scores["accuracy"].max() + 0.5)
        axes.tick_params(labelsize=7)
    for axes in places[len(table) :]:
        axes.set_visible(False)
    figure.supxlabel("rank by the proxy, 1 is the greatest score", fontsize=9)
    figure.supylabel("test accuracy [%]", fontsize=9)
    return figure
