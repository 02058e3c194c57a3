"""Null-text inversion (arXiv 2211.09794): pivotal tuning of the unconditional embedding."""
