"""Negative-prompt inversion and ProxEdit: edits of real pictures without optimisation."""

from underpaint_inversion.negative_prompt import NegativePromptInversion
from underpaint_inversion.proxedit import InversionGuidance, ProxEdit

__all__ = ["InversionGuidance", "NegativePromptInversion", "ProxEdit"]
