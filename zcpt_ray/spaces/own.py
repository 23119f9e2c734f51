"""A user's own search space, from a Python file; and what every space has to keep to."""

from functools import cache, partial
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from zcpt_ray.arch import Edge, PartialArch
from zcpt_ray.engine.decisions import DecisionModule
from zcpt_ray.engine.layers import Layer
from zcpt_ray.errors import UserError
from zcpt_ray.plugins import load_plugin
from zcpt_ray.registry import mark_own
from zcpt_ray.spaces.base import Space
from zcpt_ray.spaces.module_space import ModuleSpace, space_of

VARIABLE = "SPACE"
"""What a file calls its space."""


def load_space(path: str | Path) -> Space:
    """The space that the Python file at `path` holds as `SPACE`, or that of its network with choices inside.

    The file is run once.

    Raises:
        UserError: no such file or variable, the file fails, or the space does not keep the contract.
    """
    return _checked(load_plugin(path, "space"))


@cache
def _checked(module: ModuleType) -> Space:
    path = str(module.__file__)
    space = getattr(module, VARIABLE, None) or _space_of_network(module)
    if not isinstance(space, Space):
        raise UserError(
            f"{path} must hold a zcpt_ray.spaces.Space as {VARIABLE}, or a network with a zc.Choice inside; has"
            f" {type(space).__name__}"
        )
    space.name = path
    check_space(space)
    return mark_own(space, "space")


def _space_of_network(module: ModuleType) -> Space | None:
    """The space of the one network with choices inside that a file defines; None without one.

    Raises:
        UserError: there are several.
    """
    with torch.random.fork_rng([]):
        made = {kind: net for kind in _networks(module) if (net := _made_alone(kind)) is not None}
    inside = {type(part) for net in made.values() for part in list(net.modules())[1:]}
    outer = [
        kind for kind in made if kind not in inside and any(isinstance(p, DecisionModule) for p in made[kind].modules())
    ]
    if len(outer) > 1:
        names = ", ".join(kind.__name__ for kind in outer)
        raise UserError(
            f"{module.__file__} has several networks with choices: {names}; say {VARIABLE} = zc.space_of(...)"
        )
    return space_of(outer[0]) if outer else None


def _networks(module: ModuleType) -> list[type[nn.Module]]:
    return [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, nn.Module) and kind.__module__ == module.__name__
    ]


def _made_alone(kind: type[nn.Module]) -> nn.Module | None:
    """What a class makes without being told anything; None if it cannot."""
    for given in ({}, {"num_classes": 2}):
        try:
            return kind(**given)
        except TypeError:
            continue
    return None


def check_space(space: Space) -> None:
    """See that a search can rely on the space.

    Raises:
        UserError: weights that do not depend on the seed alone, edges of equal names, an edge in no stage or in
            several, an op without a module, ops of one edge that give different shapes, or a text form that is not read
            back. The message names the edge and the op.
    """
    names = [edge.name for edge in space.edges]
    if len(set(names)) != len(names):
        raise UserError(f"space {space.name!r}: edge {max(names, key=names.count)!r} is there more than once")
    staged = sorted(edge for stage in space.stages for lane in stage for edge in lane)
    for index, name in enumerate(names):
        if staged.count(index) != 1:
            raise UserError(
                f"space {space.name!r}: edge {name!r} must be in one lane of its stages, is in {staged.count(index)}"
            )
    if len(staged) != len(names) or not all(stage and all(stage) for stage in space.stages):
        raise UserError(
            f"space {space.name!r}: its stages {space.stages} must hold edges 0 to {len(names) - 1}, and no empty lane"
        )
    if isinstance(space, ModuleSpace):
        space.check()
    elif space.has_supernet:
        _check_shapes(space)
    _check_weights(space)
    first = space.example()
    try:
        text = space.encode(first)
        again = space.decode(text)
        space.single_path(again)
        written = space.encode(again)
    except UserError:
        raise
    except Exception as error:  # it may do anything
        raise UserError(f"space {space.name!r} does not read what it writes of {first.kept}: {error!r}") from error
    if written != text:
        raise UserError(f"space {space.name!r}: {text!r} is read back as {written!r}")


def _check_shapes(space: Space) -> None:
    """Run the supernet without memory, and compare what the ops of each edge give, layer by layer."""
    edges: list[tuple[Edge, dict[str, list[int]]]] = []
    with torch.device("meta"):
        try:
            net = space.build(space.edges, 10)
        except Exception as error:  # it may do anything
            raise UserError(f"space {space.name!r} cannot be built: {error!r}") from error
        for layer in [module for module in net.modules() if isinstance(module, Layer)]:
            for index, ops in layer.candidate_ops().items():
                edge, shapes = space.edges[index], dict[str, list[int]]()
                if len(ops) != len(edge.candidates):
                    raise UserError(
                        f"space {space.name!r}: edge {edge.name!r} has ops {edge.candidates}, its layer {len(ops)} of"
                        " them"
                    )
                for name, op in zip(edge.candidates, ops, strict=True):
                    op.register_forward_hook(partial(_note_shape, shapes, name))
                edges.append((edge, shapes))
        failure: Exception | None = None
        try:
            net(torch.empty(2, 3, 32, 32), PartialArch.all_open(space.edges).edge_weights())
        except (RuntimeError, TypeError, ValueError) as error:
            failure = error
    for edge, shapes in edges:
        for name, shape in shapes.items():
            if shape != (expected := next(iter(shapes.values()))):
                raise UserError(
                    f"space {space.name!r}: on edge {edge.name!r} op {name!r} gives {shape}, op {next(iter(shapes))!r}"
                    f" {expected}"
                )
    if failure:
        raise UserError(f"space {space.name!r} does not run: {failure}") from failure


def _check_weights(space: Space) -> None:
    """See that the weights of its supernet depend on a seed alone: build it twice, and compare."""
    one, other = (space.supernet(10, seed=0).state_dict() for _ in range(2))
    if changed := [name for name, tensor in one.items() if not torch.equal(tensor, other[name])]:
        raise UserError(
            f"space {space.name!r}: {changed[0]} has other values when the supernet is built again with the same seed;"
            " what reset_parameters draws must come from torch's random numbers alone"
        )


def _note_shape(shapes: dict[str, list[int]], name: str, module: object, inputs: object, output: object) -> None:
    if isinstance(output, torch.Tensor):
        shapes[name] = list(output.shape)
