"""Null-text inversion, against the paper's code written out as a plain torch loop."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from underpaint import Pipeline, Trajectory
from underpaint.cache_folder import FOLDER_VARIABLE
from underpaint.errors import (
    ConflictError,
    InvalidRequestError,
    NonFiniteError,
    TrajectoryMismatchError,
)
from underpaint.testing import (
    EditSession,
    ToyEngine,
    assert_clean_cancel,
    assert_deterministic,
    assert_identity_at_zero_strength,
    greatest_difference,
)
from underpaint_engines import pytorch
from underpaint_null_text_inversion import NullTextInversion, PivotalTuning
from underpaint_prompt_to_prompt import PromptToPrompt

SOURCE, TARGET = "a cat on grass", "a dog on grass"
SCALE, STEPS = 4.0, 4


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from tests.tiny_checkpoints import save_tiny_checkpoint

    return save_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), "sd1")


@pytest.fixture
def session():
    return EditSession(prompt=TARGET)


@pytest.fixture
def linearized(monkeypatch):
    """The rows of each linearisation, call by call."""
    rows = []
    linearize = ToyEngine.linearize

    def counted(self, call, wrt):
        rows.append(len(call.sample))
        return linearize(self, call, wrt)

    monkeypatch.setattr(ToyEngine, "linearize", counted)
    return rows


def picture(seed=0, size=32):
    return torch.rand(3, size, size, generator=torch.Generator().manual_seed(seed))


def path(session, *seeds, steps=STEPS):
    pictures = [picture(seed) for seed in seeds or (0,)]
    return session.pipeline.invert(pictures, SOURCE, num_inference_steps=steps)


def swap():
    return PromptToPrompt(source=SOURCE)


def reconstruction_error(result):
    return float((result.latents - result.trajectory.at(-1)).square().mean())


def literal_null_text(unet, alphas, final_alpha, pivots, times, cond, uncond, inner, epsilon):
    """``NullInversion.null_optimization`` of the published code; pivots cleanest first."""

    def prev_step(noise, t, sample):
        before = t - len(alphas) // len(times)
        a, a_before = alphas[t], alphas[before] if before >= 0 else final_alpha
        x0 = (sample - (1 - a) ** 0.5 * noise) / a**0.5
        return a_before**0.5 * x0 + (1 - a_before) ** 0.5 * noise

    def single(latent, t, context):
        return unet(latent, torch.tensor([t]), encoder_hidden_states=context).sample

    embeddings, latent = [], pivots[-1]
    count = len(times)
    for i, t in enumerate(times):
        uncond = uncond.clone().detach().requires_grad_()
        optimizer = torch.optim.Adam([uncond], lr=1e-2 * (1.0 - i * (50 / count) / 100.0))
        latent_prev = pivots[len(pivots) - i - 2]
        with torch.no_grad():
            noise_cond = single(latent, t, cond)
        for _ in range(inner):
            noise_uncond = single(latent, t, uncond)
            noise = noise_uncond + SCALE * (noise_cond - noise_uncond)
            loss = F.mse_loss(prev_step(noise, t, latent), latent_prev)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if loss.item() < epsilon + i * (50 / count) * 2e-5:
                break
        embeddings.append(uncond.detach())
        with torch.no_grad():
            noise_uncond = single(latent, t, uncond)
            noise = noise_uncond + SCALE * (noise_cond - noise_uncond)
            latent = prev_step(noise, t, latent)
    return torch.stack(embeddings), latent


@pytest.mark.parametrize(("seed", "epsilon"), [(0, 1e-5), (1, 1e-5), (1, 1.0)])
def test_the_embeddings_are_those_of_the_published_loop(folder, seed, epsilon):
    engine = pytorch.load(folder, name="tiny", dtype=torch.float32, device=torch.device("cpu"))
    pipe, info = Pipeline(engine), engine.info
    size = info.latent_size[0] * info.vae_factor
    call = {"guidance_scale": SCALE, "num_inference_steps": STEPS, "timestep_spacing": "leading"}
    edit = NullTextInversion(inner_steps=5, early_stop=epsilon)
    result = pipe(SOURCE, image=picture(seed, size), edits=[edit], output_type="latent", **call)
    pivots = list(result.trajectory.pivots.flip(0))
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet").requires_grad_(False)
    cond, uncond = engine.encode_text(engine.tokenize([SOURCE, ""])).split(1)
    times = [move.t for move in info.noise.moves(STEPS, "leading")]
    embeddings, latent = literal_null_text(
        unet, info.noise.alphas, info.noise.final_alpha, pivots, times, cond, uncond, 5, epsilon
    )
    tuned = result.trajectory.tuned.embeddings
    # Adam divides by the gradient's size, so where that is next to nothing rounding is a step.
    apart = (tuned - embeddings).abs()
    assert float(apart.mean()) < 1e-5
    assert float((apart > 1e-4).float().mean()) < 0.005
    assert greatest_difference(result.latents, latent) < 1e-4
    assert float((tuned - uncond).abs().max()) > 5e-3


def test_without_inner_steps_it_is_ddim(session):
    trajectory = path(session)
    assert_identity_at_zero_strength(
        NullTextInversion(inner_steps=0), session.pipeline, TARGET, trajectory=trajectory
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_the_picture_is_reconstructed_better(session, seed):
    trajectory = path(session, seed)
    call = {"prompt": SOURCE, "trajectory": trajectory, "guidance_scale": 7.5}
    plain = session(**call)
    errors = [
        reconstruction_error(session(NullTextInversion(inner_steps=steps), **call))
        for steps in (3, 30)
    ]
    assert errors[1] < errors[0] < reconstruction_error(plain)


def test_with_prompt_to_prompt_every_branch_takes_the_embeddings(session):
    trace = session.trace(swap(), NullTextInversion(), image=picture(), follow=False)
    tuned = trace.result.trajectory.tuned
    run = trace.steps[0].run
    for step in trace.steps:
        for branch in ("main", "source"):
            embedding = run.conditioning.at(branch, "uncond", step.index)
            assert torch.equal(embedding, tuned.embeddings[step.index])
    plain = session(swap(), trajectory=path(session), follow=False)
    null_text = trace.result
    end = session(prompt=SOURCE, trajectory=path(session), guidance_scale=1.0).images
    ours, theirs = (greatest_difference(r.branches["source"], end) for r in (null_text, plain))
    assert ours < theirs
    assert greatest_difference(null_text.images, null_text.branches["source"]) > 1e-3


def test_a_batch_of_two_is_two_singles(session):
    edit = NullTextInversion(early_stop=1e-3)  # so that one stops before the other
    both = session(edit, prompt=[TARGET, TARGET], trajectory=path(session, 0, 1))
    embeddings = both.trajectory.tuned.embeddings
    assert embeddings.shape[:2] == (STEPS, 2)
    split = EditSession(replace(session.pipeline, max_rows=2), TARGET, session.call)
    parts = split(edit, prompt=[TARGET, TARGET], trajectory=path(session, 0, 1))
    for index in range(2):
        alone = session(edit, trajectory=path(session, index))
        for several in (both, parts):
            own = several.trajectory.tuned.embeddings[:, index]
            assert greatest_difference(own, alone.trajectory.tuned.embeddings[:, 0]) < 1e-4
            assert greatest_difference([several.images[index]], alone.images) < 1e-4
    assert not torch.allclose(embeddings[:, 0], embeddings[:, 1], atol=1e-3)


def test_each_image_stops_by_itself(session, linearized):
    """A bound that is met at once leaves one Adam step, of one learning rate, in each step."""
    result = session(NullTextInversion(early_stop=1e9), image=picture())
    assert linearized == [1] * STEPS
    moved = result.trajectory.tuned.embeddings.diff(dim=0).abs().amax((1, 2, 3))
    rates = [1e-2 * (1 - index / STEPS / 2) for index in range(1, STEPS)]
    assert torch.allclose(moved, torch.tensor(rates), rtol=1e-2)


def test_a_picture_is_tuned_once(session, linearized, tmp_path):
    edits = [swap(), NullTextInversion()]
    first = session(*edits, image=picture())
    assert linearized
    linearized.clear()
    other = session(*edits, image=picture(), prompt="a bus on grass", seed=1, follow=False)
    again = session(*edits, image=picture())
    assert not linearized
    assert other.trajectory.tuned is not None
    assert greatest_difference(first.images, again.images) == 0
    first.trajectory.save(tmp_path / "cat.safetensors")
    read = Trajectory.load(tmp_path / "cat.safetensors")
    assert torch.equal(read.tuned.embeddings, first.trajectory.tuned.embeddings)
    given = session(*edits, trajectory=read)
    assert not linearized
    assert greatest_difference(first.images, given.images) == 0
    session(swap(), NullTextInversion(inner_steps=3), image=picture())
    assert linearized


def test_one_picture_serves_several_prompts_after_one_tuning(session, linearized):
    both = session(
        swap(), NullTextInversion(inner_steps=1), image=picture(), prompt=[TARGET, "a bus on grass"]
    )
    assert linearized == [1] * STEPS
    alone = session(swap(), NullTextInversion(inner_steps=1), image=picture())
    assert greatest_difference(both.images[:1], alone.images) < 1e-4


def test_a_trajectory_that_was_tuned_for_another_call_is_refused(session):
    edit = NullTextInversion(inner_steps=2)
    tuned = session(edit, trajectory=path(session)).trajectory
    for call, message in (
        ({"guidance_scale": 7.5}, r"guidance_scale=4\.0, the call has 7\.5"),
        ({"negative_prompt": "a bus"}, "negative_prompt"),
        ({"num_inference_steps": 2}, "tuned .* on 4 steps"),
        ({"num_inference_steps": 5}, "no pivot at level"),
    ):
        with pytest.raises(TrajectoryMismatchError, match=message):
            session(edit, trajectory=tuned, **call)
    with pytest.raises(TrajectoryMismatchError, match="tuned for edit="):
        session(NullTextInversion(inner_steps=3), trajectory=tuned)


def test_numbers_that_are_none_are_told(session, monkeypatch):
    linearize = ToyEngine.linearize

    def broken(self, call, wrt):
        output, pullback = linearize(self, call, wrt)
        return output, lambda cotangents: pullback(cotangents) * float("nan")

    trajectory = path(session)
    monkeypatch.setattr(ToyEngine, "linearize", broken)
    with pytest.raises(NonFiniteError, match="The gradient while step 0 was tuned") as caught:
        session(NullTextInversion(), trajectory=trajectory)
    assert "null-text-inversion.tuning" in caught.value.__notes__[0]


def test_a_call_without_a_picture_says_what_to_pass(session):
    with pytest.raises(InvalidRequestError, match=r"pass image=\.\.\., or trajectory="):
        session(NullTextInversion())


def test_only_one_edit_may_tune(session):
    with pytest.raises(ConflictError, match="both tune the embeddings"):
        session(NullTextInversion(), NullTextInversion(inner_steps=1), image=picture())


def test_it_keeps_the_rules_of_a_method(session):
    trajectory = path(session)
    edit = NullTextInversion(inner_steps=2)
    assert edit.tuning() == PivotalTuning(inner_steps=2)
    assert_deterministic(edit, session.pipeline, TARGET, trajectory=trajectory)
    assert_clean_cancel(edit, session.pipeline, TARGET, trajectory=trajectory)


def test_parameters_have_bounds():
    for bad in ({"inner_steps": -1}, {"learning_rate": 0}, {"early_stop": -1.0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            NullTextInversion(**bad)
