"""How proxies rank networks beside the accuracies that a tabular benchmark has of them."""

import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from zcpt_ray.benchmarks.tables import TabularBenchmark, require_benchmark
from zcpt_ray.configs import SearchConfig
from zcpt_ray.datasets.minibatches import ImageSet
from zcpt_ray.errors import UserError
from zcpt_ray.proxies import PROXIES
from zcpt_ray.search.inputs import load_data, require_same_data
from zcpt_ray.search.resolved import Search, with_proxy
from zcpt_ray.search.score_tables import ScoreTable, Spread, measure_on_their_own, spread_locally
from zcpt_ray.seeding import generator
from zcpt_ray.spaces import Space
from zcpt_ray.storage.parquet import read_parquet
from zcpt_ray.storage.paths import AnyPath, whole_file
from zcpt_ray.storage.run_directory import claim_directory, strict_json

ALL = "all"
SLICE = 25
"""Networks that are scored and stored together."""
RESAMPLES, RESAMPLES_OF_MANY, MANY = 1000, 200, 2000
"""Bootstrap samples, and of so many networks fewer."""
INTERVAL = (2.5, 97.5)
TOP_SHARE = 0.1
"""The share of networks that are truly best."""
SECONDS = "seconds"
Part = tuple[str, tuple[str, ...]]
"""A proxy and the networks that it scores together."""


@dataclass(frozen=True)
class Correlated:
    """`table` has a row per proxy, best first; `scores` a row per network, with its `accuracy` [%] and every score.

    `skipped` says which proxies were left out, and why.
    """

    table: pd.DataFrame
    scores: pd.DataFrame
    skipped: Mapping[str, str]


def correlate_proxies(
    config: SearchConfig,
    proxies: Sequence[str],
    count: int,
    out: AnyPath,
    spread: Spread = spread_locally,
    report: Callable[[str], None] = lambda _: None,
    task: str = "",
) -> Correlated:
    """Score `count` random networks of a benchmark's table (0: all) by each proxy, on one minibatch.

    `task` is the data set or task that the table has values of, by default the data set of the images. What `out` has
    already is not done again; where every network of the space has been scored before, those scores
    are taken. Aggregates are made of their members' scores.

    Raises:
        UserError: an unknown proxy, a missing table, missing data, or a folder of something else.
    """
    searches, skipped = _searches(config, proxies)
    first = next(iter(searches.values()))
    benchmark = require_benchmark(config.space, "a correlation")
    truth = _accuracies(benchmark, task or config.dataset)
    archs = _chosen(first, benchmark, sorted(truth), count)
    told = {"space": first.config.space, "dataset": first.config.dataset, "count": len(archs)}
    told |= {"batch_size": config.batch_size, "seed": config.seed, "images": dataclasses.asdict(config.images)}
    told |= {"task": task} if task else {}
    claim_directory(out, strict_json(told), (), lambda: not (out / "scores").exists())
    images = load_data(first).images
    require_same_data([out], config, images)
    measured = _measured(_members(searches), archs, images, out, spread, report)
    scores = pd.DataFrame({"arch": list(archs), "accuracy": [truth[key] for key in archs.values()]})
    seconds = {}
    for name, search in searches.items():
        members = search.proxy.members or (search.proxy,)
        columns = [measured[member.name].drop(columns=["arch", SECONDS]) for member in members]
        rows = list(pd.concat(columns, axis=1).itertuples(index=False, name=None))
        scores[name] = search.proxy.combine(rows)
        seconds[name] = sum(float(measured[member.name][SECONDS].mean()) for member in members)
    report(f"bootstrap {len(searches)} proxies")
    rows_of = [_row(name, scores[name].to_numpy(), scores["accuracy"].to_numpy(), seconds[name]) for name in searches]
    table = pd.DataFrame(rows_of).sort_values("Spearman", ascending=False, ignore_index=True)
    return Correlated(table, scores, skipped)


