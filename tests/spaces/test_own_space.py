"""A user's own space: the example of the documentation, and what is refused."""

from pathlib import Path

import pytest

from zcpt_ray.errors import UserError
from zcpt_ray.spaces import SPACES, Space, find_space
from zcpt_ray.spaces.own import check_space

EXAMPLE = Path(__file__).parents[2] / "docs" / "own_space.py"
SOURCE = EXAMPLE.read_text()


def changed(tmp_path: Path, *changes: tuple[str, str]) -> str:
    """The example with some of its text replaced."""
    text = SOURCE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "space.py").write_text(text)
    return str(tmp_path / "space.py")


def test_the_example_is_a_space() -> None:
    space = find_space(str(EXAMPLE))
    assert space.num_archs == 27
    assert find_space(str(EXAMPLE)) is space
    text = "bottleneck,skip_connect,nor_conv_3x3"
    assert space.encode(space.decode(text)) == text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            (("3, padding=1, bias=False)", "3, bias=False)"),),
            r"on edge '1<-0' op 'bottleneck' gives \[2, 16, 30, 30\]",
        ),
        (
            (("(few, channels, 3", "(few, 8, 3"), ("nn.BatchNorm2d(channels)", "nn.BatchNorm2d(8)")),
            r"op 'bottleneck' gives \[2, 8,",
        ),
        ((('f"{target}<-{source}"', '"same"'),), "edge 'same' is there more than once"),
        ((('"bottleneck")', '"skip_connect")'),), "needs distinct candidate ops"),
        (
            (("CANDIDATES) for source", "CANDIDATES, keep=4) for source"),),
            "edge '1<-0' keeps 4 ops; allowed are 1 to 3",
        ),
        (
            (('name = "own"', 'name = "own"\n    stages = (((0, 1),),)'),),
            "edge '2<-1' must be in one lane of its stages, is in 0",
        ),
        ((('"bottleneck": Bottleneck', '"other": Bottleneck'),), "KeyError"),
        ((("Head(32)", "Head(16)"),), "does not run"),
        (
            (('name = "own"', 'name = "own"\n    stages = (((0, 1, 2), ()),)'),),
            "must hold edges 0 to 2, and no empty lane",
        ),
        (
            (('return ",".join(op for (op,) in arch.kept)', "return arch.nothing"),),
            "what it writes of .*AttributeError",
        ),
        (
            (("ArchSpec(self.name, tuple((op,)", 'ArchSpec("mine", tuple((op,)'),),
            "does not read what it writes of .*cannot build",
        ),
        (
            (("SPACE = ", "OTHER = "),),
            "must hold a zcpt_ray.spaces.Space as SPACE, or a network with a zc.Choice inside; has NoneType",
        ),
        ((('",".join', '";".join'),), "not an architecture of this space"),
    ],
)
def test_what_breaks_the_contract_is_refused(tmp_path: Path, changes: tuple[tuple[str, str], ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        find_space(changed(tmp_path, *changes))


def test_no_such_space(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"unknown space 'nasbench301'; choose from nasbench201, .* or give a Python file"
    ):
        find_space("nasbench301")
    with pytest.raises(UserError, match=r"no space file .*missing.py"):
        find_space(str(tmp_path / "missing.py"))


@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
def test_every_row_keeps_the_contract(space: Space) -> None:
    check_space(space)
