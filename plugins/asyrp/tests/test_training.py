"""Training: what is learnt goes along the texts' direction, and can be interrupted."""

import json

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from underpaint import Pipeline
from underpaint.errors import InvalidRequestError, NotOfferedError
from underpaint.testing import EditSession, ToyEngine, greatest_difference
from underpaint_asyrp import Asyrp, Attribute
from underpaint_asyrp.training.loss import LossWeights, TextDirection, asyrp_loss
from underpaint_asyrp.training.method import Training
from underpaint_asyrp.training.plan import Plan
from underpaint_asyrp.training.trainer import learning_rate, make_learner, train


class Colours:
    """A scorer whose features are colours: red for "night", blue for "day"."""

    def image_features(self, images):
        return F.normalize(torch.cat([images.mean((2, 3)), 0 * images[:, :1, 0, 0] + 1], 1), dim=-1)

    def text_features(self, prompts):
        night = torch.tensor([1.0, 0, 0, 1])
        day = torch.tensor([0.0, 0, 1, 1])
        return F.normalize(torch.stack([night if "night" in p else day for p in prompts]), dim=-1)


@pytest.fixture
def pipe():
    return Pipeline(ToyEngine(), scorer=Colours())


def make_plan(**changes):
    given = {
        "source": "a ... by day",
        "target": "a ... at night",
        "subjects": ("cat", "dog"),
        "pictures": 4,
        "batch": 2,
        "epochs": 4,
        "num_inference_steps": 6,
        "guidance_scale": 3.0,
        "t_edit": 300,
        "learning_rate": 0.05,
        "l1_weight": 0.0,
    }
    return Plan.model_validate(given | changes)


def redness(pipe, attribute, path, strength):
    attribute.save(path)
    call = {"num_inference_steps": 6, "guidance_scale": 3.0, "seed": [20, 21]}
    prompts = ["a cat by day", "a fish by day"]
    images = EditSession(pipe)(Asyrp(attributes={str(path): strength}), prompt=prompts, **call)
    colours = torch.stack(images.images).mean((2, 3))
    return float((colours[:, 0] - colours[:, 2]).mean())


@pytest.mark.parametrize("changes", [{}, {"kind": "constant", "buckets": 3}, {"halves": "both"}])
def test_new_pictures_move_along_the_texts_direction_and_against_it(pipe, tmp_path, changes):
    attribute = train(pipe, make_plan(**changes))
    path = tmp_path / "night.safetensors"
    against, none, along = (redness(pipe, attribute, path, s) for s in (-1.0, 0.0, 1.0))
    assert against < none < along
    assert along - none > 0.01


def test_v_prediction_learns_too(tmp_path):
    pipe = Pipeline(ToyEngine(prediction_type="v_prediction"), scorer=Colours())
    path = tmp_path / "night.safetensors"
    attribute = train(pipe, make_plan())
    assert redness(pipe, attribute, path, 1.0) > redness(pipe, attribute, path, 0.0) + 0.01


def one_update(pipe, objective, move=0.0):
    """Return the loss and the gradient of an update that changes nothing.

    The weights begin `move` times their gradient beside the usual start.
    """
    short = {"pictures": 2, "t_edit": 700, "num_inference_steps": 4}
    plan = make_plan(objective=objective, l1_weight=1.0, **short)
    learner = make_learner(pipe, plan)
    weights = list(learner.direction.parameters())
    learner.optimizer = torch.optim.SGD(weights, lr=0.0)
    if move:
        _, gradients = one_update(pipe, objective)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.data += move * gradient
    prompts = [case.source for case in plan.cases()]
    call = {"seed": [0, 1], "num_inference_steps": 4, "guidance_scale": 3.0}
    pipe(prompts, edits=[Training.model_construct(learner=learner)], **call)
    return learner.losses, [weight.grad for weight in weights]


@pytest.mark.parametrize("objective", ["clip", "prompt"])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_gradient_is_the_losss_own(prediction_type, objective):
    """Along its gradient the loss rises by the gradient's squared length."""
    pipe = Pipeline(ToyEngine(prediction_type=prediction_type), scorer=Colours())
    _, gradients = one_update(pipe, objective)
    squared = float(sum(gradient.square().sum() for gradient in gradients))
    step = 0.0005 / squared
    [higher], [lower] = (one_update(pipe, objective, move)[0] for move in (step, -step))
    assert (higher - lower) / (2 * step) == pytest.approx(squared, rel=0.1)


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_the_prompt_objective_is_the_distance_to_the_targets_prediction(guidance_scale):
    """And training makes it smaller, without a scorer."""
    pipe = Pipeline(ToyEngine())
    short = {"pictures": 1, "t_edit": 700, "num_inference_steps": 4}
    settings = {"objective": "prompt", "guidance_scale": guidance_scale}
    [loss] = train(pipe, make_plan(epochs=1, **settings, **short)).facts.training["losses"]
    call = {"seed": 0, "num_inference_steps": 4, "guidance_scale": guidance_scale}
    before, after = (
        EditSession(pipe).trace(prompt=text, **call).predictions[0].x0
        for text in ("a cat by day", "a cat at night")
    )
    assert loss == pytest.approx(float((before - after).abs().mean()), rel=0.05)
    losses = train(pipe, make_plan(epochs=8, **settings)).facts.training["losses"]
    assert losses[-1] < 0.9 * losses[0]


