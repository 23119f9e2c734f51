"""What a search leaves for people: its tables, a drawing of the best architecture, and how that was decided."""

import math

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from zcpt_ray.reports import search_figures
from zcpt_ray.reports.decision_tables import BELOW_ZERO, replay_table, score_places
from zcpt_ray.reports.drawings import architecture
from zcpt_ray.reports.figures import save_figure
from zcpt_ray.reports.tables import (
    BENCHMARK_TITLE,
    COSTS_TITLE,
    PARETO_TITLE,
    amounts_of,
    benchmark_table,
    candidate_table,
    cost_table,
    pareto_table,
    write_table,
)
from zcpt_ray.reports.terminal import print_table
from zcpt_ray.resources import column_of
from zcpt_ray.search.records import Proposal, SearchResult
from zcpt_ray.search.run_files import read_proposals
from zcpt_ray.spaces import Space
from zcpt_ray.storage.paths import AnyPath

SHOWN_CANDIDATES = 20
"""How many candidates the terminal shows."""
SHOWN_DECISIONS = 8
"""How many decisions the terminal shows."""


def print_result(result: SearchResult, console: Console, table_note: str = "", partial_table: bool = False) -> None:
    """Print the candidates, the best, what the search cost, and what the benchmark knows of the best.

    `table_note` is printed where the benchmark knows nothing of it: why that is so, and what to do. With
    `partial_table`, a table that lacks some architectures, also how many candidates it knows.
    """
    candidates = candidate_table(result)
    print_table(console, candidates.head(SHOWN_CANDIDATES), "Candidates, best first")
    if len(candidates) > SHOWN_CANDIDATES:
        _say(console, f"{len(candidates) - SHOWN_CANDIDATES} more in candidates.parquet")
    if result.config.limits:
        print_table(console, pareto_table(result), PARETO_TITLE)
    for line in doubts(result):
        _say(console, line)
    _say(console, f"Best: {result.best.arch}")
    seconds = ", ".join(f"{phase} {value:.1f} s" for phase, value in result.seconds.items())
    console.print(f"{result.num_evaluations} proxy evaluations; {seconds}")
    if result.benchmark:
        print_table(console, benchmark_table(result.benchmark), BENCHMARK_TITLE)
    elif table_note:
        _say(console, table_note)
    if partial_table and result.num_known is not None:
        known = f"{result.num_known} of {len(result.candidates)} distinct candidates"
        console.print(f"Coverage: the partial table knows {known}; ranks are within it")


def doubts(result: SearchResult) -> list[str]:
    """What scores could not tell apart in a search, in words."""
    lines = []
    if result.left_out:
        lines.append(
            f"{result.left_out} of {result.config.num_validations} minibatches left out: no candidate has a finite"
            " score on them"
        )
    if result.tied:
        lines.append(
            f"{result.tied} of {result.num_decisions} decisions were between ops of equal scores: the op with more"
            " parameters was kept"
        )
    if not result.told_apart:
        lines.append(
            f"Nothing told the ops or the candidates apart: the scores of {result.config.proxy} on"
            f" {result.config.dataset} are all equal or infinite, and what is called best is no finding"
        )
    return lines


def report_best(result: SearchResult, space: Space, directory: AnyPath, console: Console, anew: bool = False) -> None:
    """Print what the best architecture of a run costs and how it was decided; draw both.

    In the run directory: `best` (.png, .svg), `candidates` (.png, .svg) where there are several with scores, and,
    unless a baseline found it, `replay` (tables and figure). What is there already is left as it is, unless all is to
    be made `anew`.

    Raises:
        UserError: a stored proposal is damaged.
    """
    if result.costs:
        print_table(console, cost_table(result.costs), COSTS_TITLE)
    if anew or not (directory / "best.svg").exists():
        save_figure(best_figure(result, space), directory / "best")
    _say(console, f"Drawing: {directory / 'best.png'} (and .svg)")
    if _compares(result):
        if anew or not (directory / "candidates.svg").exists():
            save_figure(candidates_figure(result), directory / "candidates")
        _say(console, f"Scores as proposals came, and against size: {directory / 'candidates.png'} (and .svg)")
    found_by = [each for each in read_proposals(directory) if each.index == result.best.first_proposal]
    for proposal in found_by:
        _report_decisions(proposal, space, directory, console, anew)


def _report_decisions(proposal: Proposal, space: Space, directory: AnyPath, console: Console, anew: bool) -> None:
    table = replay_table(proposal, space.edge_titles)
    if table.empty:
        return
    if anew or not (directory / "replay.svg").exists():
        write_table(table, directory / "replay")
        save_figure(search_figures.replay(table, score_places(proposal)), directory / "replay")
    print_table(console, table.head(SHOWN_DECISIONS), f"How proposal {proposal.index} decided")
    if (table["margin"] < 0).any():
        console.print(BELOW_ZERO)
    left = f"{len(table) - SHOWN_DECISIONS} more decisions in" if len(table) > SHOWN_DECISIONS else "Also in"
    _say(console, f"{left} {directory / 'replay.md'} (.csv, .tex, .parquet); figure: replay.png (and .svg)")


def best_figure(result: SearchResult, space: Space) -> Figure:
    """The drawing of the best architecture."""
    ops = [op for edge in space.edges for op in edge.candidates]
    title = f"{space.name}, best of {len(result.candidates)} candidate{'s' if len(result.candidates) > 1 else ''}"
    return architecture(space.graphs(space.decode(result.best.arch)), title, ops)


def candidates_figure(result: SearchResult) -> Figure:
    """Scores as proposals came, and against parameters and what the search limits."""
    sizes = [column_of("params_m"), *(column_of(name) for name in result.best.resources if name != "params_m")]
    table = pd.DataFrame([{**each.row, **amounts_of(each)} for each in result.candidates])
    return search_figures.candidates(table, sizes)


def _compares(result: SearchResult) -> bool:
    """Whether several candidates have scores."""
    return result.config.num_validations > 0 and sum(math.isfinite(each.score) for each in result.candidates) > 1


def replay_figure(proposal: Proposal, space: Space) -> Figure | None:
    """How a proposal was decided, edge by edge; None for one of a baseline, which does not decide so."""
    table = replay_table(proposal, space.edge_titles)
    return None if table.empty else search_figures.replay(table, score_places(proposal))


def _say(console: Console, line: str) -> None:
    """Print a line as it is, however long: to be copied, without breaks and colours, whatever brackets it has."""
    console.print(line, highlight=False, soft_wrap=True, markup=False)
