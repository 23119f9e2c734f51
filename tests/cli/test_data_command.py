"""What `zcpt data` prints."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from image_files import write_image

from zcpt_ray.cli.data import main


def write_classes(folder: Path, names: list[str], each: int = 5) -> None:
    for number, name in enumerate(names):
        for index in range(each):
            write_image(folder / name / f"{index}.png", np.full((3, 10, 10), 51 * (number % 2), np.uint8))


def test_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_classes(tmp_path / "pets", ["cat", "[red]dog"])
    main([str(tmp_path / "pets"), "--image-size", "16"])
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0] == "pets: 2 classes ([red]dog, cat), 8 train and 2 test images of 16x16"
    assert [line.split() for line in lines if "│" in line] == [
        ["│", "[red]dog", "│", "4", "│", "1", "│"],
        ["│", "cat", "│", "4", "│", "1", "│"],
    ]
    assert lines[-5:] == [
        "Split: all images but every fifth for training, every fifth image for tests.",
        "Note: 8 of 8 training images are of one colour.",
        "Note: 2 of 2 test images are of one colour.",
        "Colours have mean 0.100, 0.100, 0.100 and deviation 0.100, 0.100, 0.100, on a scale of 0 to 1.",
        f"Next: zcpt search --dataset {tmp_path / 'pets'} --image-size 16 --batch-size 4",
    ]
    assert printed.err == ""


@pytest.mark.parametrize(
    ("count", "line"),
    [
        (20, None),
        (21, "1 more class has 4 train and 1 test images."),
        (25, "5 more classes have 20 train and 5 test images."),
    ],
)
def test_many_classes_are_summed_up(
    count: int, line: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_classes(tmp_path, [f"{number:02d}" for number in range(count)])
    main([str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert len([text for text in lines if text.startswith("│")]) == 20
    assert [text for text in lines if " more class" in text] == ([line] if line else [])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["nonsense"], "unknown dataset 'nonsense'; choose from digits,"),
        (["digits", "--image-size", "7"], "image size 7: must be 8 pixels or more"),
        (["."], "no classes to be told in "),
    ],
)
def test_bad_input_is_one_line(
    flags: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(flags)
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert printed.out == ""
    assert printed.err.startswith(f"error: {message}")
    assert printed.err.count("\n") == 1


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom zcpt_ray.cli.data import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'pandas', 'ray'} & sys.modules.keys()))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.startswith("usage: zcpt data")
    assert found.splitlines()[-1] == "[]"
