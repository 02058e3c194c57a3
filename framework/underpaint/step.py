"""One step: where it stands, and the UNet to be asked again with every plugin's edits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from underpaint.engine import UNetCall, UNetOutput
from underpaint.errors import PluginError
from underpaint.layout import Layout
from underpaint.maps import AttentionMaps
from underpaint.outputs import Cotangents, Outputs, RowPullback
from underpaint.packing import pack_edits, resolve_taps
from underpaint.records import AttentionEdit, Conditioning, Half, Move, Tap, Wrt
from underpaint.run import Run
from underpaint.schedule import output_coefficients


@dataclass(frozen=True, eq=False)
class Step:
    """One move of a run.

    Attributes
    ----------
    run : the run it belongs to.
    index : 0 for the first move.
    move : from which noise level to which.
    latents : ``[T, C, h, w]`` fp32, one per trajectory (image x branch).
    edits : the attention edits of all plugins at this step.
    """

    run: Run
    index: int
    move: Move
    latents: Tensor
    edits: tuple[AttentionEdit, ...] = ()

    @property
    def layout(self) -> Layout:
        """All rows of the run."""
        return self.run.layout

    @property
    def alpha(self) -> float:
        """alphas_cumprod of the level the latents are at."""
        return self.run.alpha(self.move.t)

    @property
    def next_alpha(self) -> float:
        """alphas_cumprod of the level they go to."""
        return self.run.alpha(self.move.next_t)

    @property
    def progress(self) -> float:
        """Part of the noise range that lies behind: 0 at the noisiest level, towards 1."""
        return self.run.request.model.noise.progress(self.move.timestep)

    def at(self, latents: Tensor) -> Step:
        """Return the same step at other latents."""
        return replace(self, latents=latents)

    def combine(self, outputs: Outputs) -> Tensor:
        """Return epsilon per trajectory ``[T, C, h, w]``: the hook `combine`, with all plugins.

        A plugin that evaluates the UNet again combines with this, so that every edit's idea of
        guidance holds there too.
        """
        if self.run.combiner is None:
            raise PluginError("step.combine can be used from the first step on, not before it.")
        return self.run.combiner(self, outputs)

    def evaluate(
        self,
        *,
        sample: Tensor | None = None,
        branches: Iterable[str] | None = None,
        halves: Iterable[Half] | None = None,
        context: Conditioning | None = None,
        hidden_delta: Tensor | None = None,
        taps: Iterable[Tap] | None = None,
        rows: Layout | None = None,
    ) -> Outputs:
        """Run the UNet once, with all plugins' edits.

        Parameters
        ----------
        sample : ``[T, C, h, w]`` latents of all trajectories; None takes the step's.
        branches, halves : which rows; None takes all. Rows that an edit reads come along.
        context : other text embeddings.
        hidden_delta : ``[R, C', h', w']`` for the chosen rows, added to the mid block's output.
        taps : other readings; None takes those in `needs` whose window holds this step.
        rows : these very rows, in place of `branches` and `halves`.
        """
        layout, latents, call = self._call(
            rows or self._rows(branches, halves),
            sample=sample,
            context=context,
            hidden_delta=hidden_delta,
            taps=taps,
        )
        return self._outputs(layout, latents, self.run.engine.predict(call))

    def linearize(
        self,
        *,
        sample: Tensor | None = None,
        branches: Iterable[str] | None = None,
        halves: Iterable[Half] | None = None,
        context: Conditioning | None = None,
        hidden_delta: Tensor | None = None,
        taps: Iterable[Tap] | None = None,
        rows: Layout | None = None,
        wrt: Wrt = "sample",
    ) -> tuple[Outputs, RowPullback]:
        """Run the UNet once and return its outputs with a pullback onto `wrt`, by row.

        The pullback takes `Cotangents` in epsilon terms and returns ``[R, ...]``, shaped like the
        rows of `wrt`; the direct path from the latent to epsilon (v-prediction) is included.

        Raises
        ------
        PluginError
            If no plugin asked for this gradient in `needs`.
        """
        if wrt not in self.run.needs.gradient:
            raise PluginError(
                f"Step {self.index} wants the gradient of {wrt!r}, which no plugin asked for. "
                f"Return Needs(gradient=frozenset({{{wrt!r}}})) from needs(request)."
            )
        layout, latents, call = self._call(
            rows or self._rows(branches, halves),
            sample=sample,
            context=context,
            hidden_delta=hidden_delta,
            taps=taps,
        )
        raw, engine_pullback = self.run.engine.linearize(call, wrt)
        out, direct = output_coefficients(self.alpha, self.run.request.model.noise.prediction_type)

        def pullback(cotangents: Cotangents) -> Tensor:
            noise = torch.zeros_like(raw.noise) if cotangents.noise is None else cotangents.noise
            gradient = engine_pullback(
                UNetOutput(noise * out, dict(cotangents.maps), dict(cotangents.features))
            )
            return gradient + direct * noise if wrt == "sample" else gradient

        return self._outputs(layout, latents, raw), pullback

    def _call(
        self,
        layout: Layout,
        *,
        sample: Tensor | None,
        context: Conditioning | None,
        hidden_delta: Tensor | None,
        taps: Iterable[Tap] | None,
    ) -> tuple[Layout, Tensor, UNetCall]:
        if hidden_delta is not None and not self.run.needs.hidden_delta:
            raise PluginError(
                f"Step {self.index} adds a hidden delta, which no plugin asked for. "
                "Return Needs(hidden_delta=True) from needs(request)."
            )
        latents = self.latents if sample is None else sample
        model = self.run.request.model
        asked = self.run.needs.taps if taps is None else tuple(taps)
        maps, features = resolve_taps(asked, model.sites, self.progress)
        call = UNetCall(
            sample=layout.spread(latents),
            timestep=torch.full((len(layout.rows),), self.move.timestep),
            context=(context or self.run.conditioning).rows(layout, self.index),
            edits=pack_edits(self.edits, layout, model.sites, model.context_length),
            hidden_delta=hidden_delta,
            maps=maps,
            features=features,
        )
        return layout, latents, call

    def _rows(self, branches: Iterable[str] | None, halves: Iterable[Half] | None) -> Layout:
        """Return the chosen rows, and those that an edit of a chosen row reads."""
        if branches is None:
            return self.layout.subset(None, halves)
        chosen = set(branches)
        chosen |= {edit.source for edit in self.edits if edit.target in chosen}
        return self.layout.subset([b for b in self.layout.branches if b in chosen], halves)

    def _outputs(self, layout: Layout, latents: Tensor, raw: UNetOutput) -> Outputs:
        model = self.run.request.model
        out, direct = output_coefficients(self.alpha, model.noise.prediction_type)
        noise = raw.noise if direct == 0 else out * raw.noise + direct * layout.spread(latents)
        sites = {site.name: site for site in model.sites.all}
        values = {sites[name]: value for name, value in raw.maps.items()}
        size = (latents.shape[-2], latents.shape[-1])
        maps = AttentionMaps(layout, size, values) if values else None
        return Outputs(layout, latents, noise, maps, raw.features)
