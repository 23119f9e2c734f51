"""Tables in the terminal: exact at widths of 60, 80 and 120, and never wider."""

import io

import pandas as pd
import pytest
from rich.console import Console

from zcpt_ray.reports.terminal import broken, print_table

CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
GENOTYPE = "Genotype(normal=[('sep_conv_3x3', 0), ('max_pool_3x3', 1)], normal_concat=range(2, 6))"
CHAIN = "skip_connect>nor_conv_3x3>avg_pool_3x3"
LAYERS = "MB6_K7,MB3_K3,skip,MB6_K5"
CANDIDATES = pd.DataFrame({"#": [1, 2], "architecture": [CELL, CHAIN], "score": ["17541.13", "9.99"]})
COMPARISON = pd.DataFrame(
    {
        "search": ["zero-cost-pt nwot", "random"],
        "N": [10, 1],
        "cifar10": ["5.88±0.38", "5.63"],
        "cifar100": ["27.60±1.63", "27.60"],
        "pairs": ["+3.50 [+2.17, +4.83]", "-1.00"],
        "training [h]": [1.25, float("nan")],
    }
)
CANDIDATES_60 = """\
Title
┏━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━┓
┃ # ┃ architecture                              ┃ score    ┃
┡━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━┩
│ 1 │ |nor_conv_3x3~0|+|nor_conv_3x3~0|         │ 17541.13 │
│   │ nor_conv_3x3~1|+|skip_connect~0|          │          │
│   │ nor_conv_3x3~1|nor_conv_3x3~2|            │          │
│ 2 │ skip_connect>nor_conv_3x3>avg_pool_3x3    │ 9.99     │
└───┴───────────────────────────────────────────┴──────────┘
"""
CANDIDATES_80 = """\
Title
┏━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━┓
┃ # ┃ architecture                                                  ┃ score    ┃
┡━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━┩
│ 1 │ |nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|            │ 17541.13 │
│   │ skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|                 │          │
│ 2 │ skip_connect>nor_conv_3x3>avg_pool_3x3                        │ 9.99     │
└───┴───────────────────────────────────────────────────────────────┴──────────┘
"""
CANDIDATES_120 = """\
Title
┏━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━┓
┃ # ┃ architecture                                                                                    ┃ score    ┃
┡━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━┩
│ 1 │ |nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2| │ 17541.13 │
│ 2 │ skip_connect>nor_conv_3x3>avg_pool_3x3                                                          │ 9.99     │
└───┴─────────────────────────────────────────────────────────────────────────────────────────────────┴──────────┘
"""
COMPARISON_60 = """\
Title
┏━━━━━━━━━━━━━━━━━━━┳━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━━┓
┃ search            ┃  N ┃ cifar10   ┃ cifar100   ┃
┡━━━━━━━━━━━━━━━━━━━╇━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━━┩
│ zero-cost-pt nwot │ 10 │ 5.88±0.38 │ 27.60±1.63 │
│ random            │  1 │ 5.63      │ 27.60      │
└───────────────────┴────┴───────────┴────────────┘
┏━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┓
┃ search            ┃ pairs                ┃ training [h] ┃
┡━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━┩
│ zero-cost-pt nwot │ +3.50 [+2.17, +4.83] │ 1.250        │
│ random            │ -1.00                │ -            │
└───────────────────┴──────────────────────┴──────────────┘
"""
COMPARISON_80 = """\
Title
┏━━━━━━━━━━━━━━━━━━━┳━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━┓
┃ search            ┃  N ┃ cifar10   ┃ cifar100   ┃ pairs                ┃
┡━━━━━━━━━━━━━━━━━━━╇━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━┩
│ zero-cost-pt nwot │ 10 │ 5.88±0.38 │ 27.60±1.63 │ +3.50 [+2.17, +4.83] │
│ random            │  1 │ 5.63      │ 27.60      │ -1.00                │
└───────────────────┴────┴───────────┴────────────┴──────────────────────┘
┏━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┓
┃ search            ┃ training [h] ┃
┡━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━┩
│ zero-cost-pt nwot │ 1.250        │
│ random            │ -            │
└───────────────────┴──────────────┘
"""
COMPARISON_120 = """\
Title
┏━━━━━━━━━━━━━━━━━━━┳━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┓
┃ search            ┃  N ┃ cifar10   ┃ cifar100   ┃ pairs                ┃ training [h] ┃
┡━━━━━━━━━━━━━━━━━━━╇━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━┩
│ zero-cost-pt nwot │ 10 │ 5.88±0.38 │ 27.60±1.63 │ +3.50 [+2.17, +4.83] │ 1.250        │
│ random            │  1 │ 5.63      │ 27.60      │ -1.00                │ -            │
└───────────────────┴────┴───────────┴────────────┴──────────────────────┴──────────────┘
"""


