"""What loading a module needs besides diffusers or transformers: typed errors, and silence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import CLIPTokenizer
from underpaint.errors import ModelLoadError

from underpaint_engines.tokenizer import SpecialTokens


def guarded(part: str, load: Callable[[], Any]) -> Any:
    """Return what `load` returns.

    Raises
    ------
    ModelLoadError
        For whatever `load` raises; the message names the part.
    """
    try:
        return load()
    except Exception as error:  # for a broken file, tokenizers raises Exception itself
        raise ModelLoadError(f"The {part} cannot be loaded: {error}") from error


def check_report(part: str, report: Mapping[str, Any]) -> None:
    """Refuse what both libraries only warn of: weights left at random.

    Raises
    ------
    ModelLoadError
        If the loading report names missing or unfit weights.
    """
    for problem in ("missing_keys", "mismatched_keys", "error_msgs"):
        names = sorted(map(str, report.get(problem, ())))
        if names:
            raise ModelLoadError(
                f"The weights of the {part} do not fit its config.json: {len(names)} "
                f"{problem.replace('_', ' ')}, e.g. {names[0]}. Download the checkpoint again."
            )


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """Return the tokenizer of its folder.

    Raises
    ------
    ModelLoadError
        If its files are broken.
    """
    return guarded(
        "tokenizer",
        lambda: CLIPTokenizer.from_pretrained(folder, local_files_only=True),
    )


def special_tokens(tokenizer: CLIPTokenizer) -> SpecialTokens:
    """Return a tokenizer's special tokens."""
    return SpecialTokens(tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)


def freeze(module: nn.Module, device: torch.device) -> Any:
    """Return the module on a device, in evaluation mode and without gradients of its weights."""
    return module.to(device).eval().requires_grad_(False)


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Silence the progress bar that transformers shows even for a file that loads in 10 ms."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
