"""What users bring of their own: loaded, registered, and told apart by what it holds."""

import math
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from own_parts import HELPER, tables_as_they_were, write_plugin

import zcpt_ray as zc
from zcpt_ray.datasets import DATASETS
from zcpt_ray.identity import content_digest, own_modules
from zcpt_ray.plugins import load_plugin
from zcpt_ray.proxies import PROXIES
from zcpt_ray.registry import own_records, register
from zcpt_ray.search.resolved import Search

OWN = zc.SearchConfig(space="toy-chain-2", proxy="own-proxy", order="own-order", dataset="own-data", batch_size=8)


@pytest.fixture(autouse=True)
def tables() -> Iterator[None]:
    with tables_as_they_were():
        yield


@pytest.fixture
def plugin(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Modules stay loaded, so each test has names of its own."""
    name = f"{request.node.name.split('[')[0]}_{len(request.node.name)}"
    return write_plugin(tmp_path, f"plugin_{name}", f"helper_{name}")


def test_a_plug_in_may_import_what_lies_beside_it(plugin: Path) -> None:
    module = load_plugin(plugin)
    assert load_plugin(str(plugin)) is module  # once, however often it is asked for
    search = Search.of(OWN)
    assert search.proxy.name == "own-proxy"
    assert set(search.own) == {"proxy own-proxy", "order own-order", "dataset own-data"}
    assert [own.__name__ for own in own_modules(search.proxy)] == [
        module.__name__,
        plugin.stem.replace("plugin", "helper"),
    ]
    assert str(plugin.parent) not in sys.path


def identity(plugin: Path) -> str:
    """The run's name in a process of its own that loads the plug-in."""
    code = (
        "import sys, zcpt_ray as zc; from zcpt_ray.search.resolved import Search; zc.load_plugin(sys.argv[1]); "
        f"print(Search.of({OWN!r}).run_id)"
    )
    code = f"from zcpt_ray.configs import ImageOptions, SearchConfig, SupernetTraining; {code}"
    done = subprocess.run([sys.executable, "-c", code, str(plugin)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("changed", ["plugin", "helper"])
def test_what_a_plug_in_holds_is_part_of_the_identity(plugin: Path, changed: str) -> None:
    """The file and what it imports from its folder; the same in every process."""
    before = identity(plugin)
    assert identity(plugin) == before
    path = plugin if changed == "plugin" else plugin.with_name(plugin.name.replace("plugin", "helper"))
    path.write_text(path.read_text().replace("2.0", "3.0").replace("reversed", "list"))
    assert identity(plugin) != before


def test_a_run_of_another_plug_in_is_refused(plugin: Path, tmp_path: Path) -> None:
    load_plugin(plugin)
    zc.search(out=tmp_path / "run", ray=False, progress=False, smoke=True, **vars(OWN))
    register(PROXIES, zc.Proxy("own-proxy", (lambda net, batch: 1.0,), "other"), "proxy", replace=True)
    with pytest.raises(zc.UserError, match=r"another configuration \(own proxy own-proxy '\w+'\); choose another"):
        zc.search(out=tmp_path / "run", ray=False, progress=False, smoke=True, **vars(OWN))


def test_a_name_that_is_there_is_refused_unless_it_is_to_be_replaced() -> None:
    with pytest.raises(zc.UserError, match="proxy 'nwot' is there already; choose another name, or give replace=True"):
        zc.register_proxy("nwot")(lambda net, batch: 0.0)
    zc.register_proxy("nwot", replace=True)(lambda net, batch: 0.0)
    assert Search.of(zc.SearchConfig(proxy="nwot")).own.keys() == {"proxy nwot"}
    with pytest.raises(zc.UserError, match="a proxy needs a name, got ''"):
        zc.register_proxy("")(lambda net, batch: 0.0)


def test_a_plug_in_that_fails(tmp_path: Path) -> None:
    for name, text, message in (
        ("breaks", "1 / 0", r"cannot run the plug-in file .*breaks.py: ZeroDivisionError"),
        ("exits", "import sys; sys.exit(3)", r"cannot run the plug-in file .*exits.py: it ends Python .* with 3\)"),
        (
            "parses",
            "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('needed')\nparser.parse_args([])",
            r"parses.py: it ends Python \(sys.exit, or argparse, with 2\); .* below `if __name__ == '__main__':`",
        ),
        ("syntax", "def", r"syntax.py is no Python file: "),
        (
            "taken",
            "import zcpt_ray as zc\nzc.register_order('random')(lambda edges, random: (yield from edges))",
            r"taken.py: order 'random' is there already",
        ),
        ("late", "def f():\n    import beside", r"late.py imports beside inside a function, .* import it at the top"),
        ("json", "import json", r"imports json .*, but .*json/__init__.py is loaded already; rename that file"),
    ):
        path = tmp_path / name / f"{name}.py"
        path.parent.mkdir()
        path.write_text(text)
        (path.parent / "beside.py").write_text(HELPER)
        if name == "json":
            path = path.with_name("uses.py")
            path.write_text(text)
        with pytest.raises(zc.UserError, match=message):
            load_plugin(path)
    with pytest.raises(zc.UserError, match=r"no plug-in file .*nowhere.py"):
        load_plugin(tmp_path / "nowhere.py")


def test_dataclasses_whose_annotations_are_text(tmp_path: Path) -> None:
    path = tmp_path / "annotated.py"
    path.write_text("""
from __future__ import annotations
import typing
from dataclasses import dataclass
@dataclass(frozen=True)
class Scaled:
    factor: float = 2.0
    unit: typing.ClassVar[str] = "none"
    def __call__(self, net: object, batch: object) -> float:
        return self.factor
HINTS = typing.get_type_hints(Scaled)
""")
    module = load_plugin(path)
    assert module.HINTS["factor"] is float
    assert module.Scaled()(None, None) == 2


def test_a_plug_in_that_changed_since_it_was_loaded(plugin: Path) -> None:
    load_plugin(plugin)
    plugin.write_text(plugin.read_text() + "\n# more")
    with pytest.raises(zc.UserError, match=r"has changed since it was loaded; start Python again"):
        load_plugin(plugin)


@dataclass
class Scale:
    by: float


@dataclass(slots=True)
class Slotted:
    by: float


def scaled(net: object, batch: object, by: object) -> float:
    return float(by.by)


def test_records_are_told_apart_by_what_they_hold() -> None:
    """Numbers, arrays, closures and defaults, wherever they are."""

    def closed_over(number: float):
        return lambda net, batch: number

    def with_default(net: object, batch: object, number: float = 1.0) -> float:
        return number

    functions = [
        *(partial(scaled, by=Scale(number)) for number in (1.0, 2.0)),
        *(partial(scaled, by=np.array([number])) for number in (1.0, 2.0)),
        *(closed_over(number) for number in (1.0, 2.0)),
        with_default,
    ]
    digests = [content_digest(zc.Proxy("p", (function,), "test")) for function in functions]
    assert len(set(digests)) == len(digests)
    again = [content_digest(zc.Proxy("p", (partial(scaled, by=Scale(number)),), "test")) for number in (1.0, 2.0)]
    assert again == digests[:2]
    compiled = [
        *(partial(scaled, by=function) for function in (math.sin, math.cos, torch.relu, torch.sigmoid, np.add)),
        *(partial(scaled, by=kind) for kind in (torch.float32, torch.bfloat16, range(3), range(4))),
        *(partial(scaled, by=torch.tensor(number, dtype=torch.bfloat16)) for number in (1.0, 2.0)),
        *(partial(scaled, by=re.compile(pattern)) for pattern in "ab"),
        *(partial(scaled, by=Slotted(number)) for number in (1.0, 2.0)),
        *(partial(scaled, by=np.random.default_rng(seed)) for seed in (0, 1)),
    ]
    assert len({content_digest(function) for function in compiled}) == len(compiled)
    one, other = (0.5, 0.5), tuple(map(float, ("0.5", "0.5")))
    assert content_digest([one, one]) == content_digest([one, other])  # equal, not the same


def test_what_lists_and_objects_hold_counts_as_it_was_at_first() -> None:
    """They may grow as they are used, and a run is to be found again."""
    calls: list[int] = []
    scale = Scale(1.0)
    digest = content_digest((calls, scale))
    calls.append(1)
    scale.by = 2.0
    assert content_digest((calls, scale)) == digest


NOTEBOOK = """
import zcpt_ray as zc

def run_id():
    return zc.Search.of(zc.SearchConfig(proxy="noted")).run_id

seen = []
SCALE = 1.0

class Helper:
    @staticmethod
    def factor():
        return SCALE

@zc.register_proxy("noted")
def proxy(net, batch):
    seen.append(net)
    return Helper.factor()

ids = [run_id()]
seen.append(1)
assert run_id() == ids[0]
SCALE = 2.0
ids.append(run_id())

class Helper:
    def factor():
        return -SCALE

ids.append(run_id())
print(len(set(ids)))
"""


def test_what_a_notebook_changes_counts() -> None:
    """Constants and helpers, also without a source to read."""
    done = subprocess.run([sys.executable, "-c", NOTEBOOK], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3"


def test_what_is_registered_wrongly() -> None:
    for register_it, message in (
        (lambda: zc.register_proxy(scaled), r'write @zc.register_proxy\("name"\), got <function scaled'),
        (lambda: zc.register_order(scaled), r'write @zc.register_order\("name"\)'),
        (lambda: zc.register_proxy(PROXIES["nwot"], thin=True), "'nwot' is a Proxy already"),
        (lambda: zc.register_proxy("p")(lambda net: 1.0), r"proxy 'p' must be a function of \(net, batch\)"),
        (lambda: zc.register_order("o")(lambda edges, random: edges), "order 'o' must be a generator function"),
        (lambda: zc.register_scoring("x"), "needs a Scoring, got 'x'"),
        (lambda: zc.register_space(zc.Space), "needs a Space, got <class"),
    ):
        with pytest.raises(zc.UserError, match=message):
            register_it()


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (lambda edges, random: (yield edges[0]), r"the order ended while edges \[1\] were still open"),
        (lambda edges, random: (yield from [edges[0]] * 2), r"yielded 0; it must yield one of the open edges \[1\]"),
        (lambda edges, random: (yield "layer0"), r"the order yielded 'layer0'; it must yield one of the open edges"),
    ],
)
def test_an_order_that_does_not_visit_every_edge(order: object, message: str) -> None:
    zc.register_order("odd-order")(order)
    with pytest.raises(zc.UserError, match=message):
        zc.search(space="toy-chain-2", order="odd-order", batch_size=4, ray=False, progress=False, num_validations=1)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda net: [parameter.data.mul_(1.1) for parameter in net.parameters()], "weights"),
        (lambda net: net.eval() if net.training else net.train(), "train and eval modes"),
        (lambda net: net(torch.ones(2, 3, 8, 8)).sum().backward(), "gradients"),
    ],
)
def test_a_proxy_that_changes_the_network(change: Callable[[torch.nn.Module], object], what: str) -> None:
    def leaves_a_mark(net: torch.nn.Module, batch: zc.Batch) -> float:
        change(net)
        return 1.0

    zc.register_proxy("marks")(leaves_a_mark)
    with pytest.raises(zc.UserError, match=f"'marks' must leave the network as it was: it changed {what}"):
        zc.search(space="toy-chain-2", proxy="marks", batch_size=4, ray=False, progress=False, num_validations=1)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.Flatten(), torch.nn.LazyLinear(2))
    net(images := torch.ones(2, 3, 8, 8))
    with pytest.raises(zc.UserError, match=f"it changed {what}"):
        zc.score(net, zc.Batch(images, torch.zeros(2, dtype=torch.long)), "marks")


