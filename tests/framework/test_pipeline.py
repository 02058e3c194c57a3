import numpy as np
import pytest
import torch
from PIL import Image
from underpaint.errors import CancelledError
from underpaint.run import seed_noise
from underpaint.testing import EditSession, greatest_difference, toy_pipeline

PROMPTS = ["a dog on grass", "a red cat on a mat"]


def same(a, b):
    return greatest_difference(a.images, b.images) == 0


def test_a_call_with_defaults_gives_a_pil_image():
    result = toy_pipeline()("a dog on grass")
    assert isinstance(result.images[0], Image.Image)
    assert result.images[0].size == (32, 32)
    assert len(result.timings.steps) == 4  # the model's recommended number
    assert result.timings.total > 0
    assert result.branches == {}
    assert result.warnings == ()


@pytest.mark.parametrize(
    ("output_type", "kind", "shape"),
    [
        ("np", np.ndarray, (32, 32, 3)),
        ("pt", torch.Tensor, (3, 32, 32)),
        ("latent", torch.Tensor, (4, 8, 8)),
    ],
)
def test_output_types(edit_session, output_type, kind, shape):
    image = edit_session(output_type=output_type).images[0]
    assert isinstance(image, kind)
    assert image.shape == shape


def test_output_types_hold_the_same_picture(edit_session):
    pt = edit_session().images[0]
    assert np.array_equal(edit_session(output_type="np").images[0], pt.permute(1, 2, 0).numpy())
    pil = np.asarray(edit_session(output_type="pil").images[0]) / 255
    assert np.abs(pil - pt.permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6
    assert float(pt.min()) >= 0
    assert float(pt.max()) <= 1
    latent = edit_session(output_type="latent")
    assert torch.equal(latent.images[0], latent.latents[0])


def test_a_prompt_and_a_seed_decide_the_picture(edit_session):
    assert same(edit_session(), edit_session())
    assert not same(edit_session(), edit_session(seed=8))
    assert not same(edit_session(), edit_session(prompt="a cat"))
    assert not same(edit_session(), edit_session(negative_prompt="a cat"))
    assert not same(edit_session(), edit_session(guidance_scale=2.0))
    assert not same(edit_session(), edit_session(eta=1.0))
    assert not same(edit_session(), edit_session(timestep_spacing="trailing"))


def test_without_a_seed_one_is_drawn_and_told():
    pipe = toy_pipeline()
    first = pipe("a dog", output_type="pt")
    assert first.seeds != pipe("a dog").seeds
    assert same(first, pipe("a dog", seed=first.seeds[0], output_type="pt"))


def test_seed_generator_and_latents_agree(edit_session):
    seeded = edit_session()
    generator = torch.Generator("cpu").manual_seed(7)
    assert same(seeded, edit_session(seed=None, generator=generator))
    assert same(seeded, edit_session(latents=seed_noise(7, (4, 8, 8))[None]))
    listed = [torch.Generator("cpu").manual_seed(s) for s in (7, 9)]
    assert same(
        edit_session(prompt=PROMPTS, seed=None, generator=listed),
        edit_session(prompt=PROMPTS, seed=[7, 9]),
    )


def test_a_used_generator_goes_on_as_in_diffusers(edit_session):
    generator = torch.Generator("cpu").manual_seed(7)
    first = edit_session(seed=None, generator=generator)
    second = edit_session(seed=None, generator=generator)
    assert not same(first, second)
    drawn = torch.Generator("cpu").manual_seed(7)
    noise = [torch.randn(1, 4, 8, 8, generator=drawn) for _ in range(2)]
    assert same(second, edit_session(latents=noise[1]))


def test_several_prompts_share_a_seed_and_equal_single_calls(edit_session):
    both = edit_session(prompt=PROMPTS)
    assert both.seeds == (7, 7)
    for prompt, image in zip(PROMPTS, both.images, strict=True):
        assert greatest_difference([image], edit_session(prompt=prompt).images) < 1e-4


def test_further_images_of_a_prompt_take_the_next_seeds(edit_session):
    result = edit_session(prompt=PROMPTS, num_images_per_prompt=2)
    assert result.seeds == (7, 8, 7, 8)
    assert len(result.images) == 4
    alone = edit_session(prompt=PROMPTS[1], seed=8)
    assert greatest_difference(result.images[3:], alone.images) < 1e-4


def test_negative_prompts_one_for_all_or_one_each(edit_session):
    shared = edit_session(prompt=PROMPTS, negative_prompt="rain")
    each = edit_session(prompt=PROMPTS, negative_prompt=["rain", "rain"])
    assert same(shared, each)
    assert not same(shared, edit_session(prompt=PROMPTS, negative_prompt=["rain", "snow"]))


def test_noise_does_not_depend_on_the_batch(edit_session):
    """With eta 1 every step draws noise: keyed by seed and step, never by place."""
    seeds = [3, 4, 5]
    together = edit_session(prompt=["a dog"] * 3, seed=seeds, eta=1.0)
    for seed, image in zip(seeds, together.images, strict=True):
        alone = edit_session(prompt="a dog", seed=seed, eta=1.0)
        assert greatest_difference([image], alone.images) < 1e-4


def test_size(edit_session):
    assert edit_session(height=64, width=48).images[0].shape == (3, 64, 48)


def test_no_uncond_row_without_guidance(edit_session):
    rows = []

    class Engine(type(edit_session.pipeline.engine)):
        def predict(self, call):
            rows.append(len(call.sample))
            return super().predict(call)

    session = EditSession(type(edit_session.pipeline)(Engine()))
    session(guidance_scale=1.0)
    session(guidance_scale=1.5)
    assert rows == [1] * 4 + [2] * 4


def test_callback_sees_every_step_as_in_diffusers(edit_session):
    seen = []

    def callback(pipe, index, timestep, tensors):
        seen.append((pipe, index, timestep, tensors["latents"].shape))

    result = edit_session(callback_on_step_end=callback)
    moves = edit_session.pipeline.engine.info.noise.moves(4)
    assert seen == [(edit_session.pipeline, i, m.t, (1, 4, 8, 8)) for i, m in enumerate(moves)]
    assert same(result, edit_session())


def test_callback_may_change_the_latents(edit_session):
    def halve_the_last(pipe, index, timestep, tensors):
        return {"latents": tensors["latents"] / 2} if index == 3 else {}

    plain = edit_session(output_type="latent")
    changed = edit_session(callback_on_step_end=halve_the_last, output_type="latent")
    assert torch.equal(changed.latents, plain.latents / 2)


def test_an_error_in_the_callback_comes_through(edit_session):
    def fail(*_):
        raise KeyError("mine")

    with pytest.raises(KeyError, match=r"mine"):
        edit_session(callback_on_step_end=fail)


def test_v_prediction_and_epsilon_models_of_the_same_x0_give_the_same_picture():
    images = [
        EditSession(toy_pipeline(prediction_type=kind))(guidance_scale=1.0).images
        for kind in ("epsilon", "v_prediction", "sample")
    ]
    assert greatest_difference(images[0], images[1]) < 1e-3
    assert greatest_difference(images[0], images[2]) < 1e-3


def test_cancelled_before_it_begins(edit_session):
    from underpaint import CancelToken

    token = CancelToken()
    token.cancel()
    with pytest.raises(CancelledError, match=r"before step 1 of 4"):
        edit_session(cancel=token)


def test_a_scorer_is_handed_to_the_run_and_missed_with_a_clear_error(edit_session, make_method):
    from underpaint import hookimpl
    from underpaint.errors import NotOfferedError

    class Asks:
        @hookimpl
        def initial_latents(self, run):
            return run.scorer

    with pytest.raises(NotOfferedError, match=r"'toy' has no scorer.*scorer="):
        edit_session(make_method(Asks))


def test_reports_are_one_value_per_image(edit_session, make_method):
    from underpaint import hookimpl

    class Reports:
        def __init__(self, count):
            self.count = count

        @hookimpl
        def after_step(self, step):
            step.run.report("seeds", list(step.run.request.seeds)[: self.count])

    result = edit_session(make_method(lambda: Reports(2)), prompt=PROMPTS, seed=[5, 6])
    assert result.reports == {"seeds": [5, 6]}
    with pytest.raises(ValueError, match=r"1 values, 2 images"):
        edit_session(make_method(lambda: Reports(1)), prompt=PROMPTS)
