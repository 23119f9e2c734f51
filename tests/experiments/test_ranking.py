"""Architectures that are given, scored end to end."""

import json
from pathlib import Path

import pytest

from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.ranking import random_archs, rank_archs, read_archs
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.resolved import Search
from zcpt_ray.spaces import SPACES

CONFIG = SearchConfig(space="toy-chain-2", num_proposals=3, num_validations=4, batch_size=8)


def test_the_scores_are_those_of_a_search() -> None:
    result = run_search_locally(Search.of(CONFIG))
    archs = {f"number {index}": candidate.arch for index, candidate in enumerate(reversed(result.candidates))}
    table = rank_archs(Search.of(CONFIG), archs | {"again": result.best.arch})
    assert table["architecture"].drop_duplicates().tolist() == [candidate.arch for candidate in result.candidates]
    expected = {candidate.arch: candidate.score / 4 for candidate in result.candidates}
    assert table["score"].tolist() == pytest.approx([expected[arch] for arch in table["architecture"]])
    assert table["params [M]"].iloc[0] == result.best.params / 1e6


def test_architectures_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "archs.json"
    pairs = [["sep_conv_3x3", 0], ["skip_connect", 1]] * 4
    path.write_text(json.dumps({"lists": {"normal": pairs, "reduce": pairs, "section": "more"}}))
    (text,) = read_archs(path, SPACES["darts"]).values()
    assert text.startswith("Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ")
    path.write_text(json.dumps({"text": text}))
    assert read_archs(path, SPACES["darts"]) == {"text": text}
    path.write_text(json.dumps({"text": text, "of_another_space_N1": "nonsense"}))
    assert read_archs(path, SPACES["darts"], "^te") == {"text": text}
    with pytest.raises(UserError, match="has 2 architectures, none with a name that matches"):
        read_archs(path, SPACES["darts"], "N1.")
    path.write_text(json.dumps({"text": "nonsense"}))
    with pytest.raises(UserError, match="'text': not a genotype of darts"):
        read_archs(path, SPACES["darts"])
    with pytest.raises(UserError, match=r"cannot read .*missing.json: No such file"):
        read_archs(tmp_path / "missing.json", SPACES["darts"])
    path.write_text('{"text": ')
    with pytest.raises(UserError, match="no JSON object of architectures"):
        read_archs(path, SPACES["darts"])


def test_architectures_of_a_file_in_other_notations(tmp_path: Path) -> None:
    space, path = SPACES["nasbench201"], tmp_path / "archs.json"
    path.write_text(
        '\ufeff{"naslib": [4, 3, 3, 0, 0, 0], "numbers": "421211", "lines": " 421211\\r\\n"}\r\n', encoding="utf-8"
    )
    assert set(read_archs(path, space).values()) == {space.encode(space.decode("421211"))}
    path.write_text('{"one": "421211", "other": "421212", "one": "000000"}')
    with pytest.raises(UserError, match="'one' is there more than once"):
        read_archs(path, space)


def test_random_architectures_repeat_themselves() -> None:
    space = SPACES["toy-chain-2"]
    assert random_archs(space, 3, seed=0) == random_archs(space, 3, seed=0)
    assert random_archs(space, 3, seed=0) != random_archs(space, 3, seed=1)
    assert len(random_archs(space, 3, seed=0)) == 3
    with pytest.raises(UserError, match="--count must be at least 1, got 0"):
        random_archs(space, 0, seed=0)


def test_without_a_minibatch_there_is_no_ranking() -> None:
    with pytest.raises(UserError, match="num_validations must be at least 1"):
        rank_archs(Search.of(SearchConfig(space="toy-chain-1", num_validations=0)), {})
