"""Zero-Cost-PT on any search space, one of the package's or your own in a Python file: `--space FILE.py`."""

from zcpt_ray.cli import search

if __name__ == "__main__":
    search.main()
