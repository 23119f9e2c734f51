"""The file that a training ends with, and what is made of it."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from image_files import smooth, write_image
from PIL import Image

from zcpt_ray.configs import ImageOptions
from zcpt_ray.datasets import DATASETS
from zcpt_ray.engine.initialization import initialize
from zcpt_ray.errors import UserError
from zcpt_ray.spaces import SPACES
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.export import export_model
from zcpt_ray.training.model_file import ModelInfo, TrainedModel, load_model
from zcpt_ray.training.plan import TrainPlan, trained_network
from zcpt_ray.training.trainer import train

TOY = TrainConfig(
    "nor_conv_3x3>skip_connect", space="toy-chain-2", dataset="digits", recipe="nb201", epochs=2, batch_size=16
)
TOY = dataclasses.replace(TOY, max_images=48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    list(train(TrainPlan.of(TOY), folder))
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> TrainedModel:
    return load_model(folder)


def test_it_is_the_network_that_was_tested(folder: Path, model: TrainedModel) -> None:
    test = DATASETS["digits"].load("test").thinned(48)
    table = model.predict(list(test.images))
    wrong = np.mean([name != str(label) for name, label in zip(table["class"], test.labels, strict=True)])
    assert 100 * wrong == pytest.approx(model.info.metrics["top1_error"])
    assert model.info.classes == tuple("0123456789")
    assert (model.info.image_size, model.info.mean, model.info.std) == (32, test.mean, test.std)
    assert model.info.config == TOY
    images = (torch.from_numpy(test.images).float() / 255 - torch.tensor(test.mean).view(3, 1, 1)) / torch.tensor(
        test.std
    ).view(3, 1, 1)
    with torch.no_grad():
        logits = model.to_module()(images)
    np.testing.assert_allclose(torch.softmax(logits, 1).numpy(), table.filter(like="p(").to_numpy(), atol=1e-5)
    assert table["probability"].to_numpy() == pytest.approx(table.filter(like="p(").to_numpy().max(1))


def test_reading_it_runs_no_code(folder: Path) -> None:
    raw = torch.load(folder / "model.pt", weights_only=True)
    assert json.loads(raw["about"])["classes"] == list("0123456789")


def test_a_finished_training_of_an_earlier_version_gets_one(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / "model.pt").unlink()
    list(train(TrainPlan.of(TOY), tmp_path / "run"))
    assert (tmp_path / "run" / "model.pt").read_bytes() == (folder / "model.pt").read_bytes()


def test_images_of_every_form(model: TrainedModel, tmp_path: Path) -> None:
    """All of them are cropped in the middle and scaled, as the images of a folder are."""
    pixels = smooth(3, 60, 50)
    write_image(tmp_path / "photo.png", pixels)
    forms = [tmp_path / "photo.png", str(tmp_path / "photo.png"), pixels, pixels.transpose(1, 2, 0)]
    table = model.predict([*forms, Image.open(tmp_path / "photo.png")])
    assert len({*table["probability"]}) == 1
    assert table["image"].tolist() == [*map(str, forms[:2]), "2", "3", "4"]
    assert len(model.predict(pixels)) == 1
    assert len(model.predict(pixels[0])) == 1
    for bad, said in (
        (pixels.astype(float), r"uint8 \[H, W, 3\].*, got float64 \[3, 50, 60\]"),
        (tmp_path / "none.png", "cannot read .*none.png"),
        ([], "nothing to predict"),
    ):
        with pytest.raises(UserError, match=said):
            model.predict(bad)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UserError, match=r"text\.png: not an image"):
        model.predict(tmp_path / "text.png")


def test_a_folder_of_photos_becomes_a_model_that_names_them(tmp_path: Path) -> None:
    for index in range(40):
        write_image(tmp_path / "photos" / ("red", "blue")[index % 2] / f"{index}.png", smooth(index % 2 * 20, 70, 50))
    config = dataclasses.replace(TOY, dataset=str(tmp_path / "photos"), images=ImageOptions(image_size=32))
    list(train(TrainPlan.of(config), tmp_path / "run"))
    shutil.move(tmp_path / "photos", tmp_path / "elsewhere")  # it needs no training images
    model = load_model(tmp_path / "run" / "model.pt")
    assert model.info.classes == ("blue", "red")
    assert model.predict(tmp_path / "elsewhere/blue/1.png").columns.tolist()[:4] == [
        "image",
        "class",
        "probability",
        "p(blue)",
    ]


def test_latency(model: TrainedModel) -> None:
    threads = torch.get_num_threads()
    found = model.latency(batch_size=2, threads=1, repeats=20)
    assert 0 < found.low_ms <= found.median_ms <= found.high_ms
    assert torch.get_num_threads() == threads


def test_bad_files(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model at .*none"):
        load_model(tmp_path / "none")
    path = tmp_path / "model.pt"
    for content in (b"", b"no model", (folder / "model.pt").read_bytes()[:3000]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"model\.pt is no model file, or a damaged one"):
            load_model(path)
    torch.save({"weights": {}}, path)
    with pytest.raises(UserError, match="is no model file"):
        load_model(path)
    for name in "ab":
        (tmp_path / "grid" / "trials" / name).mkdir(parents=True)
        shutil.copy(folder / "model.pt", tmp_path / "grid" / "trials" / name)
    with pytest.raises(UserError, match=r"has 2 models; give one of .*trials/a/model\.pt, "):
        load_model(tmp_path / "grid")
    shutil.rmtree(tmp_path / "grid" / "trials" / "b")
    assert load_model(tmp_path / "grid").info.config == TOY


def untrained(name: str) -> TrainedModel:
    """A network of a space with weights of its own, as if it had been trained."""
    space = SPACES[name]
    texts = (space.encode(space.arch(space.num_archs // number)) for number in range(2, 99))
    arch = next(text for text in texts if "noise" not in text)
    config = TrainConfig(arch, space=name, dataset="digits", recipe=space.recipe, **space.smallest_sizes)
    network = initialize(lambda: trained_network(config, 10), seed=1)
    size, classes, colours = 64 if "imagenet" in name else 32, tuple("0123456789"), ((0.5, 0.4, 0.3), (0.2, 0.3, 0.2))
    info = ModelInfo(config, classes, size, *colours, 1.0, {"top1_error": 50.0}, 1, 1, {}, {})
    return TrainedModel(info, network.eval())


@pytest.mark.parametrize(
    "name",
    [
        *("toy-chain-2", "darts-small"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in SPACES),
    ],
)
def test_a_network_of_every_space_can_be_exported(name: str, tmp_path: Path) -> None:
    """`export_model` itself compares logits; here the files are used as others would."""
    model = untrained(name)
    images = torch.rand(3, 3, model.info.image_size, model.info.image_size)
    with torch.no_grad():
        expected = model.with_preprocessing()(images).numpy()
    close = {"rtol": 1e-4, "atol": 1e-4}
    for form in ("onnx", "torch-export", "py"):
        export_model(model, form, tmp_path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", options)
    np.testing.assert_allclose(session.run(None, {"images": images.numpy()})[0], expected, **close)
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == list("0123456789")
    program = torch.export.load(tmp_path / "model.pt2").module()
    np.testing.assert_allclose(program(images).detach().numpy(), expected, **close)
    text = (tmp_path / "model.py").read_text()
    assert "zcpt_ray" not in text
    assert "torch.ops" not in text


def test_eight_bits(model: TrainedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    (path,) = export_model(model, "onnx-int8", tmp_path)
    said = re.search(r"int8: test error ([\d.]+) %, in float32 ([\d.]+) %", caplog.text)
    assert said
    test = DATASETS["digits"].load("test")
    labels = model.predict(list(test.images))["class"].astype(int)
    assert float(said[2]) == pytest.approx(100 * np.mean(labels != test.labels), abs=0.3)
    assert abs(float(said[1]) - float(said[2])) < 5
    session = onnxruntime.InferenceSession(path)
    assert session.get_modelmeta().custom_metadata_map["test error [%]"] == said[1]
    export_model(model, "onnx", tmp_path)
    assert path.stat().st_size != (tmp_path / "model.onnx").stat().st_size


def test_a_network_that_draws_random_numbers_is_not_exported(tmp_path: Path) -> None:
    model = untrained("toy-chain-2")
    model.network.register_forward_hook(lambda module, given, found: found + torch.rand_like(found))
    with pytest.raises(UserError, match="draws random numbers"):
        export_model(model, "torch-export", tmp_path)


def test_the_plain_file_names_a_photo_alone(model: TrainedModel, tmp_path: Path) -> None:
    export_model(model, "py", tmp_path)
    write_image(tmp_path / "photo.png", smooth(3, 60, 50))
    ended = subprocess.run([sys.executable, "model.py", "photo.png"], cwd=tmp_path, capture_output=True, text=True)
    row = model.predict(tmp_path / "photo.png").iloc[0]
    assert ended.stdout == f"photo.png: {row['class']} ({100 * row['probability']:.1f} %)\n"


def test_what_gives_other_logits_is_not_kept(
    model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zcpt_ray.training.export.TOLERANCE", -1.0)
    for form in ("onnx", "torch-export", "py"):
        with pytest.raises(UserError, match=r"gives other logits than the network, by .*; nothing is written"):
            export_model(model, form, tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="unknown format 'tflite'"):
        export_model(model, "tflite", tmp_path)
