"""How a proxy ranks given architectures, end to end: the validation of a search, without the search."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from zcpt_ray.benchmarks.tables import as_written, load_benchmark
from zcpt_ray.datasets.minibatches import ImageSet
from zcpt_ray.errors import UserError
from zcpt_ray.search.inputs import SearchData, load_data
from zcpt_ray.search.methods import random_arch
from zcpt_ray.search.records import Validation
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.resources import costs_on
from zcpt_ray.search.score_tables import Spread, spread_locally
from zcpt_ray.search.validation import Slice, together, validate
from zcpt_ray.seeding import generator
from zcpt_ray.spaces import Space

RANKED_TOGETHER = 5
"""Architectures that one task scores: it makes one supernet for all, but others should have work too."""


def read_archs(path: Path, space: Space, match: str = "") -> dict[str, str]:
    """Names and encoded architectures of a JSON file.

    It holds an object whose values are texts, numbers, or lists of them, or have the lists of a genotype. Only of
    names in which the regular expression `match` is found.

    Raises:
        UserError: the file is missing or no such object, or a value is not an architecture of `space`.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_without_repeats)
        wanted = {name: value for name, value in raw.items() if re.search(match, name)}
        texts = {
            name: _genotype_text(value) if isinstance(value, dict) else str(value) for name, value in wanted.items()
        }
    except re.error as error:
        raise UserError(f"{match!r} is no regular expression: {error}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is no JSON object of architectures by name: {error!r}") from error
    if not texts:
        raise UserError(f"{path} has {len(raw)} architectures, none with a name that matches {match!r}")
    archs = {}
    for name, text in texts.items():
        try:
            archs[name] = as_written(space, text)
        except UserError as error:
            raise UserError(f"{path}, {name!r}: {error}") from error
    return archs


def random_archs(space: Space, count: int, seed: int) -> dict[str, str]:
    """So many random architectures of a space, by a number.

    Raises:
        UserError: `count` is less than 1.
    """
    if count < 1:
        raise UserError(f"--count must be at least 1, got {count}")
    random = generator(seed, "random architectures")
    return {f"random {index}": space.encode(random_arch(space, random)) for index in range(count)}


def rank_archs(
    search: Search,
    archs: Mapping[str, str],
    spread: Spread = spread_locally,
    report: Callable[[str], None] = lambda _: None,
    data: SearchData | None = None,
) -> pd.DataFrame:
    """One row per name of `archs`, best first: mean score over the V minibatches of `search`, size and cost.

    Columns: `name`, `score`, `params [M]`, `FLOPs [M]` (multiply-adds on one image), `architecture`; where a tabular
    benchmark knows the data set, before the last `test error [%]` and `rank`, 1 for the best network of the table.

    Raises:
        UserError: missing data, or no minibatch.
    """
    count = search.config.num_validations
    if not count:
        raise UserError("num_validations must be at least 1 to rank architectures")
    images = (data or load_data(search)).images
    texts = list(dict.fromkeys(archs.values()))
    found: dict[str, Validation] = {}
    slices = together([(text, range(count)) for text in texts], workers=-(-len(texts) // RANKED_TOGETHER))
    for _, validations in spread(_validate, (search, images), slices):
        found |= {validation.arch: validation for validation in validations}
        report(f"{len(found)} of {len(texts)} architectures scored")
    scores = dict.fromkeys(texts, 0.0)
    for index in range(count):
        combined = search.validation_proxy.combine([found[text].measures[index] for text in texts])
        for text, score in zip(texts, combined, strict=True):
            scores[text] += score / count
    costs, benchmark = costs_on(search, images), load_benchmark(search.config.space)
    dataset = search.config.dataset.replace("-", "_")
    rows = []
    for name, text in archs.items():
        cost = costs.of(search.space.decode(text))
        row: dict[str, object] = {"name": name, "score": scores[text]}
        row |= {"params [M]": cost.params / 1e6, "FLOPs [M]": cost.flops / 1e6}
        if benchmark and dataset in benchmark.datasets:
            known = benchmark.query(text).get(dataset)
            row |= {"test error [%]": known and known.error, "rank": known and known.rank}
        rows.append({**row, "architecture": text})
    return pd.DataFrame(rows).sort_values("score", ascending=False, ignore_index=True)


def _validate(shared: tuple[Search, ImageSet], part: Slice) -> list[Validation]:
    search, images = shared
    return validate(search, images, *part)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"{max(names, key=names.count)!r} is there more than once")
    return dict(pairs)


def _genotype_text(raw: dict[str, Any]) -> str:
    parts = []
    for kind in ("normal", "reduce"):
        pairs = [(str(op), int(source)) for op, source in raw[kind]]
        parts.append(f"{kind}={pairs}, {kind}_concat={raw.get(f'{kind}_concat', [2, 3, 4, 5])}")
    return f"Genotype({', '.join(parts)})"