def test_an_interrupted_training_ends_as_if_it_had_not_been(pipe, tmp_path):
    checkpoint = tmp_path / "night.training.safetensors"

    def interrupt(done, total, loss):
        if done == 3:
            raise KeyboardInterrupt

    whole = train(pipe, make_plan())
    with pytest.raises(KeyboardInterrupt):
        train(pipe, make_plan(), checkpoint, interrupt)
    assert checkpoint.exists()
    heard = []
    resumed = train(pipe, make_plan(), checkpoint, lambda done, *_: heard.append(done))
    assert heard == [4, 5, 6, 7, 8]
    assert resumed.facts == whole.facts
    for name, value in whole.direction.state_dict().items():
        assert torch.equal(value, resumed.direction.state_dict()[name])


def test_a_checkpoint_of_another_training_is_refused(pipe, tmp_path):
    checkpoint = tmp_path / "night.training.safetensors"
    train(pipe, make_plan(epochs=1), checkpoint)
    with pytest.raises(InvalidRequestError, match="other settings"):
        train(pipe, make_plan(epochs=2), checkpoint)
    checkpoint.write_bytes(b"nothing")
    with pytest.raises(InvalidRequestError, match="cannot be read"):
        train(pipe, make_plan(epochs=1), checkpoint)


def test_pictures_can_be_inverted_in_place_of_generated(pipe, tmp_path):
    from PIL import Image

    files = []
    for number in range(2):
        pixels = torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(number))
        file = tmp_path / f"{number}.png"
        Image.fromarray((pixels * 255).byte().numpy()).save(file)
        files.append(str(file))
    plan = make_plan(images=tuple(files), guidance_scale=1.0)
    assert [case.image for case in plan.cases()] == files
    attribute = train(pipe, plan)
    path = tmp_path / "night.safetensors"
    attribute.save(path)
    session = EditSession(pipe, "a cat by day")
    call = {"image": files[0], "guidance_scale": 1.0, "num_inference_steps": 6}
    plain, edited = (session(Asyrp(attributes={str(path): s}), **call) for s in (0.0, 1.0))
    assert greatest_difference(plain.images, edited.images) > 0.01


def test_fresh_noise_while_editing_is_refused():
    make_plan(t_boost=300)
    with pytest.raises(ValidationError, match="t_boost 301 is above t_edit 300"):
        make_plan(t_boost=301)


def test_a_model_without_a_scorer_says_so():
    with pytest.raises(NotOfferedError, match="scorer"):
        train(Pipeline(ToyEngine()), make_plan())


def test_the_loss_is_the_papers_written_out():
    scorer, text = Colours(), TextDirection.of(Colours(), ["day"], ["night"])
    before, after = torch.rand(2, 1, 3, 4, 4).unbind()
    change = (scorer.image_features(after) - scorer.image_features(before))[0]
    wanted = (scorer.text_features(["night"]) - scorer.text_features(["day"]))[0]
    cosine = change @ wanted / (change.norm() * wanted.norm())
    pixels = ((2 * after - 1) - (2 * before - 1)).abs().mean()
    expected = 0.8 * -torch.log((2 - (1 - cosine)) / 2) + 3 * 0.5 * pixels
    loss = asyrp_loss(scorer, before, after, text, LossWeights(0.8, 3.0))
    assert torch.allclose(loss, expected[None], atol=1e-5)


def test_texts_and_subjects_must_fit():
    with pytest.raises(InvalidRequestError, match="subjects"):
        make_plan(subjects=()).cases()
    with pytest.raises(InvalidRequestError, match="subjects"):
        make_plan(source="a cat by day").cases()
    with pytest.raises(InvalidRequestError, match="nothing to learn"):
        make_plan(target="a ... by day").cases()
    cases = make_plan(pictures=3).cases()
    assert [case.source for case in cases] == ["a cat by day", "a dog by day", "a cat by day"]
    assert [case.seed for case in cases] == [0, 1, 2]


def test_the_learning_rate_falls_to_a_tenth():
    assert [round(learning_rate(1.0, part), 3) for part in (0, 0.5, 1)] == [1.0, 0.55, 0.1]


def test_the_facts_can_be_read_from_the_file(pipe, tmp_path):
    path = tmp_path / "night.safetensors"
    train(pipe, make_plan(t_boost=200)).save(path)
    facts = Attribute.load(str(path)).facts
    assert (facts.t_edit, facts.t_boost, facts.guidance_scale) == (300, 200, 3.0)
    assert json.loads(facts.model_dump_json())["training"]["updates"] == 32
