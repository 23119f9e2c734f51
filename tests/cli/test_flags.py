"""Flags that are built from dataclasses: what they take, what they refuse, and how `--help` shows them."""

import dataclasses
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from command_line import FLAGS, Zcpt, understood

from zcpt_ray.cli import COMMANDS
from zcpt_ray.cli.flags import COMMON, Cluster, Help, flag, parse, words_of
from zcpt_ray.configs import AS_THEY_ARE, ImageOptions, SearchConfig, SupernetTraining
from zcpt_ray.datasets import DATASETS
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.ablation import PRESETS
from zcpt_ray.experiments.baselines import SEARCHES
from zcpt_ray.proxies import PROXIES
from zcpt_ray.search.methods import METHODS
from zcpt_ray.search.orders import ORDERS
from zcpt_ray.search.scoring import SCORINGS
from zcpt_ray.spaces import SPACES
from zcpt_ray.training.recipes import RECIPES

EXAMPLE = re.compile(r"^  (?:\w+=\S+ )?(zcpt .*)$", re.MULTILINE)


@dataclass(frozen=True)
class Roof:
    """The inner part."""

    height: float = 2.5
    """Metres from the eaves
    to the ridge.
    """
    flat: bool = False
    """No ridge at all."""


@dataclass(frozen=True)
class House:
    """The outer part."""

    roof: Roof = field(default_factory=Roof)
    rooms: int = 4
    """How many rooms."""
    colours: tuple[str, ...] = ("white",)
    """Of the walls."""
    floors: tuple[int, ...] = (0, 1)
    """By number."""
    kinds: tuple[Literal["brick", "wood"], ...] = ("brick",)
    """What it is made of."""
    garden: str | None = None
    """Its plants."""
    seed: int = 0
    """Of the lawn."""
    plugin: tuple[str, ...] = ()
    """A file."""


HOUSE = House()
HELP = Help(
    "house",
    "Build a house.\n\nIn two paragraphs.",
    ("zcpt house --rooms 3", "zcpt house"),
    choices=lambda: {"colours": ["red", "white"]},
)


def test_what_is_not_given_stays() -> None:
    assert parse(HOUSE, HELP, []) == HOUSE
    for command, (defaults, help_texts) in FLAGS.items():
        assert parse(defaults, help_texts, []) == defaults, command


def test_fields_of_inner_dataclasses_are_flags_without_a_prefix() -> None:
    assert parse(HOUSE, HELP, ["--height", "3", "--rooms", "5"]) == House(Roof(3.0), rooms=5)
    assert parse(HOUSE, HELP, ["--flat"]) == House(Roof(flat=True))
    flags = understood("zcpt search --learning-rate 0.5 --num-proposals 3 --fixed-alpha --local --max-params 4.5")
    assert flags.config == SearchConfig(
        num_proposals=3, max_params=4.5, training=SupernetTraining(learning_rate=0.5, fixed_alpha=True)
    )
    assert flags.cluster == Cluster(local=True)
    assert understood("zcpt train --cpus-per-task 2").grid.cluster.cpus_per_task == 2


def test_tuple_flags_take_many_values_or_none() -> None:
    given = parse(
        HOUSE, HELP, ["--colours", "red", "light blue", "--floors", "3", "4", "5", "--kinds", "wood", "brick"]
    )
    assert given == House(colours=("red", "light blue"), floors=(3, 4, 5), kinds=("wood", "brick"))
    assert parse(HOUSE, HELP, ["--floors", "--rooms", "1"]) == House(floors=(), rooms=1)


def test_optional_values() -> None:
    assert parse(HOUSE, HELP, ["--garden", "roses"]).garden == "roses"
    assert understood("zcpt search --out runs/first").out == "runs/first"


def test_the_arguments_of_the_process_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["house", "--rooms", "7"])
    assert parse(HOUSE, HELP).rooms == 7


