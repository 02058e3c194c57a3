"""The process that a plugin is inspected in: its answer goes into a file, as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from underpaint.inspection.inspecting import inspect_plugin

target, answer = sys.argv[1:]
Path(answer).write_text(json.dumps([asdict(f) for f in inspect_plugin(target)]), "utf-8")
