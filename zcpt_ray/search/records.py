"""What a search leaves behind: decisions, proposals, validation scores, and the result."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from zcpt_ray.benchmarks.entries import BenchmarkRow
from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.identity import run_name
from zcpt_ray.storage.paths import AnyPath, whole_file
from zcpt_ray.storage.run_directory import CHECKSUM, read_json, write_json


@dataclass(frozen=True)
class Decision:
    """An edge, the ops it kept, and the score of each of its ops at that moment.

    `step` counts the minibatches of the proposal. Where the scores are ranks (tenas, aggregates), `cohort` says among
    how many ops; otherwise it is 0.
    """

    step: int
    edge: str
    kept: tuple[str, ...]
    scores: dict[str, float]
    cohort: int = 0

    @classmethod
    def from_dict(cls, raw: Any) -> "Decision":
        """The inverse of `dataclasses.asdict`, as JSON holds it.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        fields = _fields(cls, raw, {"cohort": 0}, step=int, edge=str, kept=list, scores=dict, cohort=int)
        scores = {_of_kind(op, str): float(score) for op, score in raw["scores"].items()}
        return cls(**{**fields, "kept": tuple(_of_kind(op, str) for op in raw["kept"]), "scores": scores})


@dataclass(frozen=True)
class Proposal:
    """One discretization of the whole supernet: the encoded architecture and how it came about."""

    index: int
    arch: str
    decisions: tuple[Decision, ...]
    num_evaluations: int
    seconds: float

    @classmethod
    def from_dict(cls, raw: Any) -> "Proposal":
        """As `Decision.from_dict`."""
        fields = _fields(cls, raw, {}, index=int, arch=str, decisions=list, num_evaluations=int, seconds=float)
        return cls(**{**fields, "decisions": tuple(map(Decision.from_dict, raw["decisions"]))})


@dataclass(frozen=True)
class ScoredStep:
    """What a step of a proposal under way was decided by, so that it need not be scored again.

    `turn` counts the decisions of a step that are rated one after another; `scores` are those of the ops of an edge, by
    its index; `seconds` those that the proposal had taken by then; `cohorts` as in `Decision`, by edge.
    """

    index: int
    step: int
    turn: int
    scores: dict[int, list[float]]
    seconds: float
    cohorts: dict[int, int] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, raw: Any) -> "ScoredStep":
        """As `Decision.from_dict`."""
        kinds = {"index": int, "step": int, "turn": int, "scores": dict, "seconds": float, "cohorts": dict}
        fields = _fields(cls, raw, {"cohorts": {}}, **kinds)
        scores = {int(edge): list(map(float, values)) for edge, values in raw["scores"].items()}
        cohorts = {int(edge): _of_kind(count, int) for edge, count in fields["cohorts"].items()}
        return cls(**{**fields, "scores": scores, "cohorts": cohorts})


@dataclass(frozen=True)
class Validation:
    """What the proxy measured of one architecture end to end, by index of the validation minibatch."""

    arch: str
    measures: dict[int, tuple[float, ...]]
    seconds: float

    @classmethod
    def from_dict(cls, raw: Any) -> "Validation":
        """As `Decision.from_dict`."""
        fields = _fields(cls, raw, {}, arch=str, measures=dict, seconds=float)
        measures = {int(index): tuple(map(float, values)) for index, values in raw["measures"].items()}
        if not measures or min(measures) < 0:
            raise ValueError(f"scores on the minibatches {list(measures)}")
        return cls(**{**fields, "measures": measures})


@dataclass(frozen=True)
class ScoredCandidate:
    """A distinct proposed architecture.

    `score` is the sum of its end-to-end scores over the V minibatches, 0 where V = 0; of one that left a race after
    fewer `minibatches`, as if it had gone on like that. `times_proposed` is 0 for a neighbour, `first_proposal` that of
    the candidate that it is the neighbour of.
    `params` and `flops` (multiply-adds on one image) are those of the network that one would train, `resources` what
    that takes up of those that the search limits, by their names in `RESOURCES`. `finalist_accuracy` [%] is that on
    held-out training images after a few epochs, of a finalist.
    """

    arch: str
    score: float
    times_proposed: int
    first_proposal: int
    params: int
    flops: int
    minibatches: int = 0
    finalist_accuracy: float | None = None
    resources: Mapping[str, float] = field(default_factory=dict)

    @property
    def row(self) -> dict[str, Any]:
        """As a table has it: a column for each resource."""
        plain = {name: value for name, value in vars(self).items() if name != "resources"}
        if self.finalist_accuracy is None:
            del plain["finalist_accuracy"]
        return plain | dict(self.resources)


