"""Tools for plugin authors' tests.

``check_plugin(MyEdit())`` runs everything a published method must pass on `ToyEngine`, an engine
without weights. ``pytest_plugins = ["underpaint.testing.fixtures"]`` brings the fixtures.
"""

from underpaint.testing.checks import (
    CheckFailedError,
    assert_clean_cancel,
    assert_deterministic,
    assert_engines_agree,
    assert_identity_at_zero_strength,
    greatest_difference,
)
from underpaint.testing.plugin import PluginReport, check_plugin
from underpaint.testing.session import EditSession, Trace, toy_pipeline
from underpaint.testing.toy import ToyEngine, toy_schedule

__all__ = [
    "CheckFailedError",
    "EditSession",
    "PluginReport",
    "ToyEngine",
    "Trace",
    "assert_clean_cancel",
    "assert_deterministic",
    "assert_engines_agree",
    "assert_identity_at_zero_strength",
    "check_plugin",
    "greatest_difference",
    "toy_pipeline",
    "toy_schedule",
]
