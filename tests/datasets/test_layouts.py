"""Folders in every layout: what is understood, and what is refused with a line that shows what was found."""

import re
from pathlib import Path

import numpy as np
import pytest
from image_files import encoded, shard, smooth, write_image

from zcpt_ray.configs import ImageOptions
from zcpt_ray.datasets import find_dataset, load_dataset
from zcpt_ray.errors import UserError


def fill(root: Path, *files: str) -> Path:
    """Images, each of its own colours; `cat/3` stands for three images in cat/."""
    count = 0
    for text in files:
        place, _, number = text.rpartition("/")
        for index in range(int(number)):
            count += 1
            write_image(root / place / f"{index}.png", smooth(count))
    return root


TRAINING = ("train", "training", "Train", "TRAINING")
TESTS = ("test", "testing", "Test", "val", "valid", "Validation", "dev", "VAL")


@pytest.mark.parametrize(
    ("train", "test"), [*((word, "test") for word in TRAINING), *(("train", word) for word in TESTS)]
)
def test_split_folders_in_any_wording(train: str, test: str, tmp_path: Path) -> None:
    fill(tmp_path, f"{train}/cat/3", f"{train}/dog/2", f"{test}/cat/1", f"{test}/dog/1")
    loaded = load_dataset(tmp_path, image_size=16)
    assert (loaded.classes, len(loaded.train), len(loaded.test)) == (("cat", "dog"), 5, 2)
    assert (loaded.train.origin, loaded.train.tests) == (f"the folder {train}/", f"the folder {test}/")
    assert loaded.test.origin == f"the folder {test}/"