@dataclass(frozen=True)
class SearchResult:
    """The outcome of a search: its `candidates`, best first.

    `seconds` are those of the workers per phase (propose, validate, finalists where there are some), and `wall` those
    of the last call by the clock.
    `benchmark` is what a tabular benchmark knows of the best architecture: empty if that is not in it, None without a
    table. `num_known` is how many of the candidates are in it. `costs`: parameters and multiply-adds of the networks
    that the best architecture makes, by what they are for. `resources`: the CPUs and the share of a GPU that each task
    of the last call had; a trial of a grid, which does not know its share, counts a GPU as whole.
    `own`: as `Search.own`. `left_out` are the minibatches on which no candidate had a finite score, which count for
    none. Of the `num_decisions` of all proposals `tied` were between ops with equal scores, as infinite ones are.
    """

    config: SearchConfig
    best: ScoredCandidate
    candidates: tuple[ScoredCandidate, ...]
    num_evaluations: int
    seconds: dict[str, float]
    benchmark: BenchmarkRow | None
    versions: dict[str, str]
    num_known: int | None = None
    costs: dict[str, dict[str, int]] = field(default_factory=dict)
    resources: dict[str, float] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)
    left_out: int = 0
    num_decisions: int = 0
    tied: int = 0

    @property
    def num_distinct(self) -> int:
        """How many different architectures were proposed; neighbours that joined them do not count."""
        return sum(candidate.times_proposed > 0 for candidate in self.candidates)

    @property
    def told_apart(self) -> bool:
        """Whether scores had anything to do with what was found."""
        all_tied = 0 < self.num_decisions == self.tied
        return not all_tied and any(math.isfinite(candidate.score) for candidate in self.candidates)

    @property
    def task_seconds(self) -> float:
        """What its tasks took, the trainings of finalists included."""
        return sum(self.seconds.get(phase, 0.0) for phase in ("propose", "validate", "finalists"))

    @property
    def run_id(self) -> str:
        """That of its `Search`."""
        return run_name(self.config, self.own)

    def save(self, directory: AnyPath) -> None:
        """Write `result.json` and `candidates.parquet`."""
        with whole_file(directory / "candidates.parquet") as temporary:
            self.to_frame().to_parquet(temporary)
        write_json(directory / "result.json", self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        plain = dataclasses.asdict(dataclasses.replace(self, benchmark=None))
        return plain | {"benchmark": None if self.benchmark is None else self.benchmark.to_dict()}

    def to_frame(self) -> pd.DataFrame:
        """One row per candidate, best first: the fields of `ScoredCandidate`, and the resources that are limited.

        How many minibatches each was scored on is told of a race.
        """
        table = pd.DataFrame([candidate.row for candidate in self.candidates])
        return table if self.config.validation == "race" else table.drop(columns="minibatches")

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "SearchResult":
        """The inverse of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError, UserError: it is none of this version.
        """
        config, candidates = SearchConfig.from_dict(raw["config"]), tuple(map(_candidate, raw["candidates"]))
        raw = {name: value for name, value in raw.items() if name != CHECKSUM}
        benchmark = None if raw["benchmark"] is None else BenchmarkRow.from_dict(raw["benchmark"])
        best = _candidate(raw["best"])
        return cls(**{**raw, "config": config, "best": best, "candidates": candidates, "benchmark": benchmark})

    @classmethod
    def load(cls, directory: AnyPath) -> "SearchResult":
        """Read `result.json`.

        Raises:
            UserError: there is none, or it is damaged.
        """
        raw = read_json(directory / "result.json")
        try:
            return cls.from_dict(raw)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{directory / 'result.json'} is no result of this version: {error!r}") from error


@dataclass(frozen=True)
class Progress:
    """How far a search is. `validations_total` grows while there are new candidates, and in a race with each round.

    `scores` are those that proposals have taken, the ones under way included; `settled` says whether there is a winner.
    """

    proposals_done: int
    proposals_total: int
    validations_done: int
    validations_total: int
    scores: int
    settled: bool = True

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        proposed = self.proposals_done == self.proposals_total
        return proposed and self.validations_done == self.validations_total and self.settled


def _fields(record: type, raw: Any, later: Mapping[str, Any], **kinds: type) -> dict[str, Any]:
    """The values of a record that JSON held, each of its kind; numbers are not negative.

    Records once did not have the fields `later`, which gives what they stood for.

    Raises:
        KeyError, TypeError, ValueError: one is missing, or of another kind, or there are more.
    """
    if unknown := set(_of_kind(raw, dict)) - set(kinds):
        raise ValueError(f"{record.__name__} has no {', '.join(sorted(unknown))}")
    raw = {**later, **raw}
    values = {name: _of_kind(raw[name], kind) for name, kind in kinds.items()}
    if negative := [name for name, value in values.items() if isinstance(value, int | float) and not value >= 0]:
        raise ValueError(f"{negative[0]} is {values[negative[0]]}")
    return values


def _of_kind(value: Any, kind: type) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _candidate(raw: dict[str, Any]) -> ScoredCandidate:
    return ScoredCandidate(**{**raw, "score": float(raw["score"])})


def op_scores(proposals: Sequence[Proposal]) -> pd.DataFrame:
    """One row per op that was scored for a decision: `proposal`, `step`, `edge`, `op`, `score`, `kept` (bool)."""
    rows = [
        (proposal.index, decision.step, decision.edge, op, score, op in decision.kept)
        for proposal in proposals
        for decision in proposal.decisions
        for op, score in decision.scores.items()
    ]
    return pd.DataFrame(rows, columns=["proposal", "step", "edge", "op", "score", "kept"])
