"""What a run is: frozen, checked configurations, and the presets."""

import math
from dataclasses import dataclass
from typing import Any

from zcpt_ray.devices import DEVICE_NAMES, TARGETS
from zcpt_ray.errors import UserError
from zcpt_ray.resources import RESOURCES, named_limits
from zcpt_ray.typed_fields import check_least, take_as_declared


@dataclass(frozen=True)
class SupernetTraining:
    """How a supernet is trained for the scorings that need that: `darts`, `darts-pt`, `disc-acc`. Defaults: DARTS-PT's.

    Weights: SGD with momentum, cosine decay to `min_learning_rate`. Alphas: Adam, first order, on the held-out half.

    Raises:
        UserError: a number is out of range.
    """

    epochs: int = 60
    """Epochs over the search half before anything is scored."""
    retrain_epochs: int = 5
    """Epochs after each decision (darts-pt, disc-acc), and of each discretized supernet that disc-acc judges."""
    training_batch_size: int = 64
    """Images per step."""
    learning_rate: float = 0.025
    """Of the weights, at the start."""
    min_learning_rate: float = 0.001
    """Of the weights, at the end and when retraining."""
    momentum: float = 0.9
    """Of SGD."""
    weight_decay: float = 3e-4
    """Of the weights."""
    gradient_clip: float = 5.0
    """Greatest norm of the weights' gradient."""
    alpha_learning_rate: float = 3e-4
    """Of the architecture parameters alpha, with Adam, betas 0.5 and 0.999, weight decay 0.001."""
    fixed_alpha: bool = False
    """Leave alphas equal: DARTS-PT (fix alpha)."""
    max_images: int = 0
    """Train and judge on so many images of each half, of each class its share, for a machine without a GPU; 0: all."""

    def __post_init__(self) -> None:
        take_as_declared(self)
        whole = {"epochs": 0, "retrain_epochs": 0, "training_batch_size": 2, "max_images": 0}
        rates = (
            "learning_rate",
            "min_learning_rate",
            "momentum",
            "weight_decay",
            "gradient_clip",
            "alpha_learning_rate",
        )
        check_least(self, whole | dict.fromkeys(rates, 0))


CROPS = ("center", "squash", "border")


@dataclass(frozen=True)
class ImageOptions:
    """How the images of a data set are read. What is None is as the data set has it.

    Raises:
        UserError: a number is out of range, or no such crop or colour.
    """

    image_size: int | None = None
    """Pixels a side to which images are resized; by default those of a folder get what most of them have, 32 to 224."""
    flip: bool | None = None
    """Mirror images at random, which must not change their class (--flip), or do not (--no-flip); by default as the
    data set says, a folder's are not.
    """
    test_share: float = 0.2
    """Share of a folder's images that become test images, evenly spread, where it is not split by folders or names."""
    crop: str = "center"
    """Of a folder's images: center (largest square in the middle), squash (sides scaled apart), border (bars added)."""
    background: str = "white"
    """Colour behind transparent images, a name or as #ff8000."""
    max_megapixels: float = 64.0
    """Larger images are refused."""
    drop_unlabelled: bool = False
    """Leave out images whose label is -1, which stands for unknown; without it they are refused."""

    def __post_init__(self) -> None:
        take_as_declared(self)
        if not 0 < self.test_share < 1:
            raise UserError(f"test_share must lie between 0 and 1, got {self.test_share:g}")
        if self.crop not in CROPS:
            raise UserError(f"unknown crop {self.crop!r}; choose from {', '.join(CROPS)}")
        if not self.max_megapixels > 0:
            raise UserError(f"max_megapixels must be above 0, got {self.max_megapixels:g}")

    @property
    def given(self) -> dict[str, Any]:
        """Those that are not as by default, by name."""
        return {name: value for name, value in vars(self).items() if value != getattr(AS_THEY_ARE, name)}


AS_THEY_ARE = ImageOptions()
"""Images are read as the data set has them."""


LANES = ("together", "in-turn")
SCOPES = ("", "edge", "step")
VALIDATIONS = ("full", "race")
FINALIST_SOURCES = ("training", "benchmark")


