"""``python -m underpaint``."""

import sys

from underpaint.cli import main

sys.exit(main())
