"""Asyrp: editing along directions in h-space, the output of the UNet's mid block."""

from underpaint_asyrp.attribute import Attribute, AttributeFacts, UnusableAttributeError
from underpaint_asyrp.method import Asyrp

__all__ = ["Asyrp", "Attribute", "AttributeFacts", "UnusableAttributeError"]
