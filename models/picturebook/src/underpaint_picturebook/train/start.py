"""Lay out a run folder from a finished checkpoint, so that training goes on from its weights."""

from pathlib import Path

import torch
from torch import nn

from underpaint_picturebook import parts
from underpaint_picturebook.train import state


def start(checkpoint: Path, run: Path) -> None:
    """Write `run` as if training had just finished with the weights at `checkpoint`.

    The next `train unet` or `train vae` in that folder is then a warm restart. What a checkpoint
    does not hold, the optimiser's state and the steps so far, begins anew.

    Raises
    ------
    FileExistsError
        If `run` already holds training state: nothing is overwritten.
    """
    pipe = parts.load(checkpoint)
    states = {
        run / "unet": nn.ModuleDict({"text": pipe.text_encoder, "unet": pipe.unet}),
        run / "vae": nn.ModuleDict({"vae": pipe.vae}),
    }
    for folder in states:
        if (folder / "state.safetensors").exists():
            raise FileExistsError(f"{folder} holds training state; name a new --run-dir.")
    for folder, modules in states.items():
        begun = state.Run(
            modules,
            modules,
            torch.optim.SGD(modules.parameters()),
            torch.Generator().manual_seed(0),
            state.Progress(finished=True),
        )
        state.save(folder / "state.safetensors", begun)
    pipe.vae.save_pretrained(run / "vae" / "export")
