"""A new plugin: a whole distribution with a method that works, tests and a README that run."""

from underpaint.scaffold.names import Names, check_name
from underpaint.scaffold.writing import FLAVOURS, Flavour, write_plugin

__all__ = ["FLAVOURS", "Flavour", "Names", "check_name", "write_plugin"]
