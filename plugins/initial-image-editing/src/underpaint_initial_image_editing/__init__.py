"""Initial image editing (arXiv 2305.03382): layout and re-painting by the noise alone."""

from underpaint_initial_image_editing.layout import LayoutToImage
from underpaint_initial_image_editing.repaint import Repaint

__all__ = ["LayoutToImage", "Repaint"]
