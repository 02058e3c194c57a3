"""Exporters from PyTorch modules to other engines' formats; this version has none yet."""
