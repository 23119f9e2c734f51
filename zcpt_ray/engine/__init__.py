"""Supernets: candidate ops, layers and cells, the chain they make, and what can be seen of a network that runs."""
