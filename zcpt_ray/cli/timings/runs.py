"""Whole runs: a grid whose cells share what they compute, and searches with more and more workers."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from zcpt_ray.arch import PartialArch
from zcpt_ray.cli.timings.reference import Timing, batch_of, perturbed, seconds_per_score
from zcpt_ray.configs import SearchConfig
from zcpt_ray.experiments.ablation import grid, search_cells, shared_runs
from zcpt_ray.search.inputs import load_data
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.resolved import Search


def ablation_rows(timing: Timing) -> Iterator[tuple[str, dict[str, float]]]:
    """A grid of N and V whose cells share what they compute, beside its cells one by one.

    The results must be the same.
    """
    base = SearchConfig(dataset=timing.dataset, batch_size=4 if timing.smoke else 16, device=timing.device)
    axes = {
        "num_proposals": (1, 2) if timing.smoke else (1, 2, 3, 5, 10),
        "num_validations": (1, 3, 10, 30),
        "seed": (0,),
    }
    (cells,) = shared_runs(grid(base, "proposals-validations", axes)).values()
    data, seconds, found = load_data(cells[0]), {}, {}
    started = time.perf_counter()
    with TemporaryDirectory() as folder:
        found["ours"] = [result.candidates for result in search_cells(cells, Path(folder), data=data)]
    seconds["ours"] = time.perf_counter() - started
    started = time.perf_counter()
    found["reference"] = [run_search_locally(cell, data=data).candidates for cell in cells]
    seconds["reference"] = time.perf_counter() - started
    if found["ours"] != found["reference"]:
        raise RuntimeError("cells that share what they compute find something else than alone")
    what = f"{len(cells)} cells, N = {axes['num_proposals']}, V = {axes['num_validations']}, batch {base.batch_size}"
    yield what, seconds | {"ratio": seconds["reference"] / seconds["ours"]}


def search_rows(timing: Timing) -> Iterator[tuple[str, dict[str, float]]]:
    """A whole search that races its candidates, beside 30 N + N V scores in the released code's way.

    Those are timed on a sample: ops removed from the supernet, and the winner end to end.
    """
    size, proposals, validations = (16, 1, 6) if timing.smoke else (timing.batch_size, 10, 100)
    config = SearchConfig(
        dataset=timing.dataset,
        batch_size=size,
        num_proposals=proposals,
        num_validations=validations,
        validation="race",
        device=timing.device,
    )
    search = Search.of(config)
    data, batch = load_data(search), batch_of(timing, size)
    started = time.perf_counter()
    result = run_search_locally(search, data=data)
    seconds = {"ours": time.perf_counter() - started}
    supernet = search.space.supernet(10, seed=0).to(batch.images.device)
    step = perturbed(PartialArch.all_open(search.space.edges))
    network = search.space.network(search.space.decode(result.best.arch), 10, seed=0).to(batch.images.device)
    alone = [PartialArch.whole(network.edges)] * 2
    scores = sum(len(edge.candidates) for edge in search.space.edges) * proposals
    seconds["reference"] = scores * seconds_per_score(supernet, step, batch)
    seconds["reference"] += proposals * validations * seconds_per_score(network, alone, batch)
    what = f"search with N = {proposals}, V = {validations}, batch {size}: {result.num_evaluations} scores for"
    what += f" {scores + proposals * validations}"
    yield what, seconds | {"ratio": seconds["reference"] / seconds["ours"]}


def scaling_rows(timing: Timing) -> Iterator[tuple[str, dict[str, float]]]:
    """A search with more and more workers, beside one worker's time divided by their number.

    The start-up of the workers is left out.
    """
    from zcpt_ray.distributed.scaling import (  # Ray, which a machine that times the engine may lack
        pool_rate,
        sleeping_searches,
        time_searches,
    )

    numbers, batch_size = ((2, 2), 4) if timing.smoke else ((8, 10), 32)
    config = SearchConfig(
        dataset=timing.dataset, num_proposals=numbers[0], num_validations=numbers[1], batch_size=batch_size
    )
    for workers, seconds in time_searches(dict.fromkeys((1, 2), Search.of(replace(config, device="cpu")))):
        yield (
            f"search on NAS-Bench-201, N = {numbers[0]}, V = {numbers[1]}, batch {batch_size}: {workers} workers",
            seconds,
        )
    for workers, seconds in time_searches(
        sleeping_searches((1,), 1, 1) if timing.smoke else sleeping_searches((1, 4, 16, 64))
    ):
        yield f"search with a proxy that sleeps, {workers} workers", seconds
    rate = pool_rate(100 if timing.smoke else 5000)
    yield f"a candidate that the pool takes in ({rate:.0f} a second)", {"ours": 1 / rate}
