"""What decisions inside a network have in common, and how they are found and made."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from zcpt_ray.engine.cells import scaled
from zcpt_ray.errors import UserError

Weights = Sequence[float | Tensor]
"""Of each option."""
Conditions = tuple[tuple[str, frozenset[str]], ...]
"""Decisions that something is inside of, each with the options with which it runs."""


class DecisionModule(nn.Module):
    """A choice inside a network; all of one `decision` are decided together.

    Without a name of its own it is called by its attribute path in the network.
    """

    def __init__(self, name: str | None, options: Sequence[str]) -> None:
        super().__init__()
        if not options or len(set(options)) != len(options):
            raise UserError(f"a choice needs distinct options, got {', '.join(map(str, options)) or 'none'}")
        self.decision = name or ""
        self.options = tuple(options)
        self.weights: Weights | None = None
        self.running = self.options
        """The options that what runs inside now belongs to."""

    def mixture(self) -> Weights:
        """The weight of each option now."""
        return (1 / len(self.options),) * len(self.options) if self.weights is None else self.weights

    def keep(self, options: Sequence[str]) -> None:
        """Drop all other options for good."""
        raise NotImplementedError

    def parts(self) -> Iterator[tuple[str, nn.Module, tuple[str, ...]]]:
        """What it holds: a name, the module, and the options with which it runs."""
        raise NotImplementedError

    def option_params(self) -> list[int]:
        """How many parameters each option has."""
        raise NotImplementedError

    def _sum(self, outputs: Iterator[tuple[str, float | Tensor, Any]]) -> Tensor | None:
        """The weighted sum of what options give; None where none gives anything."""
        total: Tensor | None = None
        first = ""
        for option, weight, output in outputs:
            if output is None:
                continue
            if not isinstance(output, Tensor):
                raise UserError(
                    f"{self._called}: option {option!r} must give a tensor, gives a {type(output).__name__}"
                )
            if total is not None and output.shape != total.shape:
                shapes = f"{list(output.shape)}, option {first!r} {list(total.shape)}"
                raise UserError(f"{self._called}: option {option!r} gives {shapes}; all must give one shape")
            first = first or option
            total = scaled(output, weight) if total is None else total + scaled(output, weight)
        return total

    @property
    def _called(self) -> str:
        return f"choice {self.decision!r}" if self.decision else f"a {type(self).__name__}"


@contextmanager
def decided(decisions: Mapping[str, Sequence[DecisionModule]], weights: Mapping[str, Weights]) -> Iterator[None]:
    """Inside, decisions of these names have these weights."""
    changed = [(each, each.weights) for name in weights for each in decisions[name]]
    try:
        for name, given in weights.items():
            for each in decisions[name]:
                each.weights = given
        yield
    finally:
        for each, before in changed:
            each.weights = before


def all_decisions(net: nn.Module) -> Iterator[tuple[DecisionModule, Conditions]]:
    """Each decision of a network, outer ones first, and when it is reached: with which options of which others.

    Those without a name get their attribute path.
    """
    yield from _visit(net, "", ())


def _visit(module: nn.Module, path: str, conditions: Conditions) -> Iterator[tuple[DecisionModule, Conditions]]:
    if not isinstance(module, DecisionModule):
        for name, child in module.named_children():
            yield from _visit(child, f"{path}.{name}".strip("."), conditions)
        return
    module.decision = module.decision or path
    yield module, conditions
    for name, part, options in module.parts():
        always = set(options) == set(module.options)
        inner = conditions if always else (*conditions, (module.decision, frozenset(options)))
        yield from _visit(part, f"{path}.{name}".strip("."), inner)
