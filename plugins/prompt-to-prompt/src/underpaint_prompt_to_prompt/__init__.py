"""Prompt-to-Prompt (arXiv 2208.01626): swap, refine and re-weight words of a prompt."""

from underpaint_prompt_to_prompt.blend import LocalBlend
from underpaint_prompt_to_prompt.method import PromptToPrompt

__all__ = ["LocalBlend", "PromptToPrompt"]
