"""Numbers that the paper prints, to stand beside ours. Errors in percent, (mean, standard deviation)."""

TABLE_1 = {
    "best-acc": (5.63, 1),
    "avg-acc": (6.24, 166),
    "disc-acc": (13.55, 12744),
    "darts-pt": (19.43, 13770),
    "zc-pt(nwot)": (5.81, 14),
    "disc-zc(nwot)": (22.96, 14274),
    "darts": (45.70, 15231),
    "tenas": (7.19, 1817),
}
"""Initial scoring on NAS-Bench-201: CIFAR-10 test error and rank of the architecture that each function picks."""

FIGURE_2 = {"zc-pt(nwot)": 0.77, "zc-pt(synflow)": 0.63, "tenas": 0.44, "disc-zc(nwot)": 0.10, "disc-zc(synflow)": 0.60}
"""Spearman correlation with best-acc at iteration 0: as the text gives it; disc-zc from the scores that the authors published."""

TABLE_2 = {
    "zero-cost-pt tenas": (70.07, 39.87),
    "zero-cost-pt fisher": (10.64, 1.27),
    "zero-cost-pt grad_norm": (10.55, 1.11),
    "zero-cost-pt grasp": (9.81, 3.42),
    "zero-cost-pt snip": (8.32, 2.02),
    "zero-cost-pt zen_score": (6.24, 0.0),
    "zero-cost-pt synflow": (6.24, 0.0),
    "zero-cost-pt nwot": (5.97, 0.17),
    "random": (13.39, 13.28),
    "darts": (45.70, 0.0),
    "darts-pt": (11.89, 0.0),
    "darts-pt-fixed-alpha": (6.20, 0.0),
    "naswot synflow": (6.54, 0.62),
    "naswot nwot": (7.04, 0.80),
    "te-nas": (6.10, 0.47),
    "zero-cost-disc nwot": (6.22, 0.84),
}
"""CIFAR-10 test error on NAS-Bench-201 by search and proxy, over search seeds 0-3 and training seeds; N = 10, V = 100."""


ERRORS = {
    "nasbench201": TABLE_2,
    "nasbench1shot1-1": {"zero-cost-pt nwot": (6.47, 0.64), "darts": (6.67, 0.08)},
    "nasbench1shot1-2": {"zero-cost-pt nwot": (6.65, 0.36), "darts": (6.68, 0.36)},
    "nasbench1shot1-3": {"zero-cost-pt nwot": (6.45, 0.31), "darts": (6.64, 0.12)},
    "nasbench-macro": {"zero-cost-pt nwot": (7.05, 0.07)},
}
"""CIFAR-10 test error by search space: table 2, A10 for NAS-Bench-1Shot1, A11 for NAS-Bench-Macro."""


def published_error(search: str, space: str) -> tuple[float, float] | None:
    """The paper's CIFAR-10 error of a search, as in `zero-cost-pt nwot`, if it prints one; its nwot is the released reading."""
    return ERRORS.get(space, {}).get(search.replace("nwot-released", "nwot"))


def paper_covers(space: str, dataset: str) -> bool:
    """Whether there are numbers of that space and data set; beside any other they would say nothing."""
    return space in ERRORS and dataset == "cifar10"


DARTS_ERRORS = {
    "init_pt_s5_C10_0_100_N10": 2.855,
    "init_pt_s5_C10_1_100_N10": 2.493,
    "init_pt_s5_C10_2_100_N10": 2.658,
    "init_pt_s5_C10_3_100_N10": 2.59,
    "init_pt_s5_C10_0_1_N10": 3.065,
    "init_pt_s5_C10_1_1_N10": 2.873,
    "init_pt_s5_C10_2_1_N10": 3.005,
    "init_pt_s5_C10_3_1_N10": 2.803,
    "init_pt_s5_C10_0_10_N10": 3.065,
    "init_pt_s5_C10_1_10_N10": 2.86,
    "init_pt_s5_C10_2_10_N10": 2.723,
    "init_pt_s5_C10_3_10_N10": 2.88,
    "init_pt_s5_C10_0_N1": 2.703,
    "init_pt_s5_C10_1_N1": 3.248,
    "init_pt_s5_C10_2_N1": 2.702,
    "init_pt_s5_C10_3_N1": 2.595,
    "random_max_0": 2.935,
    "random_max_1": 3.018,
    "random_max_2": 2.945,
    "random_max_3": 2.875,
    "sample_2500_0": 2.99,
    "sample_2500_1": 2.99,
    "sample_2500_2": 2.99,
    "sample_2500_3": 2.99,
    "sample_20000_0": 2.73,
    "sample_20000_1": 2.73,
    "sample_20000_2": 2.73,
    "sample_20000_3": 2.73,
    "sample_50000_0": 2.72,
    "sample_50000_1": 2.72,
    "sample_50000_2": 2.72,
    "sample_50000_3": 2.72,
}
"""CIFAR-10 test error of the genotypes that the paper's authors published, by their names: mean over four training seeds.

Tables A5 and A6, and the max-param baseline; of `sample_*`, NASWOT's, the paper gives the mean over all four alone.
"""
