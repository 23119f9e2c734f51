"""Zero-Cost-PT on NAS-Bench-1Shot1, space 1 unless --space says otherwise: propose, validate, look the best one up."""

from zcpt_ray.cli import search

if __name__ == "__main__":
    search.main(description=__doc__, space="nasbench1shot1-1")
