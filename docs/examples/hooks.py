"""One small plugin for each hook: what a `Method.start` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
import underpaint


class ReadWords:
    """Read the words' maps: `needs` says which, and `predict` has them."""

    @underpaint.hookimpl
    def needs(self, request):
        return underpaint.Needs(taps=(underpaint.Tap(request.model.sites.words()),))

    @underpaint.hookimpl(wrapper=True)
    def predict(self, step):
        prediction = yield
        step.run.report("maps", list(prediction.maps.words("main")))  # one [L, h, w] per image
        return prediction


class AtNight:
    """Paint the same noise with other words too: `result.branches["night"]`."""

    @underpaint.hookimpl
    def branches(self):
        return [underpaint.Branch("night", "a dog at night")]


class TwiceTheFirst:
    """Go back after the first step and take it again."""

    @underpaint.hookimpl(wrapper=True)
    def schedule(self):
        moves = yield
        first = moves[0]
        back = underpaint.Move(first.next_t, first.t, kind="renoise")
        return (first, back, *moves)


class HalfACat:
    """Mix the prompt's embedding with another one's."""

    @underpaint.hookimpl(wrapper=True)
    def conditioning(self, run):
        own = yield
        cat = run.encode(["a cat on green grass"])  # [1, L, d]
        mixed = (own.embeddings["main", "cond"] + cat) / 2
        return own.replace("main", "cond", mixed)


class Mirror:
    """Mirror x_T."""

    @underpaint.hookimpl(wrapper=True)
    def initial_latents(self):
        latents = yield  # [T, C, h, w]
        return latents.flip(-1)


class SayWhereItStarts:
    """Tell the user from which noise level the first step goes."""

    @underpaint.hookimpl
    def before_step(self, step):
        if step.index == 0:
            step.run.warn(f"starts at level {step.move.t}")


class TwiceTheDog:
    """Double the attention to a word."""

    @underpaint.hookimpl
    def needs(self):
        return underpaint.Needs(edits=True)

    @underpaint.hookimpl
    def attention_edits(self, step):
        tokens = step.run.tokens(step.run.prompts("main"))  # one per image
        scale = torch.ones(len(tokens), len(tokens[0].ids))  # [I, L]
        for row, own in zip(scale, tokens, strict=True):
            row[list(own.find("dog"))] = 2
        return [underpaint.AttentionEdit("main", "main", cross_scale=scale)]


class Calmer:
    """Go down the contrast of x0; no gradient of the UNet is asked for."""

    @underpaint.hookimpl
    def guidance(self, step):
        main = step.layout.trajectories_of("main")

        def contrast(seen):
            return seen.x0[main].square().mean((1, 2, 3))  # [I]

        return [underpaint.Guidance(contrast, scale=20.0, halves=())]


class Rescale:
    """Give guided noise the standard deviation of the conditional one (arXiv 2305.08891)."""

    @underpaint.hookimpl(wrapper=True)
    def combine(self, outputs):
        noise = yield  # [T, C, h, w]
        cond = outputs.of("main", "cond")  # the same shape: there is one branch
        return noise * cond.std((1, 2, 3), keepdim=True) / noise.std((1, 2, 3), keepdim=True)


class Clip:
    """Clip x0; the noise becomes the one that belongs to it."""

    @underpaint.hookimpl(wrapper=True)
    def predict(self):
        prediction = yield
        return prediction.with_x0(prediction.x0.clamp(-0.5, 0.5))


class LeftHalfAtNight:
    """Take the left half of the latents from a second branch."""

    @underpaint.hookimpl
    def branches(self):
        return [underpaint.Branch("night", "a dog at night")]

    @underpaint.hookimpl(wrapper=True)
    def advance(self, step):
        latents = yield  # [T, C, h, w], core's own: what is changed is a copy
        latents = latents.clone()
        main, night = (step.layout.trajectories_of(name) for name in ("main", "night"))
        half = latents.shape[-1] // 2
        latents[main, ..., :half] = latents[night, ..., :half]
        return latents


class Preview:
    """Keep a preview of the latest latents."""

    @underpaint.hookimpl
    def after_step(self, step, latents):
        main = latents[step.layout.trajectories_of("main")]
        step.run.report("preview", list(step.run.decode(main)))  # one [3, H, W] per image


class Grey:
    """Paint without colours."""

    @underpaint.hookimpl(wrapper=True)
    def decode(self):
        images = yield  # [T, 3, H, W]
        return images.mean(1, keepdim=True).expand_as(images)


class LastFirst:
    """Give the images back in the other order, and say so."""

    @underpaint.hookimpl(wrapper=True)
    def result(self):
        result = yield
        turned = result.reordered(range(len(result.images))[::-1])
        return replace(turned, warnings=(*result.warnings, "the last image comes first"))


EXAMPLES: Mapping[str, type] = {
    "needs": ReadWords,
    "branches": AtNight,
    "schedule": TwiceTheFirst,
    "conditioning": HalfACat,
    "initial_latents": Mirror,
    "before_step": SayWhereItStarts,
    "attention_edits": TwiceTheDog,
    "guidance": Calmer,
    "combine": Rescale,
    "predict": Clip,
    "advance": LeftHalfAtNight,
    "after_step": Preview,
    "decode": Grey,
    "result": LastFirst,
}
