"""Inversion, and edits of real pictures: what starts where, what follows, what is kept."""

from dataclasses import replace

import pytest
import torch
from underpaint import Branch, CancelToken, Move, Needs, Pipeline, Trajectory, hookimpl
from underpaint import trajectory_cache as kept
from underpaint.cache_folder import FOLDER_VARIABLE
from underpaint.engine import UNetCall
from underpaint.errors import (
    CancelledError,
    InvalidRequestError,
    NonFiniteError,
    TrajectoryMismatchError,
)
from underpaint.schedule import ddim_step, output_coefficients, x0_from_noise
from underpaint.testing import ToyEngine, greatest_difference, toy_pipeline

PROMPT = "a cat on grass"


def picture(seed=0):
    return torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))


@pytest.fixture
def calls(monkeypatch):
    """Count the UNet's rows, call by call."""
    rows = []
    predict = ToyEngine.predict

    def counted(self, call):
        rows.append(len(call.sample))
        return predict(self, call)

    monkeypatch.setattr(ToyEngine, "predict", counted)
    return rows


class Starts:
    """Starts from the inverted noise; brings a real branch if it has a prompt for one."""

    def __init__(self, source=None):
        self.source = source

    @hookimpl
    def needs(self):
        return Needs(inversion=True)

    @hookimpl
    def branches(self):
        return [Branch("source", self.source, real=True)] if self.source else None


class Looks:
    @hookimpl
    def needs(self):
        return Needs(image=True)

    @hookimpl(wrapper=True)
    def initial_latents(self, run):
        latents = yield
        run.report("seen", list(run.request.image.pixels))
        return latents


def literal_inversion(engine, clean, prompt, steps):
    """DDIM inversion, written out: epsilon at the next timestep with the current latent."""
    noise = engine.info.noise
    context = engine.encode_text(engine.tokenize([prompt]))
    latents, pivots = clean, [clean]
    times = [move.t for move in noise.moves(steps)][::-1]
    for before, after in zip([-1, *times], times, strict=False):
        raw = engine.predict(UNetCall(latents, torch.tensor([after]), context)).noise
        out, direct = output_coefficients(noise.alpha(before), noise.prediction_type)
        epsilon = out * raw + direct * latents
        x0 = x0_from_noise(latents, epsilon, noise.alpha(before))
        latents = ddim_step(x0, epsilon, noise.alpha(after))
        pivots.append(latents)
    return pivots[::-1]


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("seed", [0, 1])
def test_inversion_equals_ddim_s_written_out(prediction_type, seed):
    pipe = toy_pipeline(prediction_type=prediction_type)
    path = pipe.invert(picture(seed), PROMPT, num_inference_steps=5)
    clean = pipe.engine.encode_image(torch.from_numpy(_eight_bit(picture(seed)))[None])
    expected = literal_inversion(pipe.engine, clean, PROMPT, 5)
    assert path.levels == (*(m.t for m in pipe.engine.info.noise.moves(5)), -1)
    assert torch.allclose(path.pivots, torch.stack(expected), atol=1e-5)


def _eight_bit(value):
    return ((value * 255).round() / 255).numpy()


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_refinements_make_a_denoising_retrace_the_path(prediction_type):
    """The exact solution of a move's equation is retraced: the error falls to rounding."""
    pipe = toy_pipeline(prediction_type=prediction_type)
    errors = []
    for refinements in (0, 3, 30):
        path = pipe.invert(picture(), PROMPT, num_inference_steps=50, refinements=refinements)
        back = pipe(
            PROMPT,
            trajectory=path,
            guidance_scale=1.0,
            num_inference_steps=50,
            output_type="latent",
        )
        errors.append(greatest_difference(back.latents, path.at(-1)))
    assert errors[1] < errors[0] / 2
    assert errors[2] < 1e-4


