"""near, meco, AZ-NAS, swap and vkdnw beside their authors' released code, on weights and images made by rule."""

import math
import random
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from golden_case import FOLDER, Case
from torch import Tensor, nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.cells import Cell
from zcpt_ray.engine.inspection import batch_statistics
from zcpt_ray.engine.layers import Head, ResidualBlock, Stem
from zcpt_ray.engine.ops import AvgPool, ReLUConvBN, Skip
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.proxies import PROXIES
from zcpt_ray.proxies.az_nas import trainability
from zcpt_ray.proxies.meco import OPT_CHANNELS, channel_correlations, smallest_eigenvalues
from zcpt_ray.proxies.near import near
from zcpt_ray.proxies.swap import swap
from zcpt_ray.proxies.vkdnw import decile_entropy, fisher_deciles, jacobians_of_first_elements
from zcpt_ray.spaces import SPACES

pytestmark = pytest.mark.golden
SPACE = SPACES["nasbench201"]
FILES = sorted(FOLDER.glob("newer_proxies*.json"))
TEXTS = [(path, text) for path in FILES for text in Case(path, "cpu").values["networks"]]
network = pytest.mark.parametrize(("path", "text"), TEXTS, ids=[text for _, text in TEXTS])
SPREAD = 2
"""Deviations by which means of 16 draws may differ."""


def test_there_are_golden_files() -> None:
    assert FILES, f"no newer_proxies.json in {FOLDER}"


class Known:
    """A network of a golden file, its minibatch and its values."""

    def __init__(self, path: object, text: str) -> None:
        self.case = Case(path, "cpu")  # type: ignore[arg-type]
        self.net = self.case.fill(SPACE.network(SPACE.decode(text), 10, seed=0)).train()
        self.batch = self.case.batch
        self.values = self.case.values["networks"][text]

    def score(self, name: str, batch: Batch | None = None) -> float:
        (measured,) = PROXIES[name].measure(self.net, batch or self.batch)
        return measured


@pytest.fixture(scope="module")
def known() -> Callable[[object, str], Known]:
    found: dict[tuple[object, str], Known] = {}

    def get(path: object, text: str) -> Known:
        if (path, text) not in found:
            found[path, text] = Known(path, text)
        return found[path, text]

    return get


def within_draws(mean: float, values: dict[str, float]) -> bool:
    return abs(mean - values["mean"]) <= SPREAD * values["std"] + 1e-9


@network
def test_near(path: object, text: str, known: Callable[[object, str], Known]) -> None:
    it = known(path, text)
    values = it.values["near"]
    assert it.score("near") == pytest.approx(values["first_rows"], rel=1e-4)
    assert near(it.net, it.batch, running_statistics=True) == pytest.approx(values["first_rows_eval"], rel=1e-4)
    assert near(it.net, it.batch, legacy(0)) == pytest.approx(values["seed0"], rel=1e-4)
    assert within_draws(
        float(np.mean([near(it.net, it.batch, legacy(100 + seed)) for seed in range(4)])), values["draws"]
    )


def legacy(seed: int) -> Callable[[int], int]:
    drawn = np.random.RandomState(seed)
    return lambda bound: int(drawn.randint(0, bound))


