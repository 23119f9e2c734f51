"""Loading by name or folder, at any size, and what a data set of a folder is as a record."""

import pickle
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from image_files import encoded, shard, smooth, write_image
from PIL import Image, ImageOps

from zcpt_ray.configs import ImageOptions
from zcpt_ray.datasets import DATASETS, Dataset, RawImages, find_dataset, image_folder, load_dataset
from zcpt_ray.datasets.minibatches import ImageSet
from zcpt_ray.errors import UserError
from zcpt_ray.identity import content_digest
from zcpt_ray.registry import own_content, register


def in_another_process(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_folder_by_text_path_and_home(animals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(animals.parent))
    for place in (str(animals), animals, "~/animals", Path("~/animals")):
        loaded = load_dataset(place)
        assert repr(loaded) == "LoadedDataset('animals': 2 classes (cat, dog), 32 train and 8 test images of 32x32)"
        assert (loaded.name, loaded.classes, loaded.image_size) == ("animals", ("cat", "dog"), 32)
    assert loaded.train.images.shape == (32, 3, 32, 32)
    assert loaded.train.images.dtype == np.uint8
    assert loaded.train.labels.dtype == np.int64
    expected = find_dataset(str(animals)).load("test")
    assert np.array_equal(loaded.test.images, expected.images)
    assert (loaded.test.mean, loaded.test.std) == (expected.mean, expected.std)


def test_classes_without_names_are_numbers() -> None:
    loaded = load_dataset("digits")
    assert loaded.classes == tuple("0123456789")
    assert repr(loaded) == "LoadedDataset('digits': 10 classes (0, 1, ...), 1438 train and 359 test images of 32x32)"


@pytest.mark.parametrize("size", [48, np.int64(48), np.uint8(48)])
def test_a_built_in_data_set_is_resized(size: int) -> None:
    plain, resized = load_dataset("digits"), load_dataset("digits", image_size=size)
    assert (plain.image_size, resized.image_size) == (32, 48)
    for split in ("train", "test"):
        small, large = getattr(plain, split), getattr(resized, split)
        assert np.array_equal(small.labels, large.labels)
        image = Image.fromarray(small.images[7].transpose(1, 2, 0))
        expected = ImageOps.fit(image, (48, 48), Image.Resampling.BILINEAR)
        assert np.array_equal(large.images[7].transpose(1, 2, 0), np.asarray(expected))
        assert (large.mean, large.std) == (small.mean, small.std)
    assert (plain.train.padding, resized.train.padding) == (4, 6)


def test_a_fingerprint_tells_sizes_apart() -> None:
    prints = [find_dataset("digits", ImageOptions(size)).load("train").fingerprint for size in (None, 32, 48, 16)]
    assert prints == ["", "", "-48px", "-16px"]


def test_a_folder_is_read_at_the_size_asked_for(tmp_path: Path) -> None:
    for index in range(10):
        write_image(tmp_path / "ab"[index % 2] / f"{index}.png", smooth(index, 60, 60))
    large = load_dataset(tmp_path, image_size=48)
    assert np.array_equal(large.train.images, image_folder("own", tmp_path, 48).load("train").images)
    again = load_dataset(image_folder("own", tmp_path, 8), image_size=48)  # from the files, not from 8 pixels
    assert np.array_equal(again.train.images, large.train.images)
    assert again.train.padding == 6
    assert again.train.fingerprint == large.train.fingerprint


def test_lazy_images_are_decoded_at_the_size_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    for split in ("train", "val"):
        for index in range(2):
            write_image(tmp_path / "imagenet" / split / f"n{index}" / "a.JPEG", smooth(index))
    assert load_dataset("imagenet").image_size == 224
    small = load_dataset("imagenet", image_size=40)
    assert small.image_size == small.train.take(slice(1)).shape[2] == 40
    assert small.train.fingerprint != load_dataset("imagenet").train.fingerprint
    assert load_dataset(image_folder("own", tmp_path / "imagenet", in_memory=False), image_size=16).image_size == 16


def test_a_data_set_of_ones_own(images: ImageSet) -> None:
    own = Dataset(
        "own", 3, None, None, False, lambda folder, split: RawImages(images.images[:, :1, :24], images.labels)
    )
    loaded = load_dataset(own)
    assert loaded.image_shape == (1, 24, 32)
    assert repr(loaded).endswith("40 test images of 24x32)")
    assert load_dataset(own, image_size=16).image_shape == (1, 16, 16)
    assert load_dataset(replace(own, padding=0), image_size=16).train.padding == 0


def test_lazy_images_of_ones_own_cannot_be_resized(images: ImageSet) -> None:
    class Mine:
        def __len__(self) -> int:
            return 40

    own = Dataset("own", 3, (0.5,), (0.5,), False, lambda folder, split: RawImages(Mine(), images.labels))  # type: ignore[arg-type]
    with pytest.raises(
        UserError, match="images of own cannot be resized: its reader gives them as Mine; let it give 64"
    ):
        load_dataset(own, image_size=64)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (7, "image size 7: must be 8 pixels or more"),
        (0, "image size 0: must be 8 pixels or more"),
        (np.int32(-64), "image size -64: must be 8 pixels or more"),
        (True, "image size 1: must be 8 pixels or more"),
        (32.5, "image size 32.5: must be a whole number of pixels, 8 or more"),
        ("64", "image size '64': must be a whole number of pixels, 8 or more"),
    ],
)
def test_sizes_that_are_refused(size: object, message: str, animals: Path) -> None:
    calls = (
        lambda: load_dataset("digits", image_size=size),  # type: ignore[arg-type]
        lambda: load_dataset(animals, image_size=size),  # type: ignore[arg-type]
        lambda: image_folder("own", animals, size=size),  # type: ignore[arg-type]
    )
    for call in calls:
        with pytest.raises(UserError) as caught:
            call()
        assert str(caught.value) == message


