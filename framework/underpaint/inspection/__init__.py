"""What is wrong with a plugin's package, and how to mend it: ``underpaint plugins validate``."""

from underpaint.inspection.finding import Finding, Severity
from underpaint.inspection.isolation import inspect_isolated

__all__ = ["Finding", "Severity", "inspect_isolated"]
