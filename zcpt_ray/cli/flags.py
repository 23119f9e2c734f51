"""Flags of commands from dataclasses: each field of a configuration is a flag, with its docstring as help.

A command shows the flags that it uses, common ones first, with the names that a flag may have beside it.
"""

import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import docstring_parser
import tyro

from zcpt_ray.configs import ImageOptions, SearchConfig
from zcpt_ray.errors import UserError

F = TypeVar("F")
COMMON = ("space", "dataset", "proxy", "num_proposals", "num_validations", "seed", "out", "local", "smoke", "plugin")
"""Flags that stand first in the help of the commands that have them."""
NAMED = (
    *("space", "spaces", "dataset", "datasets", "proxy", "proxies", "order", "orders"),
    *("scoring", "method", "preset", "recipe"),
)
"""Flags whose values are names in a table."""


@dataclass(frozen=True)
class Help:
    """What `--help` of a command says beside its flags.

    `unused` says of fields of the configuration why the command has no use for them: they are not shown, and refused.
    `choices` gives the names that flags of this command alone may have.
    """

    command: str
    description: str
    examples: tuple[str, ...] = ()
    unused: Mapping[str, str] = field(default_factory=dict)
    choices: Callable[[], Mapping[str, Iterable[str]]] = dict


@dataclass(frozen=True)
class Cluster:
    """Where a command runs."""

    local: bool = False
    """Run in this process, without Ray."""
    address: str = ""
    """Ray cluster to join; by default the one this machine is part of, or a new one here, which `--address local`
    always starts.
    """
    cpus_per_task: int = 1
    """CPUs, and so threads, of each task."""
    gpus_per_task: float = 1.0
    """GPUs of each task, where the cluster has any; a fraction lets tasks share one."""

    def __post_init__(self) -> None:
        if self.local and (self.address, self.cpus_per_task, self.gpus_per_task) != ("", 1, 1.0):
            raise UserError("--local runs in this process: leave out --address, --cpus-per-task and --gpus-per-task")


@dataclass(frozen=True)
class OwnCode:
    """What the user brings along."""

    plugin: tuple[str, ...] = ()
    """A Python file that registers own proxies, orders, data sets, ...; can be given several times."""

    @property
    def words(self) -> tuple[str, ...]:
        """The same flags again, for a command that comes next."""
        return tuple(word for place in self.plugin for word in ("--plugin", place))


@dataclass(frozen=True)
class _Leaf:
    """A flag: where its value belongs, and how it is shown."""

    path: tuple[str, ...]
    kind: Any
    default: Any
    text: str

    @property
    def name(self) -> str:
        return self.path[-1]


def parse(defaults: F, help_texts: Help, argv: Sequence[str] | None = None) -> F:
    """`defaults`, a dataclass of dataclasses, with the flags that were given. Plug-ins among them are loaded.

    Raises:
        UserError: a flag that the command does not use, a value that is out of range, or a plug-in that fails.
        SystemExit: `--help`, or a flag that is not written as it should be.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    _refuse_unused(given, help_texts.unused)
    leaves = [leaf for leaf in _leaves(defaults) if leaf.name not in help_texts.unused]
    given = _with_values(given, leaves)
    helps = {"-h", "--help"} & set(given)
    choices = {**_choices({leaf.name for leaf in leaves}), **help_texts.choices()} if helps else {}
    common = [leaf for name in COMMON for leaf in leaves if leaf.name == name]
    training = [leaf for leaf in leaves if "training" in leaf.path[:-1]]
    images = [leaf for leaf in leaves if "images" in leaf.path[:-1]]
    other = [leaf for leaf in leaves if leaf not in (*common, *training, *images)]
    titled = {"common": common, "more": other, "images": images, "supernet_training": training}
    groups = {title: _group(title, members, choices) for title, members in titled.items() if members}
    fields = [(title, group, field(default_factory=group)) for title, group in groups.items()]
    flags: Any = dataclasses.make_dataclass("Flags", fields)
    examples = "\n".join(f"  {example}" for example in help_texts.examples)
    description = f"{help_texts.description.strip()}\n\nExamples:\n{examples}"
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    try:
        parsed = tyro.cli(flags, args=given, prog=f"zcpt {help_texts.command}", description=description, config=config)
    except BrokenPipeError:  # what reads the help, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    values = {name: value for title in groups for name, value in vars(getattr(parsed, title)).items()}
    values = {name: value.expanduser() if isinstance(value, Path) else value for name, value in values.items()}
    for place in values.get("plugin", ()):
        from zcpt_ray.plugins import load_plugin  # loads what the file asks for, often torch

        load_plugin(place)
    rebuilt: F = _rebuilt(defaults, {leaf.path: values[leaf.name] for leaf in leaves})
    asked = getattr(rebuilt, "config", None)
    if isinstance(asked, SearchConfig) and "batch_size" in values and _is_folder(asked.dataset):
        from zcpt_ray.search.inputs import fitted_to_data  # imports torch

        rebuilt = _rebuilt(rebuilt, {("config",): fitted_to_data(asked, given_flags(given))})
    return rebuilt


def _is_folder(dataset: str) -> bool:
    try:
        return Path(dataset).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):
        return False


def given_flags(argv: Sequence[str] | None = None) -> set[str]:
    """The names, as `num_proposals`, of the flags in a command's arguments."""
    given = sys.argv[1:] if argv is None else argv
    return {text.partition("=")[0][2:].replace("-", "_") for text in given if text.startswith("--")}


