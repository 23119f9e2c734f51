"""Zero-cost neural architecture search on Ray."""
