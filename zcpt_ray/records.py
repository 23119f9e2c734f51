"""What a search leaves behind: proposals, scores, the result, and the run directory that holds them.

A run directory can be left at any moment, by a kill too, and taken up again: each accepted proposal and each slice of validation
scores is a file of its own, whole or not there at all.
"""

import dataclasses
import hashlib
import math
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import pandas as pd

from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.files import AnyPath, whole_file
from zcpt_ray.run_directory import claim_directory, read_json, write_json

SLICE = 10
"""Validation minibatches that are scored and stored together."""
EXTENDABLE = ("num_proposals", "num_validations")
"""In what the configurations that share a run directory may differ: what one has computed the others take from there."""

PARTS = ("proposals", "validations")


@dataclass(frozen=True)
class Decision:
    """An edge, the ops it kept, and the score of each of its ops at that moment; `step` counts the minibatches of the proposal."""

    step: int
    edge: str
    kept: tuple[str, ...]
    scores: dict[str, float]


@dataclass(frozen=True)
class Proposal:
    """One discretization of the whole supernet: the encoded architecture and how it came about."""

    index: int
    arch: str
    decisions: tuple[Decision, ...]
    num_evaluations: int
    seconds: float


@dataclass(frozen=True)
class Validation:
    """What the proxy measured of one architecture end to end, by index of the validation minibatch."""

    arch: str
    measures: dict[int, tuple[float, ...]]
    seconds: float


@dataclass(frozen=True)
class ScoredCandidate:
    """A distinct proposed architecture; `score` is the sum of its end-to-end scores over the V minibatches, 0 where V = 0.

    `params` and `flops` (multiply-adds on one image) are those of the network that one would train.
    """

    arch: str
    score: float
    times_proposed: int
    first_proposal: int
    params: int
    flops: int


