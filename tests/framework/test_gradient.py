"""The total gradient of a step against finite differences, and what it costs."""

from dataclasses import replace

import pytest
import torch
from underpaint import (
    AttentionEdit,
    Branch,
    Guidance,
    Needs,
    Observation,
    Pipeline,
    Tap,
    hookimpl,
    schedule,
)
from underpaint.gradient import descend
from underpaint.sites import SiteSelector
from underpaint.testing import EditSession, ToyEngine
from underpaint_engines import pytorch

PREDICTIONS = ["epsilon", "v_prediction"]


def maps(seen):
    rows = seen.maps.layout.rows_of("main", "cond")
    values = [value[rows][..., 1:4].square().sum((1, 2, 3)) for value in seen.maps.values.values()]
    return torch.stack(values).sum(0)


def features(seen):
    rows = seen.maps.layout.rows_of("main", "uncond")
    return sum(value[rows].square().mean((1, 2, 3)) for value in seen.features.values())


def of_main(name):
    def energy(seen):
        value = getattr(seen, name)[::2]  # main is the first of two branches
        return value.pow(3).mean((1, 2, 3)) + value.square().mean((1, 2, 3))

    return energy


ENERGIES = {
    "maps": maps,
    "features": features,
    "noise": of_main("noise"),
    "x0": of_main("x0"),
    "sample": of_main("sample"),
    "all": lambda seen: maps(seen) + features(seen) + of_main("x0")(seen) - of_main("noise")(seen),
}


class PromptToPromptLike:
    """Main takes maps, queries and keys from the source, whose guidance is on."""

    @hookimpl
    def needs(self):
        taps = (Tap(SiteSelector("cross"), "all"), Tap(SiteSelector("activation")))
        return Needs(taps, edits=True, gradient=frozenset({"sample"}))

    @hookimpl
    def branches(self):
        return [Branch("source", "a cat on grass")]

    @hookimpl
    def attention_edits(self, step):
        model = step.run.request.model
        own = frozenset(site.name for site in model.sites.of_kind("self"))
        length = model.context_length
        swap = torch.eye(length) * 0.6
        scale = torch.full((length,), 0.4)
        return [
            AttentionEdit(
                "main", "source", cross_map=swap, cross_scale=scale, self_q=own, self_k=own
            )
        ]


class Looks(PromptToPromptLike):
    """Hands each step, at random latents, to a function."""

    def __init__(self, look, step=1):
        self.look, self.step = look, step

    @hookimpl(wrapper=True)
    def predict(self, step):
        prediction = yield
        if step.index == self.step:
            self.look(step)
        return prediction


class DoubleToy(ToyEngine):
    """The toy engine in float64, for finite differences that mean something."""

    def __init__(self, prediction_type):
        super().__init__(prediction_type)
        for name, value in vars(self.unet).items():
            if isinstance(value, torch.Tensor):
                setattr(self.unet, name, value.double())
        projections = self.unet.projections
        self.unet.projections = {k: [m.double() for m in v] for k, v in projections.items()}

    def predict(self, call):
        return super().predict(_double(call))

    def linearize(self, call, wrt):
        return super().linearize(_double(call), wrt)


def _double(call):
    edits = call.edits and replace(
        call.edits,
        cross_map=call.edits.cross_map.double(),
        cross_scale=call.edits.cross_scale.double(),
    )
    return replace(call, sample=call.sample.double(), context=call.context.double(), edits=edits)


def value_at(step, energy, latents):
    """Recompute an energy, summed over images, from a plain evaluation."""
    outputs = step.evaluate(sample=latents)
    noise = step.combine(outputs)
    x0 = schedule.x0_from_noise(latents, noise, step.alpha)
    seen = Observation(latents, noise, x0, outputs.maps, outputs.features)
    return float(energy(seen).double().sum())


def directional_errors(step, energy, width):
    """Return finite differences along a direction of main's latents, and the gradient's."""
    _, gradient = descend(step.at(step.latents), [Guidance(energy)])
    source = step.layout.trajectories_of("source")
    assert not gradient[source].any()
    direction = gradient / gradient.norm() + 0.3 * torch.randn_like(gradient) / gradient.numel()
    direction[source] = 0
    ahead = value_at(step, energy, step.latents + width * direction)
    behind = value_at(step, energy, step.latents - width * direction)
    return (ahead - behind) / (2 * width), float((gradient * direction).sum())