def flag(name: str) -> str:
    """`num_proposals` as it is typed."""
    return "--" + name.replace("_", "-")


def words_of(images: ImageOptions) -> list[str]:
    """The flags that give these options, as a command that comes next takes them."""
    words = []
    for name, value in images.given.items():
        words += [flag(name if value else "no_" + name)] if isinstance(value, bool) else [flag(name), str(value)]
    return words


def _with_values(given: Sequence[str], leaves: Sequence[_Leaf]) -> list[str]:
    """Arguments where flags that may be yes, no or left out, `--flip` or `--no-flip`, have the value that is meant."""
    values = {}
    for leaf in leaves:
        if set(get_args(leaf.kind)) == {bool, NoneType}:
            values[flag(leaf.name)] = [flag(leaf.name), "True"]
            values[flag("no_" + leaf.name)] = [flag(leaf.name), "False"]
    return [word for text in given for word in values.get(text, [text])]


def _refuse_unused(given: Sequence[str], unused: Mapping[str, str]) -> None:
    typed = given_flags(given)
    for name, why in unused.items():
        if name in typed:
            raise UserError(f"{flag(name)} is not used here: {why}")


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[_Leaf]:
    """The fields of a dataclass and of those in it."""
    kinds = get_type_hints(type(value), include_extras=True)
    texts = {p.arg_name: p.description or "" for p in docstring_parser.parse_from_object(type(value)).params}
    for item in dataclasses.fields(value):
        inner, place = getattr(value, item.name), (*path, item.name)
        if dataclasses.is_dataclass(inner):
            yield from _leaves(inner, place)
        else:
            yield _Leaf(place, kinds[item.name], inner, " ".join(texts.get(item.name, "").split()))


def _group(title: str, leaves: Sequence[_Leaf], choices: Mapping[str, Iterable[str]]) -> type:
    """A dataclass with these flags."""
    fields = []
    for leaf in leaves:
        text = leaf.text
        if leaf.name in choices:
            text += f" One of: {', '.join(choices[leaf.name])}."
        says_nothing = leaf.default is None or leaf.default is False or leaf.default in ("", ())
        hint = "" if says_nothing else None
        marks = [
            tyro.conf.arg(help=text, metavar=_metavar(leaf.kind), help_behavior_hint=hint),
            *([tyro.conf.UseAppendAction] if leaf.name == "plugin" else []),
        ]
        kind: Any = Annotated[(leaf.kind, *marks)]
        fields.append((leaf.name, kind, field(default=leaf.default)))
    group = dataclasses.make_dataclass(f"{title.title()}Flags", fields, frozen=True)
    group.__doc__ = ""
    return group


def _metavar(kind: Any) -> str | None:
    """How an optional value is shown: as what it is, if it is given."""
    inner = [part for part in get_args(kind) if part is not NoneType]
    if inner == [bool]:
        return ""
    return inner[0].__name__.upper() if len(inner) < len(get_args(kind)) else None


def _rebuilt(value: Any, values: Mapping[tuple[str, ...], Any]) -> Any:
    """The dataclass with these values at these places."""
    changes: dict[str, Any] = {}
    for item in dataclasses.fields(value):
        below = {path[1:]: new for path, new in values.items() if path[0] == item.name}
        if () in below:
            changes[item.name] = below[()]
        elif below:
            changes[item.name] = _rebuilt(getattr(value, item.name), below)
    return dataclasses.replace(value, **changes)


def _choices(flags: Set[str]) -> dict[str, Iterable[str]]:
    """The names that flags may have; importing the tables takes seconds, so only where help with such is asked for."""
    if not flags & set(NAMED):
        return {}
    from zcpt_ray.datasets import DATASETS
    from zcpt_ray.experiments.ablation import PRESETS
    from zcpt_ray.proxies import PROXIES
    from zcpt_ray.search.methods import METHODS
    from zcpt_ray.search.orders import ORDERS
    from zcpt_ray.search.resolved import DISCRETIZE
    from zcpt_ray.search.scoring import SCORINGS
    from zcpt_ray.spaces import SPACES
    from zcpt_ray.training.recipes import RECIPES

    return {
        **dict.fromkeys(("space", "spaces"), (*SPACES, "or a Python file that holds one")),
        **dict.fromkeys(("dataset", "datasets"), (*DATASETS, "or a folder of images")),
        **dict.fromkeys(("proxy", "proxies"), PROXIES),
        **dict.fromkeys(("order", "orders"), ORDERS),
        "scoring": SCORINGS,
        "method": (DISCRETIZE, *METHODS),
        "preset": PRESETS,
        "recipe": RECIPES,
    }
