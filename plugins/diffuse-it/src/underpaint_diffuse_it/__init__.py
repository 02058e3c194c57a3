"""DiffuseIT (arXiv 2209.15264): text- and image-guided translation that keeps a ViT's structure."""