def test_a_picture_is_inverted_with_the_prompt_of_its_branch(edit_session, make_method):
    pipe = edit_session.pipeline
    edit = make_method(lambda: Starts("a cat"))
    traced = edit_session.trace(edit, image=picture())
    path = pipe.invert(picture(), "a cat", num_inference_steps=4)
    assert traced.result.trajectory.prompts == ("a cat",)
    assert torch.equal(traced.result.trajectory.pivots, path.pivots)
    first = traced.steps[0]
    for branch in ("main", "source"):
        start = first.latents[first.layout.trajectories_of(branch)]
        assert torch.equal(start, path.at(first.move.t))
    assert traced.result.image.placements[0].original == (32, 32)


def test_a_real_branch_follows_and_has_no_uncond_row_unless_told_otherwise(
    edit_session, make_method
):
    edit = make_method(lambda: Starts("a cat"))
    followed = edit_session.trace(edit, image=picture())
    drifting = edit_session.trace(edit, image=picture(), follow=False)
    assert len(followed.steps[0].layout.rows) == 3
    assert len(drifting.steps[0].layout.rows) == 4
    end = followed.result.trajectory.at(-1)
    source = followed.steps[0].layout.trajectories_of("source")
    assert torch.equal(followed.latents[-1][source], end)
    assert not torch.allclose(drifting.latents[-1][source], end, atol=1e-3)


def test_without_a_real_branch_the_main_prompt_inverts(edit_session, make_method):
    result = edit_session(make_method(Starts), image=picture(), prompt="a fish")
    assert result.trajectory.prompts == ("a fish",)


def test_without_a_picture_a_real_branch_is_an_ordinary_one(edit_session, make_method):
    result = edit_session(make_method(lambda: Starts("a cat")))
    assert result.trajectory is None
    assert greatest_difference(result.images, edit_session().images) < 1e-4


def test_an_edit_that_only_looks_at_the_picture_inverts_nothing(edit_session, make_method, calls):
    result = edit_session(make_method(Looks), image=picture())
    assert len(calls) == 4
    assert torch.equal(result.reports["seen"][0], torch.from_numpy(_eight_bit(picture())))


def test_a_picture_that_no_edit_uses_is_refused(edit_session):
    with pytest.raises(InvalidRequestError, match="no edit of this call uses it"):
        edit_session(image=picture())


def test_edits_that_describe_a_picture_differently_are_refused(edit_session, make_method):
    class Other(Starts):
        @hookimpl
        def branches(self):
            return [Branch("other", "a dog", real=True)]

    edits = [make_method(lambda: Starts("a cat")), make_method(Other)]
    with pytest.raises(InvalidRequestError, match=r"\['a cat', 'a dog'\]"):
        edit_session(*edits, image=picture())


def test_several_pictures_have_a_path_each(edit_session, make_method):
    pictures = [picture(0), picture(1)]
    edit = make_method(lambda: Starts("a cat"))
    both = edit_session(edit, image=pictures, prompt=["a dog", "a fish"])
    for index, prompt in enumerate(["a dog", "a fish"]):
        alone = edit_session(edit, image=pictures[index], prompt=prompt)
        assert greatest_difference([both.images[index]], alone.images) < 1e-4


def test_one_picture_serves_several_targets_after_one_inversion(edit_session, make_method, calls):
    edit = make_method(lambda: Starts("a cat"))
    both = edit_session(edit, image=picture(), prompt=["a dog", "a fish"])
    assert calls == [1] * 4 + [6] * 4
    alone = edit_session(edit, image=picture(), prompt="a fish")
    assert greatest_difference(both.images[1:], alone.images) < 1e-4


def test_a_split_request_keeps_pictures_and_prompts_together(make_method):
    edit = make_method(lambda: Starts("a cat"))
    arguments = {
        "prompt": ["a dog", "a fish", "a bus"],
        "image": [picture(k) for k in range(3)],
        "edits": [edit],
        "seed": 7,
        "num_inference_steps": 3,
        "output_type": "pt",
    }
    whole = toy_pipeline()(**arguments)
    split = replace(toy_pipeline(), max_rows=4)(**arguments)
    assert greatest_difference(whole.images, split.images) < 1e-4


