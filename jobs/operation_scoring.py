"""Which operation scoring functions track the truth: `zcpt study`."""

from zcpt_ray.cli import study

if __name__ == "__main__":
    study.main()
