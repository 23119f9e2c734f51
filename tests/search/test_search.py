import contextlib
import dataclasses
import itertools
import math
import pickle
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import smooth, write_image
from processes import stored

from zcpt_ray import proxies
from zcpt_ray.configs import LANES, SearchConfig
from zcpt_ray.datasets.minibatches import Batch, ImageSet, draw_minibatch
from zcpt_ray.devices import DEVICES, local_device
from zcpt_ray.errors import UserError
from zcpt_ray.identity import run_name
from zcpt_ray.proxies import PROXIES, Proxy
from zcpt_ray.proxies.base import Measured
from zcpt_ray.proxies.nwot import log_determinant
from zcpt_ray.search.inputs import SearchData, fitted_to_data, load_data
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.methods import random_arch
from zcpt_ray.search.proposal import propose
from zcpt_ray.search.records import Progress
from zcpt_ray.search.resolved import Search, smoke
from zcpt_ray.search.run_files import read_proposals
from zcpt_ray.search.run_store import RunStore
from zcpt_ray.search.validation import together, validate
from zcpt_ray.seeding import derive_seed, generator

CONFIG = SearchConfig(space="toy-chain-2", num_proposals=3, num_validations=12, batch_size=8)


def test_a_search_repeats_itself() -> None:
    one, two = (run_search_locally(Search.of(CONFIG)) for _ in range(2))
    assert dataclasses.replace(one, seconds={}) == dataclasses.replace(two, seconds={})
    assert sum(candidate.times_proposed for candidate in one.candidates) == 3
    assert one.num_evaluations == 3 * 2 * 4 + 12 * len(one.candidates)


