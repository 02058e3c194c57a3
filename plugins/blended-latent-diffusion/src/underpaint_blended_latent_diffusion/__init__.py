"""Blended Latent Diffusion: a prompt changes a picture inside of a mask."""

from underpaint_blended_latent_diffusion.method import BlendedLatentDiffusion

__all__ = ["BlendedLatentDiffusion"]
