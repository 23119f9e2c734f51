"""Algorithm 1 of the paper, second part: end-to-end scores of the candidates, and their ranking."""

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

from zcpt_ray.arch import PartialArch
from zcpt_ray.benchmarks.tables import load_benchmark
from zcpt_ray.datasets.minibatches import Batch, ImageSet, draw_minibatch
from zcpt_ray.devices import DEVICES, local_device
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.errors import UserError
from zcpt_ray.proxies import Proxy
from zcpt_ray.proxies.base import Measured, Measuring, start_measuring
from zcpt_ray.search.budgets import Budget
from zcpt_ray.search.records import SearchResult, Validation
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.run_files import PROPOSALS
from zcpt_ray.search.run_store import RunStore
from zcpt_ray.seeding import derive_seed
from zcpt_ray.spaces.costs import Cost, Costs

ARCHS_TOGETHER = 125
"""Candidates that are validated in one call, at most."""
Slice = tuple[tuple[str, ...], range]
"""Candidates, and the minibatches on which they are validated together."""


@dataclass(frozen=True)
class Networks:
    """Finished networks that are measured on one minibatch after another: pairs of a network and architectures of it.

    A proxy that measures many at once gets one supernet and all of its architectures. Any other gets each network on
    its own: it may look at modules, and those of a supernet are there whether they run or not.
    """

    proxy: Proxy
    parts: tuple[tuple[Supernet, list[PartialArch]], ...]

    @classmethod
    def of(cls, search: Search, archs: Sequence[str], num_classes: int, device: str, weights: int = 0) -> "Networks":
        """Those of encoded architectures, with the weights of the search seed, or each with its own.

        `weights` counts other sets that all have.

        Raises:
            UserError: a text is not an architecture of the space.
        """
        space, seed = search.space, search.weights_seed(weights)
        specs = [space.decode(arch) for arch in archs]
        proxy, own = search.validation_proxy, search.config.validation_weights == 0
        if proxy.measure_variants and not own:
            supernet = space.supernet(num_classes, seed).to(device)
            return cls(proxy, ((supernet, [PartialArch(space.edges, spec.kept) for spec in specs]),))
        seeds = [derive_seed(seed, arch) if own else seed for arch in archs]
        alone = [space.network(spec, num_classes, s).to(device) for spec, s in zip(specs, seeds, strict=True)]
        return cls(proxy, tuple((network, [PartialArch.whole(network.edges)]) for network in alone))

    def start(self, batch: Batch) -> Measuring:
        """What the proxy measures of each, in their order, once it is called."""
        parts = [start_measuring(self.proxy, network, archs, batch, alone=True) for network, archs in self.parts]
        return lambda: [values for part in parts for values in part()]


def in_turn(started: Iterable[Measuring], works_apart: bool) -> Iterator[list[Measured]]:
    """What each of `started` gives, in their order.

    With `works_apart` a thread waits for one and does its share of the host while the device begins with the next.
    """
    if not works_apart:
        yield from (measuring() for measuring in started)
        return
    with ThreadPoolExecutor(1) as host:
        before: Future[list[Measured]] | None = None
        for measuring in started:
            if before:
                yield before.result()
            before = host.submit(measuring)
        if before:
            yield before.result()


def validate(
    search: Search,
    images: ImageSet,
    archs: Sequence[str],
    minibatches: range,
    scored: Callable[[int], None] = lambda _: None,
) -> list[Validation]:
    """What the proxy measures of the networks of `archs` on some of the V minibatches, the same for every candidate.

    The networks have the weights that the supernet has under the same names; with several sets of weights minibatch i
    has set i mod `validation_weights`, each drawn anew for the supernet; with 0 each network has weights of its own.
    Each minibatch is drawn once for all.
    Whom `scored` tells, before each minibatch, how many scores are taken, sees how far it is. What one network gives
    does not depend on the others.
    """
    started = time.perf_counter()
    config, device = search.config, local_device(search.config.device)
    sets = max(1, config.validation_weights)
    by_set = sorted(minibatches, key=lambda index: index % sets)
    measured: list[dict[int, Measured]] = [{} for _ in archs]

    def start_all() -> Iterator[Measuring]:
        done = itertools.count()
        for number, indices in itertools.groupby(by_set, key=lambda index: index % sets):
            networks = Networks.of(search, archs, images.num_classes, device, number)
            for index in indices:
                scored(next(done) * len(archs))
                batch = draw_minibatch(images, config.batch_size, derive_seed(config.seed, "validation", index), device)
                yield networks.start(batch)

    for index, values in zip(by_set, in_turn(start_all(), DEVICES[device].works_apart), strict=True):
        for measures, value in zip(measured, values, strict=True):
            measures[index] = value
    seconds = (time.perf_counter() - started) / len(archs)
    return [Validation(arch, measures, seconds) for arch, measures in zip(archs, measured, strict=True)]


def together(missing: Sequence[tuple[str, range]], workers: int = 1) -> list[Slice]:
    """What is left to validate, as slices of many candidates on the same minibatches.

    As few as give each of `workers` one, and hold at most `ARCHS_TOGETHER` candidates each.
    """
    waiting: dict[range, list[str]] = defaultdict(list)
    for arch, minibatches in missing:
        waiting[minibatches].append(arch)
    parts = max(1, -(-workers // max(1, len(waiting))))
    slices = []
    for minibatches, archs in waiting.items():
        size = min(ARCHS_TOGETHER, -(-len(archs) // parts))
        slices += [(tuple(archs[start : start + size]), minibatches) for start in range(0, len(archs), size)]
    return slices


def select(store: RunStore, costs: Costs, budget: Budget, wall: float, resources: dict[str, float]) -> SearchResult:
    """The ranked candidates of a run that is complete; `wall` are the seconds of its last call, `resources` a task's.

    Raises:
        UserError: none of them fits the budget.
    """
    search = store.search

    def cost_of(arch: str) -> Cost:
        try:
            return costs.of(search.space.decode(arch))
        except UserError as error:
            where = f"{store.directory / PROPOSALS}: " if store.directory else ""
            raise UserError(f"{where}{error}") from error

    result = store.result(wall, cost_of)
    if budget.limits:
        known = [(candidate, budget.amounts(search.space.decode(candidate.arch))) for candidate in result.candidates]
        fitting = tuple(replace(c, resources=amounts) for c, amounts in known if budget.used_by(amounts) <= 1)
        if not fitting:
            raise UserError(f"none of the {len(known)} candidates fits all budgets; more --num-proposals may find one")
        result = replace(result, best=fitting[0], candidates=fitting)
    networks = costs.networks(search.space.decode(result.best.arch))
    return replace(result, costs={name: asdict(cost) for name, cost in networks.items()}, resources=resources)


def with_benchmark(result: SearchResult) -> SearchResult:
    """The same with what the benchmark's table, if there is one, knows of the best architecture and the candidates."""
    benchmark = load_benchmark(result.config.space)
    if benchmark is None:
        return result
    known = benchmark.count_known(candidate.arch for candidate in result.candidates)
    return replace(result, benchmark=benchmark.query(result.best.arch), num_known=known)
