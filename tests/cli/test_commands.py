"""The command `zcpt` itself: its list of commands, exit codes, what it imports when, and its last lines."""

import signal
import subprocess
import sys
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import Zcpt, cells, hints, table_lines, understood
from image_files import write_image

from zcpt_ray.cli import COMMANDS
from zcpt_ray.proxies import PROXIES

SMALL = ("--local", "--smoke", "--space", "toy-chain-1")
VERSION = f"zcpt_ray {metadata.version('zcpt_ray')}\n"


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_commands_are_listed(zcpt: Zcpt) -> None:
    for arguments in ((), ("--help",), ("-h",)):
        ended = zcpt(*arguments)
        assert (ended.code, ended.err) == (0, "")
        lines = ended.out.splitlines()
        assert lines[0] == "Zero-cost neural architecture search: usage: zcpt COMMAND [FLAGS]"
        for name, (_, summary) in COMMANDS.items():
            assert f"  {name.ljust(19)}  {summary}" in lines
    examples = [line.strip() for line in lines if line.startswith("  zcpt ")]
    assert len(examples) == 3
    for example in examples:
        understood(example)


def test_the_version(zcpt: Zcpt) -> None:
    assert zcpt("--version") == (0, VERSION, "")


@pytest.mark.parametrize("name", ["serach", "zcpt_ray", ""])
def test_an_unknown_command_is_one_line(name: str, zcpt: Zcpt) -> None:
    assert zcpt(name, "--help") == (
        2,
        "",
        f"error: unknown command {name!r}; choose from search, fit, rank, baselines, ablation, reproduce, "
        "budgets, study, correlate, train, predict, export, report, profile, data, benchmark, mirror, convert, "
        "convert-nasbench201\n",
    )


def test_a_flag_before_the_command(zcpt: Zcpt) -> None:
    ended = zcpt("--local", "search")
    assert ended.code == 2
    assert ended.err.startswith("error: a command comes first, then --local; choose from search, fit, rank, ")
    assert zcpt("help") == zcpt("--help")


def test_the_package_is_the_command() -> None:
    done = run_python("-m", "zcpt_ray", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, VERSION, "")
    done = run_python("-m", "zcpt_ray", "nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: unknown command 'nonsense'; choose from search, ")


LOADED = """
import sys
from zcpt_ray.cli import main
for arguments in {calls}:
    try:
        main(arguments)
    except SystemExit as end:
        pass
print(*sorted({{'torch', 'ray', 'pandas', 'matplotlib', 'tyro'}} & sys.modules.keys()))
"""


@pytest.mark.parametrize(
    ("calls", "loaded"),
    [
        ([[], ["--help"], ["--version"], ["nonsense"]], ""),
        ([["report", "--help"], ["data", "--help"], ["mirror", "--help"], ["convert-nasbench201", "--help"]], "tyro"),
        (
            [["report"], ["data"], ["baselines", "--seeds"], ["study", "--seed", "1"], ["train", "--epochs", "0"]],
            "tyro",
        ),
    ],
    ids=["overview", "help", "bad input"],
)
def test_what_takes_seconds_is_not_imported(calls: list[list[str]], loaded: str) -> None:
    done = run_python("-c", LOADED.format(calls=calls))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == loaded


WITHOUT_TORCH = """
import sys
from zcpt_ray.cli import main

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in ('torch', 'pandas'):
            raise ImportError(name=name)

sys.meta_path.insert(0, Refuse())
for arguments in {calls}:
    try:
        main(arguments)
    except ImportError as error:
        print('failed:', error.name)
"""


def test_commands_say_what_they_do_before_torch_is_imported() -> None:
    first_lines = {
        "search --space darts --dataset photos --num-proposals 3 --smoke": (
            "Search darts on photos by zc-pt with nwot-released, random order, N = 3, V = 100, batch 256, seed 0, "
            "as small as it goes"
        ),
        "search --method evolution --batch-size 8 --seed 5": (
            "Search nasbench201 on digits by method evolution, N = 10, V = 100, batch 8, seed 5"
        ),
        "rank --proxy snip": "Rank architectures of nasbench201 on digits by snip",
        "baselines --searches random darts": "Compare random, darts in nasbench201 on digits",
        "ablation --preset proxies": "Ablation proxies -> runs/ablation",
        "study --functions darts": "Study of darts -> runs/study",
        "train --recipe nb201 --out trained": "Train on cifar10 by recipe nb201 -> trained",
        "benchmark --parts darts proxies": "Time darts, proxies -> runs/benchmark",
    }
    done = run_python("-c", WITHOUT_TORCH.format(calls=[command.split() for command in first_lines]))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[::2] == list(first_lines.values())
    assert set(lines[1::2]) <= {"failed: torch", "failed: pandas"}


def test_ctrl_c_is_one_word(zcpt: Zcpt) -> None:
    Path("stops.py").write_text("raise KeyboardInterrupt")
    assert zcpt("search", *SMALL, "--plugin", "stops.py") == (130, "", "stopped\n")


