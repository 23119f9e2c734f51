import dataclasses
from pathlib import Path

import pytest
import torch
from device_looks import DeviceLooks

from zcpt_ray.arch import PartialArch
from zcpt_ray.configs import SearchConfig, SupernetTraining
from zcpt_ray.datasets.minibatches import ImageSet
from zcpt_ray.errors import UserError
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.supernet_trainer import SupernetTrainer
from zcpt_ray.spaces.toy_chain import ToyChain

SPACE = ToyChain(2, channels=8)
START = PartialArch.all_open(SPACE.edges)
TRAINING = SupernetTraining(epochs=3, retrain_epochs=1, training_batch_size=10, alpha_learning_rate=0.05)
CONFIG = SearchConfig(space="toy-chain-2", training=TRAINING)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZCPT_CACHE", str(tmp_path))
    return tmp_path


def trainer(images: ImageSet, config: SearchConfig = CONFIG) -> SupernetTrainer:
    return SupernetTrainer(Search.of(config), SPACE.supernet(images.num_classes, seed=0), images, images)


def state(trained: SupernetTrainer) -> list[torch.Tensor]:
    return [*trained.supernet.state_dict().values(), *(alpha.detach() for alpha in trained.alphas)]


def equal(one: SupernetTrainer, other: SupernetTrainer) -> bool:
    return all(torch.equal(a, b) for a, b in zip(state(one), state(other), strict=True))


def test_training_learns_and_alphas_stay_a_distribution(images: ImageSet) -> None:
    """Labels that one can see: images of class c are bright in channel c."""
    raw = images.images // 8
    raw[torch.arange(40), images.labels] += 200
    seen = dataclasses.replace(images, images=raw)
    trained = trainer(
        seen, dataclasses.replace(CONFIG, training=dataclasses.replace(TRAINING, epochs=12, learning_rate=0.1))
    )
    before = [[trained.alpha(edge, op) for op in SPACE.edges[edge].candidates] for edge in (0, 1)]
    trained.fit(START)
    assert trained.accuracy(START) > 0.8
    after = [[trained.alpha(edge, op) for op in SPACE.edges[edge].candidates] for edge in (0, 1)]
    assert all(sum(row) == pytest.approx(1) for row in before + after)
    assert max(abs(a - b) for old, new in zip(before, after, strict=True) for a, b in zip(old, new, strict=True)) > 0.01


