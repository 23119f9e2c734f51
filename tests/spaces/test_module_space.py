"""A network with choices inside as a space: what is decided, exactness, costs, searches, and what is refused."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from choice_networks import ConvNet, Untraceable, ViT, conv
from library_networks import SearchableViT, searchable_resnet
from torch import nn

import zcpt_ray as zc
from zcpt_ray.arch import PartialArch
from zcpt_ray.engine.supernet import MaskedSupernet
from zcpt_ray.errors import UserError
from zcpt_ray.proxies import PROXIES, measure_archs
from zcpt_ray.spaces.costs import Costs
from zcpt_ray.spaces.module_space import ModuleSpace
from zcpt_ray.spaces.own import check_space

NETWORKS = {"convnet": ConvNet, "vit": ViT, "untraceable": Untraceable}
DRAWN_ANEW = ("zen_score",)
"""Proxies that draw weights by shape: of a narrower width others than slices of the widest."""


@pytest.fixture(scope="module", params=NETWORKS)
def space(request: pytest.FixtureRequest) -> ModuleSpace:
    found = zc.space_of(NETWORKS[request.param])
    assert isinstance(found, ModuleSpace)
    return found


@pytest.fixture(scope="module")
def images() -> zc.Batch:
    return images_of(8)


def test_every_architecture_is_written_and_read(space: ModuleSpace) -> None:
    check_space(space)
    texts = [space.encode(space.arch(index)) for index in range(space.num_archs)]
    assert len(set(texts)) == space.num_archs
    assert all(space.encode(space.decode(text)) == text for text in texts)
    assert [space.decode(text) for text in texts] == [space.arch(index) for index in range(space.num_archs)]


def test_what_does_not_run_is_not_counted() -> None:
    space = zc.space_of(ConvNet)
    names = ["deep", "deep.0.op", "deep.1.op", "wide", "kernel", "last", "last.b.1"]
    assert [edge.name for edge in space.edges] == names
    assert space.num_archs == (4 + 4 * 4) * 2 * 2 * (1 + 2)
    text = "deep=1,deep.0.op=skip,wide=32,kernel=3,last=a"
    assert space.encode(space.decode(text)) == text
    assert space.decode(text) == space.decode(text + ",last.b.1=y")


def test_choices_of_one_name_are_decided_together() -> None:
    assert [edge.name for edge in zc.space_of(ViT).edges] == ["depth", "depth.0.mlp", "act", "depth.1.mlp"]


@pytest.mark.parametrize("proxy", [name for name, each in PROXIES.items() if not each.thin and not each.is_relative])
def test_a_masked_supernet_scores_as_the_network_alone(space: ModuleSpace, proxy: str, images: zc.Batch) -> None:
    supernet = space.supernet(10, 0)
    for index in (0, space.num_archs // 2, space.num_archs - 1):
        arch = space.arch(index)
        network, masked = space.network(arch, 10, 0), PartialArch(space.edges, arch.kept)
        if "ViT" in str(type(network.net)) and PROXIES[proxy].reads:
            for net in (network, supernet.masked(masked)):
                with pytest.raises(UserError, match="proxies that serve it: nwot"):
                    PROXIES[proxy].measure(net, images)
            continue
        (score,) = PROXIES[proxy].measure(network, images)
        ((found,),) = measure_archs(PROXIES[proxy], supernet, [masked], images, alone=True)
        if proxy not in DRAWN_ANEW or not any(name.endswith(("wide", "mlp", "kernel")) for name in edge_names(space)):
            assert found == pytest.approx(score, rel=1e-5, nan_ok=True)


def edge_names(space: ModuleSpace) -> list[str]:
    return [edge.name for edge in space.edges]


def test_a_search_step_is_what_one_network_after_another_gives(space: ModuleSpace, images: zc.Batch) -> None:
    supernet, start = space.supernet(10, 0), PartialArch.all_open(space.edges)
    archs = [start.perturb(edge, op) for edge in start.open_edges for op in space.edges[edge].candidates]
    together = measure_archs(PROXIES["nwot"], supernet, archs, images)
    plain = [PROXIES["nwot"].measure(MaskedSupernet(supernet, arch), images) for arch in archs]
    assert [score for (score,) in together] == pytest.approx([score for (score,) in plain], rel=1e-5)
    assert len(set(together)) > 1


def test_a_network_is_cut_before_its_choices() -> None:
    assert [len(zc.space_of(kind).supernet(10, 0).layers) for kind in (ConvNet, ViT, Untraceable)] == [5, 2, 1]


def test_costs_are_those_of_the_network(space: ModuleSpace) -> None:
    costs = Costs(space, 10, (3, 32, 32))
    found = []
    for index in range(0, space.num_archs, max(1, space.num_archs // 20)):
        arch = space.arch(index)
        (built,) = costs.networks(arch).values()
        assert costs.of(arch) == built
        assert built.params == sum(p.numel() for p in space.network(arch, 10, 0).parameters())
        found.append(built.params / 1e6)
    least = costs.params_m.least(PartialArch.all_open(space.edges))
    assert least == pytest.approx(min(costs.of(space.arch(i)).params for i in range(space.num_archs)) / 1e6)


def test_attention_is_counted() -> None:
    space, tokens, channels = zc.space_of(ViT), 16, 24
    flops = zc.costs(space, "depth=1,depth.0.mlp=2,act=gelu").flops
    attention = tokens * (4 * channels * channels + 4 * channels) + 2 * tokens * tokens * channels
    mlp = tokens * (2 * channels * 2 * channels + 3 * channels)
    patches, head = tokens * (3 * 64 * channels + channels), channels * 10 + 10
    assert flops == attention + mlp + patches + head


def test_slices_are_those_of_the_widest() -> None:
    space = zc.space_of(ConvNet)
    wide, narrow = (
        space.network(space.decode(f"deep=1,deep.0.op=skip,wide={width},kernel={kernel},last=a"), 10, 0).net
        for width, kernel in ((32, 5), (16, 3))
    )
    assert torch.equal(narrow.wide.widest.depthwise.weight, wide.wide.widest.depthwise.weight[:16])
    assert torch.equal(narrow.kernel.widest.weight, wide.kernel.widest.weight[:, :, 1:-1, 1:-1])
    assert narrow.wide.widest.depthwise.groups == 16


def test_gradients_reach_all_that_is_mixed(images: zc.Batch) -> None:
    supernet = zc.space_of(ConvNet).supernet(10, 0)
    supernet(images.images, PartialArch.all_open(supernet.edges).edge_weights()).sum().backward()
    assert all(parameter.grad is not None for parameter in supernet.parameters())
    plain = ConvNet()
    assert plain(images.images).shape == (8, 10)  # nothing decided: options are averaged


def test_a_seed_gives_the_weights_the_network_gives_itself() -> None:
    space = zc.space_of(ViT)
    one, same, other = (space.supernet(10, seed).net.positions.detach() for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert 0.01 < float(one.std()) < 0.03


@pytest.mark.parametrize(
    ("make", "count", "proxy"), [(searchable_resnet, 3 * 3, "synflow"), (SearchableViT, 2 * 2 * 2, "nwot")]
)
def test_a_network_of_another_library(make: Callable[..., nn.Module], count: int, proxy: str, tmp_path: Path) -> None:
    """It is searched; what is found is ranked, scored as in the supernet, and trained."""
    space = zc.space_of(make, name=f"library-{make.__name__}")
    assert space.num_archs == count
    small = {"num_proposals": 2, "num_validations": 1, "batch_size": 8, "ray": False, "progress": False}
    found = zc.search(space=space, dataset="digits", proxy=proxy, out=tmp_path / "run", **small)
    ranked = zc.rank([found.best.arch], space=space, proxies=["params"], dataset="digits")
    assert list(ranked["architecture"]) == [found.best.arch]
    arch = space.decode(found.best.arch)
    (alone,) = PROXIES[proxy].measure(space.network(arch, 10, 0), images_of(8))
    masked = MaskedSupernet(space.supernet(10, 0), PartialArch(space.edges, arch.kept))
    assert PROXIES[proxy].measure(masked, images_of(8))[0] == pytest.approx(alone, rel=1e-5)
    trained = zc.train(found, epochs=1, max_images=16, batch_size=8, out=tmp_path / "trained")
    assert trained.params == zc.costs(space, found.best.arch, num_classes=10).params


def images_of(count: int) -> zc.Batch:
    random = torch.Generator().manual_seed(0)
    return zc.Batch(torch.randn(count, 3, 32, 32, generator=random), torch.arange(count) % 10, 3)


class Fixed(nn.Module):
    def __init__(self, change: str = "") -> None:
        super().__init__()
        ops = {"a": conv(3, 4), "b": conv(3, 5 if change == "shape" else 4)}
        if change == "in place":
            ops["a"] = InPlace()
        self.op = zc.Choice(**ops) if change != "nothing" else conv(3, 4)
        self.head = nn.Linear(4, 10)
        self.change = change

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.op(images).mean((2, 3))
        return x if self.change == "no logits" else self.head(x)


class InPlace(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.mul_(2)
        return x[:, :1].repeat(1, 4, 1, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("nothing", "nothing to decide"),
        ("shape", r"choice 'op': option 'b' gives \[2, 5, 32, 32\], option 'a' \[2, 4, 32, 32\]"),
        ("in place", "option 'a' changes what it reads in place"),
    ],
)
def test_what_cannot_be_searched_is_refused(change: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        zc.space_of(lambda: Fixed(change), name="fixed")


def test_more_refusals() -> None:
    with pytest.raises(UserError, match="takes a class or a function"):
        zc.space_of(Fixed())  # type: ignore[arg-type]
    with pytest.raises(UserError, match="gives 10 logits, and there are 3 classes"):
        zc.space_of(Fixed).supernet(3, 0)
    with pytest.raises(UserError, match="no slice"):
        zc.Width(lambda size: nn.Linear(size, 64 // size), (4, 8))
    with pytest.raises(UserError, match="0 <= at_least <= at_most"):
        zc.Repeat(lambda: nn.Identity(), at_most=1, at_least=2)
    with pytest.raises(UserError, match="must be a torch"):
        zc.Choice(a="conv")  # type: ignore[arg-type]
    space = zc.space_of(Fixed)
    for text, said in (("", "does not say op"), ("op=c", "has no"), ("x=a", "no choice"), ("op=a,op=b", "twice")):
        with pytest.raises(UserError, match=said):
            space.decode(text)


NET_FILE = """
import torch
from torch import nn
import zcpt_ray as zc

