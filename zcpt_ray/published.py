"""Numbers that the paper prints, to stand beside ours. Errors in percent, (mean, standard deviation).

Its standard deviations are those of a sample (n - 1): table A3 has the single values of a row of table 2.
"""

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

TABLE_A3 = (70.07, 39.87), (90.00, 10.27, 90.00, 90.00)
"""Zero-Cost-PT by tenas on NAS-Bench-201, CIFAR-10: the row of table 2, and what search seeds 0-3 found."""

TABLE_A5 = (
    (2.72, 2.55, 2.83, 2.71),
    (3.25, 3.26, 3.28, 3.20),
    (2.59, 2.84, 2.59, 2.79),
    (2.43, 2.77, 2.52, 2.66),
)
"""CIFAR-10 test error of what N = 1, V = 0 finds on DARTS: a row per search seed 0-3, in it training seeds 0-3."""

TABLE_A6 = {
    1: ((3.08, 3.16, 3.06, 2.96), (2.74, 2.91, 2.92, 2.92), (2.96, 3.10, 3.06, 2.90), (2.86, 2.85, 2.85, 2.65)),
    10: ((3.08, 3.16, 3.06, 2.96), (2.74, 2.91, 2.92, 2.87), (2.77, 2.71, 2.65, 2.76), (2.83, 3.00, 2.82, 2.87)),
    100: ((2.86, 2.97, 2.77, 2.82), (2.51, 2.47, 2.56, 2.43), (2.74, 2.73, 2.54, 2.62), (2.43, 2.77, 2.52, 2.64)),
}
"""The same by V, with N = 10."""

MAX_PARAM = ((3.07, 2.93, 2.89, 2.85), (2.92, 2.93, 3.17, 3.05), (2.98, 2.97, 2.93, 2.90), (2.87, 2.83, 3.02, 2.78))
"""The same of the max-param baseline: four networks of separable 5x5 convolutions only (A.7)."""

TABLE_3 = {(1, 0): (2.81, 0.29, 2.43), (10, 1): (2.93, 0.14, 2.65), (10, 10): (2.88, 0.14, 2.65), (10, 100): (2.64, 0.16, 2.43)}
"""By (N, V) on DARTS, CIFAR-10: mean, standard deviation and best single one of 16 test errors.

Means and best values are those of tables A5 and A6, cut off after two digits. The deviations follow from these tables to 0.01 only,
and as those of a sample only.
"""

TABLE_4 = {
    "DARTS": (3.00, 0.14, None, 3.3, 0.4),
    "SDARTS-RS": (2.67, 0.03, None, 3.4, 0.4),
    "SGAS": (2.66, 0.24, None, 3.7, 0.25),
    "DARTS-PT": (2.61, 0.08, 2.48, 3.0, 0.8),
    "DARTS-PT (none re-enabled)": (2.73, 0.13, 2.67, 3.2, 0.8),
    "TE-NAS": (2.63, 0.064, None, 3.8, 0.05),
    "max-param-random": (2.94, 0.098, 2.83, 5.14, None),
    "NASWOT (2500)": (2.99, 0.22, 2.66, None, 0.018),
    "NASWOT (20000)": (2.73, 0.09, 2.58, None, 0.083),
    "NASWOT (50000)": (2.72, 0.09, 2.52, None, 0.208),
    "Zero-Cost-EVO": (2.94, 0.14, 2.72, None, 0.018),
    "Zero-Cost-PT, synflow": (3.88, 0.56, 3.38, 5.1, None),
    "Zero-Cost-PT, zen_score": (3.06, 0.31, 2.68, 2.9, None),
    "Zero-Cost-PT, random": (2.64, 0.16, 2.43, 4.7, 0.018),
    "Zero-Cost-PT, global-op-iter": (2.62, 0.09, 2.49, 4.6, 0.17),
}
"""CIFAR-10 on DARTS: mean, standard deviation and best of the test errors, parameters in millions, GPU-days of a search.

Which of two rows is synflow's (table A7 has them too) follows from its parameters: it picks the largest op everywhere (A.7).
"""

TABLE_5 = {
    "fixed": {"cifar10": (5.98, 0.50), "cifar100": (27.60, 1.63), "imagenet16_120": (54.23, 0.93)},
    "global-op-iter": {"cifar10": (5.69, 0.19), "cifar100": (26.80, 0.51), "imagenet16_120": (53.64, 0.40)},
    "global-op-once": {"cifar10": (6.30, 0.57), "cifar100": (28.96, 1.66), "imagenet16_120": (55.04, 1.47)},
    "global-edge-iter": {"cifar10": (6.23, 0.45), "cifar100": (28.42, 0.59), "imagenet16_120": (54.39, 0.47)},
    "global-edge-once": {"cifar10": (6.30, 0.57), "cifar100": (28.96, 1.66), "imagenet16_120": (55.04, 1.47)},
    "random": {"cifar10": (5.97, 0.17), "cifar100": (27.47, 0.28), "imagenet16_120": (53.82, 0.77)},
}
"""NAS-Bench-201 by order, with nwot, N = 10, V = 100, searched on CIFAR-10."""

TABLE_A9 = {
    "cifar10": {
        "darts-s1": (2.75, 0.28, 2.55),
        "darts-s2": (2.49, 0.05, 2.45),
        "darts-s3": (2.47, 0.09, 2.40),
        "darts-s4": (5.23, 0.76, 4.69),
    },
    "cifar100": {
        "darts-s1": (22.05, 0.29, 21.84),
        "darts-s2": (20.97, 0.50, 20.61),
        "darts-s3": (21.02, 0.57, 20.61),
        "darts-s4": (25.70, 0.01, 25.69),
    },
    "svhn": {
        "darts-s1": (2.37, 0.06, 2.33),
        "darts-s2": (2.40, 0.05, 2.36),
        "darts-s3": (2.34, 0.05, 2.30),
        "darts-s4": (2.83, 0.06, 2.79),
    },
}
"""Zero-Cost-PT on the subspaces of DARTS by data set: mean, standard deviation and best test error; search seeds 0 and 2."""

FIGURE_4 = {100: 27.8}
"""Distinct architectures that so many proposals hold on NAS-Bench-201, on average; N = 1000 has about twice as many."""


def published_cell(space: str, dataset: str, proxy: str, order: str) -> dict[str, tuple[float, float]]:
    """The paper's errors of Zero-Cost-PT with that proxy and order, by data set of the benchmark."""
    if not paper_covers(space, dataset):
        return {}
    if space == "nasbench201" and proxy in ("nwot", "nwot-released"):
        return TABLE_5.get(order, {})
    error = published_error(f"zero-cost-pt {proxy}", space) if order == "random" else None
    return {"cifar10": error} if error else {}


def published_training(space: str, dataset: str, proxy: str, order: str) -> tuple[float, float, float] | None:
    """Mean, standard deviation and best of the errors of the trained networks that Zero-Cost-PT found so, if the paper has them."""
    named = order if proxy in ("nwot", "nwot-released") else proxy if order == "random" else ""
    if (space, dataset) == ("darts", "cifar10"):
        mean, deviation, best, *_ = TABLE_4.get(f"Zero-Cost-PT, {named}", (None, None, None))
        return None if mean is None or deviation is None or best is None else (mean, deviation, best)
    return TABLE_A9.get(dataset, {}).get(space) if named == "random" else None