def test_plug_ins_are_loaded_in_turn() -> None:
    for name, text in {"first": "a", "second": "b"}.items():
        Path(f"{name}.py").write_text(f"with open('loaded', 'a') as file:\n    file.write('{text}')\n")
    assert parse(HOUSE, HELP, ["--plugin", "first.py", "--plugin", "second.py"]).plugin == ("first.py", "second.py")
    assert Path("loaded").read_text() == "ab"
    with pytest.raises(UserError, match=r"no plug-in file .*/third.py"):
        parse(HOUSE, HELP, ["--plugin", "third.py"])
    Path("broken.py").write_text("1 / 0")
    with pytest.raises(UserError, match=r"cannot run the plug-in file .*/broken.py: ZeroDivisionError"):
        parse(HOUSE, HELP, ["--plugin", "broken.py"])


@pytest.mark.parametrize("given", [["--seed", "3"], ["--seed=3"], ["--rooms", "2", "--seed", "3"]])
def test_unused_flags_are_refused_with_the_reason(given: list[str]) -> None:
    lawn = dataclasses.replace(HELP, unused={"seed": "there is no lawn"})
    with pytest.raises(UserError) as refused:
        parse(HOUSE, lawn, given)
    assert str(refused.value) == "--seed is not used here: there is no lawn"
    assert parse(HOUSE, lawn, ["--rooms", "2"]) == House(rooms=2)


