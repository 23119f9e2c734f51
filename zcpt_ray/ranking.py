"""How a proxy ranks given architectures, end to end: the validation of a search, without the search."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from zcpt_ray.baselines import random_arch
from zcpt_ray.configs import SearchConfig
from zcpt_ray.costs import Sizes, search_costs
from zcpt_ray.errors import UserError
from zcpt_ray.records import Validation
from zcpt_ray.score_tables import Spread, spread_locally
from zcpt_ray.search import SearchData, components, load_data, validate
from zcpt_ray.seeding import generator
from zcpt_ray.spaces import Space, find_space


def read_archs(path: Path, space: Space, match: str = "") -> dict[str, str]:
    """Names and encoded architectures of a JSON file: an object whose values are texts, or have the lists of a genotype.

    Only of names in which the regular expression `match` is found.

    Raises:
        UserError: the file is missing or no such object, or a value is not an architecture of `space`.
    """
    try:
        raw = json.loads(path.read_text())
        wanted = {name: value for name, value in raw.items() if re.search(match, name)}
        texts = {name: value if isinstance(value, str) else _genotype_text(value) for name, value in wanted.items()}
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
            archs[name] = space.encode(space.decode(text))
        except UserError as error:
            raise UserError(f"{path}, {name!r}: {error}") from error
    return archs


def random_archs(config: SearchConfig, count: int) -> dict[str, str]:
    """So many random architectures of the search space, by a number.

    Raises:
        UserError: `count` is less than 1.
    """
    if count < 1:
        raise UserError(f"--count must be at least 1, got {count}")
    space, random = find_space(config.space), generator(config.seed, "random architectures")
    return {f"random {index}": space.encode(random_arch(space, random)) for index in range(count)}


def rank_archs(
    config: SearchConfig, archs: Mapping[str, str], spread: Spread = spread_locally, report: Callable[[str], None] = lambda _: None
) -> pd.DataFrame:
    """One row per name of `archs`, best first: mean score over the V minibatches of `config`, parameters and multiply-adds.

    Raises:
        UserError: an unknown name, missing data, or no minibatch.
    """
    if not config.num_validations:
        raise UserError("num_validations must be at least 1 to rank architectures")
    data, parts = load_data(config), components(config)
    texts = list(dict.fromkeys(archs.values()))
    found: dict[str, Validation] = {}
    for text, validation in spread(_validate, (config, data), texts):
        found[text] = validation
        report(f"{len(found)} of {len(texts)} architectures scored")
    scores = dict.fromkeys(texts, 0.0)
    for index in range(config.num_validations):
        combined = parts.proxy.combine([found[text].measures[index] for text in texts])
        for text, score in zip(texts, combined, strict=True):
            scores[text] += score / config.num_validations
    costs = search_costs(config.space, Sizes.of(data.images))
    rows = []
    for name, text in archs.items():
        cost = costs.of(parts.space.decode(text))
        rows.append({"name": name, "score": scores[text], "params [M]": cost.params / 1e6, "FLOPs [M]": cost.flops / 1e6})
    table = pd.DataFrame(rows).assign(architecture=list(archs.values()))
    return table.sort_values("score", ascending=False, ignore_index=True)


def _validate(shared: tuple[SearchConfig, SearchData], arch: str) -> Validation:
    return validate(*shared, arch, range(shared[0].num_validations))


def _genotype_text(raw: dict[str, Any]) -> str:
    parts = []
    for kind in ("normal", "reduce"):
        pairs = [(str(op), int(source)) for op, source in raw[kind]]
        parts.append(f"{kind}={pairs}, {kind}_concat={raw.get(f'{kind}_concat', [2, 3, 4, 5])}")
    return f"Genotype({', '.join(parts)})"