@dataclass(frozen=True)
class SearchConfig:
    """One Zero-Cost-PT search (algorithm 1 of the paper).

    Raises:
        UserError: a number is out of range. Names are looked up by `Search.of`.
    """

    space: str = "nasbench201"
    """Search space."""
    dataset: str = "digits"
    """Data set, or a folder of images with a subfolder per class; its images give the minibatches."""
    proxy: str = "nwot-released"
    """Zero-cost proxy S that scores supernets and networks, several joined by +, or auto: the best known in a space."""
    aggregation: str = "log-rank"
    """Of several proxies joined by +, as nwot+synflow: how ranks are added up, by log-rank, mean-rank or borda."""
    scope: str = ""
    """Among which ops such proxies rank: those of an edge, or all that are scored together in a step; by default as the
    scoring says, step.
    """
    scoring: str = "zc-pt"
    """Operation scoring function: what is asked of the proxy to rate an op."""
    confidence: float = 0.0
    """Rest a decision on more minibatches, at most 8, until it is so certain which op is best, as 0.95; 0 takes one."""
    method: str = "discretize"
    """How an architecture is proposed: discretize a supernet edge by edge, or one of the baselines."""
    order: str = "random"
    """In which order edges are discretized."""
    lanes: str = "together"
    """Where a step decides an edge of two kinds of cells (DARTS): rates the ops of both before it decides either
    (together), or those of the second once the first is decided (in-turn, as the paper's released code).
    """
    num_proposals: int = 10
    """N: how often the whole supernet is discretized."""
    proposal_weights: int = 1
    """Make proposals with so many sets of untrained weights, in turn from proposal to proposal; by default all start
    from those of the search seed.
    """
    num_validations: int = 100
    """V: on how many minibatches each candidate is scored end to end; with 0 the most often proposed candidate wins."""
    validation: str = "full"
    """full scores each candidate on all V minibatches, race only as long as it can still win."""
    error: float = 0.001
    """Probability with which a race may drop the best candidate."""
    validation_proxy: str = ""
    """Proxy that scores candidates end to end; by default the one that scores ops."""
    validation_weights: int = 1
    """Score candidates with so many sets of untrained weights, in turn from minibatch to minibatch; the first are those
    that ops are scored with. 0 gives each candidate weights of its own, as the paper's released code does.
    """
    neighbours: int = 0
    """The architectures one op away from so many of the best candidates become candidates too."""
    finalists: int = 0
    """So many of the best candidates are trained for a few epochs, and the most accurate one is the result."""
    finalist_epochs: int = 12
    """Epochs of each finalist, on one half of the training images; the other half judges."""
    finalist_source: str = "training"
    """training trains finalists, benchmark looks up what a tabular benchmark has of them after 12 epochs."""
    finalist_images: int = 0
    """Train finalists on so many images, for a machine without a GPU; 0 takes all."""
    finalist_early_stopping: bool = False
    """Stop finalists early that are worse than the others (ASHA, on Ray): which ones depends on when each trains."""
    batch_size: int = 256
    """Images per minibatch."""
    seed: int = 0
    """Search seed."""
    evaluations: int = 500
    """Networks that one proposal of evolution scores."""
    max_params: float | None = None
    """Budget: at most so many million parameters, in the network that one would train."""
    max_flops: float | None = None
    """Budget: at most so many million multiply-adds, in that network on one image."""
    max_memory_mb: float | None = None
    """Budget: at most so many MB of activations (float32) at a time, in that network on one image."""
    max_file_mb: float | None = None
    """Budget: at most so many MB of weights (float32)."""
    max_latency_ms: float | None = None
    """Budget: at most so many milliseconds for one image, on this machine's CPU as `zcpt profile` times it, on the
    device of --device-table, or on a target.
    """
    max_energy_mj: float | None = None
    """Budget: at most so many millijoule for one image, on a target."""
    max: tuple[str, ...] = ()
    """The same budgets by name, as params_m=0.5 latency_ms=8: of params_m, flops_m, memory_mb, file_mb, latency_ms,
    energy_mj.
    """
    target: str = ""
    """A device of HW-NAS-Bench, which measured NAS-Bench-201, or of Accel-NASBench, which measured accel-mbconv: what
    is limited is its latency, or energy. --device takes its name too.
    """
    device_table: str | None = None
    """Latencies of another device: a file that `zcpt profile` wrote there, or any table with columns arch and
    latency_ms.
    """
    device: str = "auto"
    """cpu, cuda, xpu (Intel), mps (Apple), or auto: an NVIDIA, AMD or Intel GPU if there is one."""
    training: SupernetTraining = SupernetTraining()
    images: ImageOptions = AS_THEY_ARE

    def __post_init__(self) -> None:
        for name, limit in named_limits(self.max).items():
            object.__setattr__(self, RESOURCES[name].field, limit)
        object.__setattr__(self, "max", ())
        if self.device in TARGETS:
            object.__setattr__(self, "target", self.device)
            object.__setattr__(self, "device", "auto")
        take_as_declared(self)
        least = {
            "num_proposals": 1,
            "proposal_weights": 1,
            "num_validations": 0,
            "batch_size": 2,
            "seed": 0,
            "evaluations": 1,
            "neighbours": 0,
            "validation_weights": 0,
            "finalists": 0,
            "finalist_epochs": 1,
            "finalist_images": 0,
        }
        check_least(self, least)
        if not 0 <= self.confidence < 1:
            raise UserError(f"confidence must be at least 0 and below 1, got {self.confidence:g}")
        if self.finalist_early_stopping and self.finalist_source != "training":
            raise UserError("finalist_early_stopping is for finalists that are trained, not looked up: leave it out")
        if not 0 < self.error < 1:
            raise UserError(f"error must lie between 0 and 1, got {self.error:g}")
        if self.neighbours and not self.num_validations:
            raise UserError("neighbours are found and ranked by validation: they need num_validations of at least 1")
        for resource in RESOURCES.values():
            if (limit := getattr(self, resource.field)) is not None and not 0 < limit < math.inf:
                raise UserError(f"{resource.field} must be a number of {resource.units} above 0, got {limit}")
        allowed = {"device": (*DEVICE_NAMES, *TARGETS), "target": TARGETS, "lanes": LANES, "scope": SCOPES}
        allowed |= {"validation": VALIDATIONS, "finalist_source": FINALIST_SOURCES}
        for name, choices in allowed.items():
            if getattr(self, name) not in choices and (name, self.target) != ("target", ""):
                raise UserError(f"unknown {name} {getattr(self, name)!r}; choose from {', '.join(choices)}")
        if self.target and self.device_table:
            raise UserError(f"target {self.target!r} has a table of its own: leave out device_table")

    @property
    def limits(self) -> dict[str, float]:
        """The budgets that are given, by the name of the resource."""
        found = {name: getattr(self, resource.field) for name, resource in RESOURCES.items()}
        return {name: limit for name, limit in found.items() if limit is not None}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "SearchConfig":
        """The inverse of `dataclasses.asdict`."""
        images = ImageOptions(**raw.get("images", {}))
        return cls(**{**raw, "training": SupernetTraining(**raw["training"]), "images": images})
