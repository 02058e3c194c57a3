"""Every bad input has a typed error that says what to do instead."""

import pytest
import torch
from underpaint import Branch, Needs, Pipeline, Tap, Window, hookimpl
from underpaint.errors import (
    ConflictError,
    InvalidRequestError,
    ModelLoadError,
    NonFiniteError,
    NotOfferedError,
    UnderpaintError,
    UnknownNameError,
    UnknownSiteError,
)
from underpaint.sites import SiteSelector
from underpaint.testing import EditSession, ToyEngine, toy_pipeline

NAN = torch.full((1, 4, 8, 8), float("nan"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"prompt": "  "}, r"prompt is empty: say what"),
        ({"prompt": ["a dog", ""]}, r"prompt is empty"),
        ({"prompt": 3}, r"prompt"),
        ({"prompt": [3]}, r"prompt holds 3: give text"),
        ({"prompt": ["a dog", "a cat"], "negative_prompt": ["a", "b", "c"]}, r"3 texts for 2"),
        ({"num_inference_steps": 0}, r"num_inference_steps=0: give a whole number from 1 to 1000"),
        ({"num_inference_steps": -3}, r"num_inference_steps=-3"),
        ({"num_inference_steps": 1001}, r"num_inference_steps=1001"),
        ({"num_inference_steps": 2.5}, r"num_inference_steps=2.5"),
        ({"num_images_per_prompt": 0}, r"num_images_per_prompt=0"),
        ({"guidance_scale": -1.0}, r"guidance_scale=-1.0: give a number at least 0"),
        ({"guidance_scale": float("nan")}, r"guidance_scale=nan"),
        ({"guidance_scale": float("inf")}, r"guidance_scale=inf"),
        ({"guidance_scale": "7"}, r"guidance_scale='7'"),
        ({"eta": -0.1}, r"eta=-0.1: give a number between 0 and 1"),
        ({"eta": 1.1}, r"eta=1.1"),
        ({"timestep_spacing": "trailng"}, r"timestep_spacing='trailng'.*mean 'trailing'"),
        ({"output_type": "jpeg"}, r"output_type='jpeg'. Valid: 'latent', 'np', 'pil', 'pt'"),
        ({"seed": -1}, r"seed=-1: give whole numbers"),
        ({"seed": 2**63}, r"seed=9223372036854775808"),
        ({"seed": 1.5}, r"seed=1.5"),
        ({"seed": [1, 2]}, r"seed holds 2 numbers for 1 images"),
        ({"seed": [1.5]}, r"seed=1.5"),
        ({"generator": torch.Generator()}, r"seed or generator, not both"),
        ({"seed": None, "generator": [torch.Generator()] * 2}, r"2.*1 images"),
        ({"seed": None, "generator": 7}, r"generator: give torch.Generator"),
        ({"latents": torch.zeros(1, 4, 8, 4)}, r"latents: got \(1, 4, 8, 4\), give.*\(1, 4, 8, 8"),
        ({"latents": [1.0]}, r"latents: got list"),
        ({"height": 30}, r"height=30: give a multiple of 8, e.g. 24 or 32"),
        ({"height": 0}, r"height=0"),
        ({"width": -8}, r"width=-8"),
        ({"width": 32.0}, r"width=32.0: give a multiple of 8, e.g. 32 or 40"),
        ({"width": "32"}, r"width='32'"),
        ({"edits": ["prompt-to-prompt"]}, r"give instances of Method.*plugins list"),
    ],
)
def test_bad_arguments(call, message):
    pipe = toy_pipeline()
    with pytest.raises(InvalidRequestError, match=message):
        pipe(**{"prompt": "a dog", "seed": 1, **call})


def test_latents_that_are_not_numbers():
    with pytest.raises(NonFiniteError, match=r"latents holds 256 NaN"):
        toy_pipeline()("a dog", latents=NAN)


def test_latents_that_become_nan_are_never_decoded(edit_session, make_method):
    class Breaks:
        @hookimpl(wrapper=True)
        def advance(self):
            return (yield) * float("nan")

    with pytest.raises(NonFiniteError, match=r"final latents holds 256 NaN"):
        edit_session(make_method(Breaks))


