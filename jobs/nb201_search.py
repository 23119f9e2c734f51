"""Zero-Cost-PT on NAS-Bench-201: propose N architectures, validate them on V minibatches, look the best one up."""

from zcpt_ray.cli import main
from zcpt_ray.configs import SearchConfig

if __name__ == "__main__":
    main(__doc__ or "", SearchConfig(space="nasbench201"))
