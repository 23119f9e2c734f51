"""A trained network for those who have nothing of this package: ONNX, torch.export, or one plain PyTorch file.

Each takes RGB images float32 [B, 3, S, S] on a scale of 0 to 1 and gives logits [B, classes], and is checked against
the network before it is kept.
"""

import importlib.util
import json
import logging
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zcpt_ray.datasets.minibatches import ImageSet
from zcpt_ray.errors import UserError
from zcpt_ray.registry import lookup
from zcpt_ray.storage.paths import write_whole
from zcpt_ray.training.model_file import ModelInfo, TrainedModel
from zcpt_ray.training.plain_file import ANY_NUMBER, plain_file
from zcpt_ray.training.plan import TrainPlan

TOLERANCE = 1e-4
"""Largest difference of a logit, beside the largest logit where that is above 1."""
OPSET = 20
CALIBRATED_ON, TESTED_ON, EVALUATED_TOGETHER = 256, 10_000, 64
"""Images that ranges of 8 bits are taken from, that errors are measured on at most, and of a minibatch."""
log = logging.getLogger(__name__)


def export_model(model: TrainedModel, format: str, folder: Path) -> list[Path]:
    """Write a model in a format of `EXPORTS`; the files.

    Raises:
        UserError: an unknown format, missing packages, a network that cannot be written so, or one that gives other
            logits then.
    """
    write = lookup(EXPORTS, format, "format")
    folder.mkdir(parents=True, exist_ok=True)
    return write(model, folder)


def export_onnx(model: TrainedModel, folder: Path) -> list[Path]:
    """`model.onnx`, with any number of images; what it takes and its classes are in its metadata."""
    _require("onnx", "onnxscript", "onnxruntime")
    import onnx

    path = folder / "model.onnx"
    images = _examples(model)
    with tempfile.TemporaryDirectory() as place:
        temporary = Path(place) / "model.onnx"
        names = {"input_names": ["images"], "output_names": ["logits"], "dynamic_shapes": ANY_NUMBER}
        _write_onnx(model.with_preprocessing(), (images,), temporary, **names)
        written = onnx.load(temporary)
        onnx.helper.set_model_props(written, described(model.info))
        content = written.SerializeToString()
    run = _runner(content)
    _check(model, images, lambda given: run(given.numpy()), "ONNX")
    write_whole(path, content)
    return [path]


def export_int8(model: TrainedModel, folder: Path) -> list[Path]:
    """`model-int8.onnx`: weights and activations in 8 bits, their ranges from training images.

    The test errors [%] of both forms, by onnxruntime, are logged and in its metadata: it gives other logits than the
    network. The images of the training must be there.
    """
    _require("onnx", "onnxscript", "onnxruntime")
    import onnx
    from onnxruntime import quantization

    dataset = TrainPlan.of(model.info.config).dataset
    train, test = (dataset.load(split) for split in ("train", "test"))
    path = folder / "model-int8.onnx"
    with tempfile.TemporaryDirectory() as place:
        (whole,) = export_onnx(model, Path(place))
        prepared, quantised = Path(place) / "prepared.onnx", Path(place) / "model-int8.onnx"
        quantization.quant_pre_process(whole, prepared, skip_symbolic_shape=True)  # batch norms go into convolutions
        quantization.quantize_static(
            prepared,
            quantised,
            _Calibration(train.thinned(CALIBRATED_ON)),
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
        )
        errors = [_test_error(file.read_bytes(), test.thinned(TESTED_ON)) for file in (whole, quantised)]
        written = onnx.load(quantised)
    told = {"test error in float32 [%]": f"{errors[0]:.2f}", "test error [%]": f"{errors[1]:.2f}"}
    onnx.helper.set_model_props(written, described(model.info) | told)
    log.info("int8: test error %.2f %%, in float32 %.2f %%", errors[1], errors[0])
    write_whole(path, written.SerializeToString())
    return [path]


def onnx_pass(module: nn.Module, inputs: Sequence[Tensor], threads: int) -> Callable[[], object]:
    """A pass of a module by onnxruntime, on so many CPU threads.

    Raises:
        UserError: missing packages, or a module that ONNX does not take.
    """
    _require("onnx", "onnxscript", "onnxruntime")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "module.onnx"
        _write_onnx(module.eval(), tuple(inputs), path)
        session = _session(path.read_bytes(), threads)
    feed = {given.name: tensor.numpy() for given, tensor in zip(session.get_inputs(), inputs, strict=True)}
    return lambda: session.run(None, feed)


def _write_onnx(module: nn.Module, inputs: tuple[Tensor, ...], path: Path, **options: Any) -> None:
    with _refused("ONNX"):
        torch.onnx.export(
            module,
            inputs,
            path,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
            **options,
        )


class _Calibration:
    """Minibatches of images, as onnxruntime's calibration asks for them: one after another, then None."""

    def __init__(self, images: ImageSet) -> None:
        self.left = iter(_pixels(images))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next one."""
        found = next(self.left, None)
        return None if found is None else {"images": found[0]}


def _pixels(images: ImageSet) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images float32 on a scale of 0 to 1, and labels."""
    for start in range(0, len(images), EVALUATED_TOGETHER):
        chosen = slice(start, start + EVALUATED_TOGETHER)
        yield images.take(chosen).astype(np.float32) / 255, images.labels[chosen]


