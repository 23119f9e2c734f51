"""What a run has computed so far, in memory and in its directory.

A run directory can be left at any moment, by a kill too, and taken up again: each accepted proposal and each slice of
validation scores is a file of its own, whole or not there at all.
"""

import dataclasses
import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from zcpt_ray.errors import UserError
from zcpt_ray.identity import digest
from zcpt_ray.search.records import Decision, Progress, Proposal, ScoredCandidate, SearchResult, Validation
from zcpt_ray.search.resolved import Search
from zcpt_ray.spaces.costs import Cost
from zcpt_ray.storage.paths import AnyPath
from zcpt_ray.storage.run_directory import claim_directory, read_json, write_json
from zcpt_ray.versions import versions

VALIDATION_SLICE = 10
"""Validation minibatches that are scored and stored together."""
EXTENDABLE = ("num_proposals", "num_validations")
"""In what searches that share a run directory may differ: what one has computed the others take from there."""
PROPOSALS, VALIDATIONS = "proposals", "validations"
"""The folders of a run directory."""

T = TypeVar("T")


class RunStore:
    """What a run has computed so far: in memory and, where there is a directory, on disk.

    Adding what is there already changes nothing, so callers may repeat themselves. A directory serves any N and V: a
    store has of what is there the first N proposals, and their scores on the first V minibatches.

    `shared` is a folder of validation scores for all searches of a grid or a comparison: whichever asks for the same
    (space, data set, proxy, batch size, seed, minibatches, architecture) takes what another has computed.

    Raises:
        UserError: the directory cannot be written, belongs to another configuration or something else, or is damaged.
    """

    def __init__(self, search: Search, directory: AnyPath | None = None, shared: AnyPath | None = None) -> None:
        self.search = search
        self.config = search.config
        self.directory = directory
        self.validated = shared / digest(search.scored_by) if shared else directory and directory / VALIDATIONS
        self.is_shared = shared is not None
        self.proposals: dict[int, Proposal] = {}
        self.validations: dict[tuple[str, int], Validation] = {}
        if directory:
            self._open(directory)

    def add_proposal(self, proposal: Proposal) -> None:
        """Accept a proposal; on disk before this returns."""
        if proposal.index not in self.proposals:
            if self.directory:
                path = self.directory / PROPOSALS / f"{proposal.index:05d}.json"
                write_json(path, dataclasses.asdict(proposal))
            self.proposals[proposal.index] = proposal

    def add_validation(self, validation: Validation) -> None:
        """Accept a slice of scores; on disk before this returns."""
        start = min(validation.measures)
        if len(validation.measures) > self._num_measured(validation.arch, start):
            if self.validated:
                write_json(self._path(validation.arch, start), dataclasses.asdict(validation))
            self.validations[validation.arch, start] = validation

    def missing_proposals(self) -> list[int]:
        """Indices of the proposals that are not there yet."""
        return [index for index in range(self.config.num_proposals) if index not in self.proposals]

    def missing_slices(self) -> list[tuple[str, range]]:
        """Architecture and minibatch indices of the validation still to do for the candidates known so far."""
        total, size = self.config.num_validations, VALIDATION_SLICE
        slices = [
            (arch, range(start, min(start + size, total)))
            for arch in self._proposed()
            for start in range(0, total, size)
        ]
        missing = [(arch, part) for arch, part in slices if self._num_measured(arch, part.start) < len(part)]
        return [(arch, part) for arch, part in missing if not self.is_shared or not self._take(arch, part)]

    def progress(self, under_way: int = 0, validating: int = 0) -> Progress:
        """What is done, and what is known to be left.

        `under_way` are the scores of proposals that are not finished, `validating` those of slices that are not.
        """
        done = sum(len(validation.measures) for validation in self._valid()) + validating
        scores = sum(proposal.num_evaluations for proposal in self.proposals.values()) + under_way
        total = len(self._proposed()) * self.config.num_validations
        return Progress(len(self.proposals), self.config.num_proposals, done, total, scores)

    def result(self, wall: float, cost_of: Callable[[str], Cost]) -> SearchResult:
        """Rank the candidates by score, then by how often they were proposed, then by who came first.

        `wall` are the seconds that the last call took; `cost_of` gives what an encoded architecture costs.

        Raises:
            ValueError: proposals or validations are missing.
        """
        if self.missing_proposals() or self.missing_slices():
            raise ValueError("the run is not complete: it has no result yet")
        times = self._proposed()
        first: dict[str, int] = {}
        for index in sorted(self.proposals):
            first.setdefault(self.proposals[index].arch, index)
        scores, left_out = self._scores()
        candidates = []
        for arch, count in times.items():
            cost = cost_of(arch)
            candidates.append(ScoredCandidate(arch, scores[arch], count, first[arch], cost.params, cost.flops))
        candidates.sort(key=lambda c: (-c.score, -c.times_proposed, c.first_proposal))
        seconds = {
            "propose": sum(proposal.seconds for proposal in self.proposals.values()),
            "validate": sum(validation.seconds for validation in self._valid()),
            "wall": wall,
        }
        op_scores = sum(proposal.num_evaluations for proposal in self.proposals.values())
        decisions = [decision for proposal in self.proposals.values() for decision in proposal.decisions]
        evaluations = op_scores + self.progress().validations_done
        return SearchResult(
            self.config,
            candidates[0],
            tuple(candidates),
            evaluations,
            seconds,
            None,
            versions(),
            own=dict(self.search.own),
            left_out=left_out,
            num_decisions=len(decisions),
            tied=sum(len(set(decision.scores.values())) == 1 for decision in decisions),
        )

    def _scores(self) -> tuple[dict[str, float], int]:
        """Per candidate the sum of its scores over the V minibatches, on each compared with all the others.

        Minibatches on which all are infinite, such as those that hold an image twice, are left out, and counted.
        """
        left_out = 0
        measured: dict[int, dict[str, tuple[float, ...]]] = {index: {} for index in range(self.config.num_validations)}
        for validation in self._valid():
            for index, values in validation.measures.items():
                measured[index][validation.arch] = values
        scores: dict[str, list[float]] = {arch: [] for arch in self._proposed()}
        for values_of in measured.values():
            combined = self.search.proxy.combine([values_of[arch] for arch in scores])
            if not any(map(math.isfinite, combined)):
                left_out += 1
                continue
            for arch, score in zip(scores, combined, strict=True):
                scores[arch].append(score)
        none_left = 0 < left_out == len(measured)
        sums = {arch: -math.inf if none_left else math.fsum(values) for arch, values in scores.items()}
        return sums, left_out

    def _proposed(self) -> Counter[str]:
        """How often each candidate was proposed, in the order in which they came."""
        return Counter(proposal.arch for proposal in self.proposals.values())

    def _num_measured(self, arch: str, start: int) -> int:
        validation = self.validations.get((arch, start))
        return len(validation.measures) if validation else 0

    def _path(self, arch: str, start: int) -> AnyPath:
        assert self.validated
        return self.validated / f"{hashlib.blake2b(arch.encode(), digest_size=8).hexdigest()}-{start:05d}.json"

    def _take(self, arch: str, part: range) -> bool:
        """Take a slice that another search has computed; whether there is one."""
        path = self._path(arch, part.start)
        if not path.exists():
            return False
        found = first_measures(_parse(path, _validation), self.config.num_validations)
        if len(found.measures) > self._num_measured(arch, part.start):
            self.validations[arch, part.start] = found
        return len(found.measures) >= len(part)

    def _valid(self) -> list[Validation]:
        """The validations of architectures that are proposed.

        There are others where a proposal was deleted and came out otherwise the second time.
        """
        archs = self._proposed()
        return [validation for validation in self.validations.values() if validation.arch in archs]

    def _open(self, directory: AnyPath) -> None:
        try:
            claim_directory(directory, self.search.identity, EXTENDABLE, lambda: _is_unused(directory))
            (directory / PROPOSALS).mkdir(exist_ok=True)
            for folder in (directory / VALIDATIONS, self.validated or directory):
                folder.mkdir(parents=True, exist_ok=True)
            proposals = read_proposals(directory)
            validations = [_parse(path, _validation) for path in _files(directory / VALIDATIONS)]
        except OSError as error:
            raise UserError(f"cannot use the run directory {directory}: {error}") from error
        self.proposals = {p.index: p for p in proposals if p.index < self.config.num_proposals}
        shared = [first_measures(validation, self.config.num_validations) for validation in validations]
        self.validations = {(v.arch, min(v.measures)): v for v in shared if v.measures}


