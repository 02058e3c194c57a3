"""Algorithm 1 of arXiv 2206.02779, aligned, written out in numpy."""

from itertools import pairwise

import numpy as np
import torch
from underpaint.engine import UNetCall


def dilated(mask, side):
    """Cell by cell: 1 if any cell of the square around it is 1."""
    around = side // 2
    height, width = mask.shape
    grown = np.zeros_like(mask)
    for row in range(height):
        for column in range(width):
            part = mask[
                max(row - around, 0) : row + around + 1,
                max(column - around, 0) : column + around + 1,
            ]
            grown[row, column] = part.max()
    return grown


def predicted_noise(engine, latent, t, prompt, scale):
    context = engine.encode_text(engine.tokenize(["", prompt]))
    rows = torch.from_numpy(np.stack([latent, latent])).float()
    output = engine.predict(UNetCall(rows, torch.tensor([t, t]), context)).noise.numpy()
    return output[0] + scale * (output[1] - output[0])


def blended(engine, clean, mask, prompt, *, levels, scale, start, background, kernels):
    """Return the latents after every step.

    `levels` ends with -1; `background(step, level, alpha)` is the picture's noised latent.
    """
    alphas = engine.info.noise
    latent, after = start, []
    for step, (t, p) in enumerate(pairwise(levels)):
        a, b = alphas.alpha(t), alphas.alpha(p)
        noise = predicted_noise(engine, latent, t, prompt, scale)
        x0 = (latent - np.sqrt(1 - a) * noise) / np.sqrt(a)
        foreground = np.sqrt(b) * x0 + np.sqrt(1 - b) * noise
        inside = dilated(mask, kernels[step])
        outside = clean if p == -1 else background(step, p, b)
        latent = inside * foreground + (1 - inside) * outside
        after.append(latent)
    return after
