"""Write a training run's averaged weights as a diffusers checkpoint, fp16 safetensors."""

import json
import shutil
from pathlib import Path

from diffusers import AutoencoderTiny
from safetensors.torch import load_file
from torch import nn

from underpaint_picturebook import parts, tokenizer
from underpaint_picturebook.backgrounds import SIDE

GUIDANCE = 4.0
STEPS = 25

MANIFEST = {
    "word_level": 1,
    "size": SIDE,
    "guidance_scale": GUIDANCE,
    "num_inference_steps": STEPS,
    "licence": "Apache-2.0",
    "description": "Picture-book scenes of sixteen objects in ten colours on six backgrounds, "
    "drawn and trained by underpaint-picturebook; small enough to ship in a wheel.",
}
"""underpaint.json. `word_level` is log2 of the latent's side over that of the maps to read words
from: 16x16 maps of 32x32 latents."""


def averaged(state: Path, prefix: str, module: nn.Module) -> None:
    """Load the averaged weights of one part of a run into `module`."""
    start = f"average.{prefix}."
    tensors = load_file(state)
    module.load_state_dict(
        {name.removeprefix(start): v for name, v in tensors.items() if name.startswith(start)}
    )


def export(run: Path, folder: Path) -> None:
    """Assemble tokenizer, text encoder, UNet and autoencoder of `run` into `folder`.

    The folder is written beside its place and moved there when it is whole.
    """
    tokens = tokenizer.build()
    text, unet = parts.text_encoder(tokens), parts.unet()
    state = run / "unet" / "state.safetensors"
    averaged(state, "text", text)
    averaged(state, "unet", unet)
    vae = AutoencoderTiny.from_pretrained(run / "vae" / "export")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    parts.pipeline(tokens, text.half(), vae.half(), unet.half()).save_pretrained(partial)
    _edit(partial / "vae" / "config.json", drop=("_name_or_path", "block_out_channels"))
    # transformers loads in the dtype that the config names, diffusers in fp32: they must agree.
    _edit(partial / "text_encoder" / "config.json", dtype="float32")
    if (folder / "clip").is_dir():  # trained and written by itself
        shutil.copytree(folder / "clip", partial / "clip")
    (partial / "underpaint.json").write_text(json.dumps(MANIFEST, indent=2) + "\n", "utf-8")
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _edit(config: Path, drop: tuple[str, ...] = (), **values: str) -> None:
    """Drop keys of a config (where weights came from, what diffusers warns of) and set others."""
    merged = {**json.loads(config.read_text("utf-8")), **values}
    edited = {key: value for key, value in merged.items() if key not in drop}
    config.write_text(json.dumps(edited, indent=2) + "\n", "utf-8")
