"""What one training is: a frozen, checked configuration."""

from dataclasses import dataclass
from typing import Any

from zcpt_ray.configs import AS_THEY_ARE, ImageOptions
from zcpt_ray.devices import DEVICE_NAMES
from zcpt_ray.errors import UserError
from zcpt_ray.typed_fields import check_least, take_as_declared

PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class TrainConfig:
    """One training of one architecture. What is None is as the recipe says.

    Raises:
        UserError: a number is out of range. Names are looked up by `TrainPlan.of`.
    """

    arch: str
    """The architecture, encoded as its space does."""
    space: str = "nasbench201"
    """Search space that the architecture is of."""
    dataset: str = "cifar10"
    """Data set, or a folder of images: trained on all its training images, tested on its test images."""
    recipe: str = "cifar"
    """How it is trained."""
    seed: int = 0
    """Training seed."""
    epochs: int | None = None
    """Passes over the training images."""
    batch_size: int | None = None
    """Images per step, over all workers."""
    channels: int | None = None
    """Initial channels, where the space takes them; DARTS: 36, for ImageNet 48."""
    num_cells: int | None = None
    """Cells, where the space takes them; DARTS: 20, for ImageNet 14."""
    max_images: int = 0
    """Train and test on so many images, evenly spread over the data set, for a machine without a GPU; 0 takes all."""
    precision: str = "auto"
    """Of the forward pass: float32, bfloat16 (autocast), or auto: bfloat16 on a GPU that has it."""
    compile: bool = False
    """Pass the network through torch.compile."""
    device: str = "auto"
    """cpu, cuda, xpu (Intel), mps (Apple), or auto: an NVIDIA, AMD or Intel GPU if there is one."""
    ema: float = 0.0
    """Test and keep an average of the weights over the steps, with this decay, such as 0.99; 0 keeps them as they are.
    """
    mixup: float = 0.0
    """Mix images pairwise, by a share drawn from Beta(mixup, mixup); 0 does not."""
    validation_share: float = 0.0
    """Hold out this share of the training images, of each class, and keep the epoch that is best on them; 0 keeps the
    last.
    """
    patience: int = 0
    """With a validation share: end after so many epochs without a better one; 0 does not."""
    loader_workers: int = 4
    """Processes that decode images which do not fit in memory (ImageNet); 0 decodes in the training process."""
    images: ImageOptions = AS_THEY_ARE

    def __post_init__(self) -> None:
        take_as_declared(self)
        least = {
            "seed": 0,
            "epochs": 1,
            "batch_size": 2,
            "channels": 1,
            "num_cells": 3,
            "max_images": 0,
            "loader_workers": 0,
            "mixup": 0,
            "patience": 0,
        }
        check_least(self, {name: bound for name, bound in least.items() if getattr(self, name) is not None})
        for name, bound in (("ema", 1.0), ("validation_share", 0.9)):
            if not 0 <= getattr(self, name) < bound:
                raise UserError(f"{name} must be at least 0 and below {bound:g}, got {getattr(self, name):g}")
        if self.patience and not self.validation_share:
            raise UserError("patience needs a validation_share: without one nothing says which epoch is better")
        for name, choices in (("device", DEVICE_NAMES), ("precision", PRECISIONS)):
            if getattr(self, name) not in choices:
                raise UserError(f"unknown {name} {getattr(self, name)!r}; choose from {', '.join(choices)}")

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "TrainConfig":
        """The inverse of `dataclasses.asdict`."""
        return cls(**{**raw, "images": ImageOptions(**raw.get("images", {}))})

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes of the network that are not as usual, by name."""
        given = {"channels": self.channels, "num_cells": self.num_cells}
        return {name: size for name, size in given.items() if size is not None}

    @property
    def setting(self) -> "TrainConfig":
        """The same without what differs within one experiment: architecture, space and seed, nor where it runs."""
        return TrainConfig(**{**vars(self), "arch": "", "space": "", "seed": 0, "device": "auto", "loader_workers": 0})
