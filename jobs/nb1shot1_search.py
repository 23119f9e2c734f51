"""Zero-Cost-PT on NAS-Bench-1Shot1, space 1 unless --space says otherwise: propose, validate, look the best one up."""

from zcpt_ray.cli import main
from zcpt_ray.configs import SearchConfig

if __name__ == "__main__":
    main(__doc__ or "", SearchConfig(space="nasbench1shot1-1"))
