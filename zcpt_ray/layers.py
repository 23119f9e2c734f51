"""The layers a supernet is a chain of: each as it is written, and folded for fast evaluation at fixed edge weights."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.ops import CandidateOp, ReLUConvBN, Zero, fold_bn

EdgeWeights = tuple[tuple[float, ...], ...]
"""Per edge, per candidate op: `PartialArch.edge_weights`."""

RELUS: tuple[type[nn.Module], ...] = (nn.ReLU, nn.ReLU6)
"""What counts as a ReLU; ReLU6, which the paper's released code observes too, is no subclass of ReLU."""


@dataclass(frozen=True)
class ReluCode:
    """The binary code of one tensor that ReLUs read, and how often it is read.

    `code` is bool [B, D], True where the tensor is > 0. `relus` ReLUs see it; `blocks` ReLU-conv-BN blocks have it as their input
    (removed ones included); `silent` more ReLUs belong to removed ops and see D zeros in its place.
    """

    code: Tensor
    relus: int
    blocks: int
    silent: int = 0

    def without_removed_ops(self) -> "ReluCode":
        """As the same architecture's own network has it: removed ops, each one block with one ReLU, are not there."""
        return ReluCode(self.code, self.relus, self.blocks - self.silent)


State = Tensor | tuple[Tensor, ...]
"""What one layer hands to the next: [B, C, H, W], or the outputs of several layers before it."""

Folded = Callable[[Any], tuple[Any, list[ReluCode]]]
"""A layer in eval mode for fixed edge weights: a `State` -> the next, and the codes seen on the way."""

JointFolded = Callable[[Any], tuple[list[Any], list[tuple[ReluCode, tuple[int, ...]]]]]
"""The same for several edge weights: a `State` -> the next for each, and codes with the positions of the weights that see them."""


class Layer(nn.Module):
    """One link of a supernet's chain.

    A new layer needs `forward` and, where it has candidate ops, `candidate_ops`; a `folding` of its own makes it faster. One that
    computes things once for several edge weights has a `joint_folding` and says so by `joint`: it is then asked for the outputs
    of all at once, and they stay in memory together.
    `images_apart`: in eval mode what it makes of an image does not depend on the others, nor on its place among them.
    """

    images_apart = True
    joint: ClassVar[bool] = False
    widening: float = 1.0
    """How many times larger than its input the layer's largest tensor is; about, as it only says how many images run at a time."""
    least_images: ClassVar[int] = 16
    """Images that run at a time at least: with fewer, torch does 1x1 convolutions on one thread a slower way."""

    def forward(self, x: Any, weights: EdgeWeights) -> Any:
        """A `State` -> the next, one op at a time."""
        raise NotImplementedError

    def candidate_ops(self) -> dict[int, list[CandidateOp]]:
        """Per edge that this layer has ops of, those ops."""
        return {}

    def key(self, weights: EdgeWeights) -> Hashable:
        """What this layer's output depends on: architectures with equal keys (and inputs) share it.

        By default, the weights of its ops, but for `none`: with or without it, a supernet is the same.
        """
        return tuple(
            weight
            for index, ops in self.candidate_ops().items()
            for op, weight in zip(ops, weights[index], strict=True)
            if not isinstance(op, Zero)
        )

    def folding(self) -> Callable[[EdgeWeights], Folded]:
        """Edge weights -> the same function as `forward` in eval mode, without the work that gives nothing.

        By default, `forward` itself, watched for what its ReLUs read.
        """

        def fold(weights: EdgeWeights) -> Folded:
            def run(x: State) -> tuple[State, list[ReluCode]]:
                codes: list[ReluCode] = []
                relus = [module for module in self.modules() if isinstance(module, RELUS)]
                blocks = [module for module in self.modules() if isinstance(module, ReLUConvBN)]
                with (
                    watched_inputs(relus, lambda seen: codes.append(ReluCode(relu_code(seen), 1, 0))),
                    watched_inputs(blocks, lambda seen: codes.append(ReluCode(relu_code(seen), 0, 1))),
                ):
                    out = self(x, weights)
                return out, codes

            return run

        return fold

    def joint_folding(self) -> Callable[[Sequence[EdgeWeights]], JointFolded]:
        """Several edge weights -> `folding` for each of them. By default, one after another."""
        fold = self.folding()

        def fold_all(weights: Sequence[EdgeWeights]) -> JointFolded:
            folded = [fold(each) for each in weights]

            def run(x: State) -> tuple[list[State], list[tuple[ReluCode, tuple[int, ...]]]]:
                outputs, codes = zip(*(run_one(x) for run_one in folded), strict=True)
                return list(outputs), [(code, (position,)) for position, seen in enumerate(codes) for code in seen]

            return run

        return fold_all