def _searches(config: SearchConfig, proxies: Sequence[str]) -> tuple[dict[str, Search], dict[str, str]]:
    """A search per proxy; of `all`, those that do not serve the space are left out, each for its reason."""
    names = list(dict.fromkeys(name for given in proxies for name in (PROXIES if given == ALL else [given])))
    found, skipped = {}, {}
    for name in names:
        try:
            found[name] = Search.of(replace(with_proxy(config, name), scoring="zc-pt", method="random"))
        except UserError as error:
            if name in proxies:
                raise
            skipped[name] = str(error)
    if not found:
        raise UserError("give --proxies: names, several joined by +, or all")
    return found, skipped


def _members(searches: Mapping[str, Search]) -> dict[str, Search]:
    """A search per proxy that is measured: aggregates are made of what their members measure."""
    plain: dict[str, Search] = {}
    for search in searches.values():
        for member in search.proxy.members or (search.proxy,):
            plain.setdefault(member.name, replace(search, proxy=member, validation_proxy=member))
    return plain


def _accuracies(benchmark: TabularBenchmark, dataset: str) -> dict[str, float]:
    """Mean test accuracy [%] by the table's name of an architecture."""
    name = dataset.replace("-", "_")
    if name not in benchmark.datasets:
        known = ", ".join(benchmark.datasets)
        raise UserError(f"{benchmark.format.file} has no accuracies on {dataset!r}; it has {known}: use --task")
    return {str(arch): float(value) for arch, value in benchmark.test_accuracy(name).dropna().items()}


def _chosen(search: Search, benchmark: TabularBenchmark, names: Sequence[str], count: int) -> dict[str, str]:
    """Random networks, encoded, each with its name in the table; in a fixed order."""
    if count < 0:
        raise UserError(f"--count must be at least 0, which takes all, got {count}")
    space, random = search.space, generator(search.config.seed, "correlation")
    if benchmark.format.key is not str and "encoded" not in benchmark.table:
        return _drawn_from_space(space, benchmark, set(names), count or len(names), random)
    if count and count < len(names):
        drawn = random.choice(len(names), count, replace=False)
        names = [names[index] for index in sorted(drawn.tolist())]
    written = benchmark.table["encoded"] if "encoded" in benchmark.table else {name: name for name in names}
    return {space.encode(space.decode(written[name])): name for name in names}


def _drawn_from_space(
    space: Space, benchmark: TabularBenchmark, names: set[str], count: int, random: np.random.Generator
) -> dict[str, str]:
    """As `_chosen`, where a table names graphs, of which several architectures are one: one of each."""
    found: dict[str, str] = {}
    for index in random.permutation(space.num_archs).tolist():
        text = space.encode(space.arch(index))
        if (name := benchmark.format.key(text)) in names:
            found[text] = name
            names.remove(name)
        if len(found) == count or not names:
            break
    return dict(sorted(found.items()))


def _measured(
    searches: Mapping[str, Search],
    archs: Mapping[str, str],
    images: ImageSet,
    out: AnyPath,
    spread: Spread,
    report: Callable[[str], None],
) -> dict[str, pd.DataFrame]:
    """Per proxy what it measures of each network, in their order, and the `seconds` that took."""
    texts = list(archs)
    found = {name: _known(search, images, texts) for name, search in searches.items()}
    starts = range(0, len(texts), SLICE)
    paths: dict[Part, AnyPath] = {
        (name, tuple(texts[start : start + SLICE])): out / "scores" / name / f"{start:06d}.parquet"
        for name, known in found.items()
        if known is None
        for start in starts
    }
    missing = [part for part, path in paths.items() if not path.exists()]
    done = len(paths) - len(missing)
    for part, table in spread(_measure_part, (dict(searches), images), missing):
        paths[part].parent.mkdir(parents=True, exist_ok=True)
        with whole_file(paths[part]) as temporary:
            table.to_parquet(temporary)
        done += 1
        report(f"{done} of {len(paths)} slices scored, last by {part[0]}")
    stored: dict[str, list[pd.DataFrame]] = defaultdict(list)
    for (name, _), path in paths.items():
        stored[name].append(read_parquet(path, "delete it to have it computed again"))
    return {
        name: pd.concat(stored[name], ignore_index=True) if known is None else known for name, known in found.items()
    }