@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize("name", ENERGIES)
def test_the_gradient_equals_finite_differences_with_edits(make_method, kind, name):
    found = []

    def look(step):
        double = step.at(step.latents.double())
        found.append(directional_errors(double, ENERGIES[name], 1e-5))

    session = EditSession(Pipeline(DoubleToy(kind)))
    for prompt, seed in (("a dog on grass", 1), ("a red cat in a box", 2)):
        edit = make_method(lambda: Looks(look))
        session(edit, prompt=[prompt] * 2, seed=[seed, seed + 7], output_type="latent")
    assert len(found) == 2
    for measured, mine in found:
        assert abs(mine) > 1e-6
        assert mine == pytest.approx(measured, rel=1e-4)


@pytest.mark.parametrize("kind", ["sd1", "sd2"])
def test_the_gradient_equals_finite_differences_on_a_checkpoint(checkpoint, make_method, kind):
    """In float32; sd2 predicts v."""
    pipeline = Pipeline(pytorch.load(checkpoint(kind), name=kind))
    found = []

    def look(step):
        found.extend(directional_errors(step, energy, 1e-1) for energy in ENERGIES.values())

    for seed in (1, 2):
        edit = make_method(lambda: Looks(look, 0))
        pipeline("a dog", edits=[edit], seed=seed, num_inference_steps=1, output_type="latent")
    assert len(found) == 2 * len(ENERGIES)
    for measured, mine in found:
        assert mine == pytest.approx(measured, rel=3e-2)


def test_halves_shut_the_others_out(make_method):
    """The gradient through cond and that through uncond add up to the whole."""
    found = []

    def look(step):
        step = step.at(step.latents.double())
        for halves in (("uncond", "cond"), ("uncond",), ("cond",), ()):
            found.append(descend(step, [Guidance(ENERGIES["x0"], halves=halves)])[1])

    EditSession(Pipeline(DoubleToy("epsilon")))(
        make_method(lambda: Looks(look)), output_type="latent"
    )
    whole, uncond, cond, direct = found
    assert torch.allclose(uncond + cond - direct, whole, atol=1e-8)
    assert min(float((part - whole).norm() / whole.norm()) for part in found[1:]) > 1e-3


def test_guidances_of_other_branches_and_halves_do_not_mix(make_method):
    found = []
    parts = [
        Guidance(ENERGIES["x0"], 0.7),
        Guidance(ENERGIES["maps"], 0.2, halves=("cond",)),
        Guidance(lambda seen: seen.x0.square().mean().expand(1), 0.3, branches=("source",)),
    ]

    def look(step):
        step = step.at(step.latents.double())
        together = descend(step, parts)[1]
        found.append((together, sum(descend(step, [part])[1] for part in parts)))

    EditSession(Pipeline(DoubleToy("epsilon")))(
        make_method(lambda: Looks(look)), output_type="latent"
    )
    together, apart = found[0]
    assert torch.allclose(together, apart, atol=1e-9)
    assert together[1].any()


def test_guidances_that_share_a_branch_add_up(make_method):
    """Of other branches, and of other limits: each has a pullback, none takes another's place."""
    found = []
    parts = [
        Guidance(ENERGIES["x0"], 0.7),
        Guidance(ENERGIES["noise"], 0.4, branches=("main", "source")),
        Guidance(ENERGIES["sample"], 0.3, limit=1e-4),
    ]

    def look(step):
        step = step.at(step.latents.double())
        together = descend(step, parts)[1]
        found.append((together, [descend(step, [part])[1] for part in parts]))

    EditSession(Pipeline(DoubleToy("epsilon")))(
        make_method(lambda: Looks(look)), output_type="latent"
    )
    together, apart = found[0]
    assert torch.allclose(together, sum(apart), atol=1e-9)
    assert all(part[0].any() for part in apart)


@pytest.mark.parametrize("into", ["noise", "latents"])
def test_a_limit_cuts_what_is_beyond_it_and_leaves_the_rest(make_method, into):
    found = []

    def look(step):
        step = step.at(step.latents.double())
        plain = Guidance(ENERGIES["x0"], into=into)
        free = descend(step, [plain])[1] * plain.factor(step.alpha)
        limit = float(free[0].abs().median())
        limited = descend(step, [replace(plain, limit=limit)])[1] * plain.factor(step.alpha)
        found.append((free[0], limited[0], limit))

    EditSession(Pipeline(DoubleToy("epsilon")))(
        make_method(lambda: Looks(look)), output_type="latent"
    )
    free, limited, limit = found[0]
    inside = free.abs() < limit
    assert 0 < int(inside.sum()) < free.numel()
    assert torch.allclose(limited[inside], free[inside])
    assert torch.allclose(limited[~inside], limit * free[~inside].sign())