def test_an_image_that_is_not_numbers_is_not_handed_out(edit_session, make_method):
    class Overflows:
        @hookimpl(wrapper=True)
        def decode(self):
            return (yield) * float("nan")

    with pytest.raises(NonFiniteError, match=r"decoded image holds 3072 NaN"):
        edit_session(make_method(Overflows))


def test_every_error_is_an_underpaint_error_and_a_builtin():
    for error, builtin in (
        (InvalidRequestError, ValueError),
        (UnknownNameError, LookupError),
        (NonFiniteError, ArithmeticError),
    ):
        assert issubclass(error, UnderpaintError)
        assert issubclass(error, builtin)


def test_a_long_prompt_warns_and_names_what_was_cut(edit_session):
    prompt = " ".join(f"w{i}" for i in range(80))
    result = edit_session(prompt=prompt)
    (warning,) = result.warnings
    assert "more than 77 tokens" in warning
    assert repr("w75 w76 w77 w78 w79") in warning
    assert edit_session(prompt=" ".join(f"w{i}" for i in range(75))).warnings == ()


def test_unknown_engine_and_model_list_what_is_installed(tmp_path):
    with pytest.raises(UnknownNameError, match=r"No engine named 'pytroch'.*mean 'pytorch'"):
        Pipeline.from_pretrained("picturebook", "pytroch")
    with pytest.raises(UnknownNameError, match=r"No model 'no-such'.*underpaint models list"):
        Pipeline.from_pretrained("no-such")
    with pytest.raises((UnknownNameError, ModelLoadError)):
        Pipeline.from_pretrained(tmp_path / "missing")


@pytest.mark.parametrize("limits", [(-0.5, 1.0), (0.0, 1.5), (0.8, 0.2)])
def test_windows_outside_the_noise_range(limits):
    with pytest.raises(InvalidRequestError, match=r"0 <= start <= end <= 1"):
        Window(*limits)


def test_two_branches_of_one_name(edit_session, make_method):
    def naming(name):
        class Plugin:
            @hookimpl
            def branches(self):
                return [Branch(name, "a cat")]

        return Plugin

    source, main = naming("source"), naming("main")
    with pytest.raises(ConflictError, match=r"'a' and 'b' both bring a branch named 'source'"):
        edit_session(make_method(source, "a"), make_method(source, "b"))
    with pytest.raises(ConflictError, match=r"'core' and 'a' both bring a branch named 'main'"):
        edit_session(make_method(main, "a"))


def test_a_tap_that_no_site_matches_stops_the_call_before_it_begins(edit_session, make_method):
    class Reads:
        @hookimpl
        def needs(self):
            return Needs((Tap(SiteSelector("self", levels=frozenset({4}))),))

    with pytest.raises(UnknownSiteError, match=r"The model's self sites: down_blocks.0.attn1"):
        edit_session(make_method(Reads))


def test_what_the_engine_does_not_offer_stops_the_call_before_it_begins(make_method):
    class Plain(ToyEngine):
        def check(self, needs, size):
            if needs.gradient:
                raise NotOfferedError("no gradients on this engine")

    class Guides:
        @hookimpl
        def needs(self):
            return Needs(gradient=frozenset({"sample"}))

    with pytest.raises(NotOfferedError, match=r"no gradients"):
        EditSession(Pipeline(Plain()))(make_method(Guides))


def test_another_engine_of_the_model_takes_over_what_one_does_not_offer(make_method):
    class Other(ToyEngine):
        name = "other"

    class Plain(ToyEngine):
        def check(self, needs, size):
            if size != (8, 8):
                raise NotOfferedError(f"no graph of {size}.")

        def fallback(self):
            return Other()

    pipe = Pipeline(Plain())
    assert not EditSession(pipe)().warnings
    result = EditSession(pipe)(height=64)
    assert result.warnings == ("no graph of (16, 8). This call ran on the other engine instead.",)
    assert result.recipe["engine"] == "other"


def test_a_follower_needs_a_trajectory():
    with pytest.raises(InvalidRequestError, match=r"'source' follows no trajectory"):
        Branch("source", "a cat", follow=True)


def test_default_size_and_steps_come_from_the_model():
    engine = ToyEngine()
    trace = EditSession(Pipeline(engine)).trace()
    request = trace.steps[0].run.request
    assert (request.height, request.width) == (32, 32)
    assert request.guidance_scale == engine.info.guidance_scale
