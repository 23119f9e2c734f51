"""What a run has computed so far, in memory and in its directory.

A run directory can be left at any moment, by a kill too, and taken up again: proposals and validation scores are
appended to journals as they come. Directories of earlier versions, with a JSON file for each, are read too.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

from zcpt_ray.errors import UserError
from zcpt_ray.identity import digest
from zcpt_ray.search.candidates import Candidates, SliceKey
from zcpt_ray.search.records import Progress, Proposal, ScoredCandidate, ScoredStep, SearchResult, Validation
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.run_files import PROPOSALS, STEPS, VALIDATIONS, claim_run, parsed, read_all, run_key
from zcpt_ray.spaces.costs import Cost
from zcpt_ray.storage.journal import Journal
from zcpt_ray.storage.owners import at_work
from zcpt_ray.storage.paths import AnyPath, require_storage
from zcpt_ray.versions import versions

Record = Proposal | ScoredStep | Validation


class RunStore:
    """What a run has computed so far: in memory and, where there is a directory, on disk.

    Adding what is there already changes nothing, so callers may repeat themselves. A directory serves any N and V: a
    store has of what is there the first N proposals, and their scores on the first V minibatches.

    `shared` is a folder of validation scores for all searches of a grid or a comparison: whichever asks for the same
    (space, data set, proxy, batch size, seed, minibatches, architecture) takes what another has computed. Searches that
    differ in the proxy of validation can then share a directory, and their proposals.

    Raises:
        UserError: the directory cannot be written, belongs to another configuration or something else, or is damaged.
    """

    def __init__(self, search: Search, directory: AnyPath | None = None, shared: AnyPath | None = None) -> None:
        self.search = search
        self.config = search.config
        self.directory = directory
        self.is_shared = shared is not None
        self.proposals: dict[int, Proposal] = {}
        self.candidates = Candidates(search)
        self._scores_of_proposals = 0
        self._steps: dict[int, list[ScoredStep]] = {}
        self._journals: dict[type[Record], Journal] = {}
        if directory:
            scored_by, run = digest(search.validated_by), run_key(search, self.is_shared)
            validated = shared / scored_by if shared else directory / VALIDATIONS
            self._journals = {
                Proposal: Journal(directory / PROPOSALS, run),
                ScoredStep: Journal(directory / STEPS, run),
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
        return at_work(self.directory, run_key(self.search, self.is_shared))

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
                self.candidates.add(record)
        self.candidates.advance(len(self.proposals) == self.config.num_proposals)

    def steps_of(self, index: int) -> list[ScoredStep]:
        """Those of a proposal that is not finished."""
        return self._steps.get(index, [])

    @property
    def validations(self) -> dict[SliceKey, Validation]:
        """What is measured of candidates, and of what was one."""
        return self.candidates.validations

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
        return [(arch, part) for (arch, _), part in self.candidates.missing.items()]

    def take_missing_slices(self) -> list[tuple[str, range]]:
        """Those of `missing_slices` that this has not given before."""
        candidates = self.candidates
        if candidates.untaken:
            self._read_shared()
        taken, candidates.untaken = candidates.untaken, {}
        return [(key[0], candidates.missing[key]) for key in taken if key in candidates.missing]

    def progress(self, under_way: int = 0, validating: int = 0) -> Progress:
        """What is done, and what is known to be left.

        `under_way` are the scores of proposals that are not finished, `validating` those of slices that are not.
        """
        known, scores = self.candidates, self._scores_of_proposals + under_way
        done = known.measured + validating
        return Progress(len(self.proposals), self.config.num_proposals, done, known.planned, scores, known.settled)

    def result(self, wall: float, cost_of: Callable[[str], Cost]) -> SearchResult:
        """Rank the candidates by score, then by how often they were proposed, then by who came first.

        `wall` are the seconds that the last call took; `cost_of` gives what an encoded architecture costs.

        Raises:
            ValueError: proposals or validations are missing.
        """
        known = self.candidates
        if self.missing_proposals() or self.missing_slices() or not known.settled:
            raise ValueError("the run is not complete: it has no result yet")
        first: dict[str, int] = {}
        for index in sorted(self.proposals):
            first.setdefault(self.proposals[index].arch, index)
        candidates = []
        for arch, standing in known.standings.items():
            cost, came = cost_of(arch), first[known.parents.get(arch, arch)]
            candidates.append(
                ScoredCandidate(
                    arch, standing.score, known.times[arch], came, cost.params, cost.flops, standing.minibatches
                )
            )
        candidates.sort(key=lambda c: (-c.minibatches, -c.score, -c.times_proposed, c.first_proposal, c.arch))
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
            self._scores_of_proposals + known.measured,
            seconds,
            None,
            versions(),
            own=dict(self.search.own),
            left_out=known.left_out,
            num_decisions=len(decisions),
            tied=sum(len(set(decision.scores.values())) == 1 for decision in decisions),
        )

    def _valid(self) -> Iterable[Validation]:
        """The validations of architectures that are proposed.

        There are others where searches share them, or a proposal was deleted and came out otherwise the second time.
        """
        known = self.candidates.times
        return (validation for validation in self.validations.values() if validation.arch in known)

    def _accept_proposal(self, proposal: Proposal) -> None:
        self.proposals[proposal.index] = proposal
        self._steps.pop(proposal.index, None)
        self._scores_of_proposals += proposal.num_evaluations
        self.candidates.propose(proposal.arch)

    def _is_new(self, record: Record) -> bool:
        if isinstance(record, Proposal):
            return record.index not in self.proposals
        if isinstance(record, ScoredStep):
            known = {(found.step, found.turn) for found in self.steps_of(record.index)}
            return record.index not in self.proposals and (record.step, record.turn) not in known
        return len(record.measures) > self.candidates.num_measured((record.arch, min(record.measures)))

    def _read_shared(self) -> None:
        """Take what other searches have computed since."""
        if self.is_shared and self._journals and self.candidates.missing:
            journal = self._journals[Validation]
            found = (parsed(Validation.from_dict, record, journal.folder) for record in journal.read())
            self.accept(self.candidates.resliced(found))

    def _open(self, directory: AnyPath) -> None:
        try:
            claim_run(self.search, directory, self.is_shared)
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
        self.accept(self.candidates.resliced(validations))
        proposals.sort(key=lambda proposal: proposal.index)
        self.accept(proposal for proposal in proposals if proposal.index < self.config.num_proposals)
        self.accept(steps)
