"""Train found architectures, each with every training seed: `zcpt train`."""

from zcpt_ray.cli import train

if __name__ == "__main__":
    train.main()
