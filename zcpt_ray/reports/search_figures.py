"""Figures of one search, from its tables: what it found, and how it decided."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BEST_COLOUR = "#d95f02"
OTHERS_COLOUR = "#1f77b4"


def candidates(table: pd.DataFrame, sizes: Sequence[str]) -> Figure:
    """What a search found: its best score as proposals are made, and scores against each of `sizes`, with the front.

    `table` has a row per candidate, best first: `score`, `first_proposal`, `times_proposed` (0 for a neighbour, which
    is drawn hollow), and a column for each size. Scores that are not finite are left out.
    """
    table = table[np.isfinite(table["score"])]
    figure = Figure(figsize=(4.2 * (1 + len(sizes)), 3.6), layout="constrained")
    panels = figure.subplots(1, 1 + len(sizes), sharey=True, squeeze=False)[0]
    table = table.assign(made=table["first_proposal"] + 1)
    for axes, column, label in zip(panels, ("made", *sizes), ("proposals made", *sizes), strict=True):
        _scores_against(axes, table, column)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    panels[0].xaxis.get_major_locator().set_params(integer=True)
    panels[0].set_ylabel("score, greater is better")
    panels[0].set_title("Best so far", fontsize=10)
    for axes in panels[1:]:
        axes.set_title("Best for its size", fontsize=10)
    panels[0].legend(fontsize=8, loc="lower right")
    return figure


def _scores_against(axes: Axes, table: pd.DataFrame, column: str) -> None:
    """Every candidate, the best up to each value of the column, and the one that the search chose."""
    proposed = table["times_proposed"] > 0
    for rows, face, label in ((table[proposed], OTHERS_COLOUR, "proposed"), (table[~proposed], "none", "neighbour")):
        if len(rows):
            axes.scatter(rows[column], rows["score"], s=24, facecolors=face, edgecolors=OTHERS_COLOUR, label=label)
    rising = table.sort_values([column, "score"])
    axes.step(rising[column], rising["score"].cummax(), where="post", color=OTHERS_COLOUR, linewidth=1)
    chosen = table.iloc[:1]
    axes.scatter(chosen[column], chosen["score"], s=110, marker="*", color=BEST_COLOUR, zorder=3, label="chosen")


def replay(decisions: pd.DataFrame, places: pd.DataFrame) -> Figure:
    """The decisions of a proposal, first on top: where ops lie between the worst and best score, and margins.

    `decisions` is a `replay_table`, `places` the `score_places` of the same proposal; what was kept has a dot.
    """
    figure = Figure(figsize=(3.5 + 0.62 * len(places.columns), 1.8 + 0.24 * len(places)))
    heat, margins = figure.subplots(1, 2, sharey=True, width_ratios=(len(places.columns), 3.5))
    image = heat.imshow(places, aspect="auto", cmap="YlGnBu", vmin=0, vmax=1)
    for row, kept in enumerate(decisions["kept"]):
        columns = [places.columns.get_loc(op) for op in kept.split(", ")]
        heat.plot(columns, [row] * len(columns), "o", color=BEST_COLOUR, markersize=5)
    heat.set_xticks(range(len(places.columns)), places.columns, rotation=45, ha="right", fontsize=8)
    heat.set_yticks(
        range(len(places)),
        [f"{d.step}  {d.edge}" for d in decisions[["step", "edge"]].itertuples(index=False)],
        fontsize=8,
    )
    heat.set_ylabel("step and edge")
    heat.set_title("Scores, worst to best of an edge; dot: kept", fontsize=9)
    relative = decisions["relative margin"].fillna(0)
    margins.barh(range(len(places)), relative, color=OTHERS_COLOUR)
    margins.set_xlim(min(0, relative.min()), 1)
    margins.set_title(
        "margin / spread" + ("\n(below 0: kept for the budget)" if (relative < 0).any() else ""), fontsize=9
    )
    figure.colorbar(image, ax=[heat, margins], fraction=0.03, pad=0.02)
    return figure
