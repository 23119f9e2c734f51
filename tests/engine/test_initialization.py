"""First values of weights: of a seed and names alone, for any module."""

import pytest
import torch
from torch import nn

from zcpt_ray.engine.initialization import initialize
from zcpt_ray.errors import UserError
from zcpt_ray.spaces import SPACES


def test_initialize_draws_by_seed_and_leaves_torch_alone() -> None:
    space = SPACES["nasbench201"]
    state = torch.get_rng_state()
    one, same, other = (space.supernet(10, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["stem.conv.weight"], other["stem.conv.weight"])


def test_initialize_is_torchs_default() -> None:
    """Uniform on ±1/sqrt(fan_in), for convolutions and linear layers."""
    net = initialize(lambda: SPACES["nasbench201"].build(SPACES["nasbench201"].edges, 10), seed=0)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = module.weight[0].numel() ** -0.5
            assert 0.9 * bound < module.weight.abs().max() <= bound
    assert all(tensor.isfinite().all() for tensor in net.state_dict().values())


class Scaled(nn.Module):
    """Times a number that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def reset_parameters(self) -> None:
        nn.init.ones_(self.scale)


class Forgetful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.register_buffer("mask", torch.ones(3, dtype=torch.bool))


class MoreThanNorm(nn.GroupNorm):
    """Its method sets what it has from torch, but not what it adds."""

    def __init__(self) -> None:
        super().__init__(2, 4)
        self.extra = nn.Parameter(torch.ones(3))


class MoreThanConv(nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(3, 4, 1)
        self.extra = nn.Parameter(torch.ones(3))


def of(*modules: type[nn.Module] | nn.Module) -> nn.Module:
    """Among others, so that it has a name."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), *(module() if isinstance(module, type) else module for module in modules))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.GroupNorm(2, 4),
        lambda: nn.LayerNorm(4),
        lambda: nn.PReLU(),
        lambda: nn.BatchNorm1d(4),
        lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        lambda: nn.ConvTranspose2d(3, 4, 3),
        lambda: nn.Conv1d(3, 4, 3),
        lambda: nn.Embedding(5, 4),
        lambda: nn.LSTM(3, 4),
        lambda: nn.MultiheadAttention(4, 2),
        lambda: nn.TransformerEncoderLayer(4, 2, 8),
        Scaled,
    ],
)
def test_any_module_gets_its_first_values(make) -> None:
    state = torch.get_rng_state()
    nets = [initialize(lambda: of(make()), seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    one, same, other = (net.state_dict() for net in nets)
    fresh = of(make()).state_dict()
    for name, tensor in one.items():
        assert torch.equal(tensor, same[name])
        if fresh[name].unique().numel() == 1:  # a constant, as torch has it
            assert torch.equal(tensor, fresh[name])
        else:
            assert not torch.equal(tensor, other[name])
            assert tensor.numel() < 30 or float(tensor.std()) == pytest.approx(float(fresh[name].std()), rel=0.5)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (Forgetful, "1.scale, 1.mask a first value: give Forgetful a method reset_parameters that does"),
        (MoreThanNorm, "1.extra a first value: give MoreThanNorm"),
        (MoreThanConv, "1.extra a first value: give MoreThanConv"),
    ],
)
def test_what_gets_no_first_value_is_refused_by_name(make: type[nn.Module], named: str) -> None:
    with pytest.raises(UserError, match=f"nothing gives {named}"):
        initialize(lambda: of(make), 0)


def test_a_value_depends_on_the_name_and_not_on_what_stands_before() -> None:
    """As a network alone has the weights that it has in the supernet."""

    class Net(nn.Module):
        def __init__(self, *names: str) -> None:
            super().__init__()
            for name in names:
                self.add_module(name, nn.PReLU() if name == "act" else nn.Conv1d(3, 4, 3))

    whole, part = (initialize(lambda names=names: Net(*names), 0).state_dict() for names in (("a", "b", "act"), "b"))
    assert torch.equal(whole["b.weight"], part["b.weight"])


def test_random_numbers_of_gpus_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    initialize(lambda: of(nn.Conv1d(3, 4, 3), nn.BatchNorm2d(4)), 0)
    assert not seeded
