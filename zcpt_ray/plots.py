"""Figures, from saved tables only: each function takes tables of `study` or `results` and gives a matplotlib figure."""

import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from zcpt_ray.files import AnyPath

mpl.use("Agg")


def save_figure(figure: Figure, stem: AnyPath) -> None:
    """As .png and .svg beside each other; text in the .svg stays text."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.fonttype": "none"}):
        for suffix in (".png", ".svg"):
            drawn = io.BytesIO()
            figure.savefig(drawn, format=suffix[1:], dpi=150, bbox_inches="tight")
            stem.with_suffix(suffix).write_bytes(drawn.getvalue())


def initial_scoring(correlations: Mapping[str, pd.DataFrame]) -> Figure:
    """Figure 2 left: per oracle (a `spearman_table` each) a bar for every function at iteration 0, mean over seeds."""
    figure = Figure(figsize=(8, 4))
    axes = figure.subplots()
    bars = {oracle: table[table["iteration"] == 0].groupby("function")["spearman"].mean() for oracle, table in correlations.items()}
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
    """Figure 2 right: how each function correlates with `oracle` as edges are decided; band: standard deviation over seeds."""
    return _lines(
        correlations, "iteration", "edges decided", f"Spearman correlation with {oracle}", "Op scores as the search goes on"
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
        mean, spread = grouped.mean(), grouped.std(ddof=0)
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
    """Figure A7: per function (a row) the mean rank of each op and how often it is best, as the chain grows (`mean_ranks`)."""
    table = ranks.assign(length=ranks["space"].str.rsplit("-", n=1).str[-1].astype(int))
    figure = Figure(figsize=(9, 2.6 * len(functions)))
    panels = figure.subplots(len(functions), 2, squeeze=False)
    for row, function in zip(panels, functions, strict=True):
        for axes, column, label in zip(row, ("rank", "picked"), ("mean rank (4 is best)", "edges where it is best"), strict=True):
            for op, rows in table[table["function"] == function].groupby("op", sort=False):
                axes.plot(rows["length"], rows[column], marker="o", label=str(op))
            axes.set_title(f"{function}: {label}", fontsize=9)
            axes.set_xticks(sorted(table["length"].unique()))
    panels[-1][0].set_xlabel("mixed layers L")
    panels[-1][1].set_xlabel("mixed layers L")
    panels[0][1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    return figure


def replay(decisions: pd.DataFrame, places: pd.DataFrame) -> Figure:
    """The decisions of a proposal, first on top: where each edge's ops lie between its worst and best score, and margins.

    `decisions` is a `replay_table`, `places` the `score_places` of the same proposal; what was kept has a dot.
    """
    figure = Figure(figsize=(3.5 + 0.62 * len(places.columns), 1.8 + 0.24 * len(places)))
    heat, margins = figure.subplots(1, 2, sharey=True, width_ratios=(len(places.columns), 3.5))
    image = heat.imshow(places, aspect="auto", cmap="YlGnBu", vmin=0, vmax=1)
    for row, kept in enumerate(decisions["kept"]):
        columns = [places.columns.get_loc(op) for op in kept.split(", ")]
        heat.plot(columns, [row] * len(columns), "o", color="#d95f02", markersize=5)
    heat.set_xticks(range(len(places.columns)), places.columns, rotation=45, ha="right", fontsize=8)
    heat.set_yticks(
        range(len(places)), [f"{d.step}  {d.edge}" for d in decisions[["step", "edge"]].itertuples(index=False)], fontsize=8
    )
    heat.set_ylabel("step and edge")
    heat.set_title("Scores, worst to best of an edge; dot: kept", fontsize=9)
    relative = decisions["relative margin"].fillna(0)
    margins.barh(range(len(places)), relative, color="#1f77b4")
    margins.set_xlim(min(0, relative.min()), 1)
    margins.set_title("margin / spread", fontsize=9)
    figure.colorbar(image, ax=[heat, margins], fraction=0.03, pad=0.02)
    return figure
