"""MasaCtrl (arXiv 2304.08465): the edit's own layout, with the source picture's contents."""

from underpaint_masactrl.method import MasaCtrl

__all__ = ["MasaCtrl"]
