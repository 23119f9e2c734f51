"""Kinds of modules beyond convolutions: first values, costs, and what proxies see of them."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zcpt_ray as zc
from zcpt_ray.engine.initialization import initialize
from zcpt_ray.engine.module_kinds import MODULE_KINDS
from zcpt_ray.engine.transformer import LearnedTensor, Mlp, SelfAttention, TransformerBlock
from zcpt_ray.errors import UserError

MODULES = [
    nn.GroupNorm(2, 4), nn.LayerNorm(4), nn.RMSNorm(4), nn.PReLU(), nn.Embedding(3, 4), nn.MultiheadAttention(4, 2),
    nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.Linear(2, 4), LearnedTensor(1, 2),
]  # fmt: skip


class Transformer(nn.Module):
    def __init__(self, act: type[nn.Module] = nn.GELU, depth: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        blocks = [TransformerBlock(16, SelfAttention(16, 2), Mlp(16, 32)) for _ in range(depth)]
        for block in blocks:
            block.mlp.act = act()
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 10)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.blocks(self.patches(images).flatten(2).transpose(1, 2))
        logits: Tensor = self.head(self.norm(tokens).mean(1))
        return logits


@pytest.fixture(scope="module")
def images() -> zc.Batch:
    return zc.Batch(torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 10, 7)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: type(module).__name__)
def test_first_values_come_from_a_seed_and_a_name(module: nn.Module) -> None:
    one, same = (initialize(lambda: nn.Sequential(copy.deepcopy(module)), seed=0) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), same.state_dict().values(), strict=True))
    assert all(torch.isfinite(tensor).all() for tensor in one.state_dict().values())


@pytest.mark.parametrize("act", [nn.GELU, nn.SiLU, nn.Hardswish, nn.PReLU, nn.ReLU6, nn.Mish])
def test_any_activation_is_seen_and_flows(act: type[nn.Module], images: zc.Batch) -> None:
    net = Transformer(act)
    assert zc.score(net, images, "nwot") > zc.score(Transformer(act, depth=1), images, "nwot") - 50
    assert zc.score(net, images, "synflow") > zc.score(Transformer(act, depth=1), images, "synflow")
    assert zc.score(net, images, "swap") > 1


@pytest.mark.parametrize(
    "proxy", ["grad_norm", "snip", "fisher", "l2_norm", "near", "meco", "jacob_cov", "vkdnw", "zico"]
)
def test_proxies_that_serve_a_transformer(proxy: str, images: zc.Batch) -> None:
    net = Transformer()
    assert math.isfinite(zc.score(net, images, proxy))
    assert zc.score(net, images, proxy) == pytest.approx(zc.score(net, images, proxy), rel=1e-6)


@pytest.mark.parametrize("proxy", ["zen_score", "expressivity", "progressivity", "trainability", "tenas-72"])
def test_proxies_that_do_not_serve_a_transformer(proxy: str, images: zc.Batch) -> None:
    with pytest.raises(UserError, match=r"serve it|only ranks"):
        zc.score(Transformer(), images, proxy)


def test_products_of_activations_count(images: zc.Batch) -> None:
    tokens, channels, hidden = 16, 16, 32
    block = tokens * (4 * channels**2 + 4 * channels + 2 * channels * hidden + channels + hidden)
    products = 2 * tokens * tokens * channels
    whole = tokens * (3 * 64 * channels + channels) + 2 * (block + products) + 170
    assert zc.score(Transformer(), images, "flops") == whole


def test_manual_attention_counts_as_fused() -> None:
    class Manual(SelfAttention):
        def forward(self, x: Tensor) -> Tensor:
            b, t, c = x.shape
            q, k, v = self.qkv(x).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
            return self.projection(((q @ k.transpose(-2, -1)).softmax(-1) @ v).transpose(1, 2).reshape(b, t, c))

    from zcpt_ray.engine.inspection import module_costs

    with torch.device("meta"):
        fused, manual = SelfAttention(8, 2), Manual(8, 2)
    for net in (fused, manual):
        net.shape = (5, 8)
    counts = [sum(module_costs(net, (5, 8))[1].values()) for net in (fused, manual)]
    assert counts[0] == counts[1] == 5 * (4 * 64 + 32) + 2 * 25 * 8


def test_norms_and_softmax_are_neutral_for_synflow(images: zc.Batch) -> None:
    class Small(nn.Module):
        def __init__(self, norm: nn.Module) -> None:
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), norm, nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(F.relu(self.norm(self.conv(x))).mean((2, 3)))

    nets = [Small(norm) for norm in (nn.Identity(), nn.GroupNorm(2, 4), nn.BatchNorm2d(4), nn.InstanceNorm2d(4))]
    for net in nets[1:]:
        net.load_state_dict(nets[0].state_dict(), strict=False)
    scores = [zc.score(net, images, "synflow") for net in nets]
    assert scores == pytest.approx([scores[0]] * 4, rel=1e-9)


def test_each_kind_is_one_row() -> None:
    kinds = [kind for row in MODULE_KINDS for kind in row.types]
    assert len(kinds) == len(set(kinds))
