"""Zero-Cost-PT on NAS-Bench-201: propose N architectures, validate them on V minibatches, look the best one up."""

from zcpt_ray.cli import search

if __name__ == "__main__":
    search.main(description=__doc__, space="nasbench201")
