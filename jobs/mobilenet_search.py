"""Zero-Cost-PT on the MobileNet-like space of 21 layers, for images of 224 pixels or any other size."""

from zcpt_ray.cli import search

if __name__ == "__main__":
    search.main(description=__doc__, space="mobilenet", batch_size=64)
