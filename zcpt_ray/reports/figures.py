"""Figures, from tables only: each function takes tables of other modules here and gives a matplotlib figure."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zcpt_ray.reports.published_trainings import PublishedTraining
from zcpt_ray.reports.tables import sample_deviation
from zcpt_ray.storage.paths import AnyPath, write_whole

mpl.use("Agg")

OUR_MARKS: dict[str, Any] = {"marker": "o", "capsize": 3, "linestyle": "", "label": "ours"}
PAPER_MARKS = OUR_MARKS | {"marker": "x", "color": "#d95f02", "label": "paper"}


def save_figure(figure: Figure, stem: AnyPath) -> None:
    """As .png and .svg beside each other; text in the .svg stays text."""
    for suffix in (".png", ".svg"):
        write_whole(stem.with_suffix(suffix), drawn(figure, suffix[1:]))


def drawn(figure: Figure, kind: str) -> bytes:
    """The figure as a file of that kind, `png` or `svg`; the same figure gives the same bytes."""
    file = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "zcpt_ray"}):
        figure.savefig(
            file, format=kind, dpi=150, bbox_inches="tight", metadata={"Date": None} if kind == "svg" else None
        )
    return file.getvalue()


def initial_scoring(correlations: Mapping[str, pd.DataFrame]) -> Figure:
    """Figure 2 left: per oracle (a `spearman_table` each) a bar for every function at iteration 0, mean over seeds."""
    figure = Figure(figsize=(8, 4))
    axes = figure.subplots()
    bars = {
        oracle: table[table["iteration"] == 0].groupby("function")["spearman"].mean()
        for oracle, table in correlations.items()
    }
    table = pd.DataFrame(bars)
    table = table.sort_values(table.columns[0])
    height = 0.8 / len(table.columns)
    for index, oracle in enumerate(table.columns):
        places = [place + height * (index - (len(table.columns) - 1) / 2) for place in range(len(table))]
        drawn = axes.barh(places, table[oracle], height, label=f"with {oracle}")
        axes.bar_label(drawn, fmt="%.2f", padding=2, fontsize=7)
    axes.set_yticks(range(len(table)), table.index)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.margins(x=0.1)
    axes.set_xlabel("Spearman correlation, mean over edges")
    axes.set_title("Op scores of the untrained supernet (iteration 0)")
    axes.legend(loc="lower right")
    return figure


def progressive_scoring(correlations: pd.DataFrame, oracle: str) -> Figure:
    """Figure 2 right: how each function correlates with `oracle` as edges are decided.

    The band is the standard deviation over seeds, none for one seed.
    """
    return _lines(
        correlations,
        "iteration",
        "edges decided",
        f"Spearman correlation with {oracle}",
        "Op scores as the search goes on",
    )


def toy_chain_correlation(correlations: pd.DataFrame, oracle: str) -> Figure:
    """Figure A6: correlation with `oracle` as the chain grows."""
    lengths = correlations.assign(length=correlations["space"].str.rsplit("-", n=1).str[-1].astype(int))
    return _lines(lengths, "length", "mixed layers L", f"Spearman correlation with {oracle}", "Op scores of a chain")


def _lines(table: pd.DataFrame, x: str, x_label: str, y_label: str, title: str) -> Figure:
    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    for function, rows in table.groupby("function", sort=False):
        grouped = rows.groupby(x)["spearman"]
        mean, spread = grouped.mean(), grouped.agg(sample_deviation).fillna(0)
        axes.plot(mean.index, mean, marker="o", label=str(function))
        axes.fill_between(mean.index, mean - spread, mean + spread, alpha=0.15)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(sorted(table[x].unique()))
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_title(title)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def toy_chain_ops(ranks: pd.DataFrame, functions: Sequence[str]) -> Figure:
    """Figure A7: per function the mean rank of each op and how often it is best, as the chain grows.

    `ranks` is a table of `mean_ranks`; each function has a row of panels.
    """
    table = ranks.assign(length=ranks["space"].str.rsplit("-", n=1).str[-1].astype(int))
    figure = Figure(figsize=(9, 2.6 * len(functions)))
    panels = figure.subplots(len(functions), 2, squeeze=False)
    for row, function in zip(panels, functions, strict=True):
        for axes, column, label in zip(
            row, ("rank", "picked"), ("mean rank (4 is best)", "edges where it is best"), strict=True
        ):
            for op, rows in table[table["function"] == function].groupby("op", sort=False):
                axes.plot(rows["length"], rows[column], marker="o", label=str(op))
            axes.set_title(f"{function}: {label}", fontsize=9)
            axes.set_xticks(sorted(table["length"].unique()))
    panels[-1][0].set_xlabel("mixed layers L")
    panels[-1][1].set_xlabel("mixed layers L")
    panels[0][1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    return figure


def proposals_validations(table: pd.DataFrame, paper: Mapping[int, float] | None = None) -> Figure:
    """Figure 4: test error and the number of distinct architectures proposed, against N.

    `table` is a `proposals_validations_table`; without errors in it there are the counts alone. The band is the
    standard deviation over search seeds. `paper` has its count by N.
    """
    known = int(table["error"].notna().any())
    figure = Figure(figsize=(10 if known else 5, 4))
    *panels, right = figure.subplots(1, 1 + known, squeeze=False)[0]
    for left in panels:
        _errors_by_proposals(left, table)
    counts = table.groupby("N")["distinct"].mean()
    right.plot(counts.index, counts, marker="o", label="ours")
    right.plot(counts.index, counts.index, color="black", linewidth=0.8, linestyle=":", label="every proposal another")
    if paper:
        right.plot(list(paper), list(paper.values()), "x", color="#d95f02", markersize=8, label="paper")
    right.set_yscale("log")
    right.set_ylabel("distinct architectures proposed")
    for axes in (*panels, right):
        axes.set_xscale("log")
        axes.set_xticks(counts.index, [str(proposals) for proposals in counts.index])
        axes.minorticks_off()
        axes.set_xlabel("proposals N")
        axes.legend(fontsize=8)
    figure.tight_layout()
    return figure


def _errors_by_proposals(axes: Axes, table: pd.DataFrame) -> None:
    for validations, rows in table.groupby("V"):
        (line,) = axes.plot(rows["N"], rows["error"], marker="o", label=f"V = {validations}")
        spread = rows["deviation"].fillna(0)
        axes.fill_between(rows["N"], rows["error"] - spread, rows["error"] + spread, alpha=0.12, color=line.get_color())
    axes.set_ylabel("test error [%]")


def settings_with_intervals(table: pd.DataFrame) -> Figure:
    """Mean test errors and their 95 % intervals, from an `interval_table`: a panel per data set, a line per setting."""
    settings, datasets = list(dict.fromkeys(table["setting"])), list(dict.fromkeys(table["dataset"]))
    figure = Figure(figsize=(3 + 3 * len(datasets), 1.2 + 0.3 * len(settings)), layout="constrained")
    panels = figure.subplots(1, len(datasets), sharey=True, squeeze=False)[0]
    for axes, dataset in zip(panels, datasets, strict=True):
        rows = table[table["dataset"] == dataset]
        places, errors = [settings.index(setting) for setting in rows["setting"]], rows["error"]
        ends = [(errors - rows["low"]).fillna(0), (rows["high"] - errors).fillna(0)]
        axes.errorbar(errors, places, xerr=ends, marker="o", capsize=3, linestyle="")
        axes.set_xlabel(f"{dataset}: test error [%]")
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(settings)), [_plain(setting) for setting in settings], fontsize=8)
    panels[0].invert_yaxis()
    return figure


def paper_and_ours(table: pd.DataFrame) -> Figure:
    """Means with their deviations, from a `comparison_table` of `reproduction`, the paper's above ours.

    A panel per quantity, a line per row.
    """
    rows, quantities = list(dict.fromkeys(table["row"])), list(dict.fromkeys(table["quantity"]))
    figure = Figure(figsize=(3 + 3 * len(quantities), 1.2 + 0.4 * len(rows)), layout="constrained")
    panels = figure.subplots(1, len(quantities), sharey=True, squeeze=False)[0]
    for axes, quantity in zip(panels, quantities, strict=True):
        known = table[table["quantity"] == quantity]
        places = np.array([rows.index(row) for row in known["row"]])
        axes.errorbar(known["paper"], places - 0.12, xerr=known["paper deviation"], **PAPER_MARKS)
        axes.errorbar(known["ours"], places + 0.12, xerr=known["deviation"], **OUR_MARKS)
        axes.set_xlabel(quantity)
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(rows)), [_plain(row) for row in rows], fontsize=8)
    panels[0].invert_yaxis()
    panels[0].legend(fontsize=8)
    return figure


def error_and_params(ours: pd.DataFrame, paper: Mapping[str, PublishedTraining] | None = None) -> Figure:
    """Test error against parameters of trained networks.

    `ours` has a row per network: `trained`, `params [M]`, `error` and `deviation` [%] (NaN for one training). `paper`
    has by method those whose parameters it says.
    """
    figure = Figure(figsize=(9, 4.5))
    axes = figure.subplots()
    for row in ours.to_dict("records"):
        spread = None if np.isnan(row["deviation"]) else row["deviation"]
        axes.errorbar(
            row["params [M]"],
            row["error"],
            spread,
            marker="o",
            capsize=3,
            linestyle="",
            label=f"ours: {_plain(row['trained'])}",
        )
    places = [(row.params_m, row.mean, name) for name, row in (paper or {}).items() if row.params_m is not None]
    for index, (params, error, name) in enumerate(sorted(places)):
        axes.plot(params, error, "x", color="#7f7f7f")
        place, beside = (params, error), (0, -11 if index % 2 else 5)  # neighbours have theirs on different sides
        axes.annotate(_plain(name), place, beside, textcoords="offset points", ha="center", fontsize=7, color="#555555")
    axes.margins(0.1)
    axes.set_xlabel("parameters [M]")
    axes.set_ylabel("test error [%]")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    return figure


def error_and_latency(table: pd.DataFrame) -> Figure:
    """Test error, with its standard error, against latency: a dot per network that `zcpt fit` compares.

    What does not keep the limits is drawn hollow.
    """
    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    for row in table.to_dict("records"):
        place, spread = (row["latency [ms]"], row["test error [%]"]), row["standard error"]
        face = "none" if row.get("keeps the limits", "yes") != "yes" else "C0"
        axes.errorbar(*place, yerr=spread, marker="o", capsize=3, color="C0", markerfacecolor=face)
        axes.annotate(_plain(row["network"]), place, (6, 4), textcoords="offset points", fontsize=8)
    axes.margins(0.15)
    axes.set_xlabel("latency [ms], one image on one thread")
    axes.set_ylabel("test error [%], with its standard error")
    if "keeps the limits" in table:
        axes.set_title("hollow: beyond the limits", fontsize=9)
    return figure


def learning_curves(table: pd.DataFrame) -> Figure:
    """Test and train error by epoch of every training, from a table of `learning_curves`; a colour per architecture."""
    figure = Figure(figsize=(10, 4))
    panels = figure.subplots(1, 2, sharey=True)
    for index, (name, rows) in enumerate(table.groupby("trained", sort=False)):
        for axes, column in zip(panels, ("top1_error", "train_error"), strict=True):
            for number, (_, epochs) in enumerate(rows.groupby("seed")):
                colour, label = f"C{index % 10}", "_" if number else _plain(name)
                axes.plot(
                    epochs["epoch"] + 1,
                    epochs[column],
                    marker="." if len(epochs) < 30 else "",
                    color=colour,
                    label=label,
                )
    for axes, title in zip(panels, ("test error [%]", "train error, augmented [%]"), strict=True):
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("epochs")
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    figure.tight_layout()
    return figure


def _plain(name: object) -> str:
    """A name that matplotlib shows as it is, formulas and leading underscores (which hide a label) included."""
    text = str(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
