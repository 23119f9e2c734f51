"""Supernets: the plain one that any proxy can score, and the folded one that counts ReLU codes fast.

A supernet is a chain of layers; edge weights (`PartialArch.edge_weights`) say how a layer mixes its candidate ops.
`MaskedSupernet` shows one partly decided architecture as an ordinary `nn.Module`. `Supernet.relu_sites` walks many of
them at once in eval mode: layers are folded (BN into convs, the ops of an edge into one kernel, the convs that read one
node into one), and what several architectures have in common up to some layer is computed once.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from zcpt_ray.arch import Edge, PartialArch
from zcpt_ray.devices import DEVICES
from zcpt_ray.engine.folding import EdgeWeights, Folding, JointFoldedLayer, SharedCode, State
from zcpt_ray.engine.inspection import eval_mode
from zcpt_ray.engine.layers import Layer
from zcpt_ray.engine.memory import keep_freed_memory
from zcpt_ray.engine.ops import Skip
from zcpt_ray.engine.relu_codes import BinaryCode, ReluCode


@dataclass(frozen=True)
class ReluSite(ReluCode):
    """A `ReluCode` and the architectures, as indices into what `Supernet.relu_sites` was given, that share it."""

    archs: tuple[int, ...] = ()


class Foldings:
    """The foldings of a supernet's layers, made again only once its weights have changed; no copy has them."""

    def __init__(self) -> None:
        self.state: object = None
        self.known: list[Folding] = []

    def of(self, supernet: "Supernet") -> list[Folding]:
        """One per layer. Torch counts what changes a tensor in place."""
        state = [(tensor.data_ptr(), tensor._version) for tensor in (*supernet.parameters(), *supernet.buffers())]
        if self.state != state:
            with torch.no_grad():
                self.state, self.known = state, [layer.folding() for layer in supernet.layers]
        return self.known

    def __deepcopy__(self, memo: object) -> "Foldings":
        return Foldings()

    def __reduce__(self) -> tuple[type["Foldings"], tuple[()]]:
        return Foldings, ()


class Supernet(nn.Module):
    """A chain of layers and a linear classifier over the last one's features.

    A finished network is a supernet whose edges offer only what they keep. `make_thin` builds its thin form
    (`Space.thin`).
    """

    make_thin: Callable[[], "Supernet"] | None = None

    def __init__(self, edges: tuple[Edge, ...], layers: dict[str, Layer], features: int, num_classes: int) -> None:
        super().__init__()
        self.edges = edges
        self.layers = list(layers.values())
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.classifier = nn.Linear(features, num_classes)
        self._foldings = Foldings()

    def forward(self, images: Tensor, weights: EdgeWeights | None = None) -> Tensor:
        """[B, 3, H, W] -> logits [B, num_classes].

        Without `weights` every op counts fully: that is meant for finished networks.
        """
        if weights is None:
            weights = whole_weights(self.edges)
        for layer in self.layers:
            images = layer(images, weights)
        logits: Tensor = self.classifier(images)
        return logits

    @cached_property
    def thin(self) -> "Supernet | None":
        """The same architecture over one channel of 3x3 images, or None; not a part of this network."""
        return self.make_thin() if self.make_thin else None

    def masked(self, arch: PartialArch) -> nn.Module:
        """One partly decided architecture, as an ordinary network: images [B, C, H, W] -> logits [B, num_classes]."""
        return MaskedSupernet(self, arch)

    def key(self, arch: PartialArch) -> Hashable:
        """What the network's output depends on: architectures with equal keys are one function."""
        weights = arch.edge_weights()
        return tuple(layer.key(weights) for layer in self.layers)

    def op_params(self) -> list[list[int]]:
        """Per edge, per candidate op, the number of its parameters over all layers."""
        counts = [[0] * len(edge.candidates) for edge in self.edges]
        for layer in self.layers:
            for index, ops in layer.candidate_ops().items():
                for position, op in enumerate(ops):
                    counts[index][position] += sum(parameter.numel() for parameter in op.parameters())
        return counts

    def relu_sites(self, archs: Sequence[PartialArch], images: Tensor) -> Iterator[ReluSite]:
        """Every tensor that ReLUs read, for each of `archs` on `images` [B, 3, H, W].

        In eval mode: batch norms use their running statistics. The network itself is not changed. Memory: the layer
        inputs of one path through the tree of distinct prefixes, and those of their siblings where a layer computes
        them together.
        """
        keep_freed_memory()
        weights = [arch.edge_weights() for arch in archs]
        with eval_mode(self):
            chain = list(zip(self.layers, self._foldings.of(self), strict=True))
            x = (images.contiguous(memory_format=torch.channels_last),)
            yield from _walk(chain, tuple(range(len(archs))), weights, x)


def _walk(
    chain: Sequence[tuple[Layer, Folding]], archs: tuple[int, ...], weights: list[EdgeWeights], x: tuple[Tensor, ...]
) -> Iterator[ReluSite]:
    """Depth first along `chain`, the layers that are left, for `archs`, which are alike up to there.

    `weights` are those of all architectures, `x` is the state that the first layer left reads.
    """
    if not chain:
        return
    (layer, folding), rest = chain[0], chain[1:]
    variants = _variants(layer, archs, weights)
    if len(variants) > 1 and _stacks(layer, folding) and (most := _states_at_a_time(x)) > 1:
        for start in range(0, len(variants), most):
            part = variants[start : start + most]
            stack = tuple(torch.cat([tensor] * len(part)) for tensor in x)
            yield from _walk_stacked(chain, part, weights, stack)
        return
    jointly = folding.joint or len(variants)
    for together in (variants[start : start + jointly] for start in range(0, len(variants), jointly)):
        folded = folding.fold_jointly([weights[members[0]] for members in together])
        outputs, codes = _run_in_chunks(folded, x, _images_at_a_time(layer, x))
        for code, positions in codes:
            shared = tuple(index for position in positions for index in together[position])
            yield ReluSite(code.code, code.relus, code.blocks, code.silent, shared)
        del codes
        for members in together:
            yield from _walk(rest, members, weights, outputs.pop(0))