def test_the_second_edit_of_a_picture_skips_the_inversion(edit_session, make_method, calls):
    edit = make_method(lambda: Starts("a cat"))
    first = edit_session(edit, image=picture(), prompt="a dog")
    calls.clear()
    second = edit_session(edit, image=picture(), prompt="a dog")
    assert calls == [3] * 4
    assert greatest_difference(first.images, second.images) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"image": picture(1)},
        {"prompt": "a dog"},
        {"num_inference_steps": 5},
        {"timestep_spacing": "trailing"},
        {"refinements": 1},
        {"guidance_scale": 2.0},
    ],
)
def test_whatever_changes_the_path_is_part_of_the_key(calls, change):
    pipe = toy_pipeline()
    call = {"image": picture(), "prompt": PROMPT, "num_inference_steps": 4}
    pipe.invert(**call)
    calls.clear()
    pipe.invert(**call)
    assert calls == []
    pipe.invert(**{**call, **change})
    assert calls


def test_a_kept_path_that_was_changed_is_made_again(calls):
    pipe = toy_pipeline()
    first = pipe.invert(picture(), PROMPT, num_inference_steps=2)
    newest = max(kept.files(), key=lambda path: path.stat().st_mtime)
    content = bytearray(newest.read_bytes())
    content[-3] ^= 1
    newest.write_bytes(content)
    calls.clear()
    again = pipe.invert(picture(), PROMPT, num_inference_steps=2)
    assert calls
    assert torch.equal(first.pivots, again.pivots)


def test_the_least_recently_used_paths_go_first(monkeypatch):
    pipe = toy_pipeline()
    pipe.invert(picture(2), PROMPT, num_inference_steps=2)
    size = max(path.stat().st_size for path in kept.files())
    monkeypatch.setattr(kept, "LIMIT_BYTES", size)
    pipe.invert(picture(3), PROMPT, num_inference_steps=2)
    assert len(list(kept.files())) == 1


def test_edits_take_part_in_an_inversion(make_method):
    class Halves:
        @hookimpl(wrapper=True)
        def predict(self):
            prediction = yield
            return prediction.with_noise(prediction.noise / 2)

    pipe = toy_pipeline()
    path = pipe.invert(picture(), PROMPT, num_inference_steps=3, edits=[make_method(Halves)])
    plain = pipe.invert(picture(), PROMPT, num_inference_steps=3)
    assert not torch.allclose(path.pivots, plain.pivots, atol=1e-3)
    assert path.made_by.startswith("ddim-inversion+")


def test_a_trajectory_survives_its_file(tmp_path):
    path = toy_pipeline().invert(picture(), PROMPT, num_inference_steps=3)
    with_words = replace(path, embeddings=torch.randn(3, 77, 8))
    with_words.save(tmp_path / "cat.safetensors")
    read = Trajectory.load(tmp_path / "cat.safetensors")
    assert (read.levels, read.prompts, read.made_by) == (path.levels, path.prompts, path.made_by)
    assert read.model_digest == path.model_digest
    assert torch.equal(read.pivots, path.pivots)
    assert torch.equal(read.embeddings, with_words.embeddings)


def test_a_corrupt_or_foreign_file_is_no_trajectory(tmp_path):
    file = tmp_path / "cat.safetensors"
    toy_pipeline().invert(picture(), PROMPT, num_inference_steps=2).save(file)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    broken = {
        "absent": None,
        "flipped": bytes(content),
        "cut": file.read_bytes()[:100],
        "text": b"no trajectory",
    }
    for name, value in broken.items():
        place = tmp_path / name
        if value is not None:
            place.write_bytes(value)
        with pytest.raises(TrajectoryMismatchError, match=f"{name} is no trajectory"):
            Trajectory.load(place)
    from safetensors.torch import save_file

    save_file({"pivots": torch.zeros(2, 1, 4, 8, 8)}, tmp_path / "foreign")
    with pytest.raises(TrajectoryMismatchError, match="its format is None"):
        Trajectory.load(tmp_path / "foreign")


