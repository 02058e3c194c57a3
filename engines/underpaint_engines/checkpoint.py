"""A Stable Diffusion checkpoint on disk, checked before anything is built from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from underpaint.errors import ModelLoadError

from underpaint_engines.files import WEIGHTS, digest_files, find_weights, read_json

PARTS: Mapping[str, tuple[str, ...]] = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL", "AutoencoderTiny"),
    "text_encoder": ("CLIPTextModel",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "scheduler": (),
}
"""The parts of a Stable Diffusion 1.x or 2.x pipeline, and the classes each may have."""

SCORER = "clip"
"""The folder of a CLIPModel over the same tokenizer, which a checkpoint may have besides. It is no
part of the pipeline, so neither ``model_index.json`` nor the digest knows it."""

TOKENIZER = "tokenizer"

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Settings:
    """What a checkpoint recommends in its optional ``underpaint.json``.

    Attributes
    ----------
    word_level : see `underpaint.sites.Sites`; None derives it from the UNet.
    guidance_scale, num_inference_steps : the model's defaults.
    """

    word_level: int | None = None
    guidance_scale: float = 7.5
    num_inference_steps: int = 50


@dataclass(frozen=True)
class Checkpoint:
    """A checked diffusers folder.

    Attributes
    ----------
    folder : where it lies.
    classes : part -> class name, for the parts in `PARTS`.
    variants : part with weights -> None or the ``fp16`` in the names of its files.
    configs : part -> its configuration.
    settings : the checkpoint's recommendations.
    digest : of the configuration and weight files, names included.
    """

    folder: Path
    classes: Mapping[str, str]
    variants: Mapping[str, str | None]
    configs: Mapping[str, Mapping[str, Any]]
    settings: Settings
    digest: str


def open_checkpoint(source: str | Path) -> Checkpoint:
    """Find and check a checkpoint: a diffusers folder, or a name on the Hugging Face hub.

    Raises
    ------
    ModelLoadError
        If it is missing, incomplete, corrupt, pickled, or no Stable Diffusion 1.x or 2.x.
    """
    folder = find_folder(source)
    classes = _classes(folder)
    configs = {part: _config(folder, part) for part in PARTS}
    _check_family(folder, configs)
    weights = {part: find_weights(folder, part) for part in WEIGHTS}
    files = [file for part in PARTS for file in (folder / part).glob("*.json")]
    files += [folder / "model_index.json", *(folder / "tokenizer").glob("*.txt")]
    files += [file for _, found in weights.values() for file in found]
    return Checkpoint(
        folder=folder,
        classes=classes,
        variants={part: variant for part, (variant, _) in weights.items()},
        configs=configs,
        settings=_settings(folder),
        digest=digest_files(folder, files),
    )


def find_folder(source: str | Path) -> Path:
    """Return a checkpoint's folder: `source` itself, or where the hub's client keeps it.

    Raises
    ------
    ModelLoadError
        If there is no such folder and it cannot be fetched.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        raise ModelLoadError(
            f'{path} is a single file. Convert it to a folder: python -c "import diffusers; '
            f"diffusers.StableDiffusionPipeline.from_single_file('{path}')"
            f".save_pretrained('{path.stem}')\""
        )
    if isinstance(source, str) and HUB_NAME.fullmatch(source):
        return _download(source)
    raise ModelLoadError(f"There is no folder {path}. Give a diffusers folder or a hub name.")


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download

    parts = (*PARTS, SCORER)
    patterns = [f"{part}/*.{end}" for part in parts for end in ("json", "txt", "safetensors")]
    try:
        folder = snapshot_download(
            name,
            allow_patterns=["model_index.json", "underpaint.json", *patterns],
            ignore_patterns=["*.non_ema.*"],  # for training on, and as large as the rest
        )
    except (OSError, ValueError) as error:  # every error of the hub's client is one of these
        raise ModelLoadError(
            f"{name!r} is no folder here and could not be fetched from the Hugging Face hub "
            f"({error}). Check the name and the network, or download the model elsewhere and give "
            "the path of its folder."
        ) from error
    return Path(folder)


