"""The command `zcpt`: one module per subcommand, imported when it is called."""

import sys
from collections.abc import Sequence
from importlib import import_module, metadata

COMMANDS = {
    "search": ("search", "Search a space for an architecture, without training"),
    "fit": ("fit", "From images to a trained model within limits, in so many minutes"),
    "rank": ("rank", "Score given architectures end to end"),
    "baselines": ("baselines", "Compare the paper's searches, by name"),
    "ablation": ("ablation", "Search over a grid of proxies, orders, N, V, ..."),
    "reproduce": ("reproduce", "Repeat the paper's tables and figures, each number beside ours"),
    "budgets": ("budgets", "Compare limits of milliseconds and of FLOPs on measured devices"),
    "study": ("study", "See which operation scoring functions track the truth"),
    "correlate": ("correlate", "See how proxies rank networks beside their accuracies in a table"),
    "train": ("train", "Train found architectures, with several seeds"),
    "predict": ("predict", "Name the classes of images by a trained model"),
    "export": ("export", "Write a trained model as ONNX, torch.export or a plain PyTorch file"),
    "report": ("report", "Make one HTML page of finished runs"),
    "profile": ("profile", "Time the ops of a space here, for searches with a limit of milliseconds"),
    "data": ("data", "Say what is understood of a data set or a folder of images"),
    "benchmark": ("speed", "Time the engine beside a plain implementation"),
    "mirror": ("mirror", "Copy a folder to or from object storage"),
    "convert": ("convert", "Make the table of a benchmark from its official file"),
    "convert-nasbench201": ("convert_nasbench201", "Make the NAS-Bench-201 table from the official file"),
}
"""By name the module of the command, and what it does."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a subcommand; without one, or with `--help`, list them.

    Raises:
        SystemExit: always but after a command that went well: 0 after help, 2 after bad input.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
    elif given[0] == "--version":
        print(f"zcpt_ray {metadata.version('zcpt_ray')}")
    elif given[0] in COMMANDS:
        import_module(f"zcpt_ray.cli.{COMMANDS[given[0]][0]}").main(given[1:])
    elif given[0].startswith("-"):
        print(f"error: a command comes first, then {given[0]}; choose from {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)
    else:
        print(f"error: unknown command {given[0]!r}; choose from {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)


def overview() -> str:
    """What `zcpt --help` prints."""
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name.ljust(width)}  {summary}" for name, (_, summary) in COMMANDS.items())
    return f"""Zero-cost neural architecture search: usage: zcpt COMMAND [FLAGS]

{lines}

Examples:
  zcpt search --dataset digits --batch-size 64 --num-proposals 4 --num-validations 8 --out runs/first
  zcpt train --searches runs/first --dataset digits --epochs 2
  zcpt report runs

`zcpt COMMAND --help` shows the flags of a command, `zcpt --version` the version."""