def test_a_search_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Interrupted whenever something was stored, with nothing of it done twice."""

    class InterruptError(Exception):
        pass

    done: list[set[str]] = []

    def stop_soon(progress: Progress) -> None:
        lines = set(stored(tmp_path))
        if done and lines == done[-1]:
            return
        done.append(lines)
        raise InterruptError

    result = None
    while result is None:
        with contextlib.suppress(InterruptError):
            result = run_search_locally(Search.of(CONFIG), tmp_path, stop_soon)
    assert all(before < after for before, after in itertools.pairwise(done))
    assert len(done) >= 6
    whole = run_search_locally(Search.of(CONFIG))
    assert dataclasses.replace(result, seconds={}) == dataclasses.replace(whole, seconds={})


def test_proposals_share_weights_and_differ_in_minibatches(data: SearchData) -> None:
    one, same, other = (propose(Search.of(CONFIG), data, index) for index in (0, 0, 1))
    assert one.decisions == same.decisions
    assert one.decisions != other.decisions
    assert one.num_evaluations == 2 * 4


def test_a_worker_needs_no_data_set(data: SearchData, tmp_path: Path) -> None:
    """A worker gets objects and images, and may lie on a machine without the folder that they came from."""
    place = tmp_path / "photos"
    place.mkdir()
    search = Search.of(dataclasses.replace(CONFIG, dataset=str(place)))
    place.rmdir()
    search = pickle.loads(pickle.dumps(search))
    assert propose(search, data, 0).decisions == propose(Search.of(CONFIG), data, 0).decisions
    assert validate(search, data.images, ["nor_conv_3x3>skip_connect"], range(1))[0].measures
    with pytest.raises(UserError, match="cannot read the train images of photos"):
        load_data(search)
    with pytest.raises(UserError, match=r"unknown dataset '.*photos'; choose from digits, "):
        Search.of(search.config)


@pytest.mark.parametrize("order", ["fixed", "random", "global-op-iter", "global-edge-once"])
@pytest.mark.parametrize("scoring", ["zc-pt", "disc-zc"])
def test_decisions_keep_the_best_op_of_their_edge(order: str, scoring: str, data: SearchData) -> None:
    config = dataclasses.replace(CONFIG, space="nasbench201", order=order, scoring=scoring)
    proposal = propose(Search.of(config), data, 0)
    assert sorted(d.edge for d in proposal.decisions) == sorted(edge.name for edge in Search.of(config).space.edges)
    for decision in proposal.decisions:
        assert decision.scores[decision.kept[0]] == max(decision.scores.values())
    if order == "fixed":
        assert [d.edge for d in proposal.decisions] == [edge.name for edge in Search.of(config).space.edges]


def measures(search: Search, data: SearchData, archs: Sequence[str], minibatches: range) -> list[dict[int, Measured]]:
    return [dict(validation.measures) for validation in validate(search, data.images, archs, minibatches)]


def test_validation_slices_add_up(data: SearchData) -> None:
    archs, search = ["nor_conv_3x3>skip_connect", "nor_conv_3x3>nor_conv_1x1"], Search.of(CONFIG)
    whole = measures(search, data, archs, range(6))
    first, second = (measures(search, data, archs, part) for part in (range(0, 4), range(4, 6)))
    assert whole == [one | other for one, other in zip(first, second, strict=True)]
    assert whole == [measures(search, data, [arch], range(6))[0] for arch in archs]  # whoever else is there
    assert all(len(set(found.values())) == 6 for found in whole)


@pytest.mark.parametrize("proxy", ["nwot", "l2_norm"])
def test_sets_of_weights_take_turns_from_minibatch_to_minibatch(proxy: str, data: SearchData) -> None:
    """l2_norm reads weights alone, so it repeats itself with each set."""
    archs, config = ["nor_conv_3x3>skip_connect"], dataclasses.replace(CONFIG, proxy=proxy)
    search, other = Search.of(config), Search.of(dataclasses.replace(config, validation_weights=3))
    (one,), (three,) = (measures(each, data, archs, range(7)) for each in (search, other))
    assert list(three) == [0, 3, 6, 1, 4, 2, 5]
    assert [index for index in three if three[index] == one[index]] == [0, 3, 6]
    assert measures(other, data, archs, range(4, 7))[0].items() <= three.items()
    assert search.validated_by != other.validated_by
    if proxy == "l2_norm":
        assert [three[index] for index in (3, 4, 5)] == [three[index] for index in (0, 1, 2)]
        assert len(set(three.values())) == 3


@pytest.mark.parametrize("proxy", ["nwot", "l2_norm"])
def test_candidates_with_weights_of_their_own(proxy: str, data: SearchData) -> None:
    """Whoever else is there; and none of them those of the supernet."""
    archs = ["nor_conv_3x3>skip_connect", "nor_conv_3x3>nor_conv_1x1"]
    config = dataclasses.replace(CONFIG, proxy=proxy)
    shared, own = (Search.of(dataclasses.replace(config, validation_weights=sets)) for sets in (1, 0))
    found = measures(own, data, archs, range(3))
    assert found == [measures(own, data, [arch], range(3))[0] for arch in archs]
    assert all(one != other for one, other in zip(found, measures(shared, data, archs, range(3)), strict=True))
    assert shared.validated_by != own.validated_by
    if proxy == "l2_norm":
        assert [len(set(values.values())) for values in found] == [1, 1], "the same on every minibatch"


@pytest.mark.parametrize("proxy", ["nwot", "nwot-released", "snip", "synflow", "params"])
@pytest.mark.parametrize("space", ["nasbench201", "darts-small"])
def test_candidates_that_are_validated_together_are_networks_on_their_own(
    space: str, proxy: str, data: SearchData
) -> None:
    search = Search.of(dataclasses.replace(CONFIG, space=space, proxy=proxy, batch_size=4))
    random = generator(0, "test")
    specs = [random_arch(search.space, random) for _ in range(2)]
    found = measures(search, data, [search.space.encode(spec) for spec in specs], range(1))
    batch = draw_minibatch(data.images, 4, derive_seed(CONFIG.seed, "validation", 0))
    for spec, of_spec in zip(specs, found, strict=True):
        network = search.space.network(spec, data.images.num_classes, derive_seed(CONFIG.seed, "supernet"))
        assert of_spec[0] == pytest.approx(search.proxy.measure(network, batch), rel=1e-5)


def test_an_own_proxy_sees_each_candidate_on_its_own(data: SearchData) -> None:
    """Not the modules of a whole supernet, most of which do not run."""
    counts = Proxy("counts", (lambda net, batch: float(sum(p.numel() for p in net.parameters())),), "test")
    search = dataclasses.replace(Search.of(CONFIG), proxy=counts)
    large, small = measures(search, data, ["nor_conv_3x3>nor_conv_3x3", "skip_connect>skip_connect"], range(1))
    assert large[0] > small[0]


def test_a_minibatch_is_drawn_once_for_all_candidates(data: SearchData, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(
        "zcpt_ray.search.validation.draw_minibatch", lambda *args: drawn.append(args[2]) or draw_minibatch(*args)
    )
    told: list[int] = []
    archs = ["nor_conv_3x3>skip_connect", "nor_conv_3x3>nor_conv_1x1", "skip_connect>nor_conv_1x1"]
    validate(Search.of(CONFIG), data.images, archs, range(5), told.append)
    assert len(drawn) == len(set(drawn)) == 5
    assert told == [0, 3, 6, 9, 12]


def test_a_device_that_works_apart_gets_the_next_minibatch_while_the_host_finishes_one(
    data: SearchData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A determinant waits until the next minibatch is drawn, which would be for ever if the two came one by one."""
    drawn, search = [threading.Event() for _ in range(4)], Search.of(CONFIG)
    archs = ["nor_conv_3x3>skip_connect"]
    (plain,) = validate(search, data.images, archs, range(3))

    def draw(images: ImageSet, batch_size: int, seed: int, device: str) -> Batch:
        next(event for event in drawn if not event.is_set()).set()
        return draw_minibatch(images, batch_size, seed, device)

    taken = itertools.count(1)

    def determinant(kernel: np.ndarray) -> float:
        assert drawn[min(next(taken), 2)].wait(60)
        return log_determinant(kernel)

    monkeypatch.setattr("zcpt_ray.search.validation.draw_minibatch", draw)
    monkeypatch.setattr("zcpt_ray.proxies.nwot.log_determinant", determinant)
    monkeypatch.setitem(DEVICES, "cpu", dataclasses.replace(DEVICES["cpu"], works_apart=True))
    (apart,) = validate(search, data.images, archs, range(3))
    assert apart.measures == plain.measures


