"""What a method of proposing is, what it may use, and what it gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from zcpt_ray.arch import ArchSpec, PartialArch
from zcpt_ray.configs import SearchConfig
from zcpt_ray.proxies.base import Measured, Proxy
from zcpt_ray.search.budgets import UNLIMITED, Budget
from zcpt_ray.search.records import Decision
from zcpt_ray.spaces import Space

Measure = Callable[[Sequence[PartialArch], bool], list[Measured]]
"""Measures of supernets, or (True) of networks on their own, on the proposal's minibatch; to be asked for only once
needed.
"""


@dataclass(frozen=True)
class MethodContext:
    """What a method may use for one proposal."""

    config: SearchConfig
    space: Space
    proxy: Proxy
    random: np.random.Generator
    measure: Measure
    op_params: Callable[[], list[list[int]]]
    budget: Budget = UNLIMITED
    index: int = 0
    """Of the proposal."""


@dataclass(frozen=True)
class Proposed:
    """The architecture that a method proposes, how it came about, and how many scores that took."""

    arch: ArchSpec
    decisions: tuple[Decision, ...] = ()
    num_evaluations: int = 0


@dataclass(frozen=True)
class Method:
    """A way to propose an architecture other than to discretize a supernet edge by edge."""

    name: str
    propose: Callable[[MethodContext], Proposed]
    reference: str
    asks_proxy: bool
    budgeted: bool = True
    """Whether its proposals keep within a budget."""
    asks_supernet: bool = True
    """Whether it needs a space with a supernet."""
