"""How proxies rank networks, as a table and a scatter plot of each."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from zcpt_ray.errors import UserError
from zcpt_ray.reports.figures import save_figure
from zcpt_ray.reports.tables import write_table
from zcpt_ray.storage.parquet import read_parquet
from zcpt_ray.storage.paths import AnyPath
from zcpt_ray.storage.run_directory import read_json

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


def joined_correlations(folders: Sequence[AnyPath]) -> pd.DataFrame:
    """Of finished correlations one row per space, task and proxy: columns as those of the package's correlations.csv.

    Raises:
        UserError: a folder without a finished correlation.
    """
    tables = []
    for folder in folders:
        if not (folder / "correlation.parquet").exists():
            raise UserError(f"{folder} holds no finished correlation: it has no correlation.parquet")
        found = read_parquet(folder / "correlation.parquet")
        told = read_json(folder / "config.json")
        table = found[["proxy", "Spearman", "Spearman low", "Spearman high"]].dropna()
        table.columns = ["proxy", "spearman", "low", "high"]
        networks = len(read_parquet(folder / "networks.parquet"))  # those whose values the table has
        about = {"space": told["space"], "task": told.get("task") or told["dataset"]}
        tables.append(table.assign(**about, networks=networks))
    return pd.concat(tables, ignore_index=True)[["space", "task", "proxy", "spearman", "low", "high", "networks"]]


def _wide(table: pd.DataFrame) -> pd.DataFrame:
    """Proxies as rows, the one that is best on average first; spaces as columns."""
    wide = table.pivot_table(index="proxy", columns=["space", "task"], values="spearman", sort=False)
    return wide.loc[wide.mean(axis=1).sort_values(ascending=False).index]


def readable_map(table: pd.DataFrame) -> pd.DataFrame:
    """Proxies and spaces for people; a dash where nothing was measured."""
    wide = _wide(table)
    shown = {", ".join(column): [_two_digits(value) for value in wide[column]] for column in wide.columns}
    return pd.DataFrame({"proxy": wide.index.to_list(), **shown})


def _two_digits(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"


def write_map(table: pd.DataFrame, out: AnyPath) -> None:
    """`map` as tables and as a heat map."""
    write_table(table, out / "map")
    wide = _wide(table)
    figure = Figure(figsize=(2 + 1.1 * wide.shape[1], 1.5 + 0.3 * len(wide)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(wide.to_numpy(), cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    axes.set_yticks(range(len(wide)), wide.index, fontsize=8)
    names = ["\n".join(column) for column in wide.columns]
    axes.set_xticks(range(wide.shape[1]), names, rotation=30, ha="right", fontsize=8)
    for row, column in np.argwhere(~np.isnan(wide.to_numpy())):
        axes.text(column, row, f"{wide.iloc[row, column]:.2f}", ha="center", va="center", fontsize=7)
    axes.set_title("Spearman correlation of scores and accuracies", fontsize=9)
    save_figure(figure, out / "map")
