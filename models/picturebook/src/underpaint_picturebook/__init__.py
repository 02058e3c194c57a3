"""The embedded model of underpaint: a small latent diffusion model of picture-book scenes.

Nothing heavy is imported here: `model` is what the entry point ``underpaint.models`` names.
"""

from pathlib import Path

__version__ = "0.1.0"


def model() -> Path:
    """Return the folder of the diffusers checkpoint (a `StableDiffusionPipeline`)."""
    return Path(__file__).parent / "checkpoint"
