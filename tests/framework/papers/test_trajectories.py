"""Branches that follow a known path: Direct Inversion, and Self-Guidance's forward noise."""

import pytest
import torch
from underpaint import Branch, Move, Pipeline, Trajectory, hookimpl
from underpaint.errors import TrajectoryMismatchError
from underpaint.schedule import add_noise
from underpaint.testing import EditSession, greatest_difference, toy_pipeline

CLEAN = torch.rand(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
NOISE = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
SCHEDULE = toy_pipeline().engine.info.noise


class Follows:
    def __init__(self, trajectory, follow=True):
        self.branch = Branch("source", "a cat", trajectory=trajectory, follow=follow)

    @hookimpl
    def branches(self):
        return [self.branch]


class Inverts:
    """DDIM inversion that keeps its pivots."""

    def __init__(self):
        self.pivots = {-1: CLEAN}

    @hookimpl(wrapper=True)
    def schedule(self):
        moves = yield
        return tuple(Move(m.next_t, m.t, kind="invert") for m in reversed(moves))

    @hookimpl
    def initial_latents(self):
        return CLEAN

    @hookimpl
    def after_step(self, step, latents):
        self.pivots[step.move.next_t] = latents


def noised(steps=4):
    return Trajectory.noised(CLEAN, NOISE, SCHEDULE, SCHEDULE.moves(steps))


def inverted(session, make_method):
    inversion = Inverts()
    session(make_method(lambda: inversion), prompt="a cat", guidance_scale=1.0)
    levels = tuple(sorted(inversion.pivots, reverse=True))
    pivots = torch.stack([inversion.pivots[level] for level in levels])
    digest = session.pipeline.engine.info.digest
    return Trajectory(levels, pivots, ("a cat",), "ddim-inversion", digest)


def test_direct_inversion_holds_the_source_on_its_pivots(edit_session, make_method):
    trajectory = inverted(edit_session, make_method)
    trace = edit_session.trace(make_method(lambda: Follows(trajectory)))
    source = trace.steps[0].layout.trajectories_of("source")
    assert torch.equal(trace.steps[0].latents[source], trajectory.at(751))
    for step, latents in zip(trace.steps, trace.latents, strict=True):
        assert torch.equal(latents[source], trajectory.at(step.move.next_t))
    image = edit_session.pipeline.engine.decode_latents(CLEAN).clamp(0, 1)
    assert torch.equal(trace.result.branches["source"][0], image[0])


def test_a_follower_has_no_uncond_row(edit_session, make_method):
    trace = edit_session.trace(make_method(lambda: Follows(noised())))
    assert trace.steps[0].layout.rows_of("source", "uncond") == []
    assert len(trace.steps[0].layout.rows) == 3


def test_the_main_branch_is_not_affected(edit_session, make_method):
    followed = edit_session(make_method(lambda: Follows(noised())))
    assert torch.allclose(followed.images[0], edit_session().images[0], atol=1e-4)


def test_self_guidance_reads_a_real_image_at_forward_noised_latents(edit_session, make_method):
    trajectory = noised()
    assert trajectory.made_by == "forward-noise"
    trace = edit_session.trace(
        make_method(lambda: Follows(trajectory)), record_attention=True, prompt=["a dog", "a fox"]
    )
    for step in trace.steps:
        expected = add_noise(CLEAN, NOISE, step.alpha)
        for place in step.layout.trajectories_of("source"):  # one pivot serves every image
            assert torch.equal(step.latents[[place]], expected)
    assert trace.result.attention.branch("source")["cat"].shape == (2, 4, 4)


def test_without_follow_the_trajectory_is_a_start_alone(edit_session, make_method):
    trace = edit_session.trace(make_method(lambda: Follows(noised(), follow=False)))
    source = trace.steps[0].layout.trajectories_of("source")
    assert torch.equal(trace.steps[0].latents[source], noised().at(751))
    assert not torch.equal(trace.latents[0][source], noised().at(501))
    assert trace.steps[0].layout.rows_of("source", "uncond")


def test_a_followed_branch_is_on_its_pivot_before_any_wrapper_sees_it(edit_session, make_method):
    seen = []

    class Looks:
        @hookimpl(wrapper=True)
        def advance(self, step):
            latents = yield
            seen.append(latents[step.layout.trajectories_of("source")])
            return latents

    edit_session(make_method(lambda: Follows(noised()), "a"), make_method(Looks, "b"))
    for latents, move in zip(seen, SCHEDULE.moves(4), strict=True):
        assert torch.equal(latents, noised().at(move.next_t))


def test_another_schedule_or_model_is_refused(edit_session, make_method):
    follows = make_method(lambda: Follows(noised()))
    with pytest.raises(TrajectoryMismatchError, match=r"no pivot at level.*number of steps"):
        edit_session(follows, num_inference_steps=5)
    trajectory = inverted(edit_session, make_method)
    other = EditSession(toy_pipeline(prediction_type="v_prediction"))
    with pytest.raises(TrajectoryMismatchError, match=r"made with model \w{12}, this is \w{12}"):
        other(make_method(lambda: Follows(trajectory)))


def test_each_image_has_its_own_path_also_in_split_runs(edit_session, make_method):
    clean = torch.rand(3, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    three = Trajectory.noised(clean, NOISE, SCHEDULE, SCHEDULE.moves(4))
    follows, prompts = make_method(lambda: Follows(three)), ["a dog", "a fox", "a bird"]
    expected = edit_session.pipeline.engine.decode_latents(clean).clamp(0, 1)
    for max_rows in (64, 3):
        session = EditSession(Pipeline(edit_session.pipeline.engine, max_rows=max_rows))
        sources = session(follows, prompt=prompts).branches["source"]
        assert greatest_difference(sources, list(expected)) == 0


def test_pivots_of_another_number_or_size_of_images_are_refused(edit_session, make_method):
    two = Trajectory.noised(CLEAN.expand(2, 4, 8, 8), NOISE, SCHEDULE, SCHEDULE.moves(4))
    with pytest.raises(TrajectoryMismatchError, match=r"\(2, 4, 8, 8\).*\(3, 4, 8, 8\)"):
        edit_session(make_method(lambda: Follows(two)), prompt=["a", "b", "c"])
    with pytest.raises(TrajectoryMismatchError, match=r"\(1, 4, 8, 8\).*\(1, 4, 16, 16\)"):
        edit_session(make_method(lambda: Follows(noised())), height=64, width=64)