def test_of_validation_and_test_images_the_former_are_for_tests(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        fill(tmp_path, f"{split}/cat/1", f"{split}/dog/1")
    loaded = load_dataset(tmp_path, image_size=16)
    assert loaded.train.tests == "the folder valid/"
    assert loaded.train.notes == ("test/ is not used",)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("split", [False, True])
def test_a_single_folder_is_entered(depth: int, split: bool, tmp_path: Path) -> None:
    inner = tmp_path.joinpath(*["data"] * depth)
    fill(inner, *(("train/a/2", "train/b/1", "val/a/1") if split else ("a/5", "b/5")))
    loaded = load_dataset(tmp_path, image_size=16)
    assert loaded.classes == ("a", "b")
    assert "found in data/" in loaded.train.notes
    assert len(loaded.train) == (3 if split else 8)


def test_splits_that_each_hold_one_folder(tmp_path: Path) -> None:
    """As some archives unpack."""
    fill(tmp_path, "train/train/a/2", "train/train/b/1", "test/test/a/1")
    loaded = load_dataset(tmp_path, image_size=16)
    assert (loaded.classes, len(loaded.train), len(loaded.test)) == (("a", "b"), 3, 1)


def test_a_class_that_is_called_like_a_split_within_splits(tmp_path: Path) -> None:
    fill(tmp_path, "train/bus/1", "train/train/1", "val/bus/1", "val/train/1")
    assert load_dataset(tmp_path, image_size=16).classes == ("bus", "train")


@pytest.mark.parametrize(
    ("files", "why", "found"),
    [
        (("only/3",), "there is one class only, only", "only/ (3 images)"),
        (("train/a/2", "val/a/1"), "there is one class only, a", "a/ (2 images)"),
        (("train/3", "test/3"), "its images lie in no class folder", "3 .png"),
        (("/4",), "its images lie in no class folder", "4 .png"),
        (("bus/2", "car/2", "train/2"), "train/ is called like a split, but bus/ lies beside it", "train/ (2 images)"),
        (
            ("train/a/2", "train/b/2", "test/a/1", "c/1"),
            "train/ is called like a split, but c/ lies beside it",
            "c/ (1",
        ),
        (("test/a/2", "test/b/2"), "no training images", "test/ (2 folders)"),
        (("test/2", "val/2"), "no training images", "test/ (2 images), val/ (2 images)"),
        (("train/a/1", "train/b/1", "Training/a/1", "val/a/1"), "Training/ and train/ name the same split", "val/ (1"),
        (
            ("2023/a/1", "2023/b/1", "2024/a/1", "2024/b/1"),
            "2023/ and the others have no images themselves",
            "2 folders",
        ),
        (("train/a/2", "train/b/2", "val/3"), "its images lie in no class folder", "3 .png"),
        ((), "no images", "Found nothing"),
    ],
)
def test_layouts_that_are_refused(files: tuple[str, ...], why: str, found: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_dataset(fill(tmp_path, *files))
    message = str(caught.value)
    assert why in message
    assert found in message
    assert message.endswith("expected CLASS/*.jpg (or .png, ...), train/CLASS/*.jpg and val/CLASS/*.jpg, or *.parquet")
    assert "\n" not in message


def test_classes_that_only_the_tests_have(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"val has classes that .*train has not: c"):
        load_dataset(fill(tmp_path, "train/a/2", "train/b/2", "val/a/1", "val/c/1"))


def test_files_that_are_no_images_are_counted(tmp_path: Path) -> None:
    fill(tmp_path, "a/5", "b/5", "/2")
    for index in range(15):
        (tmp_path / "a" / f"{index}.HEIC").write_bytes(b"x")
    (tmp_path / "b" / "notes.txt").write_text("b")
    (tmp_path / "b" / "Makefile").write_text("b")
    (tmp_path / "b" / ".DS_Store").write_text("b")
    assert load_dataset(tmp_path).train.notes == (
        "2 images beside the class folders left out",
        "other files left out: 15 .heic, 1 .txt, 1 without an ending",
    )
    for path in (tmp_path / "a").glob("*.png"):
        path.unlink()
    with pytest.raises(UserError, match=r"class folder .*a has no images \(.*\), only 15 \.heic"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        ("train/0000.parquet", "test/0000.parquet", "the files train/*.parquet"),
        ("Training/x/0.parquet", "Validation/x/0.parquet", "the files Training/*.parquet"),
        ("data/train-0-of-1.parquet", "data/validation-0-of-1.parquet", "the files train*.parquet"),
        ("plain/TRAIN.parquet", "plain/dev_0.parquet", "the files train*.parquet"),
    ],
)
def test_shards_of_splits(train: str, test: str, said: str, tmp_path: Path) -> None:
    wholes = [encoded(smooth(index)) for index in range(7)]
    shard(tmp_path / train, wholes[:4], [0, 1, 0, 1])
    shard(tmp_path / test, wholes[4:], [0, 1, 1])
    loaded = load_dataset(tmp_path)
    assert (len(loaded.train), len(loaded.test), loaded.train.origin) == (4, 3, said)
    assert np.array_equal(loaded.train.take(slice(4))[:, 2, 9, 9], [0, 10, 20, 30])


def test_shards_of_which_some_do_not_say_their_split(tmp_path: Path) -> None:
    rows = [encoded(smooth(index)) for index in range(3)]
    shard(tmp_path / "train.parquet", rows, [0, 1, 0])
    shard(tmp_path / "more.parquet", rows, [0, 1, 0])
    with pytest.raises(
        UserError, match=r"more\.parquet does not say by its name or folder of which split it is, while"
    ):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 10**12], "label 1000000000000: labels without names must be class numbers from 0 on, below 100000"),
        (
            [0, 1, 99_999],
            "labels without names must be class numbers 0, 1, 2, ...: there are 3 different ones up to 99999",
        ),
        ([0, 1, -2], "label -2: labels without names must be class numbers from 0 on"),
        (
            [0, 1, -1],
            re.escape("1 of 3 images have the label -1; if that stands for unknown, leave them out with --drop"),
        ),
    ],
)
def test_labels_that_are_no_classes(labels: list[int], message: str, tmp_path: Path) -> None:
    shard(tmp_path / "a.parquet", [encoded(smooth(index)) for index in range(3)], labels)
    with pytest.raises(UserError, match=message):
        load_dataset(tmp_path, test_share=0.4)


@pytest.mark.parametrize("split", [False, True])
def test_unlabelled_images_are_left_out_if_wanted(split: bool, tmp_path: Path) -> None:
    rows = [encoded(smooth(index)) for index in range(10)]
    shard(tmp_path / "train.parquet", rows, [0, 1, -1, 1, 0, 0, -1, 1, 0, 1])
    if split:
        shard(tmp_path / "test.parquet", rows, [0, 1, -1, -1, -1, -1, -1, -1, -1, -1])
    else:
        (tmp_path / "train.parquet").rename(tmp_path / "all.parquet")
    loaded = load_dataset(tmp_path, drop_unlabelled=True, test_share=0.25)
    assert loaded.train.labels.tolist() == ([0, 1, 1, 0, 0, 1, 0, 1] if split else [0, 1, 1, 0, 1, 0])
    assert loaded.test.labels.tolist() == [0, 1]
    assert "2 unlabelled images left out" in loaded.train.notes


