"""Which rows a guided step differentiates, and how the result answers to the scale."""

import pytest
import torch
from underpaint import AttentionEdit, Branch, Guidance, Needs, Tap, hookimpl
from underpaint.layout import Layout
from underpaint.sites import SiteSelector
from underpaint.testing import ToyEngine
from underpaint.through import linearize_through


def of_x0(seen):
    return seen.x0[::2].square().mean((1, 2, 3))  # main is the first of two branches


def energy(seen):
    rows = seen.maps.layout.rows_of("main", "cond")
    maps = [value[rows][..., 1].square().sum((1, 2)) for value in seen.maps.values.values()]
    return torch.stack(maps).sum(0) + of_x0(seen)


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


class Guides:
    """Guides at the first step alone."""

    @hookimpl
    def needs(self):
        taps = (Tap(SiteSelector("cross"), "all"), Tap(SiteSelector("activation")))
        return Needs(taps, edits=True, gradient=frozenset({"sample"}))

    @hookimpl
    def branches(self):
        return [Branch("source", "a cat on grass")]

    def __init__(self, **options):
        self.guidance_options = options

    @hookimpl
    def guidance(self, step):
        if step.index == 0:
            return [Guidance(energy, 1e-3, **self.guidance_options)]
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
        @hookimpl
        def attention_edits(self, step):
            swap = torch.eye(step.run.request.model.context_length)
            return [AttentionEdit("main", "source", cross_map=swap)]

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
                return [Guidance(lambda seen: 1000 * of_x0(seen), scale)]

        edit = make_method(Scaled)
        return edit_session(edit, output_type="latent").latents

    plain = latents(0.0)
    scales = (1e-4, 2e-4, 4e-4, 1e-3, 1e-2)
    changes = [float((latents(scale) - plain).norm() / plain.norm()) for scale in scales]
    assert changes == sorted(changes)
    assert 0 < changes[0] < 1e-3, changes
    assert changes[1] / changes[0] == pytest.approx(2, rel=0.1)
    assert changes[2] / changes[1] == pytest.approx(2, rel=0.1)
    assert changes[4] < 10.5 * changes[3]


def test_scale_zero_is_no_guidance(edit_session, make_method):
    class Zero(Guides):
        branches = None

        @hookimpl
        def guidance(self):
            return [Guidance(lambda seen: seen.x0.square().mean((1, 2, 3)), 0.0)]

    guided = edit_session(make_method(Zero), output_type="latent").latents
    assert torch.allclose(guided, edit_session(output_type="latent").latents, atol=1e-6)


def test_the_rows_come_back_in_the_order_of_the_run(edit_session, make_method):
    layouts = []

    class Looks(Guides):
        guidance = None

        @hookimpl
        def before_step(self, step):
            outputs, _ = linearize_through(step, [("main", "uncond")])
            whole = step.evaluate()
            layouts.append(outputs.layout)
            assert torch.allclose(outputs.noise, whole.noise, atol=1e-5)
            for site, value in whole.maps.values.items():
                assert torch.allclose(outputs.maps.values[site], value, atol=1e-5)
            middle = whole.features["mid_block"]
            assert torch.allclose(outputs.features["mid_block"], middle, atol=1e-5)

    edit_session(make_method(Looks), prompt=["a dog", "a cat"], num_inference_steps=1)
    assert layouts == [Layout.of(2, ("main", "source"), ("main", "source"))]
