"""A user's own images in folders."""

from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import smooth, write_image
from PIL import Image

from zcpt_ray.datasets import DATASETS, find_dataset, image_folder
from zcpt_ray.datasets.minibatches import ImageSet, draw_minibatch, epoch_of_minibatches
from zcpt_ray.errors import UserError


def test_a_folder_is_a_data_set(animals: Path, images: ImageSet) -> None:
    train, test = (find_dataset(str(animals)).load(split) for split in ("train", "test"))
    of_test = np.arange(40) % 5 == 4
    assert np.array_equal(train.images, images.images[~of_test])
    assert np.array_equal(test.images, images.images[of_test])
    assert train.labels.tolist() == 16 * [0] + 16 * [1]
    assert train.classes == ("cat", "dog")
    assert (train.num_classes, train.padding, train.flip) == (2, 4, False)
    scaled = train.images / 255
    np.testing.assert_allclose(train.mean, scaled.mean((0, 2, 3)))
    np.testing.assert_allclose(train.std, scaled.std((0, 2, 3)))
    assert (test.mean, test.std) == (train.mean, train.std)
    (batch,) = epoch_of_minibatches(train, 32)
    torch.testing.assert_close(batch.images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(batch.images.std((0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)


def test_images_of_any_kind_become_squares(tmp_path: Path) -> None:
    """The middle of each; gray, transparent and palette images become RGB."""
    wide = np.zeros((3, 20, 60), np.uint8)
    wide[:, :, 20:40] = 200
    write_image(tmp_path / "a" / "wide.png", wide)
    for mode in ("L", "RGBA", "P", "1"):
        Image.fromarray(wide.transpose(1, 2, 0)).convert(mode).save(tmp_path / "a" / f"{mode}.png")
    (tmp_path / "b" / "deep").mkdir(parents=True)
    Image.new("RGB", (3000, 2000), (10, 20, 30)).save(tmp_path / "b" / "deep" / "large.JPG")
    loaded = image_folder("own", tmp_path, size=16, mean=(0.5,) * 3, std=(1.0,) * 3).load("train")
    assert loaded.images.shape == (5, 3, 16, 16)
    dithered, gray, palette, coloured = loaded.images[loaded.labels == 0].astype(int)[..., 1:-1]
    assert (np.stack([gray, coloured]) == 200).all()
    assert dithered.mean() == pytest.approx(200, abs=10)
    assert palette.mean() == pytest.approx(200, abs=10)
    assert loaded.padding == 2
    assert loaded.mean == (0.5, 0.5, 0.5)
    large = find_dataset(str(tmp_path)).load("test").images  # the fifth of six
    assert large.shape == (1, 3, 32, 32)


def test_large_photos_shrink_to_their_colours(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for index in range(3):
            image = Image.fromarray(smooth(5 + index, 1200, 1200).transpose(1, 2, 0))
            image.save(tmp_path / name / f"{index}.jpg", quality=95)
    assert find_dataset(tmp_path).load("test").images.shape == (1, 3, 224, 224)
    image = image_folder("own", tmp_path, 32).load("train").images[0].astype(int)
    expected = np.linspace(0, 255, 33)
    expected = (expected[1:] + expected[:-1]) / 2
    assert np.abs(image[0] - expected).max() < 6
    assert np.abs(image[1] - expected[:, None]).max() < 6
    assert np.abs(image[2] - 50).max() < 6


def test_splits_of_a_folder(tmp_path: Path, images: ImageSet) -> None:
    for index in range(6):
        write_image(tmp_path / "train" / "abc"[index % 3] / f"{index}.png", images.images[index])
    with pytest.raises(
        UserError, match=r"no test images in .*: expected CLASS/\*\.jpg .* in val, validation or test there"
    ):
        image_folder("own", tmp_path).load("test")
    write_image(tmp_path / "test" / "c" / "t.png", images.images[7])  # the other classes have no test images
    train, test = (image_folder("own", tmp_path).load(split) for split in ("train", "test"))
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert np.array_equal(train.images, images.images[[0, 3, 1, 4, 2, 5]])
    assert test.labels.tolist() == [2]
    assert (train.origin, test.origin) == ("the folder train/", "the folder test/")
    assert np.array_equal(test.images, images.images[7:8])
    write_image(tmp_path / "test" / "x" / "t.png", images.images[7])
    with pytest.raises(UserError, match=r"test has classes that .*train has not: x"):
        image_folder("own", tmp_path).load("test")


def test_names_and_folders(animals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_dataset("digits") is DATASETS["digits"]
    assert find_dataset("animals").name == find_dataset("./animals/").name == "animals"
    (tmp_path / "digits").mkdir()
    assert find_dataset("digits") is DATASETS["digits"]
    assert find_dataset("./digits").num_classes is None
    for name in ("nonsense", "./animals/cat/00.png", ""):
        with pytest.raises(
            UserError,
            match=r"unknown dataset .*; choose from digits, cifar10, .*, or give a folder that has a subfolder",
        ):
            find_dataset(name)


def test_a_fingerprint_tells_contents_apart(animals: Path, images: ImageSet) -> None:
    prints = [image_folder("own", animals, size).load("train").fingerprint for size in (32, 32, 16)]
    write_image(animals / "cat" / "00.png", images.images[5])
    prints.append(image_folder("own", animals).load("train").fingerprint)
    prints += [
        image_folder("own", animals, in_memory=False).load("train").fingerprint,
        DATASETS["digits"].load("train").fingerprint,
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 5
    assert prints[-1] == ""


def test_bad_folders(animals: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no classes .* in .*empty: no images\. Found nothing; expected CLASS/\*\.jpg"):
        find_dataset(str(tmp_path / "empty")).load("train")
    (animals / "fish").mkdir()
    with pytest.raises(UserError, match=r"class folder .*fish has no images"):
        find_dataset(str(animals)).load("train")
    (animals / "fish" / "a.jpg").write_bytes(b"no fish")
    with pytest.raises(UserError, match=r"fish/a\.jpg: not an image, or not of a known kind \(JPEG, PNG, .*\)$"):
        find_dataset(str(animals)).load("train")
    whole = (animals / "cat" / "00.png").read_bytes()
    (animals / "fish" / "a.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"fish/a\.jpg: not an image: .*truncated"):
        find_dataset(str(animals)).load("train")


def test_images_of_one_colour(tmp_path: Path) -> None:
    """Only their red tells them apart."""
    for index in range(5):
        image = np.full((3, 8, 8), 51, np.uint8)
        image[0] += 20 * index
        write_image(tmp_path / "ab"[index % 2] / f"{index}.png", image)
    data = image_folder("own", tmp_path).load("train")
    assert data.mean[1:] == pytest.approx((0.2, 0.2))
    assert data.std[1:] == (1 / 255,) * 2
    assert data.notes == ("4 of 4 training images are of one colour",)
    assert draw_minibatch(data, 1, 0).images.isfinite().all()
