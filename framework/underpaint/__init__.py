"""underpaint: edit images by steering a diffusion model while it denoises.

The names below are imported when they are first used, so that ``import underpaint`` is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from underpaint.cancel import CancelToken as CancelToken
    from underpaint.errors import UnderpaintError as UnderpaintError
    from underpaint.guidance import Guidance as Guidance
    from underpaint.guidance import Observation as Observation
    from underpaint.hook_times import HookTimes as HookTimes
    from underpaint.method import Method as Method
    from underpaint.method import hookimpl as hookimpl
    from underpaint.pipeline import Pipeline as Pipeline
    from underpaint.records import AttentionEdit as AttentionEdit
    from underpaint.records import Branch as Branch
    from underpaint.records import Conditioning as Conditioning
    from underpaint.records import Move as Move
    from underpaint.records import Needs as Needs
    from underpaint.records import Prediction as Prediction
    from underpaint.records import Tap as Tap
    from underpaint.records import Window as Window
    from underpaint.result import Result as Result
    from underpaint.sites import SiteSelector as SiteSelector
    from underpaint.trajectory import Trajectory as Trajectory

__version__ = "0.1.0"

_HOMES = {
    "AttentionEdit": "records",
    "Branch": "records",
    "CancelToken": "cancel",
    "Conditioning": "records",
    "Guidance": "guidance",
    "HookTimes": "hook_times",
    "Method": "method",
    "Move": "records",
    "Needs": "records",
    "Observation": "guidance",
    "Pipeline": "pipeline",
    "Prediction": "records",
    "Result": "result",
    "SiteSelector": "sites",
    "Tap": "records",
    "Trajectory": "trajectory",
    "UnderpaintError": "errors",
    "Window": "records",
    "hookimpl": "method",
}

__all__ = [  # noqa: PLE0604 - the names of _HOMES come through __getattr__
    *_HOMES,
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'underpaint' has no attribute {name!r}")
    return getattr(import_module(f"underpaint.{_HOMES[name]}"), name)
