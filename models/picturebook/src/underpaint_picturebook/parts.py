"""The parts of the checkpoint, untrained, and the pipeline that they make."""

from pathlib import Path

from diffusers import (
    AutoencoderTiny,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
)

from underpaint_picturebook.tokenizer import LENGTH

WIDTH = 128
"""Width of the text encoder, and of both sides of CLIP."""
CHANNELS = (32, 96, 144)
"""Channels of the UNet at 32x32, 16x16 and 8x8."""
HEADS = (1, 4, 6)
"""Heads at each level (what diffusers calls attention_head_dim): 24 channels a head."""
CLIP_SIDE, CLIP_PATCH = 128, 8
"""Pixels of the pictures that CLIP takes, and of its patches: 16x16 of them, as of the maps."""


def text_encoder(tokenizer: CLIPTokenizer, width: int = WIDTH, layers: int = 4) -> CLIPTextModel:
    """Return an untrained CLIP text encoder over `tokenizer`."""
    return CLIPTextModel(_text_config(tokenizer, width, layers))


def clip(
    tokenizer: CLIPTokenizer, width: int = WIDTH, layers: int = 5, text_layers: int = 3
) -> CLIPModel:
    """Return an untrained CLIP of 128 px in patches of 8, over `tokenizer`; heads are 32 wide."""
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        hidden_act="gelu",
        image_size=CLIP_SIDE,
        patch_size=CLIP_PATCH,
        projection_dim=WIDTH,
    )
    text = _text_config(tokenizer, WIDTH, text_layers)
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH))


def _text_config(tokenizer: CLIPTokenizer, width: int, layers: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        max_position_embeddings=LENGTH,
        projection_dim=width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def unet(
    channels: tuple[int, int, int] = CHANNELS,
    heads: tuple[int, int, int] = HEADS,
    width: int = WIDTH,
) -> UNet2DConditionModel:
    """Return an untrained UNet with attention at 16x16 and 8x8."""
    return UNet2DConditionModel(
        sample_size=32,
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=heads,
        norm_num_groups=16,
    )


def scheduler() -> DDIMScheduler:
    """Return Stable Diffusion's noise schedule: scaled linear from 0.00085 to 0.012, epsilon."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def pipeline(
    tokenizer: CLIPTokenizer,
    text: CLIPTextModel,
    vae: AutoencoderTiny,
    denoiser: UNet2DConditionModel,
) -> StableDiffusionPipeline:
    """Put the parts together; there is no safety checker, as there is nothing to check for."""
    made = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=denoiser,
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.set_progress_bar_config(disable=True)
    return made


def load(folder: Path) -> StableDiffusionPipeline:
    """Load the checkpoint at `folder` in fp32."""
    import torch

    made = StableDiffusionPipeline.from_pretrained(
        folder, torch_dtype=torch.float32, local_files_only=True
    )
    made.set_progress_bar_config(disable=True)
    return made