def test_a_class_without_a_test_image_is_named(tmp_path: Path) -> None:
    loaded = load_dataset(fill(tmp_path, "train/a/2", "train/b/2", "train/c/2", "val/a/1"))
    assert loaded.test.notes == ("no test image of 2 classes: b, c",)
    assert loaded.train.notes == ()


def test_images_that_are_all_the_same_are_refused(tmp_path: Path) -> None:
    for index in range(8):
        write_image(tmp_path / "ab"[index % 2] / f"{index}.png", smooth(1))
    with pytest.raises(UserError, match="all 7 training images are the same picture once they are read"):
        load_dataset(tmp_path)


def test_images_of_one_colour_are_counted(tmp_path: Path) -> None:
    fill(tmp_path, "a/5", "b/5")
    for index in range(2):
        write_image(tmp_path / "a" / f"{index}.png", np.full((3, 9, 9), 40 * index, np.uint8))
    assert load_dataset(tmp_path).train.notes == ("2 of 8 training images are of one colour",)


@pytest.mark.parametrize(
    ("sides", "size"), [((20, 30), 32), ((100, 90), 64), ((96, 500), 96), ((640, 480), 224), ((223, 300), 192)]
)
def test_the_size_is_what_most_images_have(sides: tuple[int, int], size: int, tmp_path: Path) -> None:
    for index in range(6):
        write_image(tmp_path / "ab"[index % 2] / f"{index}.png", smooth(index, *sides))
    write_image(tmp_path / "b" / "z.png", smooth(7, 9, 9))
    assert load_dataset(tmp_path).image_size == size
    assert load_dataset(tmp_path).train.padding == size // 8
    rows = [encoded(smooth(index, *sides)) for index in range(6)]
    shard(tmp_path / "shards" / "all.parquet", rows, [0, 1, 0, 1, 0, 1])
    assert load_dataset(tmp_path / "shards").image_size == size


def test_the_share_of_test_images(tmp_path: Path) -> None:
    loaded = load_dataset(fill(tmp_path, "a/10", "b/10"), test_share=0.3)
    assert loaded.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert (loaded.test.origin, loaded.train.origin) == ("0.3 of all images, evenly spread", "the other 0.7")
    with pytest.raises(UserError, match=r"test_share must lie between 0 and 1, got 1\.5"):
        load_dataset(tmp_path, test_share=1.5)
    with pytest.raises(UserError, match=r"20 images are too few for a test share of 0\.01"):
        load_dataset(tmp_path, test_share=0.01)


def test_options_that_only_folders_take() -> None:
    with pytest.raises(UserError, match="test_share, crop: only for folders of images, which digits is not"):
        load_dataset("digits", test_share=0.5, crop="squash")
    assert load_dataset("digits", flip=True).train.flip
    with pytest.raises(UserError, match="unknown option 'size'; choose from image_size, flip, test_share, crop, "):
        load_dataset("digits", size=3)
    with pytest.raises(UserError, match="unknown crop 'middle'; choose from center, squash, border"):
        load_dataset("digits", crop="middle")


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        (("mask", "image"), "image"),
        (("thumbnail", "IMG"), "IMG"),
        (("picture",), "picture"),
    ],
)
def test_the_image_column(columns: tuple[str, ...], chosen: str, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = {
        name: [{"bytes": encoded(smooth(5 * (name == chosen) + index % 2)), "path": ""} for index in range(6)]
        for name in columns
    }
    pq.write_table(pa.table({**rows, "label": [0, 1, 0, 1, 0, 1]}), tmp_path / "x.parquet")
    assert load_dataset(tmp_path).train.take(slice(2))[:, 2, 9, 9].tolist() == [50, 60]
    pq.write_table(pa.table({"a": [b"x"], "b": [b"y"], "label": [0]}), tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"has several columns that may hold the images: a, b; call one of them image"):
        load_dataset(tmp_path)


def test_a_colour_that_is_none_is_refused_before_images_are_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="background 'nonsense': no colour; give a name or #rrggbb"):
        find_dataset(tmp_path, ImageOptions(background="nonsense"))