def _walk_stacked(
    chain: Sequence[tuple[Layer, Folding]],
    variants: Sequence[tuple[int, ...]],
    weights: list[EdgeWeights],
    x: tuple[Tensor, ...],
) -> Iterator[ReluSite]:
    """As `_walk`, for several groups of architectures that are alike up to there, whose states are stacked in `x`."""
    for done, (layer, folding) in enumerate(chain):
        if not _stacks(layer, folding) or any(len(_variants(layer, members, weights)) > 1 for members in variants):
            for position, members in enumerate(variants):
                state = tuple(tensor.chunk(len(variants))[position] for tensor in x)
                yield from _walk(chain[done:], members, weights, state)
            return
        with torch.no_grad():
            stacked = folding.fold_stacked([weights[members[0]] for members in variants])
            out, codes = stacked(x if len(x) > 1 else x[0])
        x = out if isinstance(out, tuple) else (out,)
        for members, seen in zip(variants, codes, strict=True):
            for code in seen:
                yield ReluSite(code.code, code.relus, code.blocks, code.silent, members)


def _variants(layer: Layer, archs: Sequence[int], weights: list[EdgeWeights]) -> list[tuple[int, ...]]:
    """Those of `archs` that are alike in `layer`, together."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for index in archs:
        groups[layer.key(weights[index])].append(index)
    return [tuple(members) for members in groups.values()]


def whole_weights(edges: Sequence[Edge]) -> EdgeWeights:
    """Every op counts fully: for a finished network, whose edges offer what they keep."""
    return tuple((1.0,) * len(edge.candidates) for edge in edges)


class MaskedSupernet(nn.Module):
    """One partly decided architecture of a supernet, as an ordinary network.

    It maps images [B, 3, H, W] to logits [B, num_classes].
    """

    supernet: Supernet

    def __init__(self, supernet: Supernet, arch: PartialArch) -> None:
        super().__init__()
        self.__dict__["supernet"] = supernet  # not a child itself: modules keep the names they have in the supernet
        for name, child in supernet.named_children():
            self.add_module(name, child)
        self.arch = arch
        self.weights = arch.edge_weights()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.supernet(images, self.weights)
        return logits

    def without_open_skips(self) -> "MaskedSupernet":
        """The same without the ops of open edges that hand on what they read."""
        arch = self.arch
        for layer in self.supernet.layers:
            for index, ops in layer.candidate_ops().items():
                names = arch.edges[index].candidates
                for name in (name for name, op in zip(names, ops, strict=True) if isinstance(op, Skip | nn.Identity)):
                    arch = arch.perturb(index, name) if arch.kept[index] is None else arch
        return MaskedSupernet(self.supernet, arch)

    @property
    def thin(self) -> "MaskedSupernet | None":
        """The same architecture of the thin supernet, or None."""
        return MaskedSupernet(self.supernet.thin, self.arch) if self.supernet.thin else None


def _images_at_a_time(layer: Layer, x: tuple[Tensor, ...]) -> int | None:
    """How many images run at a time; None for all, and for a state that need not be tensors."""
    if not layer.images_apart:
        return None
    bytes_per_image = sum(tensor[0].nbytes for tensor in x) * layer.widening
    return max(layer.least_images, int(DEVICES[x[0].device.type].chunk_bytes / bytes_per_image))


def _stacks(layer: Layer, folding: Folding) -> bool:
    return folding.stacks and layer.images_apart


def _states_at_a_time(x: tuple[Tensor, ...]) -> int:
    """How many states are stacked."""
    device = DEVICES[x[0].device.type]
    return device.chunk_bytes // sum(tensor.nbytes for tensor in x) if device.stacks_states else 1


@torch.no_grad()
def _run_in_chunks(
    folded: JointFoldedLayer, x: tuple[Tensor, ...], size: int | None
) -> tuple[list[tuple[Tensor, ...]], list[SharedCode]]:
    """A layer on a state, `size` images at a time: the next state of each variant, and the codes.

    States are tuples here.
    """
    chunks = [x] if size is None else zip(*(torch.split(tensor, size) for tensor in x), strict=True)
    outputs, codes = zip(*(folded(chunk if len(chunk) > 1 else chunk[0]) for chunk in chunks), strict=True)
    states = [_join_states(parts) for parts in zip(*outputs, strict=True)]
    return states, [_join_codes(parts) for parts in zip(*codes, strict=True)]


def _join_states(parts: Sequence[State]) -> tuple[Tensor, ...]:
    """One state of the chunks of images that it came in."""
    tuples = [part if isinstance(part, tuple) else (part,) for part in parts]
    return tuple(torch.cat(tensors) if len(tensors) > 1 else tensors[0] for tensors in zip(*tuples, strict=True))


def _join_codes(parts: Sequence[SharedCode]) -> SharedCode:
    """One code of the chunks of images that it came in."""
    code, positions = parts[0]
    if len(parts) > 1:
        code = replace(code, code=BinaryCode.join([part.code for part, _ in parts]))
    return code, positions
