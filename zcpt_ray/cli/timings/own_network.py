"""A network as a user writes one, with choices inside, beside the released code's way."""

from collections.abc import Iterator

from torch import Tensor, nn

from zcpt_ray.cli.timings.reference import Timing, batch_of, compare, proposal_calls
from zcpt_ray.engine.choices import Choice
from zcpt_ray.spaces.module_space import space_of

CHANNELS, BLOCKS = 32, 6


def conv(kernel: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    convolution = nn.Conv2d(CHANNELS, CHANNELS, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(CHANNELS), nn.ReLU())


class OwnNetwork(nn.Module):
    """A stem, residual blocks each of which is a choice of three, a head."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, CHANNELS, 3, 2, 1, bias=False), nn.BatchNorm2d(CHANNELS), nn.ReLU())
        choices = [Choice(conv3=conv(3), conv5=conv(5), skip=nn.Identity()) for _ in range(BLOCKS)]
        self.blocks = nn.ModuleList(choices)
        self.head = nn.Linear(CHANNELS, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, num_classes]."""
        x = self.stem(images)
        for block in self.blocks:
            x = x + block(x)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def own_network_rows(timing: Timing) -> Iterator[tuple[str, dict[str, float]]]:
    """A proposal in the order of the network, which decides each choice for its first option."""
    batch = batch_of(timing, 16 if timing.smoke else 64)
    space = space_of(OwnNetwork, name="own-network")
    supernet = space.supernet(10, seed=0).to(batch.images.device)
    calls = proposal_calls(space, [edge.candidates[:1] for edge in space.edges])
    what = f"a network of one's own with {BLOCKS} choices of 3: proposal of {3 * BLOCKS} scores"
    yield f"{what}, batch {len(batch.labels)}", compare(timing, supernet, calls, batch)
