"""DiffuseIT (arXiv 2209.15264): text- and image-guided translation that keeps a ViT's structure."""

from underpaint_diffuse_it.method import DiffuseIt

__all__ = ["DiffuseIt"]
