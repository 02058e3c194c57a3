"""Training of the embedded model's parts; run as ``python -m underpaint_picturebook.train``."""
