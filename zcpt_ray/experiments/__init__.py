"""Many searches and trainings: grids, ablations, the operation-scoring study, rankings, baselines."""
