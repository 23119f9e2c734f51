"""The ImageNet networks of Accel-NASBench (Ahmad et al. 2024): seven stages of inverted residual blocks.

As in MnasNet and EfficientNet, a stage has one expansion, one kernel, one number of layers, and squeeze-excitation or
not. Each stage's blocks are decided together.
"""

import re

from torch import Tensor, nn

from zcpt_ray.arch import ArchSpec
from zcpt_ray.engine.choices import Choice, Repeat
from zcpt_ray.spaces.mobilenet import BlockGroup
from zcpt_ray.spaces.module_space import ModuleSpace

STEM, HEAD = 32, 1280
EXPANSIONS, KERNELS, EXCITED = ("1", "4", "6"), ("3", "5"), ("0", "1")
DROPOUT = 0.2
STAGE = re.compile(r"e(\d+)k(\d+)l(\d+)s([01])")


STAGES = (
    BlockGroup(16, 3, 1),
    BlockGroup(24, 3, 2),
    BlockGroup(40, 3, 2),
    BlockGroup(80, 3, 2),
    BlockGroup(112, 3, 1),
    BlockGroup(192, 4, 2),
    BlockGroup(320, 3, 1),
)


def conv_norm(in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution without bias and batch norm."""
    conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(channels)]


class SqueezeExcite(nn.Module):
    """Each channel times a number in [0, 1] that the means of all channels decide."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.act = nn.ReLU()
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x * self.gate(self.expand(self.act(self.reduce(self.pool(x)))))
        return out


class InvertedBottleneck(nn.Module):
    """1x1 to `expansion` times the channels (a multiple of 8), depthwise, 1x1 back; plus the input where that fits."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, expansion: int, kernel: int, excited: bool
    ) -> None:
        super().__init__()
        hidden = int(in_channels * expansion / 8 + 0.5) * 8 if expansion > 1 else in_channels
        parts: list[nn.Module] = []
        if expansion > 1:
            parts += [*conv_norm(in_channels, hidden, 1), nn.ReLU()]
        parts += [*conv_norm(hidden, hidden, kernel, stride, groups=hidden), nn.ReLU()]
        if excited:
            parts.append(SqueezeExcite(hidden, max(1, in_channels // 4)))
        self.body = nn.Sequential(*parts, *conv_norm(hidden, channels, 1))
        self.adds = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out + x if self.adds else out


def _block(stage: int, in_channels: int, channels: int, stride: int) -> Choice:
    name = f"stage{stage}"

    def excited(expansion: str, kernel: str) -> Choice:
        made = {
            each: InvertedBottleneck(in_channels, channels, stride, int(expansion), int(kernel), each == "1")
            for each in EXCITED
        }
        return Choice(f"{name}.excited", **made)

    def kernels(expansion: str) -> Choice:
        return Choice(f"{name}.kernel", **{kernel: excited(expansion, kernel) for kernel in KERNELS})

    return Choice(f"{name}.expansion", **{expansion: kernels(expansion) for expansion in EXPANSIONS})


class AccelNet(nn.Module):
    """Stem, the stages, 1x1 convolution to 1,280 channels, classifier."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_norm(3, STEM, 3, 2), nn.ReLU())
        channels, stages = STEM, []
        for number, shape in enumerate(STAGES, start=1):
            stages.append(_stage(number, channels, shape))
            channels = shape.width
        self.stages = nn.Sequential(*stages)
        self.last = nn.Sequential(*conv_norm(channels, HEAD, 1), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(DROPOUT)
        self.classifier = nn.Linear(HEAD, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, num_classes]."""
        features = self.pool(self.last(self.stages(self.stem(images)))).flatten(1)
        logits: Tensor = self.classifier(self.dropout(features))
        return logits


def _stage(number: int, in_channels: int, shape: BlockGroup) -> Repeat:
    def make(index: int) -> Choice:
        first = index == 0
        return _block(number, in_channels if first else shape.width, shape.width, shape.stride if first else 1)

    return Repeat(make, shape.layers, name=f"stage{number}.layers")


class AccelMBConv(ModuleSpace):
    """Written `e1k3l1s0-...`, seven stages: expansion, kernel, layers, squeeze-excitation."""

    named_weights = networks_apart = True
    table_classes = 1000
    counts_biases = False

    def __init__(self) -> None:
        super().__init__(AccelNet, "accel-mbconv", 224)

    def encode(self, arch: ArchSpec) -> str:
        """`e1k3l1s0-...`."""
        kept = {edge.name: op for edge, (op,) in zip(self.edges, arch.kept, strict=True)}
        parts = (("e", "expansion"), ("k", "kernel"), ("l", "layers"), ("s", "excited"))
        numbers = range(1, len(STAGES) + 1)
        return "-".join("".join(f"{key}{kept[f'stage{i}.{part}']}" for key, part in parts) for i in numbers)

    def decode(self, text: str) -> ArchSpec:
        kept: dict[str, str] = {}
        for number, stage in enumerate(text.split("-"), start=1):
            if match := STAGE.fullmatch(stage):
                for part, option in zip(("expansion", "kernel", "layers", "excited"), match.groups(), strict=True):
                    kept[f"stage{number}.{part}"] = option
        expected = "seven e{1,4,6}k{3,5}l{1-3}s{0,1} joined by -, up to l4 in the sixth"
        return self.with_options(kept if text.count("-") == len(STAGES) - 1 else {}, text, expected)