def test_ctrl_c_ends_a_mirror_that_goes_on() -> None:
    Path("a").mkdir()
    Path("a/1.json").write_text("1")
    command = [sys.executable, "-m", "zcpt_ray", "mirror", "a", "b", "--every", "60"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    as_in_a_terminal = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what runs in the background ignores it
    with subprocess.Popen(command, **streams, preexec_fn=as_in_a_terminal) as going_on:
        assert going_on.stdout
        assert going_on.stdout.readline() == "1 file copied from a to b\n"
        going_on.send_signal(signal.SIGINT)
        assert going_on.communicate(timeout=60) == ("", "stopped\n")
    assert going_on.returncode == 130


def test_hints_go_from_a_search_to_its_report(zcpt: Zcpt) -> None:
    """Each command tells the next one, as a shell takes it, whatever a folder is called."""
    out = "my [red]runs/a:car:"
    searched = zcpt("search", *SMALL, "--out", out)
    assert f"Run directory: {out}\n" in searched.out
    to_train, to_report = hints(searched.out)
    assert to_train == f"zcpt train --searches '{out}' --dataset digits"
    assert to_report == f"zcpt report '{out}'"
    assert searched.out.splitlines()[-2:] == [f"Next: {to_train}", f"Next: {to_report}"]
    flags = understood(to_train)
    assert (flags.searches, flags.config.dataset) == ((out,), "digits")
    assert understood(to_report).runs == (out,)
    trained = zcpt("train", "--searches", out, "--dataset", "digits", "--smoke", "--local", "--out", "trained")
    assert (trained.code, hints(trained.out)) == (0, ["zcpt report trained"])
    reported = zcpt("report", out, "trained", "--out", "page.html")
    assert reported == (0, "Report: page.html\n", "")
    assert "toy-chain-1" in Path("page.html").read_text()


@pytest.mark.parametrize("space", ["nasbench201", "darts-s2"])
def test_a_ranking_fits_the_terminal_and_hints_at_a_training(space: str, narrow_zcpt: Zcpt) -> None:
    ended = narrow_zcpt("rank", "--local", "--smoke", "--space", space, "--count", "2")
    assert (ended.code, ended.err) == (0, "")
    table = pd.read_parquet("runs/ranking/ranking.parquet")
    assert list(table["name"].sort_values()) == ["random 0", "random 1"]
    assert max(map(len, table_lines(ended.out))) <= 80
    texts = cells(ended.out, "architecture")
    for text, whole in zip(texts, table["architecture"], strict=True):
        pieces = text.splitlines()
        assert len(pieces) > 1
        assert "".join(pieces).replace(" ", "") == whole.replace(" ", "")
        assert all(piece[-1] in "|,>+" for piece in pieces[:-1])
    (hint,) = hints(ended.out)
    flags = understood(hint)
    assert (flags.config.space, flags.config.dataset) == (space, "digits")
    assert flags.config.arch == table["architecture"][0]


def test_a_ranking_of_a_file(zcpt: Zcpt) -> None:
    Path("archs.json").write_text('{"one": "nor_conv_1x1", "two": "skip_connect", "other": "skip_connect"}')
    given = ("rank", *SMALL, "--file", "archs.json", "--proxy", "params", "--out", "ranked")
    ended = zcpt(*given, "--match", "one|two")
    assert cells(ended.out, "name") == ["one", "two"]
    assert "Table: ranked/ranking.csv (and .md, .tex, .parquet)\n" in ended.out
    assert zcpt(*given, "--match", "three").err == (
        "error: archs.json has 3 architectures, none with a name that matches 'three'\n"
    )
    assert zcpt("rank", *SMALL, "--order", "fixed") == (2, "", "error: --order is not used here: nothing is searched\n")


def test_data_hints_at_a_search(zcpt: Zcpt) -> None:
    for number in range(10):
        write_image(Path(f"my photos/{'ab'[number % 2]}/{number}.png"), np.full((3, 9, 9), number, np.uint8))
    ended = zcpt("data", "my photos", "--image-size", "8")
    assert hints(ended.out) == ["zcpt search --dataset 'my photos' --image-size 8 --batch-size 4"]
    assert ended.out.splitlines()[0] == "my photos: 2 classes (a, b), 8 train and 2 test images of 8x8"


def test_a_plug_in_serves_a_search(zcpt: Zcpt) -> None:
    Path("mine.py").write_text(
        "import zcpt_ray as zc\n\n\n@zc.register_proxy('mine')\ndef mine(net, batch):\n"
        "    return float(sum(parameter.numel() for parameter in net.parameters()))\n"
    )
    try:
        ended = zcpt("search", *SMALL, "--plugin", "mine.py", "--proxy", "mine", "--out", "run")
    finally:
        PROXIES.pop("mine", None)
    assert (ended.code, ended.err) == (3, "")  # whichever op is removed, the supernet has the same parameters
    assert "Nothing told the ops or the candidates apart: the scores of mine on digits are all equal" in ended.out
    assert ended.out.startswith("Search toy-chain-1 on digits by zc-pt with mine, random order, N = 10, V = 100, ")
    assert "\nBest: nor_conv_3x3\n" in ended.out


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_on_ray_the_same_is_found_as_here(cluster: int, zcpt: Zcpt) -> None:
    """One start of Ray for three commands."""
    shown = f": 1 node with {cluster} CPUs and 0 GPUs; {cluster} tasks at a time, 1 CPU each\n"
    for command in ("search", "rank"):
        flags = (command, "--smoke", "--space", "toy-chain-2", "--out")
        here, there = zcpt(*flags, "here", "--local"), zcpt(*flags, command)
        assert (here.code, there.code) == (0, 0), there.err
        for head in ("architecture", "score"):
            assert cells(here.out, head) == cells(there.out, head) != []
        assert "Ray at" not in here.out
        assert (shown in there.out) == (command == "search")
    trained = zcpt("train", "--searches", "search", "--dataset", "digits", "--smoke", "--out", "trained")
    assert trained.code == 0, trained.err
    assert shown in trained.out
    assert len(pd.read_parquet("trained/trainings.parquet")) == 1