def published_outputs(net: Supernet, images: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Outputs in the order of the authors' tree, and how many of its modules return each."""
    seen: dict[int, list[Tensor]] = {}
    modules = list(net.modules())
    with batch_statistics(net), torch.no_grad():
        for module in modules:
            seen[id(module)] = []
        hooks = [m.register_forward_hook(lambda m, _, out: seen[id(m)].append(out)) for m in modules]
        logits = net(images)
        for hook in hooks:
            hook.remove()

    def of(module: nn.Module) -> Tensor:
        (output,) = seen[id(module)]
        return output

    def block(op: ReLUConvBN) -> Iterator[tuple[Tensor, int]]:
        yield from ((of(op.relu), 1), (of(op.conv), 1), (of(op.bn), 3))

    cells = 0
    for layer in net.layers:
        if isinstance(layer, Stem):
            yield from ((of(layer.conv), 1), (of(layer.bn), 3))
        elif isinstance(layer, Cell):
            for ops in layer.candidate_ops().values():
                (op,) = ops
                if isinstance(op, ReLUConvBN):
                    yield from block(op)
                elif isinstance(op, Skip):
                    yield of(op), 1
                elif isinstance(op, AvgPool):
                    yield of(op), 2
                else:
                    yield torch.zeros_like(of(layer)), 1
            cells += 1
            yield of(layer), 1 + (cells % 5 == 0)
        elif isinstance(layer, ResidualBlock):
            yield from block(layer.conv_a)
            yield from block(layer.conv_b)
            yield of(layer.downsample.get_submodule("pool")), 1
            yield of(layer.downsample.get_submodule("conv")), 2
            yield of(layer), 1
        else:
            assert isinstance(layer, Head)
            yield from ((of(layer.bn), 1), (of(layer.relu), 2), (of(layer.pool), 2))
    yield from ((of(net.classifier)[..., None, None], 1), (logits[..., None, None], 1))


def published_meco(outputs: list[tuple[Tensor, int]]) -> float:
    values = smallest_eigenvalues([channel_correlations(output) for output, _ in outputs])
    return float(sum(value * times for value, (_, times) in zip(values, outputs, strict=True)))


def published_opt(outputs: list[tuple[Tensor, int]], draw: Callable[[int], list[int]]) -> float:
    total = 0.0
    for output, times in outputs:
        matrix = channel_correlations(output)
        for _ in range(times):
            chosen = draw(len(matrix))
            (value,) = smallest_eigenvalues([matrix[np.ix_(chosen, chosen)]])
            total += value * len(matrix) / len(chosen)
    return total


def sampled(seed: int) -> Callable[[int], list[int]]:
    drawn = random.Random(seed)
    return lambda count: drawn.sample(range(count), OPT_CHANNELS)


@network
def test_meco(path: object, text: str, known: Callable[[object, str], Known]) -> None:
    it = known(path, text)
    values = it.values["meco"]
    assert it.score("meco") == pytest.approx(values["leaves"], rel=1e-4, abs=1e-3)
    one = list(published_outputs(it.net, it.batch.images[:1]))
    noise = it.case.normal("meco", (1, 3, 64, 64))
    assert published_meco(one) == pytest.approx(values["released"], rel=1e-4, abs=1e-3)
    whole = published_meco(list(published_outputs(it.net, it.batch.images)))
    assert whole == pytest.approx(values["whole_batch"], rel=1e-4, abs=1e-3)
    random_images = published_meco(list(published_outputs(it.net, noise)))
    assert random_images == pytest.approx(values["random_64x64"], rel=1e-4, abs=1e-3)
    first = published_opt(one, lambda count: list(range(OPT_CHANNELS)))
    assert first == pytest.approx(values["opt_first_channels"], rel=1e-4, abs=1e-3)
    assert published_opt(one, sampled(0)) == pytest.approx(values["opt_seed0"], rel=1e-4, abs=1e-3)
    draws = [published_opt(one, sampled(seed)) for seed in range(16)]
    assert within_draws(float(np.mean(draws)), values["opt_draws"])
    leaves = [it.score("meco-opt", Batch(it.batch.images, it.batch.labels, seed)) for seed in range(2)]
    assert min(leaves) >= it.score("meco") - 1e-3, "of fewer channels, less is dependent"
    if "sites" in values:
        sites = smallest_eigenvalues([channel_correlations(output) for output in sites_of(it.net, it.batch.images[:1])])
        np.testing.assert_allclose(sites, [value for _, value in values["sites"]], atol=1e-4)


def sites_of(net: Supernet, images: Tensor) -> list[Tensor]:
    return [output for output, times in published_outputs(net, images) for _ in range(times)]


@network
def test_az_nas(path: object, text: str, known: Callable[[object, str], Known]) -> None:
    it = known(path, text)
    values = {name: float(value) if isinstance(value, str) else value for name, value in it.values["az_nas"].items()}
    assert it.score("expressivity") == pytest.approx(values["expressivity"], rel=1e-5)
    assert it.score("progressivity") == pytest.approx(values["progressivity"], abs=1e-4)
    by_rule = trainability(it.net, it.batch, lambda index, like: probe(it.case, index, like))
    assert by_rule == pytest.approx(values["trainability"], rel=1e-3)
    assert it.score("complexity") == values["complexity"]
    if math.isfinite(values["trainability"]) and values["trainability"] > -1000:
        draws = [it.score("trainability", Batch(it.batch.images, it.batch.labels, seed)) for seed in range(4)]
        assert within_draws(float(np.mean(draws)), values["trainability_draws"])


def probe(case: Case, index: int, like: Tensor) -> Tensor:
    return torch.from_numpy(case.random(f"probe{index}").randint(0, 2, tuple(like.shape)) * 2 - 1).float()


@network
def test_swap(path: object, text: str, known: Callable[[object, str], Known]) -> None:
    it = known(path, text)
    values = it.values["swap"]
    assert it.score("swap") == pytest.approx(values["train"], rel=1e-4)
    assert swap(it.net, it.batch, running_statistics=True) == pytest.approx(values["eval"], rel=1e-4)
    thousands = sum(parameter.numel() for parameter in it.net.parameters()) / 1000
    regularised = it.score("swap") * math.exp(-((thousands - 400) ** 2) / 40000)
    assert regularised == pytest.approx(values["regularised_mu400_sigma40000"], rel=1e-4, abs=1e-300)


@network
def test_vkdnw(path: object, text: str, known: Callable[[object, str], Known]) -> None:
    it = known(path, text)
    values = it.values["vkdnw"]
    logits, jacobians, count = jacobians_of_first_elements(it.net, it.batch.images)
    assert (count, jacobians.shape[2]) == (values["dim"], values["size_of_fisher"])
    deciles = fisher_deciles(logits, jacobians)
    wanted = np.array(values["deciles_float64"])
    np.testing.assert_allclose(deciles, wanted, rtol=0, atol=max(1e-4 * wanted.max(), 1e-12))
    assert decile_entropy(deciles) == pytest.approx(values["entropy_float64"], abs=1e-4)
    assert it.score("vkdnw") == pytest.approx(values["dim"] + values["entropy_float64"], abs=1e-3)
