"""What a search leaves for people: a drawing of the best architecture, and how it was decided."""

import pandas as pd
from rich.console import Console

from zcpt_ray.drawings import architecture
from zcpt_ray.files import AnyPath
from zcpt_ray.plots import replay, save_figure
from zcpt_ray.records import RunStore, SearchResult
from zcpt_ray.results import BELOW_ZERO, cost_table, readable, replay_table, score_places, terminal_table, write_table
from zcpt_ray.spaces import find_space

LINES = 8
"""How many decisions the terminal shows."""


def report_best(result: SearchResult, directory: AnyPath, console: Console, anew: bool = False) -> None:
    """Print what the best architecture of a run costs, how it was decided, and where the drawings are; make what is not there yet,
    or all `anew`.

    In the run directory: `best` (.png, .svg) and, unless a baseline found it, `replay` (tables and figure).
    """
    if result.costs:
        console.print(terminal_table(cost_table(result.costs), "The best candidate's networks"))
    space = find_space(result.config.space)
    if anew or not (directory / "best.svg").exists():
        ops = [op for edge in space.edges for op in edge.candidates]
        title = f"{space.name}, best of {len(result.candidates)} candidate{'s' if len(result.candidates) > 1 else ''}"
        save_figure(architecture(space.graphs(space.decode(result.best.arch)), title, ops), directory / "best")
    console.print(f"Drawing: {directory / 'best.png'} (and .svg)", soft_wrap=True)
    proposal = RunStore(result.config, directory).proposals.get(result.best.first_proposal)
    table = replay_table(proposal, space.edge_titles) if proposal else pd.DataFrame()
    if proposal is None or table.empty:
        return
    if anew or not (directory / "replay.svg").exists():
        write_table(table, directory / "replay")
        save_figure(replay(table, score_places(proposal)), directory / "replay")
    console.print(terminal_table(readable(table.head(LINES)), f"How proposal {proposal.index} decided"))
    if (table["margin"] < 0).any():
        console.print(BELOW_ZERO)
    left = f"{len(table) - LINES} more decisions in" if len(table) > LINES else "Also in"
    console.print(f"{left} {directory / 'replay.md'} (.csv, .tex, .parquet); figure: replay.png (and .svg)", soft_wrap=True)