class Part(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.op = zc.Choice(a=nn.Conv2d(channels, channels, 3, padding=1), b=nn.Conv2d(channels, channels, 1))
    def forward(self, x):
        return torch.relu(self.op(x))

class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.parts = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Part(4), Part(4))
        self.head = nn.Linear(4, num_classes)
    def forward(self, x):
        return self.head(self.parts(x).mean((2, 3)))
"""


def test_a_file_with_a_network_is_searched(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET_FILE)
    result = zc.search(
        space=str(tmp_path / "net.py"), dataset="digits", proxy="nwot", num_proposals=2, num_validations=1,
        batch_size=8, ray=False, out=tmp_path / "run", max_params=0.0005, progress=False,
    )  # fmt: skip
    kept = dict(pair.split("=") for pair in result.best.arch.split(","))
    assert set(kept) == {"parts.1.op", "parts.2.op"}
    assert zc.costs(str(tmp_path / "net.py"), result.best.arch).params <= 500
    assert math.isfinite(result.best.score)


def test_a_file_with_two_networks_has_to_say_which(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(NET_FILE + "\nclass Other(Net):\n    pass\n")
    with pytest.raises(UserError, match="several networks with choices: Net, Other; say SPACE"):
        zc.find_space(str(tmp_path / "two.py"))
