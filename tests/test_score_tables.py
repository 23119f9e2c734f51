import dataclasses
import math
from pathlib import Path

import pandas as pd
import pytest

from zcpt_ray import score_tables
from zcpt_ray.configs import SearchConfig
from zcpt_ray.data import ImageSet
from zcpt_ray.errors import UserError
from zcpt_ray.oracles import Oracle
from zcpt_ray.score_tables import ScoreTable, TableKey, score_table, spread_locally
from zcpt_ray.search import load_data, propose
from zcpt_ray.spaces import SPACES

KEY = TableKey("toy-chain-2", "digits", "nwot", 8, 0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZCPT_CACHE", str(tmp_path))
    monkeypatch.setattr(score_tables, "SLICE", 5)
    return tmp_path


def test_every_network_has_a_score(images: ImageSet) -> None:
    table = score_table(KEY, images)
    assert len(table) == SPACES["toy-chain-2"].num_archs == 16
    assert table.index.is_unique
    assert all(math.isfinite(score) for score in table)


def test_a_table_is_taken_up_again_and_then_reused(images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    def interrupted(function, shared, items):
        for item, result in spread_locally(function, shared, items):
            if len(done) == 2:
                raise KeyboardInterrupt
            done.append(item)
            yield item, result

    with pytest.raises(KeyboardInterrupt):
        score_table(KEY, images, spread=interrupted)
    assert len(ScoreTable(KEY).missing()) == 2
    table = score_table(KEY, images)
    assert not ScoreTable(KEY).missing()
    assert not ScoreTable(KEY).parts.exists()
    monkeypatch.setattr(score_tables, "measure_slice", None)
    pd.testing.assert_series_equal(score_table(KEY, images), table)


def test_slices_do_not_change_scores(images: ImageSet, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    table = score_table(KEY, images)
    monkeypatch.setenv("ZCPT_CACHE", str(cache / "other"))
    monkeypatch.setattr(score_tables, "SLICE", 16)
    pd.testing.assert_series_equal(score_table(KEY, images), table, rtol=1e-6)


def test_other_images_of_the_same_name_have_a_table_of_their_own(images: ImageSet, cache: Path) -> None:
    for data in (images, dataclasses.replace(images, fingerprint="-1"), dataclasses.replace(images, fingerprint="-2")):
        score_table(dataclasses.replace(KEY, space="toy-chain-1", dataset="./some/photos"), data)
    names = sorted(path.name for path in (cache / "scores").iterdir())
    assert [name.split("-nwot-")[0] for name in names] == [f"toy-chain-1-photos{end}" for end in ("-1", "-2", "")]


def test_ranks_are_taken_over_the_whole_table(images: ImageSet) -> None:
    table = score_table(dataclasses.replace(KEY, proxy="tenas"), images)
    assert table.sum() == 2 * sum(range(1, 17))


def test_best_zc_finds_the_best_scored_network() -> None:
    config = SearchConfig(space="toy-chain-2", scoring="best-zc", proxy="nwot", batch_size=8)
    data = load_data(config)
    table = score_table(TableKey.of(config), data.images)
    assert propose(config, data, 0).arch == table.idxmax()
    assert Oracle.of(SPACES["toy-chain-2"], dict(table)).values.max() == table.max()


def test_bad_tables(images: ImageSet) -> None:
    score_table(KEY, images)
    ScoreTable(KEY).path.write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"is damaged .* delete it"):
        score_table(KEY, images)
    with pytest.raises(UserError, match="unknown proxy 'x'"):
        ScoreTable(dataclasses.replace(KEY, proxy="x"))


def test_a_space_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_tables, "LARGEST", 15)
    with pytest.raises(UserError, match="space 'toy-chain-2' has 16 networks; up to 15 can be scored all"):
        ScoreTable(KEY)