@dataclass(frozen=True)
class SearchResult:
    """The outcome: `candidates` best first. `seconds` are worker seconds per phase, and `wall` for the last call of the run.

    `benchmark` is what a tabular benchmark knows of the best architecture: empty if that is not in it, None without a table.
    `num_known` is how many of the candidates are in it. `costs`: parameters and multiply-adds of the networks that the best
    architecture makes, by what they are for. `resources`: the CPUs and the share of a GPU that each task of
    the last call had; a trial of a grid, which does not know its share, counts a GPU as whole.
    """

    config: SearchConfig
    best: ScoredCandidate
    candidates: tuple[ScoredCandidate, ...]
    num_evaluations: int
    seconds: dict[str, float]
    benchmark: dict[str, Any] | None
    versions: dict[str, str]
    num_known: int | None = None
    costs: dict[str, dict[str, int]] = field(default_factory=dict)
    resources: dict[str, float] = field(default_factory=dict)

    def save(self, directory: AnyPath) -> None:
        """Write `result.json` and `candidates.parquet`."""
        with whole_file(directory / "candidates.parquet") as temporary:
            pd.DataFrame([dataclasses.asdict(c) for c in self.candidates]).to_parquet(temporary)
        write_json(directory / "result.json", dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "SearchResult":
        """From what `dataclasses.asdict` gives.

        Raises:
            KeyError, TypeError, ValueError, UserError: it is none of this version.
        """
        config, candidates = SearchConfig.from_dict(raw["config"]), tuple(map(_candidate, raw["candidates"]))
        return cls(**{**raw, "config": config, "best": _candidate(raw["best"]), "candidates": candidates})

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
    """How far a search is. `validations_total` grows while proposals bring new candidates.

    `scores` are those that proposals have taken, the ones under way included.
    """

    proposals_done: int
    proposals_total: int
    validations_done: int
    validations_total: int
    scores: int


class RunStore:
    """What a run has computed so far: in memory and, where there is a directory, on disk.

    Adding what is there already changes nothing, so callers may repeat themselves. A directory serves any N and V: a store has of
    what is there the first N proposals, and their scores on the first V minibatches.

    Raises:
        UserError: the directory cannot be written, belongs to another configuration or to something else, or is damaged.
    """

    def __init__(self, config: SearchConfig, directory: AnyPath | None = None) -> None:
        self.config = config
        self.directory = directory
        self.proposals: dict[int, Proposal] = {}
        self.validations: dict[tuple[str, int], Validation] = {}
        if directory:
            self._open(directory)

    def add_proposal(self, proposal: Proposal) -> None:
        """Accept a proposal; on disk before this returns."""
        if proposal.index not in self.proposals:
            if self.directory:
                write_json(self.directory / "proposals" / f"{proposal.index:05d}.json", dataclasses.asdict(proposal))
            self.proposals[proposal.index] = proposal

    def add_validation(self, validation: Validation) -> None:
        """Accept a slice of scores; on disk before this returns."""
        start = min(validation.measures)
        if len(validation.measures) > self._num_measured(validation.arch, start):
            if self.directory:
                digest = hashlib.blake2b(validation.arch.encode(), digest_size=8).hexdigest()
                write_json(self.directory / "validations" / f"{digest}-{start:05d}.json", dataclasses.asdict(validation))
            self.validations[validation.arch, start] = validation

    def missing_proposals(self) -> list[int]:
        """Indices of the proposals that are not there yet."""
        return [index for index in range(self.config.num_proposals) if index not in self.proposals]

    def missing_slices(self) -> list[tuple[str, range]]:
        """Architecture and minibatch indices of the validation still to do for the candidates known so far."""
        total = self.config.num_validations
        archs = dict.fromkeys(proposal.arch for proposal in self.proposals.values())
        slices = [(arch, range(start, min(start + SLICE, total))) for arch in archs for start in range(0, total, SLICE)]
        return [(arch, part) for arch, part in slices if self._num_measured(arch, part.start) < len(part)]

    def _num_measured(self, arch: str, start: int) -> int:
        validation = self.validations.get((arch, start))
        return len(validation.measures) if validation else 0

    def progress(self, under_way: int = 0) -> Progress:
        """What is done, and what is known to be left; `under_way` are the scores of proposals that are not finished."""
        archs = {proposal.arch for proposal in self.proposals.values()}
        done = sum(len(validation.measures) for validation in self._valid())
        scores = sum(proposal.num_evaluations for proposal in self.proposals.values()) + under_way
        total = len(archs) * self.config.num_validations
        return Progress(len(self.proposals), self.config.num_proposals, done, total, scores)

    def _valid(self) -> list[Validation]:
        """The validations of architectures that are proposed: a proposal that was deleted and came out otherwise leaves others."""
        archs = {proposal.arch for proposal in self.proposals.values()}
        return [validation for validation in self.validations.values() if validation.arch in archs]

    def result(
        self, wall: float, combine: Callable[[Sequence[tuple[float, ...]]], list[float]], cost: Callable[[str], tuple[int, int]]
    ) -> SearchResult:
        """Rank the candidates by score, then by how often they were proposed, then by who came first.

        `combine` turns what was measured of all of them on one minibatch into their scores on it (`Proxy.combine`); `cost` gives
        the parameters and multiply-adds of one.
        """
        assert not self.missing_proposals()
        assert not self.missing_slices()
        times = Counter(proposal.arch for proposal in self.proposals.values())
        first = {arch: min(p.index for p in self.proposals.values() if p.arch == arch) for arch in times}
        measured: dict[int, dict[str, tuple[float, ...]]] = {index: {} for index in range(self.config.num_validations)}
        for validation in self._valid():
            for index, values in validation.measures.items():
                measured[index][validation.arch] = values
        scores: dict[str, list[float]] = {arch: [] for arch in times}
        for values_of in measured.values():
            for arch, score in zip(times, combine([values_of[arch] for arch in times]), strict=True):
                scores[arch].append(score)
        candidates = [ScoredCandidate(arch, math.fsum(scores[arch]), times[arch], first[arch], *cost(arch)) for arch in times]
        candidates.sort(key=lambda c: (-c.score, -c.times_proposed, c.first_proposal))
        op_scores = sum(proposal.num_evaluations for proposal in self.proposals.values())
        seconds = {
            "propose": sum(proposal.seconds for proposal in self.proposals.values()),
            "validate": sum(validation.seconds for validation in self._valid()),
            "wall": wall,
        }
        evaluations = op_scores + self.progress().validations_done
        return SearchResult(self.config, candidates[0], tuple(candidates), evaluations, seconds, None, versions())

    def _open(self, directory: AnyPath) -> None:
        try:
            claim_directory(directory, dataclasses.asdict(self.config), EXTENDABLE, lambda: _is_unused(directory))
            for name in PARTS:
                (directory / name).mkdir(exist_ok=True)
            proposals = [_parse(path, _proposal) for path in _files(directory / "proposals")]
            validations = [_parse(path, _validation) for path in _files(directory / "validations")]
        except OSError as error:
            raise UserError(f"cannot use the run directory {directory}: {error}") from error
        self.proposals = {p.index: p for p in proposals if p.index < self.config.num_proposals}
        shared = [first_measures(validation, self.config.num_validations) for validation in validations]
        self.validations = {(v.arch, min(v.measures)): v for v in shared if v.measures}


def _is_unused(directory: AnyPath) -> bool:
    return not any(_files(directory / name) for name in PARTS) and not (directory / "result.json").exists()


def first_measures(validation: Validation, count: int) -> Validation:
    """What it has of the first `count` minibatches, and that part of the seconds."""
    measures = {index: values for index, values in validation.measures.items() if index < count}
    return dataclasses.replace(validation, measures=measures, seconds=validation.seconds * len(measures) / len(validation.measures))


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in ("zcpt_ray", "torch", "numpy")}


def _candidate(raw: dict[str, Any]) -> ScoredCandidate:
    return ScoredCandidate(**{**raw, "score": float(raw["score"])})


def _proposal(raw: dict[str, Any]) -> Proposal:
    decisions = tuple(Decision(d["step"], d["edge"], tuple(d["kept"]), _floats(d["scores"])) for d in raw["decisions"])
    return Proposal(raw["index"], raw["arch"], decisions, raw["num_evaluations"], raw["seconds"])


def _validation(raw: dict[str, Any]) -> Validation:
    if not raw["measures"]:
        raise ValueError("no measures")
    measures = {int(index): tuple(float(value) for value in values) for index, values in raw["measures"].items()}
    return Validation(raw["arch"], measures, raw["seconds"])


def _floats(scores: dict[str, Any]) -> dict[str, float]:
    return {op: float(score) for op, score in scores.items()}


def _files(directory: AnyPath) -> list[AnyPath]:
    return sorted(directory.glob("*.json"), key=str)


def _parse(path: AnyPath, parse: Any) -> Any:
    try:
        return parse(read_json(path))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error!r}); delete it to have it computed again") from error
