"""Networks in the manner of two libraries, which know nothing of choices; and both made searchable."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zcpt_ray as zc


class BasicBlock(nn.Module):
    def __init__(self, inplanes: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.act2 = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or inplanes != planes:
            self.downsample = nn.Sequential(nn.Conv2d(inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x += shortcut
        out: Tensor = self.act2(x)
        return out


class ResNet(nn.Module):
    """With forward_features, forward_head and a stem that pools, as one of a library of image models."""

    def __init__(self, layers: tuple[int, ...] = (2, 2), num_classes: int = 1000, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.act1 = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = width
        for number, depth in enumerate(layers, start=1):
            blocks = [BasicBlock(channels, width * number, 1 if number == 1 else 2)]
            channels = width * number
            blocks += [BasicBlock(channels, channels) for _ in range(depth - 1)]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.stages = len(layers)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.act1(self.bn1(self.conv1(x))))
        for number in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return x

    def forward_head(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.global_pool(x).flatten(1))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


@dataclass
class Config:
    hidden_size: int = 24
    num_hidden_layers: int = 2
    num_attention_heads: int = 3
    intermediate_size: int = 48
    image_size: int = 32
    patch_size: int = 8
    num_labels: int = 2


@dataclass
class ImageClassifierOutput:
    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None


class SelfAttention(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.query, self.key, self.value, self.dense = (
            nn.Linear(config.hidden_size, config.hidden_size) for _ in range(4)
        )

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, ...]:
        split = lambda x: x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # noqa: E731
        query, key, value = (split(layer(hidden_states)) for layer in (self.query, self.key, self.value))
        context = F.scaled_dot_product_attention(query, key, value)
        return (self.dense(context.transpose(1, 2).flatten(2)),)


class Layer(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention = SelfAttention(config)
        self.intermediate = nn.Sequential(nn.Linear(config.hidden_size, config.intermediate_size), nn.GELU())
        self.output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.layernorm_before, self.layernorm_after = (nn.LayerNorm(config.hidden_size, eps=1e-12) for _ in range(2))

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, ...]:
        hidden_states = self.attention(self.layernorm_before(hidden_states))[0] + hidden_states
        layer_output = self.output(self.intermediate(self.layernorm_after(hidden_states)))
        return (layer_output + hidden_states,)


class ViTForImageClassification(nn.Module):
    """With a configuration, a class token, layers that give tuples, and an output with names."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        patches = (config.image_size // config.patch_size) ** 2
        self.projection = nn.Conv2d(3, config.hidden_size, config.patch_size, config.patch_size)
        self.cls_token = nn.Parameter(torch.randn(1, 1, config.hidden_size) * 0.02)
        self.position_embeddings = nn.Parameter(torch.randn(1, patches + 1, config.hidden_size) * 0.02)
        self.layer = nn.ModuleList([Layer(config) for _ in range(config.num_hidden_layers)])
        self.layernorm = nn.LayerNorm(config.hidden_size)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, pixel_values: Tensor, **options: Any) -> ImageClassifierOutput:
        tokens = self.projection(pixel_values).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], 1) + self.position_embeddings
        for layer in self.layer:
            tokens = layer(tokens)[0]
        return ImageClassifierOutput(self.classifier(self.layernorm(tokens)[:, 0]))


def searchable_resnet(num_classes: int = 10) -> nn.Module:
    """Blocks that may be left out, and the second convolution of the others."""
    net = ResNet((2, 2), num_classes)
    for layer in (net.get_submodule("layer1"), net.get_submodule("layer2")):
        second = layer[1]
        channels = second.conv2.out_channels
        second.conv2 = zc.Choice(full=second.conv2, depthwise=nn.Conv2d(channels, channels, 3, 1, 1, groups=channels))
        layer[1] = zc.Choice(keep=second, skip=nn.Identity())
    return net


class SearchableViT(nn.Module):
    """Sizes of MLPs, one activation for all, and logits without a name."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        config = Config(num_labels=num_classes)
        self.vit = ViTForImageClassification(config)
        for layer in self.vit.layer:
            layer.intermediate = zc.Width(lambda size: self.make_mlp(config.hidden_size, size), (24, 48))
            layer.output = nn.Identity()

    def make_mlp(self, hidden: int, size: int) -> nn.Module:
        act = zc.Choice("act", gelu=nn.GELU(), relu=nn.ReLU())
        return nn.Sequential(nn.Linear(hidden, size), act, nn.Linear(size, hidden))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.vit(images).logits
        return logits
