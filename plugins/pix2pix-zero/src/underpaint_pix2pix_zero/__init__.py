"""Pix2Pix-Zero (arXiv 2302.03027): edit directions, held by cross-attention guidance."""
