"""A module that runs with slices of its weights, as if it had been made smaller."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zcpt_ray.errors import UserError

SETTINGS = (bool, int, float, str, tuple, list, torch.Size)
"""Types of what a module knows of its own size, as `out_channels` or `num_heads`."""
KEPT = ("training", "options", "decision", "weights", "running")
CENTRED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
Shapes = Mapping[str, torch.Size]


@dataclass(frozen=True)
class Part:
    """One module inside: what it knows of its size when smaller, and the shapes of its own tensors."""

    settings: Mapping[str, Any]
    parameters: Shapes
    buffers: Shapes


@dataclass(frozen=True)
class Narrowing:
    """How a module is made smaller: what changes, by the names of the modules inside."""

    parts: Mapping[str, Part]

    @classmethod
    def between(cls, wide: nn.Module, narrow: nn.Module, what: str) -> "Narrowing":
        """From a module to one of the same structure that is no larger anywhere.

        Raises:
            UserError: another structure, or a tensor that is no slice. The message begins with `what`.
        """
        inside, smaller = dict(wide.named_modules()), dict(narrow.named_modules())
        if odd := set(inside) ^ set(smaller):
            raise UserError(f"{what} has other modules than the largest: {min(odd)!r}; sizes must share a structure")
        parts = {}
        for name, module in inside.items():
            part = _part(module, smaller[name], f"{what}: {name or type(module).__name__}")
            if part.settings or part.parameters or part.buffers:
                parts[name] = part
        return cls(parts)

    @property
    def params(self) -> int:
        """How many parameters the smaller one has."""
        return sum(shape.numel() for part in self.parts.values() for shape in part.parameters.values())

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Inside, the module is the smaller one; its tensors are slices, through which gradients flow back."""
        inside = dict(module.named_modules())
        before: list[tuple[dict[str, Any], dict[str, Any]]] = []
        try:
            for name, part in self.parts.items():
                own = inside[name]
                for place, values in (
                    (own.__dict__, part.settings),
                    (own._parameters, _slices(own, own._parameters, part.parameters)),
                    (own._buffers, _slices(own, own._buffers, part.buffers)),
                ):
                    before.append((place, {key: place[key] for key in values}))
                    place.update(values)
            yield
        finally:
            for place, values in reversed(before):
                place.update(values)


def narrowed_copy(wide: nn.Module, narrow: nn.Module, narrowing: Narrowing) -> nn.Module:
    """`narrow` with the slices of `wide` as its values."""
    with torch.no_grad(), narrowing.applied(wide):
        given = {**dict(wide.named_parameters()), **dict(wide.named_buffers())}
        for name, tensor in (*narrow.named_parameters(), *narrow.named_buffers()):
            if not tensor.is_meta and not given[name].is_meta:
                tensor.copy_(given[name])
    return narrow


def _part(wide: nn.Module, narrow: nn.Module, what: str) -> Part:
    if type(wide) is not type(narrow):
        raise UserError(f"{what} is a {type(narrow).__name__}, of the largest a {type(wide).__name__}")
    settings = {
        key: value
        for key, value in narrow.__dict__.items()
        if isinstance(value, SETTINGS) and key not in KEPT and wide.__dict__.get(key) != value
    }
    return Part(
        settings, _shapes(wide._parameters, narrow._parameters, what), _shapes(wide._buffers, narrow._buffers, what)
    )


def _shapes(wide: Mapping[str, Tensor | None], narrow: Mapping[str, Tensor | None], what: str) -> Shapes:
    found = {}
    for key, tensor in narrow.items():
        other = wide.get(key)
        if (tensor is None) != (other is None):
            raise UserError(f"{what}.{key} is there in some sizes only")
        if tensor is None or other is None:
            continue
        if tensor.dim() != other.dim() or any(a > b for a, b in zip(tensor.shape, other.shape, strict=True)):
            raise UserError(f"{what}.{key} of {list(tensor.shape)} is no slice of {list(other.shape)}")
        if tensor.dim():
            found[key] = tensor.shape
    return found


def _slices(module: nn.Module, tensors: Mapping[str, Tensor | None], shapes: Shapes) -> dict[str, Tensor]:
    centred = 2 if isinstance(module, CENTRED) else None
    found = {}
    for key, shape in shapes.items():
        tensor = tensors[key]
        assert tensor is not None
        for dim, size in enumerate(shape):
            if size != tensor.shape[dim]:
                spare = tensor.shape[dim] - size
                tensor = tensor.narrow(dim, spare // 2 if centred and dim >= centred else 0, size)
        found[key] = tensor
    return found
