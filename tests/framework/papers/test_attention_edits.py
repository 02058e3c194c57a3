"""Attention edits through the whole loop: swaps, re-weighting, logit bias, guidance rules."""

import pytest
import torch
from underpaint import AttentionEdit, Branch, Needs, hookimpl
from underpaint.errors import PluginError

LENGTH = 77


class Edits:
    def __init__(self, source=None, **edit):
        self.source, self.edit = source, edit

    @hookimpl
    def needs(self):
        return Needs(edits=True, cross_bias="cross_bias" in self.edit)

    @hookimpl
    def branches(self):
        return [Branch("source", self.source)] if self.source else None

    @hookimpl
    def attention_edits(self, step):
        fields = dict(self.edit)
        if fields.pop("all_self", False):
            sites = step.run.request.model.sites.of_kind("self")
            names = frozenset(site.name for site in sites)
            fields |= dict.fromkeys(("self_q", "self_k", "self_v"), names)
        return [AttentionEdit("main", "source" if self.source else "main", **fields)]


def test_a_full_swap_of_the_same_prompt_changes_nothing(edit_session, make_method):
    swap = make_method(
        lambda: Edits(
            "a dog", cross_map=torch.eye(LENGTH), cross_scale=torch.zeros(LENGTH), all_self=True
        )
    )
    swapped, plain = edit_session(swap, prompt="a dog"), edit_session(prompt="a dog")
    assert torch.allclose(swapped.images[0], plain.images[0], atol=1e-4)
    assert torch.allclose(swapped.branches["source"][0], plain.images[0], atol=1e-4)


def test_a_swap_moves_the_picture_towards_the_source(edit_session, make_method):
    swap = make_method(
        lambda: Edits("a cat", cross_map=torch.eye(LENGTH), cross_scale=torch.zeros(LENGTH))
    )
    result = edit_session(swap, prompt="a dog")
    recorded = edit_session(prompt="a dog", record_attention=True)
    source = result.attention.branch("source").values["source"][0]
    assert torch.allclose(result.attention.values["main"][0], source, atol=1e-6)
    assert not torch.allclose(recorded.attention.values["main"][0], source, atol=1e-3)
    assert not torch.allclose(result.images[0], recorded.images[0], atol=1e-3)


def test_two_methods_write_two_things_of_one_branch(edit_session, make_method):
    scale = torch.ones(LENGTH)
    scale[2] = 0
    swap = make_method(lambda: Edits("a cat", cross_map=torch.eye(LENGTH)), "swap")
    weight = make_method(lambda: Edits(cross_scale=scale), "weight")
    both = edit_session(swap, weight, prompt="a dog")
    one = make_method(lambda: Edits("a cat", cross_map=torch.eye(LENGTH), cross_scale=scale))
    assert torch.equal(both.images[0], edit_session(one, prompt="a dog").images[0])


def test_a_bias_that_was_not_asked_for_is_refused(edit_session, make_method):
    class Silent(Edits):
        @hookimpl
        def needs(self):
            return Needs(edits=True)

    bias = {"up_blocks.0.attn2": torch.zeros(16, LENGTH)}
    with pytest.raises(PluginError, match=r"test.*adds a bias.*cross_bias=True"):
        edit_session(make_method(lambda: Silent(cross_bias=bias)), prompt="a dog")


def test_a_bias_on_the_logits_draws_attention_to_a_word(edit_session, make_method):
    sites = edit_session.pipeline.engine.info.sites
    bias = {
        site.name: torch.zeros(64 >> 2 * site.level, LENGTH) for site in sites.select(sites.words())
    }
    for value in bias.values():
        value[:, 2] = 4.0
    biased = edit_session(make_method(lambda: Edits(cross_bias=bias)), prompt="a dog")
    plain = edit_session(prompt="a dog", record_attention=True)
    assert (biased.attention["dog"] > plain.attention["dog"]).all()
    assert not torch.allclose(biased.images[0], plain.images[0], atol=1e-3)


def test_guidance_with_memory_wraps_combine(edit_session, make_method):
    """ProxEdit's kind of rule: what guidance adds is cut where it is small."""

    class Proximal:
        @hookimpl(wrapper=True)
        def combine(self, step, outputs):
            yield
            uncond, cond = outputs.of("main", "uncond"), outputs.of("main", "cond")
            delta = cond - uncond
            return uncond + 4.0 * delta * (delta.abs() > self.threshold)

    def cut(threshold):
        def start():
            plugin = Proximal()
            plugin.threshold = threshold
            return plugin

        return make_method(start)

    plain = edit_session()
    assert torch.allclose(edit_session(cut(-1.0)).images[0], plain.images[0], atol=1e-5)
    uncond_alone = edit_session(guidance_scale=1.0, prompt="a", negative_prompt="")
    assert not torch.allclose(edit_session(cut(1e9)).images[0], plain.images[0], atol=1e-3)
    assert uncond_alone.images[0].shape == plain.images[0].shape
