"""Budgets of a search: at most so many parameters or multiply-adds, kept while proposals are made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from zcpt_ray.arch import PartialArch
from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.spaces.costs import MILLION, Cost, Costs

T = TypeVar("T")


@dataclass(frozen=True)
class Budget:
    """At most so many parameters and multiply-adds; None is no limit.

    `costs` are those of the architectures of the space.
    """

    max_params: float | None = None
    max_flops: float | None = None
    costs: Costs | None = None

    @classmethod
    def of(cls, config: SearchConfig, costs: Costs) -> "Budget":
        """The limits that `config` gives in millions; without any, `UNLIMITED`.

        Raises:
            UserError: nothing in the space fits.
        """
        if config.max_params is None and config.max_flops is None:
            return UNLIMITED
        params, flops = (None if limit is None else limit * MILLION for limit in (config.max_params, config.max_flops))
        budget, least = cls(params, flops, costs), costs.least(PartialArch.all_open(costs.space.edges))
        if budget.used_by(least) > 1:
            raise UserError(f"nothing in {config.space!r} fits the budget: the smallest network has {least}")
        return budget

    def used_by(self, cost: Cost) -> float:
        """The part of the budget that `cost` uses up, by what is scarcer; more than 1 is too much. 0 without limits."""
        limits = ((cost.params, self.max_params), (cost.flops, self.max_flops))
        return max((used / limit for used, limit in limits if limit is not None), default=0.0)

    def used(self, arch: PartialArch) -> float:
        """The part that the cheapest way to finish `arch` uses up."""
        return self.used_by(self.costs.least(arch)) if self.costs else 0.0


UNLIMITED = Budget()


def first_within(choices: Sequence[T], used: Callable[[T], float]) -> T:
    """The first choice within the budget, that is with `used` at most 1.

    Where two limits leave none, the one that exceeds the budget least.
    """
    return next((choice for choice in choices if used(choice) <= 1), None) or min(choices, key=used)