def _classes(folder: Path) -> dict[str, str]:
    index = folder / "model_index.json"
    if (folder / "manifest.json").is_file():
        raise ModelLoadError(
            f"{folder} is an exported model, which PyTorch does not run. Choose another engine: "
            "--engine onnxruntime or openvino."
        )
    if not index.is_file():
        raise ModelLoadError(
            f"{folder} holds no model_index.json, so it is no diffusers folder. Give the folder "
            "that StableDiffusionPipeline.save_pretrained wrote."
        )
    content = read_json(index)
    if "text_encoder_2" in content:
        raise ModelLoadError(f"{folder} is Stable Diffusion XL, which is not supported yet.")
    found: dict[str, str] = {}
    for part, allowed in PARTS.items():
        entry = content.get(part)
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str)):
            raise ModelLoadError(f"{index} lists no {part}. {_family()}")
        if allowed and entry[1] not in allowed:
            raise ModelLoadError(f"{index}: {part} is a {entry[1]}. {_family()}")
        if not (folder / part).is_dir():
            raise ModelLoadError(f"{folder / part} is missing. Download the checkpoint again.")
        found[part] = entry[1]
    return found


def _family() -> str:
    parts = [f"{part} ({' or '.join(c)})" if c else part for part, c in PARTS.items()]
    return f"A Stable Diffusion 1.x or 2.x checkpoint has {', '.join(parts)}."


def _config(folder: Path, part: str) -> dict[str, Any]:
    if part == TOKENIZER:
        if not any((folder / part / name).is_file() for name in ("tokenizer.json", "vocab.json")):
            raise ModelLoadError(
                f"{folder / part} holds neither tokenizer.json nor vocab.json and merges.txt. "
                "Download the checkpoint again."
            )
        return {}
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    return read_json(folder / part / name)


def _check_family(folder: Path, configs: Mapping[str, Mapping[str, Any]]) -> None:
    unet, vae = configs["unet"], configs["vae"]
    channels = unet.get("in_channels", 4)
    if unet.get("addition_embed_type") or unet.get("encoder_hid_dim_type"):
        raise ModelLoadError(
            f"{folder}: the UNet takes conditions besides the text (Stable Diffusion XL and the "
            f"like), which is not supported yet. {_family()}"
        )
    if channels != 4 or unet.get("out_channels", 4) != 4:
        kind = "an inpainting model" if channels == 9 else "a model of another kind"
        raise ModelLoadError(
            f"{folder} is {kind}: its UNet takes {channels} channels where a text-to-image model "
            "takes 4 and returns 4. Use the text-to-image checkpoint it was made from."
        )
    if vae.get("latent_channels", 4) != channels:
        raise ModelLoadError(f"{folder}: the vae and the unet differ in their latent channels.")
    width, text = unet.get("cross_attention_dim", 1280), configs["text_encoder"].get("hidden_size")
    if width != text:
        raise ModelLoadError(
            f"{folder}: the text encoder's width is {text}, but the UNet expects {width}. The "
            "parts are of different models."
        )


def _settings(folder: Path) -> Settings:
    """Read ``underpaint.json``; keys that are not of `Settings` are for other readers."""
    file = folder / "underpaint.json"
    if not file.is_file():
        return Settings()
    content = read_json(file)
    known = {"word_level": int, "guidance_scale": float, "num_inference_steps": int}
    given = {key: kind for key, kind in known.items() if content.get(key) is not None}
    try:
        return Settings(**{key: kind(content[key]) for key, kind in given.items()})
    except (TypeError, ValueError) as error:
        raise ModelLoadError(
            f"{file}: {error}. Its keys {', '.join(known)} are numbers."
        ) from error
