import dataclasses
import math
from pathlib import Path

import pandas as pd
import pytest

from zcpt_ray.configs import SearchConfig
from zcpt_ray.datasets.minibatches import ImageSet
from zcpt_ray.errors import UserError
from zcpt_ray.search import score_tables
from zcpt_ray.search.inputs import load_data
from zcpt_ray.search.oracles import Oracle
from zcpt_ray.search.proposal import propose
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.score_tables import ScoreTable, score_table, spread_locally
from zcpt_ray.spaces import SPACES

CONFIG = SearchConfig(space="toy-chain-2", proxy="nwot", batch_size=8)
SEARCH = Search.of(CONFIG)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZCPT_CACHE", str(tmp_path))
    monkeypatch.setattr(score_tables, "TABLE_SLICE", 5)
    return tmp_path


def test_every_network_has_a_score(images: ImageSet) -> None:
    table = score_table(SEARCH, images)
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
        score_table(SEARCH, images, spread=interrupted)
    assert len(ScoreTable(SEARCH, images.fingerprint).missing()) == 2
    table = score_table(SEARCH, images)
    assert not ScoreTable(SEARCH, images.fingerprint).missing()
    assert not ScoreTable(SEARCH, images.fingerprint).parts.exists()
    monkeypatch.setattr(score_tables, "measure_slice", None)
    pd.testing.assert_series_equal(score_table(SEARCH, images), table)


def test_two_processes_that_fill_a_table_do_not_get_into_each_others_way(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another does all of it while this one has just scored a slice: the rest is taken from there."""
    scored: list[int] = []
    measured = score_tables.measure_slice

    def count(shared: tuple[Search, ImageSet], part: range) -> pd.DataFrame:
        scored.append(part.start)
        return measured(shared, part)

    def overtaken(function, shared, items):
        for item, result in spread_locally(count, shared, items):
            if len(scored) == 1:
                tables.append(score_table(SEARCH, images))
            yield item, result

    tables: list[pd.Series] = []
    tables.append(score_table(SEARCH, images, spread=overtaken))
    assert len(scored) == 1
    pd.testing.assert_series_equal(*tables)
    assert not ScoreTable(SEARCH, images.fingerprint).parts.exists()


def test_a_table_that_another_process_joins_first_is_read(images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """It removes the slices as this process is about to read them."""
    other = score_table(SEARCH, images)
    table = ScoreTable(SEARCH, images.fingerprint)
    content, read = table.path.read_bytes(), pd.read_parquet
    table.path.unlink()

    def overtaken(path: Path) -> pd.DataFrame:
        table.path.write_bytes(content)
        return read(path)

    monkeypatch.setattr(pd, "read_parquet", overtaken)
    pd.testing.assert_series_equal(table.load(), other)


def test_slices_do_not_change_scores(images: ImageSet, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    table = score_table(SEARCH, images)
    monkeypatch.setenv("ZCPT_CACHE", str(cache / "other"))
    monkeypatch.setattr(score_tables, "TABLE_SLICE", 16)
    pd.testing.assert_series_equal(score_table(SEARCH, images), table, rtol=1e-6)


def test_other_images_of_the_same_name_have_a_table_of_their_own(images: ImageSet, cache: Path) -> None:
    for data in (images, dataclasses.replace(images, fingerprint="-1"), dataclasses.replace(images, fingerprint="-2")):
        search = Search.of(dataclasses.replace(CONFIG, space="toy-chain-1"))
        score_table(search, data)
    names = sorted(path.name for path in (cache / "scores").iterdir())
    assert [name.split("-nwot-")[0] for name in names] == [f"toy-chain-1-digits{end}" for end in ("-1", "-2", "")]


def test_ranks_are_taken_over_the_whole_table(images: ImageSet) -> None:
    table = score_table(Search.of(dataclasses.replace(CONFIG, proxy="tenas")), images)
    assert table.sum() == 2 * sum(range(1, 17))


def test_best_zc_finds_the_best_scored_network() -> None:
    config = SearchConfig(space="toy-chain-2", scoring="best-zc", proxy="nwot", batch_size=8)
    data = load_data(Search.of(config))
    table = score_table(Search.of(config), data.images)
    assert propose(Search.of(config), data, 0).arch == table.idxmax()
    assert Oracle.of(SPACES["toy-chain-2"], dict(table)).values.max() == table.max()


def test_bad_tables(images: ImageSet) -> None:
    score_table(SEARCH, images)
    ScoreTable(SEARCH, images.fingerprint).path.write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"is damaged .* delete it"):
        score_table(SEARCH, images)


def test_a_space_too_large(images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_tables, "LARGEST", 15)
    with pytest.raises(UserError, match="space 'toy-chain-2' has 16 networks; up to 15 can be scored all"):
        ScoreTable(SEARCH, images.fingerprint)
