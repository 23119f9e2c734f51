"""Files of a user's own: a proxy, an order and a data set, with a module beside them that they import."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zcpt_ray.datasets import DATASETS
from zcpt_ray.proxies import PROXIES
from zcpt_ray.search.methods import METHODS
from zcpt_ray.search.orders import ORDERS
from zcpt_ray.search.scoring import SCORINGS
from zcpt_ray.spaces import SPACES

HELPER = """
FACTOR = 2.0


def scaled(value):
    return FACTOR * value
"""
PLUGIN = """
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

import zcpt_ray as zc
import {helper}
from {helper} import scaled


@dataclass
class Sizes:
    total: int = 0


@zc.register_proxy("own-proxy")
def own_proxy(net, batch):
    '''Twice the number of parameters, and a little of what it says of the images.'''
    sizes = Sizes(sum(parameter.numel() for parameter in net.parameters()))
    net.eval()
    with torch.no_grad():
        said = net(batch.images).abs().mean().item()
    net.train()
    return scaled(sizes.total) + {helper}.FACTOR * said


@zc.register_order("own-order")
def backwards(edges, random):
    yield from reversed(edges)


def read(folder, split):
    random = np.random.default_rng(0 if split == "train" else 1)
    images = random.integers(0, 256, (40, 3, 32, 32)).astype(np.uint8)
    return images, random.integers(0, 3, 40), ("a", "b", "c")


zc.register_dataset(zc.Dataset("own-data", 3, (0.5,) * 3, (0.25,) * 3, flip=False, read=read))
"""


def write_plugin(folder: Path, name: str, helper: str) -> Path:
    """`name`.py, which registers own-proxy, own-order and own-data, and `helper`.py beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{helper}.py").write_text(HELPER)
    path = folder / f"{name}.py"
    path.write_text(PLUGIN.format(helper=helper))
    return path


@contextmanager
def tables_as_they_were() -> Iterator[None]:
    """Inside, tables may be added to; afterwards they hold what they held."""
    tables: list[dict[str, object]] = [PROXIES, ORDERS, DATASETS, SPACES, SCORINGS, METHODS]  # type: ignore[list-item]
    before = [dict(table) for table in tables]
    try:
        yield
    finally:
        for table, content in zip(tables, before, strict=True):
            table.clear()
            table.update(content)
