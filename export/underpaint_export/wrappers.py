"""The parts of a model as modules that take tensors and return tensors, in a fixed order.

They run the attention processors and activation hooks of the PyTorch engine, so that an edit and a
reading mean the same on every engine. Everything outside is fp32; inside, a part computes in its
own dtype.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from underpaint.engine import EditInputs
from underpaint_engines import activations
from underpaint_engines.activations import ActivationControl
from underpaint_engines.attention import AttentionControl
from underpaint_engines.modules import Modules


class UNetGraph(nn.Module):
    """The UNet with all its readings.

    Parameters
    ----------
    unet : with processors and hooks installed.
    maps : attention sites to read, all heads and their mean.
    features : activation sites to read.
    extra : names of the further inputs that diffusers' UNet takes.
    """

    def __init__(
        self,
        unet: nn.Module,
        maps: tuple[str, ...],
        features: tuple[str, ...],
        extra: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.unet = unet
        self._maps, self._features, self._extra = maps, features, extra

    def forward(
        self, sample: Tensor, timestep: Tensor, context: Tensor, *extra: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the noise, each map's mean over heads, each map of all heads, each activation."""
        return self._run((sample, timestep, context), extra, None, None)

    def _run(
        self,
        inputs: tuple[Tensor, Tensor, Tensor],
        extra: tuple[Tensor, ...],
        edits: EditInputs | None,
        hidden_delta: Tensor | None,
    ) -> tuple[Tensor, ...]:
        sample, timestep, context = inputs
        dtype = next(self.unet.parameters()).dtype
        maps = AttentionControl(edits, dict.fromkeys(self._maps, "all"))
        features = ActivationControl(frozenset(self._features), hidden_delta)
        with activations.controlled(features):
            noise = self.unet(
                sample.to(dtype),
                timestep,
                context.to(dtype),
                cross_attention_kwargs={"control": maps},
                return_dict=False,
                **nested(dict(zip(self._extra, extra, strict=True))),
            )[0]
        all_heads = [maps.maps[site] for site in self._maps]
        means = [each.mean(1, keepdim=True) for each in all_heads]
        read = [features.features[site] for site in self._features]
        return (noise.float(), *means, *all_heads, *read)


class EditedUNetGraph(UNetGraph):
    """The UNet with its edits as inputs; the identity changes nothing.

    Parameters
    ----------
    biased : cross sites whose logits take a bias; these inputs come before the further ones.
    """

    def __init__(
        self,
        unet: nn.Module,
        maps: tuple[str, ...],
        features: tuple[str, ...],
        extra: tuple[str, ...] = (),
        biased: tuple[str, ...] = (),
    ) -> None:
        super().__init__(unet, maps, features, extra)
        self._biased = biased

    def forward(  # type: ignore[override]  # noqa: PLR0917  (the inputs of a graph have an order)
        self,
        sample: Tensor,
        timestep: Tensor,
        context: Tensor,
        source_row: Tensor,
        cross_map: Tensor,
        cross_scale: Tensor,
        self_q: Tensor,
        self_k: Tensor,
        self_v: Tensor,
        hidden_delta: Tensor,
        *further: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return what `UNetGraph.forward` does."""
        dtype = next(self.unet.parameters()).dtype
        biases, extra = further[: len(self._biased)], further[len(self._biased) :]
        edits = EditInputs(
            source_row,
            cross_map.to(dtype),
            cross_scale.to(dtype),
            self_q,
            self_k,
            self_v,
            {site: bias.to(dtype) for site, bias in zip(self._biased, biases, strict=True)},
        )
        inputs = (sample, timestep, context)
        return self._run(inputs, extra, edits, hidden_delta.to(dtype))


def nested(extra: Mapping[str, Tensor]) -> dict[str, object]:
    """Turn ``{"added_cond_kwargs.time_ids": ...}`` into diffusers' nested keyword arguments."""
    out: dict[str, object] = {}
    for name, value in extra.items():
        outer, _, inner = name.partition(".")
        if inner:
            group = out.setdefault(outer, {})
            assert isinstance(group, dict)  # noqa: S101  (a name is nested or it is not)
            group[inner] = value
        else:
            out[outer] = value
    return out


class TextGraph(nn.Module):
    """The text encoder: token ids ``[B, L]`` to embeddings ``[B, L, d]``."""

    def __init__(self, text_encoder: nn.Module) -> None:
        super().__init__()
        self.text_encoder = text_encoder

    def forward(self, ids: Tensor) -> Tensor:
        """Return CLIP's last hidden state."""
        embeddings: Tensor = self.text_encoder(ids).last_hidden_state
        return embeddings


class EncoderGraph(nn.Module):
    """The VAE's encoder: images in [0, 1] to scaled latents, the posterior's mean."""

    def __init__(self, modules: Modules) -> None:
        super().__init__()
        self.vae = modules.vae

    def forward(self, images: Tensor) -> Tensor:
        """Return latents ``[B, C, h, w]``."""
        encoded = self.vae.encode(images * 2 - 1)
        posterior = getattr(encoded, "latent_dist", None)  # AutoencoderTiny has no posterior
        latents: Tensor = encoded.latents if posterior is None else posterior.mode()
        scaled: Tensor = latents * self.vae.config.scaling_factor
        return scaled


class DecoderGraph(nn.Module):
    """The VAE's decoder: scaled latents to images around [0, 1]."""

    def __init__(self, modules: Modules) -> None:
        super().__init__()
        self.vae = modules.vae

    def forward(self, latents: Tensor) -> Tensor:
        """Return images ``[B, 3, H, W]``, unclamped."""
        images: Tensor = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        return images / 2 + 0.5
