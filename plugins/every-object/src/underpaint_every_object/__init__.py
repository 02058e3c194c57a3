"""An attention energy that wants every named object in the picture (after arXiv 2301.13826)."""

from underpaint_every_object.method import EveryObject

__all__ = ["EveryObject"]
