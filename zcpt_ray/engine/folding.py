"""How a layer is prepared for fast evaluation in eval mode, in three steps.

1. `Layer.folding()` does what no edge weights influence, such as folding batch norms into convolutions: a `Folding`.
2. `SeparateFolding.fold(weights)` does what depends on the edge weights of one architecture: a `FoldedLayer`.
3. Calling that runs images.

So what many architectures need is done once, and nothing is prepared while images run. A layer within which
architectures can share work folds for the edge weights of all of them at once: `Folding.fold_jointly`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from zcpt_ray.engine.inspection import watched_inputs
from zcpt_ray.engine.ops import ReLUConvBN
from zcpt_ray.engine.relu_codes import ReluCode, relu_code, watched_activations

EdgeWeights = tuple[tuple[float, ...], ...]
"""Per edge, per candidate op: `PartialArch.edge_weights`."""

State = Tensor | tuple[Tensor, ...]
"""What one layer hands to the next: [B, C, H, W], or the outputs of several layers before it."""

SharedCode = tuple[ReluCode, tuple[int, ...]]
"""A code, and the positions of the edge weights with which it is seen."""


class FoldedLayer(ABC):
    """A layer in eval mode for fixed edge weights."""

    @abstractmethod
    def __call__(self, x: Any) -> tuple[Any, list[ReluCode]]:
        """A `State` -> the next one, and the codes of what ReLUs read on the way. `x` is not changed."""


class JointFoldedLayer(ABC):
    """A layer in eval mode for several edge weights."""

    @abstractmethod
    def __call__(self, x: Any) -> tuple[list[Any], list[SharedCode]]:
        """A `State` -> the next one for each of the edge weights, and the codes. `x` is not changed."""


class StackedLayer(ABC):
    """A layer in eval mode for several edge weights, each with a state of its own, in one batch one after another."""

    @abstractmethod
    def __call__(self, x: Any) -> tuple[Any, list[list[ReluCode]]]:
        """Stacked `State`s -> the next ones, stacked alike, and the codes of each. `x` is not changed."""


class Folding(ABC):
    """A layer with everything done that does not depend on edge weights.

    `joint` says for how many edge weights at a time `fold_jointly` computes things once, None for any number: their
    outputs stay in memory together. `stacks` says that there is a `fold_stacked`.
    """

    joint: ClassVar[int | None] = 1
    stacks: ClassVar[bool] = False

    @abstractmethod
    def fold_jointly(self, weights: Sequence[EdgeWeights]) -> JointFoldedLayer:
        """The layer for each of several edge weights."""

    def fold_stacked(self, weights: Sequence[EdgeWeights]) -> StackedLayer:
        """The layer for several edge weights whose states are stacked."""
        raise NotImplementedError


class SeparateFolding(Folding):
    """A folding whose architectures have nothing in common."""

    @abstractmethod
    def fold(self, weights: EdgeWeights) -> FoldedLayer:
        """The layer for the edge weights of one architecture."""

    def fold_jointly(self, weights: Sequence[EdgeWeights]) -> "OneAfterAnother":
        return OneAfterAnother([self.fold(each) for each in weights])


class OneAfterAnother(JointFoldedLayer):
    """Folded layers that read the same and run one after another."""

    def __init__(self, layers: Sequence[FoldedLayer]) -> None:
        self.layers = layers

    def __call__(self, x: State) -> tuple[list[State], list[SharedCode]]:
        outputs, codes = zip(*(layer(x) for layer in self.layers), strict=True)
        return list(outputs), [(code, (position,)) for position, seen in enumerate(codes) for code in seen]


class FixedFolding(SeparateFolding):
    """Of a layer without candidate ops: the same whatever the weights."""

    stacks = True

    def __init__(self, folded: FoldedLayer) -> None:
        self.folded = folded

    def fold(self, weights: EdgeWeights) -> FoldedLayer:
        return self.folded

    def fold_stacked(self, weights: Sequence[EdgeWeights]) -> "OneForAll":
        return OneForAll(self.folded, len(weights))


class OneForAll(StackedLayer):
    """A folded layer that does the same to each of `states` stacked states."""

    def __init__(self, folded: FoldedLayer, states: int) -> None:
        self.folded = folded
        self.states = states

    def __call__(self, x: State) -> tuple[State, list[list[ReluCode]]]:
        out, codes = self.folded(x)
        split = [code.split(self.states) for code in codes]
        return out, [[parts[position] for parts in split] for position in range(self.states)]


class WatchedFolding(SeparateFolding):
    """Of any layer: it runs as it is written, and its activations and ReLU-conv-BN blocks are watched.

    `within` is the network that it runs a part of, where its modules are not its own.
    """

    def __init__(self, layer: nn.Module, within: nn.Module | None = None) -> None:
        self.layer = layer
        self.blocks = [
            module for module in (layer if within is None else within).modules() if isinstance(module, ReLUConvBN)
        ]

    def fold(self, weights: EdgeWeights) -> "WatchedLayer":
        return WatchedLayer(self, weights)


class WatchedLayer(FoldedLayer):
    """A layer's own `forward` at fixed weights: a code for each time that an activation or a block reads something."""

    def __init__(self, folding: WatchedFolding, weights: EdgeWeights) -> None:
        self.folding = folding
        self.weights = weights

    def __call__(self, x: State) -> tuple[State, list[ReluCode]]:
        codes: list[ReluCode] = []
        with (
            watched_activations(lambda seen: codes.append(ReluCode(relu_code(seen), 1, 0))),
            watched_inputs(self.folding.blocks, lambda seen: codes.append(ReluCode(relu_code(seen), 0, 1))),
        ):
            out = self.folding.layer(x, self.weights)
        return out, codes
