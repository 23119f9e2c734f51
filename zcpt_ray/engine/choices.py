"""Choices inside an ordinary network: which op, how many blocks, how wide. `spaces.module_space` makes a space of them.

A decision is an edge of a search. While nothing is decided its options are averaged, as are the ops of a supernet.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from zcpt_ray.engine.cells import takes_part
from zcpt_ray.engine.decisions import DecisionModule
from zcpt_ray.engine.inspection import out_of_place
from zcpt_ray.engine.narrowing import Narrowing, narrowed_copy
from zcpt_ray.errors import UserError


class Choice(DecisionModule):
    """One of several modules that read the same and give one shape: `zc.Choice(conv=Conv(3), skip=nn.Identity())`.

    An option that is None adds nothing. Names may be any text: `zc.Choice(**{"3x3": ...})`. A text before them is the
    name of the decision: choices with the same name and the same options are decided together.
    """

    def __init__(self, name: str | None = None, /, **options: nn.Module | None) -> None:
        super().__init__(name, tuple(options))
        self.ops = _Parts()
        for option, op in options.items():
            if op is not None and not isinstance(op, nn.Module):
                raise UserError(f"{self._called}: option {option!r} must be a torch.nn.Module or None, got {op!r}")
            if op is not None:
                self.ops.add(option, out_of_place(op))

    def forward(self, *inputs: Any, **others: Any) -> Any:
        """What the ops give of their inputs, mixed."""
        if len(self.options) == 1 and self.weights is None and (op := self.ops.get(self.options[0])) is not None:
            return op(*inputs, **others)  # nothing is left to decide: exported networks do not see the choice
        total = self._sum(self._outputs(inputs, others))
        return torch.zeros_like(inputs[0]) if total is None else total

    def _outputs(self, inputs: tuple[Any, ...], others: dict[str, Any]) -> Iterator[tuple[str, float | Tensor, Any]]:
        for option, weight in zip(self.options, self.mixture(), strict=True):
            op = self.ops.get(option)
            if op is not None and takes_part(weight):
                self.running = (option,)
                with _unchanged(inputs, f"{self._called}: option {option!r}"):
                    output = op(*inputs, **others)
                yield option, weight, output

    def keep(self, options: Sequence[str]) -> None:
        for option in set(self.options) - set(options):
            self.ops.drop(option)
        self.options = tuple(option for option in self.options if option in options)

    def parts(self) -> Iterator[tuple[str, nn.Module, tuple[str, ...]]]:
        for option in self.options:
            if (op := self.ops.get(option)) is not None:
                yield option, op, (option,)

    def option_params(self) -> list[int]:
        return [_count(self.ops.get(option)) for option in self.options]


class Repeat(DecisionModule):
    """A block `at_least` to `at_most` times, one after another: how deep a part of a network is.

    `make_block()`, or `make_block(index)` if it has a parameter without default, makes each of them. Options are the
    numbers, as texts. All depths must give one shape: only a first block that always runs may change it.
    """

    def __init__(
        self,
        make_block: Callable[..., nn.Module],
        at_most: int,
        at_least: int = 1,
        name: str | None = None,
    ) -> None:
        if not 0 <= at_least <= at_most or not at_most:
            raise UserError(f"a Repeat needs 0 <= at_least <= at_most, got {at_least} and {at_most}")
        super().__init__(name, [str(depth) for depth in range(at_least, at_most + 1)])
        indexed = _parameters_without_default(make_block) > 0
        self.blocks = _Parts()
        for index in range(at_most):
            self.blocks.add(str(index), out_of_place(make_block(index) if indexed else make_block()))

    def forward(self, x: Any, *inputs: Any, **others: Any) -> Any:
        """What the chains of blocks give, mixed."""
        if len(self.options) == 1 and self.weights is None:
            for name in self.blocks.names():
                x = self.blocks.get(name)(x, *inputs, **others)  # type: ignore[misc]
            return x
        total = self._sum(self._outputs(x, inputs, others))
        return torch.zeros_like(x) if total is None else total

    def _outputs(
        self, x: Any, inputs: tuple[Any, ...], others: dict[str, Any]
    ) -> Iterator[tuple[str, float | Tensor, Any]]:
        weights = dict(zip(self.options, self.mixture(), strict=True))
        deepest = max((int(option) for option, weight in weights.items() if takes_part(weight)), default=-1)
        for depth in range(deepest + 1):
            if depth:
                self.running = tuple(option for option in self.options if int(option) >= depth)
                with _unchanged((x,), f"{self._called}: block {depth - 1}"):
                    x = self.blocks.get(str(depth - 1))(x, *inputs, **others)  # type: ignore[misc]
            if takes_part(weight := weights.get(str(depth), 0.0)):
                yield str(depth), weight, x

    def keep(self, options: Sequence[str]) -> None:
        self.options = tuple(option for option in self.options if option in options)
        for name in self.blocks.names():
            if int(name) >= max(map(int, self.options)):
                self.blocks.drop(name)

    def parts(self) -> Iterator[tuple[str, nn.Module, tuple[str, ...]]]:
        for name in self.blocks.names():
            block = self.blocks.get(name)
            assert block is not None
            yield name, block, tuple(option for option in self.options if int(option) > int(name))

    def option_params(self) -> list[int]:
        return [
            sum(_count(self.blocks.get(name)) for name in self.blocks.names() if int(name) < int(option))
            for option in self.options
        ]


class Width(DecisionModule):
    """A module in one of several sizes, whose weights are slices of those of the largest.

    `make(size)` makes it; what it reads and gives has one shape whatever the size. A size may be a number of channels,
    of hidden units, of heads, or a kernel: kernels are cut around their centre, all else from the start.

    Example: `zc.Width(lambda hidden: Mlp(192, hidden), (384, 768))`.
    """

    def __init__(self, make: Callable[[int], nn.Module], sizes: Sequence[int], name: str | None = None) -> None:
        super().__init__(name, [str(size) for size in sizes])
        largest = max(sizes)
        self.make = make
        self.widest = out_of_place(make(largest))
        self.narrowings = {
            str(size): Narrowing.between(self.widest, make(size), f"{self._called}: size {size}")
            for size in sizes
            if size != largest
        }

    def forward(self, *inputs: Any, **others: Any) -> Any:
        """What the module gives in each size, mixed."""
        if len(self.options) == 1 and self.weights is None:
            return self.widest(*inputs, **others)
        return self._sum(self._outputs(inputs, others))

    def _outputs(self, inputs: tuple[Any, ...], others: dict[str, Any]) -> Iterator[tuple[str, float | Tensor, Any]]:
        for option, weight in zip(self.options, self.mixture(), strict=True):
            if takes_part(weight):
                narrowing = self.narrowings.get(option)
                self.running = (option,)
                with _unchanged(inputs, f"{self._called}: size {option}"):
                    if narrowing is None:
                        output = self.widest(*inputs, **others)
                    else:
                        with narrowing.applied(self.widest):
                            output = self.widest(*inputs, **others)
                yield option, weight, output

    def keep(self, options: Sequence[str]) -> None:
        self.options = tuple(option for option in self.options if option in options)
        largest = max(self.options, key=int)
        if largest in self.narrowings:
            narrow = self._made(largest)
            self.widest = narrowed_copy(self.widest, narrow, Narrowing.between(self.widest, narrow, self._called))
        self.narrowings = {
            option: Narrowing.between(self.widest, self._made(option), self._called)
            for option in self.options
            if option != largest
        }

    def _made(self, option: str) -> nn.Module:
        """The module in a size, with the decisions inside as far as those of the largest are."""
        made = out_of_place(self.make(int(option)))
        for name, inner in self.widest.named_modules():
            if isinstance(inner, DecisionModule):
                same = made.get_submodule(name)
                assert isinstance(same, DecisionModule)
                same.decision = inner.decision
                same.keep(inner.options)
        return made

    def parts(self) -> Iterator[tuple[str, nn.Module, tuple[str, ...]]]:
        yield "", self.widest, self.options

    def option_params(self) -> list[int]:
        whole = _count(self.widest)
        return [self.narrowings[option].params if option in self.narrowings else whole for option in self.options]


class _Parts(nn.Module):
    """Modules by any name."""

    def add(self, name: str, module: nn.Module) -> None:
        key = name.replace(".", "_")  # a dot would end a name
        if key in self._modules:
            raise UserError(f"a choice has two options called {key!r}")
        self._modules[key] = module  # add_module refuses names as `half`, which modules have attributes of

    def get(self, name: str) -> nn.Module | None:
        return self._modules.get(name.replace(".", "_"))

    def names(self) -> list[str]:
        return list(self._modules)

    def drop(self, name: str) -> None:
        self._modules.pop(name.replace(".", "_"), None)


@contextmanager
def _unchanged(inputs: Sequence[Any], what: str) -> Iterator[None]:
    before = [(given, given._version) for given in inputs if isinstance(given, Tensor) and not given.is_inference()]
    yield
    if any(given._version != version for given, version in before):
        raise UserError(f"{what} changes what it reads in place, which other options read too")


def _parameters_without_default(function: Callable[..., Any]) -> int:
    try:
        given = inspect.signature(function).parameters.values()
    except ValueError:  # some of Python's own do not tell
        return 0
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(each.kind in positional and each.default is inspect.Parameter.empty for each in given)


def _count(module: nn.Module | None) -> int:
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())