@pytest.mark.parametrize("given", [None, "many", torch.ones(2)])
def test_a_proxy_that_gives_no_number(given: object) -> None:
    net, batch = torch.nn.Identity(), zc.Batch(torch.ones(2, 3, 4, 4), torch.zeros(2, dtype=torch.long))
    with pytest.raises(zc.UserError, match="proxy 'odd' must give one number, got "):
        zc.score(net, batch, zc.Proxy("odd", (lambda net, batch: given,), "test"))
    number = torch.ones((), requires_grad=True)
    assert type(zc.score(net, batch, zc.Proxy("fine", (lambda net, batch: number,), "test"))) is float


def test_a_record_that_was_replaced_is_gone() -> None:
    with_lock = zc.Proxy("locked", (partial(scaled, by=threading.Lock()),), "test")
    zc.register_proxy(with_lock)
    zc.register_proxy(zc.Proxy("locked", (scaled,), "test"), replace=True)
    assert all(record is not with_lock for _, record in own_records())


def test_what_belongs_to_the_package_has_no_content_of_its_own() -> None:
    assert Search.of(zc.SearchConfig()).own == {}
    photos = zc.image_folder("photos", Path.cwd(), size=64)
    zc.register_dataset(photos)
    assert list(DATASETS)[-1] == "photos"
    assert Search.of(zc.SearchConfig(dataset="photos")).own.keys() == {"dataset photos"}
    assert own_modules(photos) == []


SCRIPT = """
import zcpt_ray as zc

FACTOR = 2.0


def scaled(value):
    return FACTOR * value


@zc.register_proxy("of-a-script")
def proxy(net, batch):
    return scaled(1.0)


print(zc.Search.of(zc.SearchConfig(proxy="of-a-script")).run_id)
"""


def test_of_a_script_what_is_used_counts(tmp_path: Path) -> None:
    def run_id(text: str) -> str:
        path = tmp_path / "script.py"
        path.write_text(text)
        return subprocess.run([sys.executable, path], capture_output=True, text=True, check=True).stdout

    first = run_id(SCRIPT)
    assert run_id(SCRIPT + "\nprint('')\n").split() == first.split()  # another line at the end changes no function
    assert run_id(SCRIPT.replace("2.0", "3.0")) != first
    assert run_id(SCRIPT.replace("FACTOR * value", "FACTOR + value")) != first
