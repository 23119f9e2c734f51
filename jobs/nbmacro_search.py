"""Zero-Cost-PT on NAS-Bench-Macro: propose N architectures of 8 layers, validate them on V minibatches."""

from zcpt_ray.cli import main
from zcpt_ray.configs import SearchConfig

if __name__ == "__main__":
    main(__doc__ or "", SearchConfig(space="nasbench-macro"))