@pytest.mark.parametrize(("workers", "sizes"), [(1, [3, 3, 1]), (3, [3, 3, 1]), (5, [2, 1, 2, 1, 1]), (99, [1] * 7)])
def test_what_is_validated_together(workers: int, sizes: list[int]) -> None:
    missing = [(arch, range(start, start + 10)) for arch in "abc" for start in (0, 10)] + [("a", range(20, 25))]
    slices = together(missing, workers)
    assert [len(archs) for archs, _ in slices] == sizes
    assert sorted((arch, part.start) for archs, part in slices for arch in archs) == sorted(
        (arch, part.start) for arch, part in missing
    )
    assert together([]) == []
    assert [len(archs) for archs, _ in together([(str(n), range(1)) for n in range(300)])] == [125, 125, 50]


@pytest.mark.parametrize("field", ["space", "dataset", "proxy", "scoring", "order", "method"])
def test_unknown_names_list_the_known_ones(field: str) -> None:
    with pytest.raises(UserError, match=f"unknown {field} 'nonsense'; choose from .+, "):
        Search.of(dataclasses.replace(CONFIG, **{field: "nonsense"}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_proposals": 0}, "num_proposals must be at least 1, got 0"),
        ({"num_validations": -1}, "num_validations must be at least 0, got -1"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"device": "tpu"}, "unknown device 'tpu'; choose from auto, cpu, cuda, xpu, mps"),
    ],
)
def test_numbers_out_of_range(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(CONFIG, **changes)


def test_a_batch_must_fit_the_data() -> None:
    with pytest.raises(UserError, match="batch_size 5000 is more than the 719 images that the search sees"):
        load_data(Search.of(dataclasses.replace(CONFIG, batch_size=5000)))


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="'cuda' was asked for, but torch sees no GPU"):
        local_device("cuda")
    assert local_device("auto") == "cpu"


