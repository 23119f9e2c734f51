"""The network that a genotype of the DARTS spaces is trained as (Liu et al. 2019)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zcpt_ray.arch import Edge
from zcpt_ray.engine.layers import Layer
from zcpt_ray.engine.supernet import whole_weights
from zcpt_ray.spaces.darts.cell import DartsCell


class EvaluationNetwork(nn.Module):
    """A stem and DARTS cells in a row, with an auxiliary head over one of them.

    `edges` say what the cells hold; `features` are the channels of the last cell and of the one that `auxiliary_after`
    names, which may be None.
    """

    def __init__(
        self,
        edges: tuple[Edge, ...],
        layers: Mapping[str, Layer],
        features: int,
        num_classes: int,
        auxiliary_after: str | None,
        imagenet: bool,
    ) -> None:
        super().__init__()
        self.weights = whole_weights(edges)
        self.body = nn.ModuleDict(layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(features, num_classes)
        self.auxiliary_after = auxiliary_after
        if auxiliary_after:
            self.auxiliary = auxiliary_head(features, num_classes, imagenet)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """[B, 3, H, W] -> logits [B, num_classes], and in train mode those of the auxiliary head (None without one)."""
        state: Tensor | tuple[Tensor, Tensor] = images
        auxiliary = None
        for name, layer in self.body.items():
            state = layer(state, self.weights)
            if name == self.auxiliary_after and self.training:
                auxiliary = self.auxiliary(state[1])
        return self.classifier(self.pool(state[1]).flatten(1)), auxiliary

    def set_drop_path(self, probability: float) -> None:
        """How probable it is, in train mode, that an edge gives nothing for an image."""
        # A tensor: for each new number a compiled network would be compiled again.
        drop_path = torch.tensor(probability, device=self.classifier.weight.device) if probability else None
        for module in self.modules():
            if isinstance(module, DartsCell):
                module.drop_path = drop_path

    def num_parameters(self) -> int:
        """Without the auxiliary head, as the literature counts."""
        return sum(p.numel() for name, p in self.named_parameters() if not name.startswith("auxiliary."))


def auxiliary_head(channels: int, num_classes: int, imagenet: bool) -> nn.Module:
    """A classifier over 8x8 features (for ImageNet 7x7) of `channels` channels.

    For ImageNet it has no second batch norm: DARTS left that out by mistake, and kept to it as its results were had
    without.
    """
    return nn.Sequential(
        nn.ReLU(),
        nn.AvgPool2d(5, stride=2 if imagenet else 3, count_include_pad=False),
        nn.Conv2d(channels, 128, 1, bias=False),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.Conv2d(128, 768, 2, bias=False),
        *(() if imagenet else (nn.BatchNorm2d(768),)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(768, num_classes),
    )
