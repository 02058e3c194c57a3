"""Null-text inversion (arXiv 2211.09794): pivotal tuning of the unconditional embedding."""

from underpaint_null_text_inversion.null_text import NullTextInversion
from underpaint_null_text_inversion.pivotal_tuning import PivotalTuning

__all__ = ["NullTextInversion", "PivotalTuning"]