class Stem(Layer):
    """Convolution 3x3 and batch normalisation."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.bn(self.conv(x))
        return out

    def folding(self) -> Callable[[EdgeWeights], Folded]:
        kernel, bias = fold_bn(self.conv.weight, self.bn)
        return lambda weights: lambda x: (F.conv2d(x, kernel, bias, padding=1), [])


class CifarStem(Layer):
    """`Stem` for cells that take the outputs of two layers before them: both are its own."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, weights: EdgeWeights) -> tuple[Tensor, Tensor]:
        out = self.bn(self.conv(x))
        return out, out


class ImageNetStem(Layer):
    """Three convolutions of stride 2 with batch norms: 224 px -> (56 px, 28 px), for cells that take two outputs."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(3, channels // 2, 3, stride=2, padding=1, bias=False)
        self.bn_1 = nn.BatchNorm2d(channels // 2)
        self.relu_1 = nn.ReLU()
        self.conv_2 = nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1, bias=False)
        self.bn_2 = nn.BatchNorm2d(channels)
        self.relu_2 = nn.ReLU()
        self.conv_3 = nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False)
        self.bn_3 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, weights: EdgeWeights) -> tuple[Tensor, Tensor]:
        first = self.bn_2(self.conv_2(self.relu_1(self.bn_1(self.conv_1(x)))))
        return first, self.bn_3(self.conv_3(self.relu_2(first)))


class GlobalPool(Layer):
    """Average over the image, of the last of the tensors that it is handed."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: State, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.pool(x[-1] if isinstance(x, tuple) else x).flatten(1)
        return out


class ResidualBlock(Layer):
    """ResNet basic block that halves the resolution: two ReLU-conv3x3-BN blocks beside an average pool and a 1x1 conv."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv_a = ReLUConvBN(in_channels, channels, 3, stride=2)
        self.conv_b = ReLUConvBN(channels, channels, 3)
        self.downsample = nn.Sequential()
        self.downsample.add_module("pool", nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False))
        self.downsample.add_module("conv", nn.Conv2d(in_channels, channels, 1, bias=False))

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.conv_b(self.conv_a(x)) + self.downsample(x)
        return out

    def folding(self) -> Callable[[EdgeWeights], Folded]:
        def run(x: Tensor) -> tuple[Tensor, list[ReluCode]]:
            middle = self.conv_a(x)
            codes = [ReluCode(relu_code(x), 1, 1), ReluCode(relu_code(middle), 1, 1)]
            return self.conv_b(middle) + self.downsample(x), codes

        return lambda weights: run


class Head(Layer):
    """Batch normalisation, ReLU, global average pool."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.pool(self.relu(self.bn(x))).flatten(1)
        return out

    def folding(self) -> Callable[[EdgeWeights], Folded]:
        def run(x: Tensor) -> tuple[Tensor, list[ReluCode]]:
            x = self.bn(x)
            return x, [ReluCode(relu_code(x), 1, 0)]

        return lambda weights: run


@contextmanager
def watched_inputs(modules: Iterable[nn.Module], see: Callable[[Tensor], None]) -> Iterator[None]:
    """Inside, `see` is given what each of `modules` is called with."""
    hooks = [module.register_forward_pre_hook(lambda _, inputs: see(inputs[0])) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def module_modes(net: nn.Module, training: bool) -> Iterator[None]:
    """Inside, every module of `net` is in train or in eval mode; afterwards each is as it was."""
    modes = {module: module.training for module in net.modules()}
    net.train(training)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def eval_mode(net: nn.Module) -> AbstractContextManager[None]:
    """Inside, every module of `net` is in eval mode; afterwards each is as it was."""
    return module_modes(net, training=False)


@contextmanager
def batch_statistics(net: nn.Module) -> Iterator[None]:
    """Inside, `net` is in train mode, but its batch norms keep no statistics; afterwards all is as it was."""
    tracking = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d) and module.track_running_stats]
    with module_modes(net, training=True):
        for module in tracking:
            module.track_running_stats = False
        try:
            yield
        finally:
            for module in tracking:
                module.track_running_stats = True


def relu_code(x: Tensor) -> Tensor:
    """[B, C, H, W] -> bool [B, D]: which units are > 0."""
    return active_code(F.relu(x))


def active_code(active: Tensor) -> Tensor:
    """The same of what a ReLU gave. On a CPU the cast to bool is several times faster than the comparison with 0."""
    code = active.bool()
    if code.dim() == 4:
        code = code.permute(0, 2, 3, 1)  # the memory order of channels_last: no copy
    return code.reshape(len(active), -1)
