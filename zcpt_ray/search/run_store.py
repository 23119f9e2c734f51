"""What a run has computed so far, in memory and in its directory.

A run directory can be left at any moment, by a kill too, and taken up again: proposals and validation scores are
appended to journals as they come. Directories of earlier versions, with a JSON file for each, are read too.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from zcpt_ray.errors import UserError
from zcpt_ray.identity import digest
from zcpt_ray.search.records import Progress, Proposal, ScoredCandidate, ScoredStep, SearchResult, Validation
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.run_files import PROPOSALS, STEPS, VALIDATIONS, claim_run, parsed, read_all, run_key
from zcpt_ray.spaces.costs import Cost
from zcpt_ray.storage.journal import Journal
from zcpt_ray.storage.owners import at_work
from zcpt_ray.storage.paths import AnyPath, require_storage
from zcpt_ray.versions import versions

VALIDATION_SLICE = 10
"""Validation minibatches that are scored and stored together."""
Record = Proposal | ScoredStep | Validation
SliceKey = tuple[str, int]
"""An encoded architecture and the first minibatch of a slice."""


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
        self.is_shared = shared is not None
        self.proposals: dict[int, Proposal] = {}
        self.validations: dict[SliceKey, Validation] = {}
        self._times: Counter[str] = Counter()
        self._missing: dict[SliceKey, range] = {}
        self._untaken: dict[SliceKey, range] = {}
        self._measured = self._scores_of_proposals = 0
        self._steps: dict[int, list[ScoredStep]] = {}
        self._journals: dict[type[Record], Journal] = {}
        if directory:
            scored_by = digest(search.scored_by)
            validated = shared / scored_by if shared else directory / VALIDATIONS
            self._journals = {
                Proposal: Journal(directory / PROPOSALS, run_key(search)),
                ScoredStep: Journal(directory / STEPS, run_key(search)),
                Validation: Journal(validated, scored_by),
            }
            self._open(directory)

    def at_work(self) -> AbstractContextManager[None]:
        """Inside, nobody else can work in the run directory, but on the same run.

        Raises:
            UserError: somebody does, or there is no room to write what comes.
        """
        if not self.directory:
            return nullcontext()
        require_storage(self.directory)
        return at_work(self.directory, run_key(self.search))

    def add(self, records: Iterable[Record]) -> None:
        """Accept what was computed; on disk before this returns."""
        new = self.new(records)
        self.write(new)
        self.accept(new)

    def new(self, records: Iterable[Record]) -> list[Record]:
        """Those of them that say what is not known."""
        return [record for record in records if self._is_new(record)]

    def write(self, records: Sequence[Record]) -> None:
        """Put them on disk. Nothing else here is touched, so that another thread may do it."""
        for kind, journal in self._journals.items():
            journal.append(dataclasses.asdict(record) for record in records if isinstance(record, kind))

    def accept(self, records: Iterable[Record]) -> None:
        """Know them from now on; they are on disk."""
        for record in records:
            if not self._is_new(record):
                continue
            if isinstance(record, Proposal):
                self._accept_proposal(record)
            elif isinstance(record, ScoredStep):
                self._steps.setdefault(record.index, []).append(record)
            else:
                self._accept_validation(record)

    def steps_of(self, index: int) -> list[ScoredStep]:
        """Those of a proposal that is not finished."""
        return self._steps.get(index, [])

    @property
    def folders(self) -> tuple[AnyPath, ...]:
        """Where it keeps what it knows: the run directory and, where they are shared, that of validation scores."""
        shared = (self._journals[Validation].folder,) if self.is_shared and self._journals else ()
        return (self.directory, *shared) if self.directory else ()

    def missing_proposals(self) -> list[int]:
        """Indices of the proposals that are not there yet."""
        return [index for index in range(self.config.num_proposals) if index not in self.proposals]

    def missing_slices(self) -> list[tuple[str, range]]:
        """Architecture and minibatch indices of the validation still to do for the candidates known so far."""
        self._read_shared()
        return [(arch, part) for (arch, _), part in self._missing.items()]

    def take_missing_slices(self) -> list[tuple[str, range]]:
        """Those of `missing_slices` that this has not given before."""
        if self._untaken:
            self._read_shared()
        taken, self._untaken = self._untaken, {}
        return [(key[0], self._missing[key]) for key in taken if key in self._missing]

    def progress(self, under_way: int = 0, validating: int = 0) -> Progress:
        """What is done, and what is known to be left.

        `under_way` are the scores of proposals that are not finished, `validating` those of slices that are not.
        """
        total = len(self._times) * self.config.num_validations
        scores = self._scores_of_proposals + under_way
        return Progress(len(self.proposals), self.config.num_proposals, self._measured + validating, total, scores)

    def result(self, wall: float, cost_of: Callable[[str], Cost]) -> SearchResult:
        """Rank the candidates by score, then by how often they were proposed, then by who came first.

        `wall` are the seconds that the last call took; `cost_of` gives what an encoded architecture costs.

        Raises:
            ValueError: proposals or validations are missing.
        """
        if self.missing_proposals() or self.missing_slices():
            raise ValueError("the run is not complete: it has no result yet")
        first: dict[str, int] = {}
        for index in sorted(self.proposals):
            first.setdefault(self.proposals[index].arch, index)
        scores, left_out = self._scores()
        candidates = []
        for arch, count in self._times.items():
            cost = cost_of(arch)
            candidates.append(ScoredCandidate(arch, scores[arch], count, first[arch], cost.params, cost.flops))
        candidates.sort(key=lambda c: (-c.score, -c.times_proposed, c.first_proposal))
        seconds = {
            "propose": sum(proposal.seconds for proposal in self.proposals.values()),
            "validate": sum(validation.seconds for validation in self._valid()),
            "wall": wall,
        }
        decisions = [decision for proposal in self.proposals.values() for decision in proposal.decisions]
        return SearchResult(
            self.config,
            candidates[0],
            tuple(candidates),
            self._scores_of_proposals + self._measured,
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
        places = {arch: place for place, arch in enumerate(self._times)}
        measured = np.empty((self.config.num_validations, len(places), len(self.search.proxy.measures)))
        for validation in self._valid():
            for index, values in validation.measures.items():
                measured[index, places[validation.arch]] = values
        combine, relative = self.search.proxy.combine, self.search.proxy.is_relative
        rows = [
            combine(list(map(tuple, values.tolist()))) if relative else values[:, 0].tolist() for values in measured
        ]
        counted = [row for row in rows if any(map(math.isfinite, row))]
        left_out = len(rows) - len(counted)
        if left_out and not counted:
            return dict.fromkeys(places, -math.inf), left_out
        of_each = zip(*counted, strict=True) if counted else ([] for _ in places)
        return {arch: math.fsum(values) for arch, values in zip(places, of_each, strict=True)}, left_out

    def _valid(self) -> Iterable[Validation]:
        """The validations of architectures that are proposed.

        There are others where searches share them, or a proposal was deleted and came out otherwise the second time.
        """
        return (validation for validation in self.validations.values() if validation.arch in self._times)

    def _slices(self) -> list[range]:
        total = self.config.num_validations
        return [range(start, min(start + VALIDATION_SLICE, total)) for start in range(0, total, VALIDATION_SLICE)]

    def _accept_proposal(self, proposal: Proposal) -> None:
        self.proposals[proposal.index] = proposal
        self._steps.pop(proposal.index, None)
        self._scores_of_proposals += proposal.num_evaluations
        self._times[proposal.arch] += 1
        if self._times[proposal.arch] > 1:
            return
        for part in self._slices():
            key = (proposal.arch, part.start)
            known = self._num_measured(key)
            self._measured += known
            if known < len(part):
                self._missing[key] = self._untaken[key] = part

    def _accept_validation(self, validation: Validation) -> None:
        key = (validation.arch, min(validation.measures))
        if validation.arch in self._times:
            self._measured += len(validation.measures) - self._num_measured(key)
        self.validations[key] = validation
        if key in self._missing and len(validation.measures) >= len(self._missing[key]):
            del self._missing[key]

    def _is_new(self, record: Record) -> bool:
        if isinstance(record, Proposal):
            return record.index not in self.proposals
        if isinstance(record, ScoredStep):
            known = {(found.step, found.turn) for found in self.steps_of(record.index)}
            return record.index not in self.proposals and (record.step, record.turn) not in known
        return len(record.measures) > self._num_measured((record.arch, min(record.measures)))

    def _num_measured(self, key: SliceKey) -> int:
        validation = self.validations.get(key)
        return len(validation.measures) if validation else 0

    def _read_shared(self) -> None:
        """Take what other searches have computed since."""
        if self.is_shared and self._journals and self._missing:
            journal = self._journals[Validation]
            found = (parsed(Validation.from_dict, record, journal.folder) for record in journal.read())
            self.accept(_first_measures(found, self.config.num_validations))

    def _open(self, directory: AnyPath) -> None:
        try:
            claim_run(self.search, directory)
            for journal in self._journals.values():
                journal.folder.mkdir(parents=True, exist_ok=True)
            proposals = read_all(self._journals[Proposal], Proposal.from_dict)
            steps = read_all(self._journals[ScoredStep], ScoredStep.from_dict)
            last = self._journals[Validation]
            own = Journal(directory / VALIDATIONS, last.of)
            journals = [last] if own.folder == last.folder else [own, last]
            validations = [found for journal in journals for found in read_all(journal, Validation.from_dict)]
        except OSError as error:
            raise UserError(f"cannot use the run directory {directory}: {error}") from error
        self.accept(_first_measures(validations, self.config.num_validations))
        proposals.sort(key=lambda proposal: proposal.index)
        self.accept(proposal for proposal in proposals if proposal.index < self.config.num_proposals)
        self.accept(steps)


def _first_measures(validations: Iterable[Validation], count: int) -> Iterator[Validation]:
    """What they have of the first `count` minibatches, and that part of the seconds."""
    for validation in validations:
        if max(validation.measures) < count:
            yield validation
            continue
        measures = {index: values for index, values in validation.measures.items() if index < count}
        if measures:
            seconds = validation.seconds * len(measures) / len(validation.measures)
            yield dataclasses.replace(validation, measures=measures, seconds=seconds)