@pytest.mark.parametrize(
    "place", ["nonsense", Path("nonsense"), "", "x" * 5000, "a\0b", "~nobody-of-that-name/x", None]
)
def test_places_that_are_refused(place: str) -> None:
    with pytest.raises(UserError, match=r"choose from digits, .*, or give a folder|cannot be a folder"):
        load_dataset(place)


def test_an_unknown_split() -> None:
    with pytest.raises(UserError, match="unknown split 'val' of digits; choose from train, test"):
        DATASETS["digits"].load("val")


def test_labels_that_are_no_class_numbers(tmp_path: Path, images: ImageSet) -> None:
    shard(tmp_path / "a.parquet", [encoded(image) for image in images.images[:5]], [0, 1, 2, 3, 10**12])
    with pytest.raises(UserError, match="label 1000000000000: labels without names must be class numbers"):
        load_dataset(tmp_path, test_share=0.5)


def test_a_reader_that_gives_something_else(images: ImageSet) -> None:
    pixels, labels = images.images, images.labels
    for raw, message in (
        (
            (pixels.transpose(0, 2, 3, 1), labels),
            r"own train: images are \[40, 32, 32, 3\], which looks like \[n, H, W, C\]; they must be \[n, C, H, W\]",
        ),
        ((pixels / 255, labels), r"own train: images are float64 \[40, 3, 32, 32\]; they must be uint8 \[n, C, H, W\]"),
        ((pixels[0], labels), r"own train: images are uint8 \[3, 32, 32\]"),
        ((pixels, labels.tolist()), "own train: labels are list; they must be an array of whole numbers"),
        ((pixels, labels / 2), "own train: labels are float64; they must be an array of whole numbers"),
        ((pixels, labels[:9]), "own train: 40 images and 9 labels"),
    ):
        with pytest.raises(UserError, match=message):
            load_dataset(Dataset("own", 3, None, None, False, partial(give, raw)), image_size=16)


def give(raw: tuple[np.ndarray, np.ndarray], folder: Path, split: str) -> RawImages:
    return RawImages(*raw)


def test_a_reader_that_cannot_read() -> None:
    def read(folder: Path, split: str) -> RawImages:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(UserError, match=r"cannot read the train images of own: .*Permission denied"):
        load_dataset(Dataset("own", 3, None, None, False, read))


def test_a_folder_as_a_record_of_ones_own(animals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(animals.parent))
    record = register(DATASETS, image_folder("photos", "~/animals", size=16), "data set")
    try:
        assert find_dataset("photos") is record
        assert load_dataset("photos").image_size == 16
        larger = find_dataset("photos", ImageOptions(24))
        assert own_content(larger)
        assert own_content(larger) != own_content(record)
        assert not own_content(find_dataset("digits", ImageOptions(24)))
        with pytest.raises(UserError, match="data set 'photos' is there already"):
            register(DATASETS, record, "data set")
    finally:
        del DATASETS["photos"]


def test_a_folder_record_pickles_and_has_a_repeatable_digest(animals: Path) -> None:
    code = (
        "import sys; from zcpt_ray.datasets import image_folder; from zcpt_ray.identity import content_digest;"
        "print(content_digest(image_folder('own', sys.argv[1], size=16)))"
    )
    record = image_folder("own", animals, size=16)
    copy = pickle.loads(pickle.dumps(record))
    assert copy == record
    assert np.array_equal(copy.load("test").images, record.load("test").images)
    digests = [
        content_digest(each)
        for each in (
            record,
            image_folder("own", animals, size=24),
            image_folder("own", animals.parent, size=16),
            image_folder("other", animals, size=16),
            image_folder("own", animals, size=16, in_memory=False),
        )
    ]
    assert in_another_process(code, animals) == digests[0] == content_digest(copy)
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("name", DATASETS)
def test_a_built_in_record_pickles(name: str) -> None:
    assert content_digest(pickle.loads(pickle.dumps(DATASETS[name]))) == content_digest(DATASETS[name])


def test_importing_the_data_sets_is_light() -> None:
    code = (
        "import sys, zcpt_ray.datasets; print(*sorted({'matplotlib', 'pandas', 'ray', 'sklearn'} & sys.modules.keys()))"
    )
    assert in_another_process(code) == ""
