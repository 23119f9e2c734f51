"""What a training leaves behind: a row of metrics per epoch, the result, and the directory that holds them."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from zcpt_ray.errors import UserError
from zcpt_ray.identity import run_name
from zcpt_ray.storage.paths import AnyPath
from zcpt_ray.storage.run_directory import read_json, write_json
from zcpt_ray.train_config import TrainConfig


@dataclass(frozen=True)
class EpochMetrics:
    """One epoch. Errors are in percent.

    Those of the test are of the whole set, after the epoch; `train_error` is top-1 of the augmented images.
    `learning_rate` is that of the epoch's last step, losses are means over images, `images_per_second` is of the
    training steps, `seconds` of the whole epoch with its test. With five classes or fewer there is no `top5_error`.
    `validation_error` is that of the training images that were held out, if any were.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_error: float
    test_loss: float
    top1_error: float
    top5_error: float | None
    images_per_second: float
    seconds: float
    validation_error: float | None = None


def kept_epoch(history: Sequence[EpochMetrics]) -> EpochMetrics:
    """The epoch whose network is kept: the last, or, with a validation split, the best on that, of equals the later."""
    return min(reversed(history), key=lambda epoch: epoch.validation_error or 0.0)


@dataclass(frozen=True)
class TrainResult:
    """A training that is finished. `params` and `flops` (multiply-adds on one image) are of the trained network,
    without an auxiliary head; `device` says where it ran, `own` what the user's own space and data set hold.
    """

    config: TrainConfig
    history: tuple[EpochMetrics, ...]
    params: int
    flops: int
    device: str
    versions: dict[str, str]
    own: dict[str, str] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """That of its `TrainPlan`."""
        return run_name(self.config, self.own)

    @property
    def error(self) -> float:
        """Test error [%] of the network that was kept."""
        return kept_epoch(self.history).top1_error

    @property
    def seconds(self) -> float:
        """Of all epochs."""
        return sum(metrics.seconds for metrics in self.history)

    def to_frame(self) -> pd.DataFrame:
        """One row per epoch: the fields of `EpochMetrics`."""
        return pd.DataFrame([dataclasses.asdict(metrics) for metrics in self.history])

    def save(self, directory: AnyPath) -> None:
        """Write `training.json`."""
        write_json(directory / "training.json", dataclasses.asdict(self))

    @classmethod
    def load(cls, directory: AnyPath) -> "TrainResult":
        """Read `training.json`.

        Raises:
            UserError: there is none, or it is damaged.
        """
        path = directory / "training.json"
        raw = read_json(path)
        try:
            raw["config"] = TrainConfig.from_dict(raw["config"])
            raw["history"] = tuple(EpochMetrics(**metrics) for metrics in raw["history"])
            return cls(**raw)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} is no training of this version: {error!r}") from error
