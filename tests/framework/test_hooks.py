import pytest
import torch
from underpaint import AttentionEdit, Branch, Guidance, Needs, hookimpl
from underpaint.errors import ConflictError, PluginError
from underpaint.hooks import FIRSTRESULT, Hooks
from underpaint.method import hookspec
from underpaint.registration import SPECIFICATIONS

LENGTH = 77


def scaling(factor, shift=0.0):
    class Plugin:
        @hookimpl(wrapper=True)
        def advance(self, step):
            latents = yield
            return latents * factor + shift

    return Plugin


def register(make_method, *plugins):
    return Hooks([make_method(p, f"plugin-{i}") for i, p in enumerate(plugins)])


def test_values_flow_core_then_a_then_b(edit_session, make_method):
    a, b = make_method(scaling(2.0), "a"), make_method(scaling(1.0, 1.0), "b")
    one_step = {"num_inference_steps": 1, "output_type": "latent"}
    core = edit_session(**one_step).latents
    assert torch.allclose(edit_session(a, b, **one_step).latents, core * 2 + 1)
    assert torch.allclose(edit_session(b, a, **one_step).latents, (core + 1) * 2)


def test_collected_values_come_in_the_order_of_the_edits(make_method):
    def naming(name):
        class Plugin:
            @hookimpl
            def branches(self):
                return [Branch(name, None)]

        return Plugin

    hooks = register(make_method, naming("first"), naming("second"), naming("third"))
    assert [b.name for b in hooks.branches(None)] == ["first", "second", "third"]


def test_needs_are_told_by_plugin(make_method):
    def needing(**needs):
        class Plugin:
            @hookimpl
            def needs(self):
                return Needs(**needs)

        return Plugin

    hooks = register(make_method, needing(edits=True), needing(gradient=frozenset({"sample"})))
    assert hooks.needs(None) == {
        "plugin-0": Needs(edits=True),
        "plugin-1": Needs(gradient=frozenset({"sample"})),
    }
    assert Hooks([]).needs(None) == {}


def replacing(hook):
    def implementation(self):
        return ()

    return type("Plugin", (), {hook: hookimpl(implementation)})


@pytest.mark.parametrize("hook", [hook for hook in FIRSTRESULT if hook != "predict"])
def test_two_replacements_of_one_hook_are_an_error_that_names_both(make_method, hook):
    register(make_method, replacing(hook))
    with pytest.raises(ConflictError, match=rf"'plugin-0' and 'plugin-1' both replace.*'{hook}'"):
        register(make_method, replacing(hook), replacing(hook))


def test_one_plugin_may_replace_and_another_wrap(edit_session, make_method):
    class Grey:
        @hookimpl
        def decode(self, latents):
            return torch.full((len(latents), 3, 4, 4), 0.5)

    class Darker:
        @hookimpl(wrapper=True)
        def decode(self):
            images = yield
            return images / 2

    result = edit_session(make_method(Grey, "grey"), make_method(Darker, "darker"))
    assert (result.images[0] == 0.25).all()


def plugin(**methods):
    return type("Plugin", (), methods)


def bad_default(self, step, strength=1.0):
    return None


def bad_keyword(self, *, step):
    return None


def bad_argument(self, stepp):
    return None


def bad_star(self, **rest):
    return None


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"before_stepp": hookimpl(lambda self, step: None)}, r"no hook 'before_stepp'.*'before_"),
        ({"before_step": hookimpl(bad_default)}, r"unknown argument 'strength'"),
        ({"before_step": hookimpl(lambda self, step=None: None)}, r"'step' has a default"),
        ({"before_step": hookimpl(bad_keyword)}, r"'step' has a default or is keyword-only"),
        ({"before_step": hookimpl(bad_argument)}, r"unknown argument 'stepp'.*mean 'step'"),
        ({"before_step": hookimpl(bad_star)}, r"unknown argument 'rest'"),
        ({"predict": hookimpl(lambda self, step: None)}, r"replaces 'predict'. Wrap it"),
        ({"unmarked": lambda self: None}, r"implements no hook"),
        (
            {"before_step": hookimpl(lambda self: None), "__eq__": lambda self, other: True},
            r"compared by value",
        ),
    ],
)
def test_registration_errors_name_the_plugin_and_the_rule(make_method, methods, message):
    with pytest.raises(PluginError, match=rf"(?s)'plugin-0'.*{message}"):
        register(make_method, plugin(**methods))


def test_the_same_method_twice_gets_two_names_and_two_instances(edit_session, make_method):
    edit = make_method(scaling(2.0), "double")
    one_step = {"num_inference_steps": 1, "output_type": "latent"}
    twice = edit_session(edit, edit, **one_step).latents
    assert torch.allclose(twice, edit_session(**one_step).latents * 4)


def weighting(source):
    class Plugin:
        @hookimpl
        def needs(self):
            return Needs(edits=True)

        @hookimpl
        def attention_edits(self):
            return [AttentionEdit("main", source, cross_scale=torch.ones(LENGTH))]

    return Plugin


def test_two_writers_of_one_thing_are_named(edit_session, make_method):
    edits = [make_method(weighting("main"), name) for name in ("one", "two")]
    with pytest.raises(ConflictError, match=r"'one' and 'two' both write the cross_scale.*step 0"):
        edit_session(*edits)


def test_an_edit_or_a_gradient_that_was_not_asked_for_is_an_error(edit_session, make_method):
    class Edits:
        @hookimpl
        def attention_edits(self):
            return [AttentionEdit("main", "main")]

    class Guides:
        @hookimpl
        def guidance(self):
            return [Guidance(lambda seen: seen.x0.mean((1, 2, 3)))]

    with pytest.raises(PluginError, match=r"'edits' edits attention.*Needs\(edits=True\)"):
        edit_session(make_method(Edits, "edits"))
    with pytest.raises(PluginError, match=r"gradient of 'sample'.*frozenset\(\{'sample'\}\)"):
        edit_session(make_method(Guides, "guides"))


@pytest.mark.parametrize(
    ("hook", "value", "message"),
    [
        ("advance", torch.zeros(1, 4, 4, 4), r"advance returned.*\(1, 4, 4, 4\).*\(1, 4, 8, 8\)"),
        ("combine", torch.zeros(3, 4, 8, 8), r"combine returned.*\(3, 4, 8, 8\).*\(1, 4, 8, 8\)"),
        ("initial_latents", torch.zeros(4, 8, 8), r"initial_latents returned.*\(4, 8, 8\)"),
        ("decode", torch.zeros(2, 3, 32, 32), r"decode returned.*\(2, 3, 32, 32\)"),
        ("advance", None, r"advance returned None.*'wrong'"),
        ("schedule", (), r"schedule returned \(\), expected a tuple of at least one Move.*'wrong'"),
    ],
)
def test_a_wrong_shape_is_an_error_that_names_plugin_and_hook(
    edit_session, make_method, hook, value, message
):
    def implementation(self):
        yield
        return value

    wrong = type("Plugin", (), {hook: hookimpl(wrapper=True)(implementation)})
    with pytest.raises(PluginError, match=message):
        edit_session(make_method(wrong, "wrong"))


def test_specifications_stand_in_call_order():
    assert list(SPECIFICATIONS)[:3] == ["needs", "branches", "schedule"]
    assert list(SPECIFICATIONS)[-1] == "result"
    assert hookspec is not hookimpl
