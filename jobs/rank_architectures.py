"""How a proxy ranks given architectures end to end: `zcpt rank`."""

from zcpt_ray.cli import rank

if __name__ == "__main__":
    rank.main()
