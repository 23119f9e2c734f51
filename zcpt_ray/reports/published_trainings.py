"""Test errors that the paper prints for trained networks, to stand beside ours.

Errors are in percent. The paper's standard deviations are those of a sample (n - 1): table A3 has the single values of
a row of table 2.
"""

from typing import NamedTuple

from zcpt_ray.reports.published import PublishedError


class PublishedTraining(NamedTuple):
    """Of some trained networks the mean, standard deviation and best of the test errors [%], and what they cost.

    `params_m` are parameters in millions, `gpu_days` those of one search. None for what the paper does not say.
    """

    mean: float
    deviation: float
    best: float | None = None
    params_m: float | None = None
    gpu_days: float | None = None


class PublishedSeeds(NamedTuple):
    """A row of a table, and what each search seed contributed to it."""

    row: PublishedError
    errors: tuple[float, ...]


class ProposalsValidations(NamedTuple):
    """N and V of a search."""

    proposals: int
    validations: int


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
"""CIFAR-10 test error of the genotypes that the authors published, by name: the mean over four training seeds.

They are those of tables A5 and A6, and of the max-param baseline. Of NASWOT's, `sample_*`, the paper gives only the
mean over all four.
"""

TABLE_A3 = PublishedSeeds(PublishedError(70.07, 39.87), (90.00, 10.27, 90.00, 90.00))
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

TABLE_3 = {
    ProposalsValidations(1, 0): PublishedTraining(2.81, 0.29, 2.43),
    ProposalsValidations(10, 1): PublishedTraining(2.93, 0.14, 2.65),
    ProposalsValidations(10, 10): PublishedTraining(2.88, 0.14, 2.65),
    ProposalsValidations(10, 100): PublishedTraining(2.64, 0.16, 2.43),
}
"""By (N, V) on DARTS, CIFAR-10: the errors of 16 trainings.

Means and best values are those of tables A5 and A6, cut off after two digits. The deviations follow from these tables
to 0.01 only, and as those of a sample only.
"""

TABLE_4 = {
    "DARTS": PublishedTraining(3.00, 0.14, None, 3.3, 0.4),
    "SDARTS-RS": PublishedTraining(2.67, 0.03, None, 3.4, 0.4),
    "SGAS": PublishedTraining(2.66, 0.24, None, 3.7, 0.25),
    "DARTS-PT": PublishedTraining(2.61, 0.08, 2.48, 3.0, 0.8),
    "DARTS-PT (none re-enabled)": PublishedTraining(2.73, 0.13, 2.67, 3.2, 0.8),
    "TE-NAS": PublishedTraining(2.63, 0.064, None, 3.8, 0.05),
    "max-param-random": PublishedTraining(2.94, 0.098, 2.83, 5.14, None),
    "NASWOT (2500)": PublishedTraining(2.99, 0.22, 2.66, None, 0.018),
    "NASWOT (20000)": PublishedTraining(2.73, 0.09, 2.58, None, 0.083),
    "NASWOT (50000)": PublishedTraining(2.72, 0.09, 2.52, None, 0.208),
    "Zero-Cost-EVO": PublishedTraining(2.94, 0.14, 2.72, None, 0.018),
    "Zero-Cost-PT, synflow": PublishedTraining(3.88, 0.56, 3.38, 5.1, None),
    "Zero-Cost-PT, zen_score": PublishedTraining(3.06, 0.31, 2.68, 2.9, None),
    "Zero-Cost-PT, random": PublishedTraining(2.64, 0.16, 2.43, 4.7, 0.018),
    "Zero-Cost-PT, global-op-iter": PublishedTraining(2.62, 0.09, 2.49, 4.6, 0.17),
}
"""CIFAR-10 on DARTS, by method.

Which of two rows is synflow's (table A7 has them too) follows from its parameters: it picks the largest op everywhere,
says A.7.
"""

TABLE_7_PARAMS_M = 8.1
"""Millions of parameters of the three networks that were found on the MobileNet-like space, on average."""

TABLE_A9 = {
    "cifar10": {
        "darts-s1": PublishedTraining(2.75, 0.28, 2.55),
        "darts-s2": PublishedTraining(2.49, 0.05, 2.45),
        "darts-s3": PublishedTraining(2.47, 0.09, 2.40),
        "darts-s4": PublishedTraining(5.23, 0.76, 4.69),
    },
    "cifar100": {
        "darts-s1": PublishedTraining(22.05, 0.29, 21.84),
        "darts-s2": PublishedTraining(20.97, 0.50, 20.61),
        "darts-s3": PublishedTraining(21.02, 0.57, 20.61),
        "darts-s4": PublishedTraining(25.70, 0.01, 25.69),
    },
    "svhn": {
        "darts-s1": PublishedTraining(2.37, 0.06, 2.33),
        "darts-s2": PublishedTraining(2.40, 0.05, 2.36),
        "darts-s3": PublishedTraining(2.34, 0.05, 2.30),
        "darts-s4": PublishedTraining(2.83, 0.06, 2.79),
    },
}
"""Zero-Cost-PT on the subspaces of DARTS, by data set; search seeds 0 and 2."""


def published_training(space: str, dataset: str, proxy: str, order: str) -> PublishedTraining | None:
    """The errors of the trained networks that Zero-Cost-PT found so, if the paper has them."""
    named = order if proxy in ("nwot", "nwot-released") else proxy if order == "random" else ""
    if (space, dataset) == ("darts", "cifar10"):
        return TABLE_4.get(f"Zero-Cost-PT, {named}")
    return TABLE_A9.get(dataset, {}).get(space) if named == "random" else None
