"""What `zcpt fit` is asked for: the way from data to a trained model in one configuration."""

from dataclasses import dataclass, fields

from zcpt_ray.configs import AS_THEY_ARE, ImageOptions, SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.train_config import TrainConfig

CHOSEN = "auto"
"""What is chosen from data and time."""


@dataclass(frozen=True)
class FitConfig:
    """From data to a trained model: what is None, or `auto`, is chosen.

    Raises:
        UserError: a number is out of range.
    """

    dataset: str = "digits"
    """Data set, or a folder of images with a subfolder per class."""
    minutes: float = 30.0
    """How long all may take, about: searching, training and comparing."""
    space: str = CHOSEN
    """Search space; auto: photos-small for images of up to 64 pixels, photos for larger ones."""
    proxy: str = "nwot-released"
    """Zero-cost proxy of the search."""
    num_proposals: int = 6
    """N of the search."""
    num_validations: int = 20
    """V of the search."""
    recipe: str = CHOSEN
    """How networks are trained; auto: small-data (AdamW), or small-data-sgd where there are many steps."""
    epochs: int | None = None
    """Passes over the training images; by default what the time allows, up to 100."""
    batch_size: int | None = None
    """Images per step of a training; by default 64, or fewer where there are few images."""
    max_images: int = 0
    """Train and test on so many images; 0: all, unless fewer than 5 epochs fit."""
    validation_share: float = 0.1
    """Share of the training images that is held out; the epoch that is best on it is kept. 0 keeps the last."""
    ema: float = 0.99
    """Decay of the average of the weights that is kept; 0 keeps them as they are."""
    seed: int = 0
    """Seed of search and training."""
    alone: bool = False
    """Train the found network only, without the others that it is compared with."""
    max_params: float | None = None
    """Budget: at most so many million parameters."""
    max_flops: float | None = None
    """Budget: at most so many million multiply-adds on one image."""
    max_memory_mb: float | None = None
    """Budget: at most so many MB of activations at a time."""
    max_file_mb: float | None = None
    """Budget: at most so many MB of weights."""
    max_latency_ms: float | None = None
    """Budget: at most so many milliseconds for one image, on this machine's CPU with one thread, or on the device of
    --device-table.
    """
    max: tuple[str, ...] = ()
    """The same budgets by name, as params_m=0.5 latency_ms=8."""
    device_table: str | None = None
    """Latencies of another device, as `zcpt profile` writes them there."""
    device: str = "auto"
    """Where networks are scored and trained: cpu, cuda, xpu, mps, or auto."""
    images: ImageOptions = AS_THEY_ARE

    def __post_init__(self) -> None:
        if not self.minutes > 0:
            raise UserError(f"minutes must be above 0, got {self.minutes:g}")
        self.search_config("photos", AS_THEY_ARE)
        TrainConfig("", epochs=self.epochs, batch_size=self.batch_size, ema=self.ema, max_images=self.max_images)
        if not 0 <= self.validation_share < 0.9:
            raise UserError(f"validation_share must be at least 0 and below 0.9, got {self.validation_share:g}")

    def search_config(self, space: str, images: ImageOptions, batch_size: int = 32) -> SearchConfig:
        """The search in a space, on images of a size."""
        same = {f.name for f in fields(SearchConfig)} & {f.name for f in fields(FitConfig)}
        given = {name: getattr(self, name) for name in same}
        return SearchConfig(**{**given, "space": space, "images": images, "batch_size": batch_size})
