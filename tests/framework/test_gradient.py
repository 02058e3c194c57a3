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
from underpaint.layout import Layout
from underpaint.sites import SiteSelector
from underpaint.testing import EditSession, ToyEngine
from underpaint.through import linearize_through
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


@pytest.fixture
def counted(monkeypatch):
    """Count rows: (what was called, rows)."""
    calls = []
    for name in ("predict", "linearize"):
        original = getattr(ToyEngine, name)

        def count(self, call, *rest, name=name, original=original):
            calls.append((name, len(call.sample)))
            return original(self, call, *rest)

        monkeypatch.setattr(ToyEngine, name, count)
    return calls


class Guides(PromptToPromptLike):
    """Without edits: guides at the first step alone."""

    attention_edits = None

    def __init__(self, **options):
        self.guidance_options = options

    @hookimpl
    def guidance(self, step):
        if step.index == 0:
            return [Guidance(ENERGIES["all"], 1e-3, **self.guidance_options)]
        return None


@pytest.mark.parametrize(
    ("options", "first"),
    [
        ({}, [("linearize", 2), ("predict", 2)]),
        ({"halves": ("cond",)}, [("linearize", 1), ("predict", 3)]),
        ({"halves": ()}, [("predict", 4)]),
        ({"branches": ("main", "source")}, [("linearize", 4)]),
        ({"into": "latents"}, [("linearize", 2), ("predict", 2), ("predict", 4)]),
    ],
)
def test_a_step_linearises_the_rows_it_goes_through_and_no_others(
    edit_session, make_method, counted, options, first
):
    edit_session(make_method(lambda: Guides(**options)), num_inference_steps=3)
    assert counted == [*first, ("predict", 4), ("predict", 4)]


def test_rows_that_an_edit_joins_stay_together(edit_session, make_method, counted):
    class Joined(Guides):
        attention_edits = PromptToPromptLike.attention_edits

    edit_session(make_method(lambda: Joined(halves=("cond",))), num_inference_steps=1)
    assert counted == [("linearize", 2), ("predict", 2)]


def test_without_a_gradient_of_the_unet_none_need_be_asked_for(edit_session, make_method, counted):
    class Direct:
        @hookimpl
        def guidance(self):
            return [Guidance(lambda seen: seen.x0.square().mean((1, 2, 3)), 5.0, halves=())]

    changed = edit_session(make_method(Direct), output_type="latent")
    assert {name for name, _ in counted} == {"predict"}
    plain = edit_session(output_type="latent")
    assert (changed.latents - plain.latents).abs().max() > 1e-3


def test_the_response_to_the_scale_is_smooth(edit_session, make_method):
    def latents(scale):
        class Scaled(Guides):
            @hookimpl
            def guidance(self):
                return [Guidance(ENERGIES["x0"], scale)]

        edit = make_method(lambda: Scaled())
        return edit_session(edit, output_type="latent").latents

    plain = latents(0.0)
    scales = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    changes = [float((latents(scale) - plain).norm() / plain.norm()) for scale in scales]
    assert changes == sorted(changes)
    assert 0 < changes[0] < 1e-3
    assert changes[2] / changes[1] == pytest.approx(10, rel=0.1)
    assert changes[3] / changes[2] == pytest.approx(10, rel=0.3)


def test_scale_zero_is_no_guidance(edit_session, make_method):
    class Zero(Guides):
        branches = None

        @hookimpl
        def guidance(self):
            return [Guidance(lambda seen: seen.x0.square().mean((1, 2, 3)), 0.0)]

    guided = edit_session(make_method(Zero), output_type="latent").latents
    assert torch.allclose(guided, edit_session(output_type="latent").latents, atol=1e-6)


def test_the_layout_of_joined_parts_is_the_runs(make_method):
    layouts = []

    def look(step):
        outputs, _ = linearize_through(step, [("main", "uncond")])
        whole = step.evaluate()
        layouts.append(outputs.layout)
        assert torch.allclose(outputs.noise, whole.noise, atol=1e-5)
        for site, value in whole.maps.values.items():
            assert torch.allclose(outputs.maps.values[site], value, atol=1e-5)
        assert torch.allclose(outputs.features["mid_block"], whole.features["mid_block"], atol=1e-5)

    EditSession()(make_method(lambda: Looks(look)), prompt=["a dog", "a cat"])
    assert layouts == [Layout.of(2, ("main", "source"), ("main", "source"))]
