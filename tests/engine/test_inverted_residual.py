import numpy as np
import pytest
import torch
from torch import nn

from zcpt_ray.arch import Edge, PartialArch
from zcpt_ray.engine.block_layers import ChoiceLayer
from zcpt_ray.engine.inspection import watched_inputs
from zcpt_ray.engine.inverted_residual import BLOCKS
from zcpt_ray.engine.relu_codes import RELUS, BinaryCode

CHANGES = {"same shape": (6, 6, 1), "stride": (6, 6, 2), "channels": (4, 6, 1), "both": (4, 6, 2)}


def with_statistics(module: nn.Module) -> nn.Module:
    """In eval mode, its batch norms as training leaves them."""
    random = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.uniform_(-0.3, 0.3, generator=random)
            norm.running_var.uniform_(0.5, 1.5, generator=random)
            norm.bias.data.uniform_(-0.3, 0.3, generator=random)
    return module.eval()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("name", BLOCKS)
@torch.no_grad()
def test_a_folded_block_is_the_block(name: str, change: tuple[int, int, int]) -> None:
    """Its output, its codes and its input, also on images that are smaller than its kernel."""
    block = with_statistics(BLOCKS[name](*change))
    for size in (1, 2, 3, 9):
        x = torch.randn(3, change[0], size, size + size // 3).contiguous(memory_format=torch.channels_last)
        before, codes = x.clone(), []
        with watched_inputs(
            [m for m in block.modules() if isinstance(m, RELUS)], lambda seen, codes=codes: codes.append(seen)
        ):
            plain = block(x)
        folded, seen = block.fold()(x)
        assert torch.equal(x, before)
        torch.testing.assert_close(folded, plain)
        assert len(seen) == len(codes) == (0 if block_has_no_relu(name) else 2)
        for code, read in zip(seen, codes, strict=True):
            certain = read.abs() > 1e-5  # others round to either side of 0
            assert torch.equal(unpacked(code, read)[certain], (read > 0)[certain])


def unpacked(code: BinaryCode, like: torch.Tensor) -> torch.Tensor:
    """As bool [B, C, H, W]."""
    bits = np.unpackbits(code.bits.numpy(), axis=1, count=code.units).astype(bool)
    batch, channels, height, width = like.shape
    return torch.from_numpy(bits).reshape(batch, height, width, channels).permute(0, 3, 1, 2)


def block_has_no_relu(name: str) -> bool:
    return name in ("identity", "skip")


def test_inactive_blocks_give_nothing() -> None:
    for make in BLOCKS.values():
        assert make(4, 6, 2)(torch.randn(1, 4, 8, 8), active=False) is None


@torch.no_grad()
def test_a_layer_mixes_its_blocks_for_many_weights_at_once() -> None:
    """All ops, each removed, one decided, none left; codes go to those that hold their op."""
    edge = Edge("layer", ("identity", "MB3_K3", "MB6_K5"))
    layer, x = with_statistics(ChoiceLayer(0, edge, 4, 6, stride=2)), torch.randn(2, 4, 9, 7)
    whole = PartialArch.all_open((edge,))
    archs = [whole, *(whole.perturb(0, op) for op in edge.candidates), whole.discretize(0, ("MB3_K3",))]
    weights = [*(arch.edge_weights() for arch in archs), ((0.0, 0.0, 0.0),)]
    outputs, codes = layer.folding().fold_jointly(weights)(x)
    for output, each in zip(outputs, weights, strict=True):
        torch.testing.assert_close(output, layer(x, each))
    assert not outputs[-1].any()
    assert outputs[-1].shape == (2, 6, 5, 4)
    assert [readers for _, readers in codes] == 2 * [(0, 1, 3, 4)] + 2 * [(0, 1, 2)]
    np.testing.assert_array_equal([(code.relus, code.blocks, code.silent) for code, _ in codes], 4 * [(1, 0, 0)])