def test_underscores_are_refused_as_well() -> None:
    with pytest.raises(UserError, match="--num-validations is not used here: no part validates"):
        understood("zcpt study --num_validations 3")
    assert understood("zcpt search --num_validations 3").config.num_validations == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--rooms", "many"], "--rooms"),
        (["--cellar"], "--cellar"),
        (["--kinds", "straw"], "brick"),
        (["palace"], "palace"),
        (["--rooms"], "--rooms"),
    ],
)
def test_what_is_not_written_as_it_should_be(
    given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(HOUSE, HELP, given)
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert message in printed.err + printed.out


def test_values_out_of_range_are_told_in_one_line() -> None:
    """The parser's own page about a bad value is not for them."""
    with pytest.raises(UserError, match="num_proposals must be at least 1, got 0"):
        understood("zcpt search --num-proposals 0")
    with pytest.raises(UserError, match="epochs must be at least 0, got -1"):
        understood("zcpt search --epochs -1")
    with pytest.raises(UserError, match="--local runs in this process: leave out --address"):
        understood("zcpt search --local --address auto")
    with pytest.raises(UserError, match="--trackers hear of trials from Ray Tune: leave out --local"):
        understood("zcpt ablation --local --trackers mlflow")


def test_help_may_be_read_in_part() -> None:
    program = "import sys, time; from zcpt_ray.cli import main; time.sleep(0.5); main(['search', '--help'])"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_help_of_a_dataclass(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(HOUSE, HELP, ["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: zcpt house ")
    assert "Build a house.\n\nIn two paragraphs.\n\nExamples:\n  zcpt house --rooms 3\n  zcpt house\n\n" in printed
    words = in_one_line(printed)
    assert "--height FLOAT Metres from the eaves to the ridge. (default: 2.5)" in words
    assert "Of the walls. One of: red, white. (default: white)" in words
    assert "--garden STR Its plants. --" not in words
    assert "roof" not in words
    assert words.index("--seed") < words.index("--plugin") < words.index("more options") < words.index("--height")


def in_one_line(printed: str) -> str:
    """A page of help without its frames and breaks."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", printed).split())


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """The pages of help by command."""
    return {}


def page(command: str, zcpt: Zcpt, helps: dict[str, str]) -> str:
    if command not in helps:
        ended = zcpt(command, "--help")
        assert (ended.code, ended.err) == (0, "")
        helps[command] = ended.out
    return helps[command]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_three_examples(command: str, zcpt: Zcpt, helps: dict[str, str]) -> None:
    printed = page(command, zcpt, helps)
    assert printed.startswith(f"usage: zcpt {command} ")
    examples = EXAMPLE.findall(printed.partition("\nExamples:\n")[2].partition("\n\n")[0])
    assert len(examples) == 3
    for example in examples:
        assert shlex.split(example)[:2] == ["zcpt", command]


@pytest.mark.parametrize("command", FLAGS)
def test_the_examples_are_understood(command: str) -> None:
    Path("my_proxy.py").write_text("")
    defaults, help_texts = FLAGS[command]
    for example in help_texts.examples:
        assert understood(example) != defaults, example


def shown_flags(printed: str) -> list[str]:
    """The flags of a page of help, in their order."""
    return re.findall(r"^[│ ] (?:-h, )?(--[\w-]+)", printed, re.MULTILINE)


def all_fields(value: object) -> set[str]:
    """Names of the fields of a dataclass and of those in it."""
    names = set()
    for item in dataclasses.fields(value):  # type: ignore[arg-type]
        inner = getattr(value, item.name)
        names |= all_fields(inner) if dataclasses.is_dataclass(inner) else {item.name}
    return names


@pytest.mark.parametrize("command", FLAGS)
def test_help_shows_the_flags_that_are_used_common_ones_first(command: str, zcpt: Zcpt, helps: dict[str, str]) -> None:
    shown = shown_flags(page(command, zcpt, helps))
    defaults, help_texts = FLAGS[command]
    positional = {"report": {"runs"}, "reproduce": {"tables"}, "data": {"place"}, "fit": {"data"}}.get(command, set())
    used = all_fields(defaults) - help_texts.unused.keys() - positional
    assert sorted(shown) == sorted(["--help", *map(flag, used)])
    common = [flag(name) for name in COMMON if name in used]
    assert shown[: len(common) + 1] == ["--help", *common]
    for name, why in help_texts.unused.items():
        with pytest.raises(UserError) as refused:
            parse(defaults, help_texts, [flag(name), "1"])
        assert str(refused.value) == f"{flag(name)} is not used here: {why}"


NAMES = {
    "space": SPACES,
    "dataset": DATASETS,
    "proxy": PROXIES,
    "order": ORDERS,
    "scoring": SCORINGS,
    "method": ["discretize", *METHODS],
    "preset": PRESETS,
    "recipe": RECIPES,
    "searches": SEARCHES,
}


@pytest.mark.parametrize(
    ("command", "named", "more"),
    [
        ("search", "space dataset proxy order scoring method", "a Python file that holds one"),
        ("rank", "space dataset proxy", "or a folder of images"),
        ("baselines", "space dataset order searches", "te-nas"),
        ("ablation", "space dataset proxy order scoring method preset", "subspaces"),
        ("study", "space dataset proxy order", "longest-chain"),
        ("train", "space dataset recipe", "imagenet-darts"),
        ("benchmark", "dataset", "layer-wise"),
    ],
)
def test_help_lists_every_name(command: str, named: str, more: str, zcpt: Zcpt, helps: dict[str, str]) -> None:
    words = in_one_line(page(command, zcpt, helps))
    for name in named.split():
        assert f"One of: {', '.join(NAMES[name])}" in words, name
    assert more in words


@pytest.mark.parametrize("command", ["search", "rank", "baselines", "ablation", "study", "train", "data"])
def test_how_images_are_read_can_be_said_of_every_command_that_takes_a_data_set(command: str) -> None:
    def images(*flags: str) -> ImageOptions:
        found = understood(shlex.join(("zcpt", command, *flags)))
        options = found.images if command == "data" else found.config.images
        assert isinstance(options, ImageOptions)
        return options

    assert images() == AS_THEY_ARE
    assert [images(*flags).flip for flags in ((), ("--flip",), ("--no-flip",))] == [None, True, False]
    typed = ("--image-size", "64", "--no-flip", "--test-share", "0.3", "--crop", "border", "--background", "#102030")
    given = images(*typed, "--max-megapixels", "100", "--drop-unlabelled")
    assert given == ImageOptions(64, False, 0.3, "border", "#102030", 100, True)
    assert images(*words_of(given)) == given


def test_a_path_among_flags_may_begin_with_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert understood("zcpt rank --file=~/archs.json").file == Path("/somewhere/archs.json")