def read_proposals(directory: AnyPath) -> list[Proposal]:
    """The proposals that a run directory holds, whosever it is.

    Raises:
        UserError: one is damaged.
    """
    return [_parse(path, _proposal) for path in _files(directory / PROPOSALS)]


def first_measures(validation: Validation, count: int) -> Validation:
    """What it has of the first `count` minibatches, and that part of the seconds."""
    measures = {index: values for index, values in validation.measures.items() if index < count}
    seconds = validation.seconds * len(measures) / len(validation.measures)
    return dataclasses.replace(validation, measures=measures, seconds=seconds)


def _is_unused(directory: AnyPath) -> bool:
    stored = any(_files(directory / name) for name in (PROPOSALS, VALIDATIONS))
    return not stored and not (directory / "result.json").exists()


def _proposal(raw: Mapping[str, Any]) -> Proposal:
    decisions = tuple(Decision(d["step"], d["edge"], tuple(d["kept"]), _floats(d["scores"])) for d in raw["decisions"])
    return Proposal(raw["index"], raw["arch"], decisions, raw["num_evaluations"], raw["seconds"])


def _validation(raw: Mapping[str, Any]) -> Validation:
    if not raw["measures"]:
        raise ValueError("no measures")
    measures = {int(index): tuple(float(value) for value in values) for index, values in raw["measures"].items()}
    return Validation(raw["arch"], measures, raw["seconds"])


def _floats(scores: Mapping[str, Any]) -> dict[str, float]:
    return {op: float(score) for op, score in scores.items()}


def _files(directory: AnyPath) -> list[AnyPath]:
    return sorted(directory.glob("*.json"), key=str)


def _parse(path: AnyPath, parse: Callable[[Mapping[str, Any]], T]) -> T:
    try:
        return parse(read_json(path))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error!r}); delete it to have it computed again") from error
