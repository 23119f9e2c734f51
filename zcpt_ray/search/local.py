"""The whole search in one process, without Ray."""

import time
from collections.abc import Callable

import torch

from zcpt_ray.devices import local_device
from zcpt_ray.search.inputs import SearchData, load_data, require_same_data
from zcpt_ray.search.proposal import propose
from zcpt_ray.search.records import Progress, SearchResult
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.resources import costs_on
from zcpt_ray.search.run_store import RunStore
from zcpt_ray.search.validation import select, together, validate
from zcpt_ray.storage.paths import AnyPath


def run_search_locally(
    search: Search,
    directory: AnyPath | None = None,
    report: Callable[[Progress], None] = lambda _: None,
    data: SearchData | None = None,
    shared: AnyPath | None = None,
) -> SearchResult:
    """Run a search in this process, taking up what `directory` already holds; without one nothing is stored.

    `data` is what `load_data` gave, if it is there; `shared` is as for `RunStore`.

    Raises:
        UserError: missing data, no such device, a directory of another run, or a NaN score.
    """
    started = time.perf_counter()
    resources = {
        "CPU": float(torch.get_num_threads()),
        "GPU": float(local_device(search.config.device) != "cpu"),
    }
    store = RunStore(search, directory, shared)
    with store.at_work():
        data = data or load_data(search)
        require_same_data(store.folders, search.config, data.images)
        store.candidates.within(data.budget)
        report(store.progress())
        for index in store.missing_proposals():
            under_way = lambda scores: report(store.progress(under_way=scores))  # noqa: E731
            known = store.steps_of(index)
            store.add([propose(search, data, index, under_way, known, lambda step: store.add([step]))])
            report(store.progress())
        while missing := together(store.missing_slices()):
            for archs, minibatches in missing:
                tell = lambda scores: report(store.progress(validating=scores))  # noqa: E731
                store.add(validate(search, data.images, archs, minibatches, tell))
                report(store.progress())
    return select(store, costs_on(search, data.images), data.budget, time.perf_counter() - started, resources)