def _test_error(content: bytes, test: ImageSet) -> float:
    run = _runner(content)
    wrong = [(run(pixels).argmax(1) != labels).sum() for pixels, labels in _pixels(test)]
    return 100 * float(sum(wrong)) / len(test)


def _runner(content: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Images -> logits, by onnxruntime."""
    session = _session(content)
    return lambda images: session.run(None, {"images": images})[0]


def _session(content: bytes, threads: int = 1) -> Any:
    """Of onnxruntime, on one thread if not told otherwise: its threads spin where others work."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def export_torch(model: TrainedModel, folder: Path) -> list[Path]:
    """`model.pt2`, for `torch.export.load(path).module()`."""
    path, images = folder / "model.pt2", _examples(model)
    with _refused("torch-export"), tempfile.TemporaryDirectory() as place:
        program = torch.export.export(model.with_preprocessing(), (images,), dynamic_shapes=ANY_NUMBER)
        temporary = Path(place) / "model.pt2"
        torch.export.save(program, temporary, extra_files={"model.json": json.dumps(described(model.info))})
        content = temporary.read_bytes()
        loaded = torch.export.load(temporary).module()
    _check(model, images, lambda given: loaded(given).detach().numpy(), "torch-export")
    write_whole(path, content)
    return [path]


def export_plain(model: TrainedModel, folder: Path) -> list[Path]:
    """`model.py` and `weights.pt`: PyTorch alone, run by `python model.py photo.jpg`."""
    with _refused("py"):
        text, weights = plain_file(model)
    images = _examples(model)
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "model.py").write_text(text)
        torch.save(weights, Path(place) / "weights.pt")
        _check(model, images, lambda given: _run_alone(Path(place), given), "py")
        content = (Path(place) / "weights.pt").read_bytes()
    write_whole(folder / "weights.pt", content)
    write_whole(folder / "model.py", text)
    return [folder / "model.py", folder / "weights.pt"]


EXPORTS: dict[str, Callable[[TrainedModel, Path], list[Path]]] = {
    "onnx": export_onnx,
    "onnx-int8": export_int8,
    "torch-export": export_torch,
    "py": export_plain,
}


def described(info: ModelInfo) -> dict[str, str]:
    """What a file of another format says of the model."""
    return {
        "input": f"RGB, float32 [batch, {len(info.mean)}, {info.image_size}, {info.image_size}], 0 to 1",
        "normalisation": "inside",
        "crop": info.config.images.crop,
        "kept": str(info.kept),
        "classes": json.dumps(info.classes),
        "architecture": info.config.arch,
        "space": info.config.space,
        "test error [%]": f"{info.metrics['top1_error']:.2f}",
    }


RUN_ALONE = """import sys
sys.modules["zcpt_ray"] = None
import numpy, torch
import model
net = model.load_network()
with torch.no_grad():
    numpy.save("logits.npy", net(torch.from_numpy(numpy.load("images.npy"))).numpy())
"""


def _run_alone(folder: Path, images: Tensor) -> np.ndarray:
    """What model.py gives in a process in which this package cannot be imported."""
    np.save(folder / "images.npy", images.numpy())
    ended = subprocess.run([sys.executable, "-c", RUN_ALONE], cwd=folder, capture_output=True, text=True)
    if ended.returncode:
        raise UserError(f"model.py does not run alone: {ended.stderr.strip().splitlines()[-1]}")
    logits: np.ndarray = np.load(folder / "logits.npy")
    return logits


def _examples(model: TrainedModel) -> Tensor:
    """Three images of noise and three of large shapes; on few numbers, a wrong layer may not show."""
    size, channels = model.info.image_size, len(model.info.mean)
    random = torch.Generator().manual_seed(0)
    noise = torch.rand(3, channels, size, size, generator=random)
    shapes = nn.functional.interpolate(torch.rand(3, channels, 3, 3, generator=random), size, mode="bilinear")
    return torch.cat([noise, shapes])


@torch.no_grad()
def _check(model: TrainedModel, images: Tensor, run: Callable[[Tensor], np.ndarray], name: str) -> None:
    network = model.with_preprocessing()
    for given in (images, images[:1]):
        expected = network(given).numpy()
        if not np.array_equal(network(given).numpy(), expected):
            raise UserError("this network draws random numbers for each image (the op noise): it cannot be exported")
        difference = float(np.abs(run(given) - expected).max()) / max(1.0, float(np.abs(expected).max()))
        if not difference <= TOLERANCE:
            raise UserError(f"{name} gives other logits than the network, by {difference:.2g}; nothing is written")


@contextmanager
def _refused(name: str) -> Iterator[None]:
    """Inside, what cannot be written in a format is the network's fault."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about torch
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            yield
    except UserError:
        raise
    except Exception as error:
        why = (str(error) or repr(error)).strip().splitlines()[0]
        raise UserError(f"this network cannot be written as {name}: {why}") from error


def _require(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX needs {', '.join(missing)}: pip install 'zcpt_ray[export]'")
