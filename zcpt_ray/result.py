"""What a search found, with its tables and figures: what `zc.search` gives."""

import base64
import html
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from zcpt_ray.benchmarks.entries import BenchmarkRow
from zcpt_ray.configs import SearchConfig
from zcpt_ray.reports.figures import drawn, save_figure
from zcpt_ray.reports.search_report import best_figure, replay_figure
from zcpt_ray.reports.tables import candidate_table
from zcpt_ray.search.records import Proposal, ScoredCandidate, SearchResult, op_scores
from zcpt_ray.search.run_files import read_proposals
from zcpt_ray.spaces import Space
from zcpt_ray.storage.paths import AnyPath, any_path


@dataclass(frozen=True)
class ResultFigure:
    """The drawing of the best architecture, and the replay of its decisions (None where a baseline proposed it)."""

    drawing: Figure
    replay: Figure | None

    def save(self, stem: str | AnyPath) -> None:
        """As `stem`-drawing and `stem`-replay, .png and .svg each."""
        place = any_path(stem)
        for name, figure in (("drawing", self.drawing), ("replay", self.replay)):
            if figure is not None:
                save_figure(figure, place.parent / f"{place.name}-{name}")

    def _repr_html_(self) -> str:
        figures = [figure for figure in (self.drawing, self.replay) if figure is not None]
        pictures = (base64.b64encode(drawn(figure, "png")).decode() for figure in figures)
        return "".join(f'<img style="max-width: 100%" src="data:image/png;base64,{picture}">' for picture in pictures)


@dataclass(frozen=True)
class Result:
    """What a search found. `record` is all that is stored of it, `directory` where that is."""

    record: SearchResult
    directory: AnyPath
    space: Space

    @property
    def config(self) -> SearchConfig:
        """What was searched, and how."""
        return self.record.config

    @property
    def best(self) -> ScoredCandidate:
        """The candidate with the greatest score: `.arch`, `.score`, `.params`, `.flops`."""
        return self.record.best

    @property
    def candidates(self) -> tuple[ScoredCandidate, ...]:
        """All distinct candidates, best first."""
        return self.record.candidates

    @property
    def benchmark(self) -> BenchmarkRow | None:
        """What a tabular benchmark knows of the best: `.error("cifar10")`; empty if not in it, None without a table."""
        return self.record.benchmark

    @property
    def proposals(self) -> list[Proposal]:
        """The N proposals, with the scores behind each decision.

        Raises:
            UserError: a file of the run directory is damaged.
        """
        return read_proposals(self.directory)[: self.config.num_proposals]

    def to_frame(self) -> pd.DataFrame:
        """One row per candidate, best first: `arch`, `score`, `times_proposed`, `first_proposal`, `params`, `flops`."""
        return self.record.to_frame()

    def op_scores(self) -> pd.DataFrame:
        """One row per op that was scored for a decision: `proposal`, `step`, `edge`, `op`, `score`, `kept`."""
        return op_scores(self.proposals)

    def figure(self) -> ResultFigure:
        """The drawing of the best architecture and the replay of its decisions; notebooks show them."""
        first = next((p for p in self.proposals if p.index == self.best.first_proposal), None)
        replay = replay_figure(first, self.space) if first else None
        return ResultFigure(best_figure(self.record, self.space), replay)

    def _repr_html_(self) -> str:
        title = f"{self.config.space} on {self.config.dataset}, best: {self.best.arch}"
        table = candidate_table(self.record).to_html(index=False)
        return f"<p>{html.escape(title)}</p>{table}{self.figure()._repr_html_()}"

    def __repr__(self) -> str:
        return f"Result({self.best.arch!r}, best of {len(self.candidates)} candidates, {str(self.directory)!r})"
