"""Searches of the paper by name, with any proxies and seeds: `zcpt baselines`."""

from zcpt_ray.cli import baselines

if __name__ == "__main__":
    baselines.main()
