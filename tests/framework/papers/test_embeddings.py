"""Text embeddings per step: null-text inversion (arXiv 2211.09794)."""

import torch
from underpaint import Needs, hookimpl, schedule
from underpaint.outputs import Cotangents
from underpaint.testing import EditSession


class PerStep:
    def __init__(self, embeddings):
        self.embeddings = embeddings

    @hookimpl(wrapper=True)
    def conditioning(self):
        conditioning = yield
        return conditioning.replace("main", "uncond", self.embeddings)


def test_each_step_has_its_own_embedding(edit_session, make_method):
    engine = edit_session.pipeline.engine
    texts = ["a", "a dog", "a red dog", "grass"]
    encoded = engine.encode_text(engine.tokenize(texts))[:, None]  # [S, I, L, d]
    trace = edit_session.trace(make_method(lambda: PerStep(encoded)))
    for index, text in enumerate(texts):
        step = trace.steps[index]
        alone = edit_session(
            latents=step.latents, negative_prompt=text, output_type="latent", num_inference_steps=4
        )
        assert alone.latents.shape == step.latents.shape
        given = step.evaluate(halves=["uncond"]).noise
        other = engine.encode_text(engine.tokenize([text]))
        own = step.run.conditioning.replace("main", "uncond", other)
        assert torch.equal(step.evaluate(halves=["uncond"], context=own).noise, given)
    assert not torch.equal(trace.result.images[0], edit_session().images[0])


class NullText:
    """Moves the uncond embedding until the step meets its pivot."""

    def __init__(self, pivots):
        self.pivots, self.losses = pivots, []

    @hookimpl
    def needs(self):
        return Needs(gradient=frozenset({"context"}))

    @hookimpl(wrapper=True)
    def predict(self, step):
        prediction = yield
        pivot, context = self.pivots[step.index], step.run.conditioning
        cond = step.evaluate(halves=["cond"]).of("main", "cond")
        losses = []
        for _ in range(5):
            outputs, pullback = step.linearize(context=context, halves=["uncond"], wrt="context")
            with torch.enable_grad():
                uncond = outputs.noise.clone().requires_grad_()
                noise = uncond + 4.0 * (cond - uncond)
                x0 = schedule.x0_from_noise(step.latents, noise, step.alpha)
                landed = schedule.ddim_step(x0, noise, step.next_alpha)
                loss = (landed - pivot).square().mean()
            losses.append(float(loss.detach()))
            (cotangent,) = torch.autograd.grad(loss, uncond)
            value = context.at("main", "uncond", step.index)
            value = value - 2.0 * pullback(Cotangents(noise=cotangent))
            context = context.replace("main", "uncond", value)
        self.losses.append(losses)
        return prediction


def test_the_inner_loop_of_null_text_goes_down(make_method):
    session = EditSession()
    pivots = session.trace(guidance_scale=1.0).latents
    null_text = NullText(pivots)
    session(make_method(lambda: null_text))
    assert len(null_text.losses) == 4
    assert all(losses[-1] < losses[0] for losses in null_text.losses)
