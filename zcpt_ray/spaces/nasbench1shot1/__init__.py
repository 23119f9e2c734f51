"""NAS-Bench-1Shot1: NAS-Bench-101 cells as graphs, the cell with choice blocks, the three spaces."""