def _known(search: Search, images: ImageSet, archs: Sequence[str]) -> pd.DataFrame | None:
    """The scores of a table of every network, if it is there and serves."""
    if search.proxy.is_relative:
        return None
    try:
        table = ScoreTable(search, images.fingerprint)
    except UserError:  # the space is too large for one
        return None
    if not table.path.exists():
        return None
    scores = table.load()
    return pd.DataFrame({"arch": list(archs), "measure0": [scores[arch] for arch in archs], SECONDS: np.nan})


def _measure_part(shared: tuple[dict[str, Search], ImageSet], part: Part) -> pd.DataFrame:
    (searches, images), (name, archs) = shared, part
    search, started = searches[name], time.perf_counter()
    table = measure_on_their_own(search, images, [search.space.decode(arch) for arch in archs])
    table[SECONDS] = (time.perf_counter() - started) / len(archs)
    return table


def _row(name: str, scores: np.ndarray, accuracies: np.ndarray, seconds: float) -> dict[str, object]:
    pick = int(np.argmax(scores))
    top = accuracies >= np.quantile(accuracies, 1 - TOP_SHARE)
    row: dict[str, object] = {"proxy": name}
    for title, statistic, members in (
        ("Spearman", spearman, np.ones_like(top)),
        ("Kendall", kendall, np.ones_like(top)),
        ("Pearson of logs", pearson_of_logs, np.ones_like(top)),
        ("Spearman, top tenth", spearman, top),
    ):
        value, low, high = with_interval(statistic, scores[members], accuracies[members])
        row |= {title: value, f"{title} low": low, f"{title} high": high}
    row |= {"pick [%]": float(accuracies[pick]), "regret [%]": float(accuracies.max() - accuracies[pick])}
    return row | {"seconds per network": seconds}


def spearman(scores: np.ndarray, accuracies: np.ndarray) -> float:
    """Rank correlation in [-1, 1]; NaN where all scores are equal."""
    ranks = stats.rankdata(scores), stats.rankdata(accuracies)
    return _pearson(*ranks)


def kendall(scores: np.ndarray, accuracies: np.ndarray) -> float:
    """Kendall's tau-b in [-1, 1]; NaN where all scores are equal."""
    return float(stats.kendalltau(stats.rankdata(scores), accuracies).statistic)


def pearson_of_logs(scores: np.ndarray, accuracies: np.ndarray) -> float:
    """Pearson correlation of sign(S) log(1 + abs(S)) with -log of the error, over finite scores."""
    finite = np.isfinite(scores) & (accuracies < 100)
    compressed = np.sign(scores[finite]) * np.log1p(np.abs(scores[finite]))
    return _pearson(compressed, -np.log(100 - accuracies[finite]))


def _pearson(first: np.ndarray, second: np.ndarray) -> float:
    if len(first) < 2 or not np.ptp(first) or not np.ptp(second):
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def with_interval(
    statistic: Callable[[np.ndarray, np.ndarray], float], scores: np.ndarray, accuracies: np.ndarray
) -> tuple[float, float, float]:
    """A statistic with its 95 % bootstrap interval, networks drawn with replacement."""
    random = np.random.default_rng(0)
    values = []
    for _ in range(RESAMPLES if len(scores) <= MANY else RESAMPLES_OF_MANY):
        drawn = random.integers(0, len(scores), len(scores))
        values.append(statistic(scores[drawn], accuracies[drawn]))
    finite = np.array(values)[np.isfinite(values)]
    low, high = np.percentile(finite, INTERVAL) if len(finite) else (np.nan, np.nan)
    return statistic(scores, accuracies), float(low), float(high)