def test_nan_stops_the_search_and_loses_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A proxy that breaks in the second proposal: the first one is on disk, and a mended proxy goes on from there."""
    calls = []

    def score(net: object, batch: object) -> float:
        calls.append(net)
        return math.nan if len(calls) == 12 else float(len(calls) % 5)

    config = dataclasses.replace(CONFIG, proxy="breaking")
    monkeypatch.setitem(proxies.PROXIES, "breaking", Proxy("breaking", (score,), "test"))
    with pytest.raises(UserError, match="'breaking' gave NaN"):
        run_search_locally(Search.of(config), tmp_path)
    assert RunStore(Search.of(config), tmp_path).missing_proposals() == [1, 2]
    assert run_search_locally(Search.of(config), tmp_path).best.score > 0


def test_without_validation_the_most_proposed_wins() -> None:
    config = dataclasses.replace(CONFIG, num_validations=0)
    result = run_search_locally(Search.of(config))
    assert result.best.times_proposed == max(c.times_proposed for c in result.candidates)
    assert result.best.score == 0


def test_smoke_is_a_small_search() -> None:
    small = smoke(SearchConfig(order="fixed"))
    assert (small.order, small.num_proposals, small.num_validations, small.batch_size) == ("fixed", 2, 3, 4)
    assert smoke(SearchConfig(num_proposals=1, num_validations=0)).num_validations == 0
    trained = smoke(SearchConfig(finalists=10))
    assert (trained.finalists, trained.finalist_epochs, trained.finalist_images) == (2, 1, 64)
    assert smoke(SearchConfig(finalists=1, finalist_source="benchmark")).finalist_epochs == 12


@pytest.mark.data
def test_a_search_on_cifar10_finds_a_good_network() -> None:
    from zcpt_ray.benchmarks.tables import load_benchmark

    config = SearchConfig(dataset="cifar10", num_proposals=1, num_validations=0, batch_size=64)
    found = load_benchmark("nasbench201").query(run_search_locally(Search.of(config)).best.arch)
    assert found["cifar10"].rank < 3000


@pytest.mark.parametrize("method", ["discretize", "random", "evolution", "max-param"])
@pytest.mark.parametrize("budget", [{"max_params": 0.005}, {"max_flops": 4.0}, {"max_params": 0.005, "max_flops": 4.0}])
def test_every_proposal_keeps_within_the_budget(method: str, budget: dict[str, float]) -> None:
    """In a toy chain of 3 layers two convolutions 3x3 are too much: 5,338 parameters and 5.2 million multiply-adds at
    least.
    """
    config = dataclasses.replace(
        CONFIG, space="toy-chain-3", method=method, num_proposals=6, num_validations=1, evaluations=60, **budget
    )
    result = run_search_locally(Search.of(config))
    for candidate in result.candidates:
        assert candidate.params <= 5000
        assert candidate.flops <= 4_000_000
        assert candidate.arch.count("nor_conv_3x3") <= 1
    assert any("nor_conv_3x3" in candidate.arch for candidate in result.candidates)
    assert sum(candidate.times_proposed for candidate in result.candidates) == 6


def test_without_a_budget_more_is_proposed() -> None:
    config = dataclasses.replace(CONFIG, space="toy-chain-3", method="max-param", num_validations=0)
    assert run_search_locally(Search.of(config)).best.params == 3 * 2336 + 464 + 32 + 170


def test_a_budget_that_nothing_fits() -> None:
    with pytest.raises(
        UserError, match=r"nothing in 'toy-chain-2' fits the budget: the smallest network has 0.001 M parameters"
    ):
        load_data(Search.of(dataclasses.replace(CONFIG, max_params=0.0001)))


def test_a_method_without_a_budget() -> None:
    with pytest.raises(UserError, match="'prune' keeps no budget"):
        Search.of(dataclasses.replace(CONFIG, method="prune", max_params=1))


def test_a_proxy_that_needs_a_thin_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zcpt_ray.spaces.nasbench201.NASBench201.thin", None)
    with pytest.raises(UserError, match="'tenas' does not serve space 'nasbench201': it has no thin form"):
        Search.of(SearchConfig(space="nasbench201", proxy="tenas"))


class PreemptedError(Exception):
    """Raised by a proxy in the middle of a proposal."""


@pytest.mark.parametrize(
    ("space", "order", "lanes", "most"),
    [
        ("toy-chain-3", "random", "together", 4),
        ("toy-chain-3", "global-op-iter", "together", 12),
        ("darts-s2-small", "random", "in-turn", 30),
    ],
)
def test_a_search_that_is_stopped_in_a_proposal_goes_on_with_its_next_step(
    space: str, order: str, lanes: str, most: float, tmp_path: Path
) -> None:
    """What was decided is not scored again, and the outcome is that of a search that nobody stopped."""
    config = SearchConfig(space=space, proxy="l2_norm", order=order, lanes=lanes, num_validations=0)
    config = dataclasses.replace(config, num_proposals=1, batch_size=8)
    calls: list[int] = []
    at_a_time, most = most, math.inf

    def counted(net: torch.nn.Module, batch: Batch) -> float:
        if len(calls) >= most:
            raise PreemptedError
        calls.append(1)
        return PROXIES["l2_norm"].measure(net, batch)[0]

    search = dataclasses.replace(Search.of(config), proxy=Proxy("counted", (counted,), "test"))
    expected = run_search_locally(search, tmp_path / "whole")
    total = len(calls)
    done: list[int] = []
    while not (tmp_path / "run/proposals").exists() or RunStore(search, tmp_path / "run").missing_proposals():
        calls.clear()
        most = at_a_time
        with contextlib.suppress(PreemptedError):
            found = run_search_locally(search, tmp_path / "run")
        done.append(len(calls))
        assert len(done) < 20
    assert len(done) > 1
    assert sum(done) < total + len(done) * at_a_time  # of a step that was not finished the scores are taken again
    (one,), (other,) = (read_proposals(tmp_path / name) for name in ("whole", "run"))
    assert dataclasses.replace(one, seconds=0) == dataclasses.replace(other, seconds=0)
    assert found.num_evaluations == expected.num_evaluations == one.num_evaluations


def test_minibatches_fit_a_small_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of 50 images every fifth is a test image, a search sees half of the others, and minibatches are half of that."""
    for name in ("cat", "dog"):
        for index in range(25):
            write_image(tmp_path / name / f"{index}.png", smooth(index))
    config = dataclasses.replace(CONFIG, dataset=str(tmp_path), batch_size=256)
    with caplog.at_level("INFO"):
        assert fitted_to_data(config, ()).batch_size == 10
    assert "minibatches of 10, half of the 20 images that a search sees; --batch-size gives another" in caplog.text
    for given in (
        fitted_to_data(config, {"batch_size"}),
        fitted_to_data(dataclasses.replace(config, batch_size=20), ()),
    ):
        assert given.batch_size > 10
    assert fitted_to_data(CONFIG, ()) == CONFIG


def test_lanes_in_turn_see_what_the_first_lane_decided(data: SearchData) -> None:
    """Within a step the normal edge is rated as ever; the reduction edge without the ops that it lost."""
    config = dataclasses.replace(CONFIG, space="darts-s2-small", proxy="nwot", batch_size=4)
    together, in_turn = (propose(Search.of(dataclasses.replace(config, lanes=lanes)), data, 0) for lanes in LANES)
    assert together.num_evaluations == in_turn.num_evaluations
    first, second = together.decisions[:2]
    assert in_turn.decisions[0] == first
    assert in_turn.decisions[1].edge == second.edge
    assert max(in_turn.decisions[1].scores.values()) != max(second.scores.values())
    assert (
        run_name(config)
        == run_name(dataclasses.replace(config, lanes="together"))
        != run_name(dataclasses.replace(config, lanes="in-turn"))
    )
    with pytest.raises(UserError, match="unknown lanes 'both'; choose from together, in-turn"):
        dataclasses.replace(config, lanes="both")
