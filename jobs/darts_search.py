"""Zero-Cost-PT on the DARTS space: propose N genotypes, validate them on V minibatches, draw the best one.

Subspaces: --space darts-s1, darts-s2, darts-s3 or darts-s4; darts-with-none may keep `none` too. --smoke searches the
same choices in networks of 3 cells and 4 channels (darts-small, ...): a proposal in the full space is 220 scores.
"""

from zcpt_ray.cli import search

if __name__ == "__main__":
    search.main(description=__doc__, space="darts", batch_size=64)
