"""Zero-Cost-PT on the MobileNet-like space of 21 layers: meant for images of 224 pixels, works with those of any data set."""

from zcpt_ray.cli import main
from zcpt_ray.configs import SearchConfig

if __name__ == "__main__":
    main(__doc__ or "", SearchConfig(space="mobilenet", batch_size=64))
