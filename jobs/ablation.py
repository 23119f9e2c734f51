"""An ablation of the paper, or any grid of searches, on Ray Tune: `zcpt ablation`."""

from zcpt_ray.cli import ablation

if __name__ == "__main__":
    ablation.main()
