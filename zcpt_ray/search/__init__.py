"""The method: a resolved search, proposals, validation, what a run stores, scoring functions, orders and oracles."""
