"""The DARTS space and its subspaces: ops, cell, the networks that are trained, the space."""
