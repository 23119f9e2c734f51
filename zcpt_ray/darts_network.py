"""The network that a genotype of the DARTS spaces is trained as (Liu et al. 2019)."""

from torch import Tensor, nn

from zcpt_ray.arch import ArchSpec
from zcpt_ray.darts_cell import DartsCell
from zcpt_ray.spaces.darts import Darts, reductions
from zcpt_ray.supernet import whole_weights


class EvaluationNetwork(nn.Module):
    """`num_cells` cells of C = `channels` at first, with affine batch norms and, over the second reduction cell, an auxiliary head.

    Defaults are those for CIFAR; `imagenet_network` has those for ImageNet.
    """

    def __init__(
        self,
        space: Darts,
        arch: ArchSpec,
        num_classes: int,
        channels: int = 36,
        num_cells: int = 20,
        imagenet: bool = False,
        auxiliary: bool = True,
    ) -> None:
        super().__init__()
        edges = space.single_path(arch)
        layers, features = space.layers(edges, channels, num_cells, imagenet, searching=False)
        self.weights = whole_weights(edges)
        self.body = nn.ModuleDict(layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(features, num_classes)
        self.auxiliary_after = f"cell{reductions(num_cells)[1]}" if auxiliary else ""
        if auxiliary:
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
        for module in self.modules():
            if isinstance(module, DartsCell):
                module.drop_path = probability

    def num_parameters(self) -> int:
        """Without the auxiliary head, as the literature counts."""
        return sum(p.numel() for name, p in self.named_parameters() if not name.startswith("auxiliary."))


def imagenet_network(space: Darts, arch: ArchSpec, num_classes: int = 1000, auxiliary: bool = True) -> EvaluationNetwork:
    """14 cells, C = 48, for images of 224 px."""
    return EvaluationNetwork(space, arch, num_classes, channels=48, num_cells=14, imagenet=True, auxiliary=auxiliary)


def auxiliary_head(channels: int, num_classes: int, imagenet: bool) -> nn.Module:
    """A classifier over 8x8 features (for ImageNet 7x7) of `channels` channels."""
    return nn.Sequential(
        nn.ReLU(),
        nn.AvgPool2d(5, stride=2 if imagenet else 3, count_include_pad=False),
        nn.Conv2d(channels, 128, 1, bias=False),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.Conv2d(128, 768, 2, bias=False),
        nn.BatchNorm2d(768),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(768, num_classes),
    )
