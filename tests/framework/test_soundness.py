"""A gradient that is no number, or far too large, is caught at its step and names its plugin."""

import pytest
import torch
from underpaint import Guidance, Needs, Pipeline, hookimpl
from underpaint.errors import (
    ExplodingGradientError,
    InvalidRequestError,
    NonFiniteError,
    PluginError,
)
from underpaint.testing import EditSession, ToyEngine


def guiding(energy, scale=1.0, **options):
    class Guides:
        @hookimpl
        def needs(self):
            return Needs(gradient=frozenset({"sample"}))

        @hookimpl
        def guidance(self, step):
            return [Guidance(energy, scale, **options)] if step.index == 1 else None

    return Guides


def calm(seen):
    return 0.01 * seen.x0.square().mean((1, 2, 3))


def infinite(seen):
    return seen.x0.square().mean((1, 2, 3)) / 0.0


def edge(seen):
    """Finite itself, but its slope is not: a root at zero."""
    return (seen.x0 * 0).abs().sum((1, 2, 3)).sqrt()


@pytest.mark.parametrize(
    ("energy", "what"), [(infinite, "The energy of"), (edge, "The gradient of the energy of")]
)
@pytest.mark.parametrize("order", [1, -1])
def test_what_is_no_number_names_the_plugin_the_step_and_a_way_out(
    edit_session, make_method, energy, what, order
):
    edits = [make_method(guiding(energy), "guilty"), make_method(guiding(calm), "calm")]
    message = rf"{what} plugin 'guilty' is NaN or infinite at step 1 \(t=\d+\).*[Ll]ower"
    with pytest.raises(NonFiniteError, match=message):
        edit_session(*edits[::order])


@pytest.mark.parametrize("into", ["noise", "latents"])
def test_an_exploding_gradient_is_caught_and_a_large_one_is_not(edit_session, make_method, into):
    def edit(scale):
        return make_method(guiding(lambda seen: seen.x0.square().sum((1, 2, 3)), scale, into=into))

    edit_session(edit(0.1))
    message = rf"plugin 'test' would change the {into} by .* times .* at step 1 .*lower|Lower"
    with pytest.raises(ExplodingGradientError, match=message):
        edit_session(edit(1e4))


@pytest.mark.parametrize("into", ["noise", "latents"])
def test_what_a_limit_cuts_does_not_explode(edit_session, make_method, into):
    edit_session(make_method(guiding(calm, 1e9, into=into, limit=0.5)))
    with pytest.raises(ExplodingGradientError, match="at most 10 times"):
        edit_session(make_method(guiding(calm, 1e9, into=into, limit=1e6)))


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_limit_of_nothing_is_an_error(edit_session, make_method, limit):
    with pytest.raises(PluginError, match=r"plugin 'test' gave Guidance\(limit=.*above 0"):
        edit_session(make_method(guiding(calm, limit=limit)))


@pytest.mark.parametrize("limit", [None, 0.1])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_pullback_that_is_no_number_names_all_who_guide(make_method, value, limit):
    """Also where a limit would cut infinity down to a number."""

    class Broken(ToyEngine):
        def linearize(self, call, wrt):
            output, pullback = super().linearize(call, wrt)
            return output, lambda cotangents: torch.full_like(pullback(cotangents), value)

    edits = [make_method(guiding(calm, limit=limit), name) for name in ("one", "two")]
    with pytest.raises(NonFiniteError, match=r"UNet's gradient for plugins 'one' and 'two' holds"):
        EditSession(Pipeline(Broken()))(*edits)


def test_a_branch_that_the_run_does_not_have_is_an_error(edit_session, make_method):
    message = r"plugin 'test' guides branch 'sorce', which.*Valid: 'main'"
    with pytest.raises(PluginError, match=message):
        edit_session(make_method(guiding(calm, branches=("sorce",))))
    with pytest.raises(PluginError, match=r"plugin 'test' guides no branch"):
        edit_session(make_method(guiding(calm, branches=())))


@pytest.mark.parametrize(("field", "value"), [("into", "latent"), ("halves", ("con",))])
def test_a_destination_or_half_that_does_not_exist_is_an_error(
    edit_session, make_method, field, value
):
    with pytest.raises((PluginError, InvalidRequestError), match="Valid: "):
        edit_session(make_method(guiding(calm, **{field: value})))
