"""What a search reads before it begins: images, and what finished architectures are worth where the scoring asks."""

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from zcpt_ray.benchmarks.formats import TABLES
from zcpt_ray.benchmarks.tables import require_benchmark
from zcpt_ray.configs import SearchConfig
from zcpt_ray.datasets import find_dataset, halves
from zcpt_ray.datasets.base import FolderLike
from zcpt_ray.datasets.description import understood
from zcpt_ray.datasets.minibatches import ImageSet
from zcpt_ray.devices import local_device
from zcpt_ray.errors import UserError
from zcpt_ray.proxies.evidence import doubt
from zcpt_ray.search.budgets import UNLIMITED, Budget
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.resources import budget_on
from zcpt_ray.search.run_files import DATA_FILE
from zcpt_ray.search.score_tables import Spread, score_table, spread_locally
from zcpt_ray.search.scoring import BenchmarkAccuracy, EveryScore, TrainedSupernet
from zcpt_ray.spaces import SPACES, Space
from zcpt_ray.storage.paths import AnyPath
from zcpt_ray.storage.run_directory import read_json, write_json
from zcpt_ray.versions import versions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchData:
    """What a search reads: its half of the training images and, where the scoring asks for them, more.

    `held_out` is the other half; `values` what each finished architecture is worth, by its encoding; `budget` what
    proposals keep within.
    """

    images: ImageSet
    held_out: ImageSet | None = None
    values: dict[str, float] | None = None
    budget: Budget = UNLIMITED


def fitted_to_data(config: SearchConfig, given: Collection[str]) -> SearchConfig:
    """`config` with smaller minibatches if a folder has few images and no `batch_size` is `given`: half of those seen.

    So minibatches still differ. A log line says so.

    Raises:
        UserError: an unknown data set, or a folder that cannot be read.
    """
    reader = find_dataset(config.dataset, config.images).read
    if "batch_size" in given or not isinstance(reader, FolderLike):
        return config
    seen = reader.count() // 2
    if seen >= config.batch_size:
        return config
    size = max(2, seen // 2)
    message = "%s: minibatches of %d, half of the %d images that a search sees; --batch-size gives another number"
    log.info(message, config.dataset, size, seen)
    return replace(config, batch_size=size)


def load_data(search: Search, spread: Spread = spread_locally) -> SearchData:
    """Read what the search needs. Proxy scores of every network that are not there yet are computed, over `spread`.

    Raises:
        UserError: missing data or a missing table, or fewer images than a minibatch needs.
    """
    config = search.config
    values = benchmark_values(search)  # first: images take longer to read than a missing table to be missed
    images, held_out = halves(search.dataset)
    log.info(understood(search.dataset.name, images, held_out))
    if warning := doubt(search.space.name, search.proxy.name):
        log.warning(warning)
    if slow := slowness(search.space, images.image_shape[1]):
        log.warning(slow)
    if config.batch_size > len(images):
        raise UserError(
            f"batch_size {config.batch_size} is more than the {len(images)} images that the search sees: half of the"
            f" {len(images) + len(held_out)} training images of {config.dataset}; use --batch-size {len(images)}"
        )
    budget = budget_on(search, images)
    if values is None:
        values = network_values(search, images, spread)
    trains = isinstance(search.scoring.evidence, TrainedSupernet)
    return SearchData(images, held_out if trains else None, values, budget)


def require_same_data(folders: Iterable[AnyPath], config: SearchConfig, images: ImageSet) -> None:
    """Note in folders of results which images they are on, or see that they are those that they were begun on.

    Other versions of what numbers depend on, or another kind of device, are told in a log line.

    Raises:
        UserError: they are others.
    """
    about: dict[str, Any] = {
        "images": len(images),
        "size": list(images.image_shape),
        "classes": images.num_classes,
        "digest": images.digest,
        "device": local_device(config.device),
        "versions": versions(),
    }
    for folder in folders:
        path = folder / DATA_FILE
        if not path.exists():
            write_json(path, about)
            continue
        theirs = read_json(path)
        changed = [name for name, value in about.items() if theirs.get(name) != value]
        if {"images", "size", "classes", "digest"} & set(changed):
            once, now = (
                f"{found.get('images')} images of {found.get('size')} in {found.get('classes')} classes"
                for found in (theirs, about)
            )
            raise UserError(
                f"{folder} holds results on other images of {config.dataset}: once {once}, now {now},"
                f" {'other ones' if once == now else 'not as many'}; choose another --out"
            )
        for name in changed:
            message = "%s was begun with %s %s and goes on with %s: scores may differ in their last digits"
            log.warning(message, folder, name, theirs.get(name), about[name])


def slowness(space: Space, size: int) -> str:
    """What to do where images are much larger than those that a space is made for; nothing where they are not."""
    if size < 2 * space.made_for:
        return ""
    own = [other for name, other in SPACES.items() if name not in TABLES]  # networks in a table are of its images
    others = [other.name for other in own if size < 2 * other.made_for and other.made_for > space.made_for]
    return (
        f"{space.name} is made for images of {space.made_for}x{space.made_for}; with {size}x{size} a score takes some"
        f" {(size / space.made_for) ** 2:.0f} times as long: --image-size {space.made_for} saves that"
        + (f", and --space {' or '.join(others)} serves such images" if others else "")
    )


def benchmark_values(search: Search) -> dict[str, float] | None:
    """The accuracies [%] that the scoring asks of the benchmark, by encoded architecture; None where it asks none.

    Raises:
        UserError: the table is missing or does not know the data set.
    """
    if not isinstance(evidence := search.scoring.evidence, BenchmarkAccuracy):
        return None
    benchmark = require_benchmark(search.config.space, f"scoring {search.scoring.name!r}")
    return _as_floats(benchmark.accuracies(search.config.dataset, evidence.reading))


def network_values(search: Search, images: ImageSet, spread: Spread = spread_locally) -> dict[str, float] | None:
    """What each finished architecture is worth to the scoring, by its encoding; None where that asks no oracle.

    Raises:
        UserError: the benchmark table is missing or does not know the data set, or the space is too large to score
            whole.
    """
    if isinstance(search.scoring.evidence, EveryScore):
        return _as_floats(score_table(search, images, spread))
    return benchmark_values(search)


def _as_floats(values: pd.Series) -> dict[str, float]:
    """From encoded architecture to value."""
    return {str(arch): float(value) for arch, value in values.items()}