def test_a_trajectory_of_another_model_or_schedule_is_refused(edit_session):
    path = edit_session.pipeline.invert(picture(), PROMPT, num_inference_steps=4)
    with pytest.raises(TrajectoryMismatchError, match="was made with model"):
        toy_pipeline(prediction_type="v_prediction")(PROMPT, trajectory=path, num_inference_steps=4)
    with pytest.raises(TrajectoryMismatchError, match="has no pivot at level"):
        edit_session(trajectory=path, num_inference_steps=5)
    with pytest.raises(TrajectoryMismatchError, match="holds latents of"):
        edit_session(trajectory=path, height=64)


def test_bad_arguments_are_refused(edit_session, make_method):
    path = edit_session.pipeline.invert([picture(0), picture(1)], PROMPT, num_inference_steps=4)
    edit = make_method(Starts)
    cases = [
        ({"trajectory": path}, "of 2 pictures, the call of 1"),
        ({"trajectory": picture()}, "trajectory is Tensor"),
        ({"trajectory": path, "latents": torch.zeros(1, 4, 8, 8)}, "not both"),
        ({"image": [picture()] * 3}, "3 pictures for 1 prompts"),
        ({"image": []}, "0 pictures"),
        ({"image": picture(), "fit": "stretch"}, "Valid: 'crop', 'letterbox'"),
        ({"image": picture(), "refinements": -1}, "refinements=-1"),
    ]
    for call, message in cases:
        with pytest.raises(InvalidRequestError, match=message):
            edit_session(edit, **call)
    with pytest.raises(InvalidRequestError, match="prompt is empty"):
        edit_session.pipeline.invert(picture(), " ")
    with pytest.raises(NonFiniteError):
        edit_session.pipeline.invert(torch.full((3, 32, 32), float("nan")), PROMPT)


def test_other_words_than_the_inversion_s_are_told(edit_session, make_method):
    path = edit_session.pipeline.invert(picture(), "a cat", num_inference_steps=4)
    result = edit_session(make_method(lambda: Starts("a bus")), trajectory=path)
    assert "was inverted with ['a cat'], and is edited as 'a bus'" in result.warnings[0]


def test_an_inversion_can_be_cancelled():
    cancel = CancelToken()
    with pytest.raises(CancelledError):
        toy_pipeline().invert(
            picture(),
            PROMPT,
            num_inference_steps=4,
            cache=False,
            cancel=cancel,
            callback_on_step_end=lambda *_: cancel.cancel(),
        )


def test_moves_ascend_and_the_model_is_told_the_noisier_level(monkeypatch):
    told = []
    predict = ToyEngine.predict

    def spy(self, call):
        told.append(int(call.timestep[0]))
        return predict(self, call)

    monkeypatch.setattr(ToyEngine, "predict", spy)
    pipe = toy_pipeline()
    pipe.invert(picture(), PROMPT, num_inference_steps=3, cache=False)
    assert told == [move.t for move in pipe.engine.info.noise.moves(3)][::-1]
    assert Move(-1, 1, kind="invert").timestep == 1


def test_a_recipe_takes_its_picture_again(edit_session, make_method, monkeypatch):
    from underpaint import registry

    edit = make_method(lambda: Starts("a cat"))
    result = edit_session(edit, image=picture())
    assert result.recipe["reproducible"]
    monkeypatch.setattr(registry, "load", lambda group, name: type(edit))
    pipe: Pipeline = edit_session.pipeline
    with pytest.raises(InvalidRequestError, match=r"edits a picture.*image=\.\.\., or --image"):
        pipe.replay(result.recipe)
    again = pipe.replay(result.recipe, image=picture(), output_type="pt")
    assert greatest_difference(result.images, again.images) == 0
    assert again.warnings == ()
    other = pipe.replay(result.recipe, image=picture(1), output_type="pt")
    assert "made with another picture" in other.warnings[0]
    given = edit_session(edit, trajectory=result.trajectory)
    assert not given.recipe["reproducible"]