def test_an_interrupted_training_ends_as_if_it_had_not_been(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    whole = trainer(images)
    whole.fit(START)
    monkeypatch.setenv("ZCPT_CACHE", str(cache / "other"))
    save, saved = torch.save, []

    def dying(*args: object) -> None:
        save(*args)
        saved.append(args)
        if len(saved) == 3:  # the checkpoint of this epoch is not in its place yet
            raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", dying)
    with pytest.raises(KeyboardInterrupt):
        trainer(images).fit(START)
    again = trainer(images)
    again.fit(START)
    assert len(saved) == 4  # two epochs were kept, the third was done again
    assert equal(whole, again)
    again.fit(START.discretize(0, ("skip_connect",)))
    whole.fit(START.discretize(0, ("skip_connect",)))
    assert equal(whole, again)


def test_fixed_alphas_stay_equal(images: ImageSet) -> None:
    trained = trainer(images, dataclasses.replace(CONFIG, training=dataclasses.replace(TRAINING, fixed_alpha=True)))
    trained.fit(START)
    assert {trained.alpha(edge, op) for edge in (0, 1) for op in SPACE.edges[0].candidates} == {0.25}


def test_judging_leaves_the_supernet_as_it_is(images: ImageSet) -> None:
    trained = trainer(images)
    trained.fit(START)
    before = [tensor.clone() for tensor in state(trained)]
    trained.accuracy(START.perturb(0, "skip_connect"))
    assert 0 <= trained.accuracy_after_training(START.discretize(0, ("nor_conv_3x3",))) <= 1
    assert all(torch.equal(a, b) for a, b in zip(before, state(trained), strict=True))


def test_a_removed_op_is_not_shared_out(images: ImageSet) -> None:
    trained = trainer(images)
    weights = trained.edge_weights(START.perturb(0, "skip_connect").discretize(1, ("nor_conv_3x3",)))
    assert weights[0][0] == 0
    assert sum(float(torch.as_tensor(weight).detach()) for weight in weights[0]) == pytest.approx(0.75, abs=0.01)
    assert weights[1] == (0, 0, 1, 0)


@pytest.mark.parametrize("space", ["nasbench201", "darts-small", "nasbench1shot1-1", "toy-chain-2"])
def test_a_step_looks_at_no_number_on_the_device(space: str, images: ImageSet) -> None:
    """Nor does an epoch, but for its loss."""
    counts = []
    for max_images in (16, 32):
        training = SupernetTraining(epochs=1, fixed_alpha=True, max_images=max_images, training_batch_size=8)
        search = Search.of(dataclasses.replace(CONFIG, space=space, training=training))
        trained = SupernetTrainer(search, search.space.supernet(images.num_classes, seed=0), images, images)
        with DeviceLooks() as looks:
            trained.fit(PartialArch.all_open(trained.supernet.edges))
        counts.append(looks.count)
    assert counts[0] == counts[1] <= 2
    with DeviceLooks() as looks:
        trained.accuracy(PartialArch.all_open(trained.supernet.edges))
    assert looks.count <= 1


def test_ops_of_an_edge_that_keeps_several_are_judged_apart(images: ImageSet, cache: Path) -> None:
    """As all topology decisions of DARTS are; a score that is kept is of the op that it was asked for."""
    training = SupernetTraining(epochs=1, retrain_epochs=1, max_images=16, training_batch_size=8)
    search = Search.of(dataclasses.replace(CONFIG, space="darts-small", training=training))
    trained = SupernetTrainer(search, search.space.supernet(images.num_classes, seed=0), images, images)
    arch = PartialArch.all_open(trained.supernet.edges)
    edge = next(index for index, edge in enumerate(arch.edges) if 1 < edge.keep < len(edge.candidates))
    ops = arch.edges[edge].candidates[:2]
    first = [trained.accuracy_after_training(arch.reduce_to(edge, op)) for op in ops]
    assert len(list(cache.rglob("*.json"))) == len(ops)
    assert [trained.accuracy_after_training(arch.reduce_to(edge, op)) for op in ops] == first


def test_images_of_sorted_classes_are_chosen_from_each(images: ImageSet) -> None:
    order = torch.argsort(torch.from_numpy(images.labels), stable=True).numpy()
    by_class = dataclasses.replace(images, images=images.images[order], labels=images.labels[order])
    training = SupernetTraining(max_images=12, training_batch_size=4)
    trained = trainer(by_class, dataclasses.replace(CONFIG, training=training))
    counts = [sum(trained.images.labels == label) for label in range(3)]
    assert sum(counts) == 12
    assert min(counts) >= 3
    fewest = by_class.thinned_by_class(1)
    assert set(fewest.labels) == {0, 1, 2}
    for label in range(3):
        kept = by_class.labels != label
        half = dataclasses.replace(by_class, images=by_class.images[kept], labels=by_class.labels[kept])
        with pytest.raises(UserError, match="1 of the 3 classes of digits have no image in its search half"):
            trainer(half, dataclasses.replace(CONFIG, training=training))


def test_what_can_go_wrong(images: ImageSet, cache: Path) -> None:
    with pytest.raises(UserError, match="training needs a batch of 64 images in each half, there are 40"):
        trainer(images, SearchConfig(space="toy-chain-2"))
    fast = dataclasses.replace(CONFIG, training=dataclasses.replace(TRAINING, learning_rate=1e30, gradient_clip=1e30))
    with pytest.raises(UserError, match="supernet training diverged"):
        trainer(images, fast).fit(START)
    trainer(images).fit(START)
    for path in (cache / "supernets").iterdir():
        path.write_bytes(b"PK")
    with pytest.raises(UserError, match=r"is damaged .* delete it"):
        trainer(images).fit(START)
    with pytest.raises(UserError, match="epochs must be at least 0, got -1"):
        SupernetTraining(epochs=-1)
