"""Everything that runs on Ray: the search, grids on Tune, training on several workers, the cluster they run on."""
