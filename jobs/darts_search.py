"""Zero-Cost-PT on the DARTS space: propose N genotypes, validate them on V minibatches, draw the best one.

Subspaces: --space darts-s1, darts-s2, darts-s3 or darts-s4; darts-with-none may keep `none` too. --smoke searches the same choices
in networks of 3 cells and 4 channels (darts-small, darts-s1-small, ...): a proposal in the full space is 220 scores.
"""

from zcpt_ray.cli import main
from zcpt_ray.configs import SearchConfig

if __name__ == "__main__":
    main(__doc__ or "", SearchConfig(space="darts", batch_size=64))