def printed(table: pd.DataFrame, width: int, title: str = "Title") -> list[str]:
    """The lines of a table, without spaces at their ends."""
    console = Console(width=width, file=io.StringIO())
    print_table(console, table, title)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("table", "width", "expected"),
    [
        (CANDIDATES, 60, CANDIDATES_60),
        (CANDIDATES, 80, CANDIDATES_80),
        (CANDIDATES, 120, CANDIDATES_120),
        (COMPARISON, 60, COMPARISON_60),
        (COMPARISON, 80, COMPARISON_80),
        (COMPARISON, 120, COMPARISON_120),
    ],
)
def test_a_table_fits_the_terminal(table: pd.DataFrame, width: int, expected: str) -> None:
    assert printed(table, width) == expected.splitlines()


def test_the_columns_that_tell_rows_apart_are_repeated() -> None:
    table = pd.DataFrame({"order": ["random", "random", "fixed"], "N": [1, 10, 1], "scores": [1234567] * 3})
    lines = printed(table.assign(cifar10="5.63", distinct=7), 34)
    assert [line.split("┃")[1:-1] for line in lines if "order" in line] == [
        [" order  ", "  N ", "  scores "],
        [" order  ", "  N ", " cifar10 "],
        [" order  ", "  N ", " distinct "],
    ]


def test_architectures_are_broken_after_separators() -> None:
    assert broken(GENOTYPE, 36) == (
        "Genotype(normal=[('sep_conv_3x3',\n0), ('max_pool_3x3', 1)],\nnormal_concat=range(2, 6))"
    )
    assert broken(LAYERS, 15) == "MB6_K7,MB3_K3,\nskip,MB6_K5"
    assert broken(CHAIN, 30) == "skip_connect>nor_conv_3x3>\navg_pool_3x3"
    assert broken(CELL, 40) == (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|\nnor_conv_3x3~1|+|skip_connect~0|\nnor_conv_3x3~1|nor_conv_3x3~2|"
    )


def test_numbers_are_not_broken() -> None:
    assert broken("+3.50 [+2.17, +4.83]", 8) == "+3.50\n[+2.17,\n+4.83]"
    assert broken("1.5e+10", 3) == "1.5e+10"
    assert broken("5.88±0.38", 3) == "5.88±0.38"
    assert broken("first + second", 8) == "first +\nsecond"


def test_brackets_are_no_markup() -> None:
    table = pd.DataFrame({"training [h]": ["[red]1[/red]"]})
    assert printed(table, 60, "errors [h]") == [
        "errors [h]",
        "┏━━━━━━━━━━━━━━┓",
        "┃ training [h] ┃",
        "┡━━━━━━━━━━━━━━┩",
        "│ [red]1[/red] │",
        "└──────────────┘",
    ]


@pytest.mark.parametrize("width", [10, 20, 40, 60, 80, 120])
def test_no_table_is_wider_than_the_terminal(width: int) -> None:
    """A word is folded only where the terminal is narrower than the word."""
    table = CANDIDATES.assign(genotype=GENOTYPE, layers=LAYERS, error=12345.678)
    lines = printed(table, width, "A title of a few words")
    assert max(map(len, lines)) <= width
    if width >= 60:
        assert all(any(word in line for line in lines) for word in ("normal_concat=range(2,", "12345.678", "17541.13"))


def test_a_table_without_columns_is_its_title() -> None:
    assert "".join(printed(pd.DataFrame(), 60)) == "Title"
