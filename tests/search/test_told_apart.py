"""Images that are there twice, minibatches on which nothing has a finite score, and searches that find nothing."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from image_files import smooth, write_image

from zcpt_ray.cli import search as search_command
from zcpt_ray.configs import SearchConfig
from zcpt_ray.datasets.minibatches import ImageSet, draw_minibatch
from zcpt_ray.reports.search_report import doubts
from zcpt_ray.search.inputs import SearchData
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.records import SearchResult
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.run_store import RunStore
from zcpt_ray.spaces.costs import Cost

CONFIG = SearchConfig(space="toy-chain-2", num_proposals=3, num_validations=6, batch_size=16)


def with_black(images: ImageSet, count: int, of: int) -> ImageSet:
    """`of` images, the first `count` of them black."""
    raw = np.random.default_rng(0).integers(1, 256, (of, 3, 32, 32)).astype(np.uint8)
    raw[:count] = 0
    return dataclasses.replace(images, images=raw, labels=np.arange(of) % 3)


def test_equal_images_are_drawn_anew_where_possible(images: ImageSet) -> None:
    data = with_black(images, 10, 60)
    for seed in range(20):
        drawn = draw_minibatch(data, 40, seed).images
        assert (drawn.flatten(1).unique(dim=0).shape[0]) == 40
        same = draw_minibatch(data, 40, seed).images
        assert (drawn == same).all()
    everything = draw_minibatch(data, 60, 0).images
    assert everything.flatten(1).unique(dim=0).shape[0] == 51  # there are no others


def test_what_is_drawn_of_different_images_is_as_ever(images: ImageSet) -> None:
    random = np.random.default_rng(7)
    chosen = random.choice(len(images), 16, replace=False)
    assert draw_minibatch(images, 16, 7).labels.tolist() == images.labels[chosen].tolist()


def test_a_few_black_frames_spoil_nothing(images: ImageSet) -> None:
    result = run_search_locally(Search.of(CONFIG), data=SearchData(with_black(images, 10, 60)))
    assert result.left_out == result.tied == 0
    assert result.told_apart
    assert all(math.isfinite(candidate.score) for candidate in result.candidates)
    assert doubts(result) == []


def test_minibatches_without_a_finite_score_are_left_out_and_counted(images: ImageSet) -> None:
    """15 of 30 images are black: 17 of them cannot be different."""
    data = with_black(images, 15, 30)
    result = run_search_locally(Search.of(dataclasses.replace(CONFIG, batch_size=17)), data=SearchData(data))
    assert result.left_out == CONFIG.num_validations
    assert not result.told_apart
    half = with_black(images, 2, 18)
    config = dataclasses.replace(CONFIG, batch_size=17, num_validations=20)
    result = run_search_locally(Search.of(config), data=SearchData(half))
    assert result.told_apart
    assert all(math.isfinite(candidate.score) for candidate in result.candidates)


def test_a_minibatch_that_is_infinite_for_all_counts_for_none(images: ImageSet, tmp_path: Path) -> None:
    search = Search.of(dataclasses.replace(CONFIG, num_validations=4))
    plain = run_search_locally(search, tmp_path / "plain", data=SearchData(images))
    found, spoiled = RunStore(search, tmp_path / "plain"), RunStore(search, tmp_path / "spoiled")
    for proposal in found.proposals.values():
        spoiled.add([proposal])
    for each in found.validations.values():
        spoiled.add([dataclasses.replace(each, measures=each.measures | {1: (-math.inf,)})])
    result = spoiled.result(0.0, lambda arch: Cost(1, 1))
    assert result.left_out == 1
    assert result.told_apart
    assert 0 < result.best.score < plain.best.score
    assert doubts(result) == ["1 of 4 minibatches left out: no candidate has a finite score on them"]


def test_a_search_that_finds_nothing_says_so_and_ends_with_a_code_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but a few images are black; a minibatch cannot be without them."""
    for index in range(40):
        image = smooth(index, 32, 32) if index < 4 else np.zeros((3, 32, 32), np.uint8)
        write_image(tmp_path / "photos" / "ab"[index % 2] / f"{index}.png", image)
    arguments = [
        *("--space", "toy-chain-2", "--dataset", str(tmp_path / "photos"), "--batch-size", "12", "--local"),
        *("--num-proposals", "2", "--num-validations", "2", "--out", str(tmp_path / "run")),
    ]
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            search_command.main(arguments)
        assert ended.value.code == 3
        printed = capsys.readouterr().out
        assert "2 of 2 minibatches left out: no candidate has a finite score on them" in printed
        assert "4 of 4 decisions were between ops of equal scores: the op with more parameters was kept" in printed
        assert "Nothing told the ops or the candidates apart: the scores of nwot-released on" in printed
    result = SearchResult.load(tmp_path / "run")
    assert (result.left_out, result.tied, result.num_decisions, result.told_apart) == (2, 4, 4, False)
    old = result.to_dict()
    for name in ("left_out", "tied", "num_decisions"):
        del old[name]
    assert SearchResult.from_dict(old).tied == 0
