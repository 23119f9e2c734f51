"""Zero-Cost-PT on NAS-Bench-Macro: propose N architectures of 8 layers, validate them on V minibatches."""

from zcpt_ray.cli import search

if __name__ == "__main__":
    search.main(description=__doc__, space="nasbench-macro")
