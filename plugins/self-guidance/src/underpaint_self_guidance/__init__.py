"""Diffusion Self-Guidance (arXiv 2306.00986): objects moved by energies on their attention."""
