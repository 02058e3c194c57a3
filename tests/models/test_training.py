"""Each trainer: a run that was interrupted and resumed equals one that was not."""

import pytest
import torch
from underpaint_picturebook import parts, tokenizer
from underpaint_picturebook.backgrounds import GROUNDS
from underpaint_picturebook.train import grounding, loop, muon, precision
from underpaint_picturebook.train.clip import ClipTrainer
from underpaint_picturebook.train.data import renders
from underpaint_picturebook.train.judge import JudgeTrainer, spoil
from underpaint_picturebook.train.latents import GROUND, latents, naming_tokens
from underpaint_picturebook.train.start import start
from underpaint_picturebook.train.unet import UnetTrainer
from underpaint_picturebook.train.vae import VaeTrainer, build

UNET = ((16, 32, 32), (1, 2, 2), 32)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return renders(tmp_path_factory.mktemp("renders"), 8, workers=1)


@pytest.fixture(scope="module")
def encoded(drawn, tmp_path_factory):
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("latents") / "latents.safetensors"
    first = latents(file, drawn, build(8), tokenizer.build(), "cpu")
    again = latents(file, drawn, build(8), tokenizer.build(), "cpu")
    assert torch.equal(first.latents, again.latents)
    return first


def vae(drawn, encoded):
    return VaeTrainer(drawn, "cpu", batch=2, channels=8)


def judge(drawn, encoded):
    return JudgeTrainer(drawn, "cpu", batch=2)


def clip(drawn, encoded):
    tokens = tokenizer.build()
    small = parts.clip(tokens, width=32, layers=1, text_layers=1)
    return ClipTrainer(drawn, small, tokens, device="cpu", batch=3)


def unet(drawn, encoded):
    tokens = tokenizer.build()
    text, unet_ = parts.text_encoder(tokens, 32, 1), parts.unet(*UNET)
    pipe = parts.pipeline(tokens, text, build(8), unet_)
    return UnetTrainer(encoded, pipe, "cpu", batch=2)


class StoppedError(Exception):
    pass


def stop_after(trainer, calls):
    losses, left = trainer.losses, [calls]

    def limited(generator):
        left[0] -= 1
        if left[0] < 0:
            raise StoppedError
        return losses(generator)

    trainer.losses = limited
    return trainer


@pytest.mark.parametrize("make", [vae, judge, clip, unet])
def test_resumed_equals_uninterrupted(make, drawn, encoded, tmp_path):
    plan = loop.Plan(steps=4, warmup=2, save_seconds=-1.0, sheet_every=100, log_every=2)

    def fresh():
        torch.manual_seed(0)
        trainer = make(drawn, encoded)
        trainer.sheet = lambda average, file: None
        return trainer

    whole = loop.run(fresh(), plan, tmp_path / "whole", seed=1)
    with pytest.raises(StoppedError):
        loop.run(stop_after(fresh(), 2), plan, tmp_path / "parts", seed=1)
    resumed = loop.run(fresh(), plan, tmp_path / "parts", seed=1)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, msg=name)
    assert "step 4" in (tmp_path / "whole" / "log.txt").read_text()


def test_a_finished_run_begins_a_warm_restart(drawn, encoded, tmp_path):
    plan = loop.Plan(steps=1, sheet_every=100, log_every=1)
    for expected in (1, 2):
        loop.run(vae(drawn, encoded), plan, tmp_path, seed=0)
        assert f"step {expected}" in (tmp_path / "log.txt").read_text()


def test_training_starts_from_a_checkpoint(encoded, tmp_path):
    folder = tiny_checkpoint(tmp_path / "checkpoint")
    start(folder, tmp_path / "run")
    given = parts.load(folder)
    text, unet_ = parts.text_encoder(tokenizer.build(), 32, 1), parts.unet(*UNET)
    pipe = parts.pipeline(tokenizer.build(), text, build(8), unet_)
    plan = loop.Plan(steps=1, peak=0.0, sheet_every=100, log_every=1)
    trainer = UnetTrainer(encoded, pipe, "cpu", batch=2)
    trainer.sheet = lambda average, file: None
    average = loop.run(trainer, plan, tmp_path / "run" / "unet", seed=0)
    for name, value in given.unet.state_dict().items():
        torch.testing.assert_close(average.unet.state_dict()[name], value, msg=name)
    assert (tmp_path / "run" / "vae" / "export" / "config.json").is_file()
    with pytest.raises(FileExistsError, match="--run-dir"):
        start(folder, tmp_path / "run")


def tiny_checkpoint(folder):
    torch.manual_seed(1)
    tokens = tokenizer.build()
    text, unet_ = parts.text_encoder(tokens, 32, 1), parts.unet(*UNET)
    parts.pipeline(tokens, text, build(8), unet_).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("able", "enabled"), [({"avx2": True}, False), ({"avx512_bf16": 1}, True)])
def test_bf16_is_used_where_it_is_fast(monkeypatch, able, enabled):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert precision.has_bf16("cuda")
    assert precision.has_bf16("cpu") is enabled
    with precision.autocast("cpu"):
        out = torch.ones(2, 2) @ torch.ones(2, 2)
    assert out.dtype == (torch.bfloat16 if enabled else torch.float32)


def test_the_learning_rate_warms_up_holds_and_falls():
    plan = loop.Plan(steps=100, peak=1.0, warmup=10, hold=0.5)
    rates = [plan.rate(loop.state.Progress(step)) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[30] == 1.0
    assert rates[75] == pytest.approx(0.5)
    assert rates[99] < 0.03


def test_muon_brings_singular_values_near_one():
    torch.manual_seed(0)
    for shape in ((16, 64), (64, 16)):
        values = torch.linalg.svdvals(muon.orthogonalise(torch.randn(shape)).float())
        assert values.min() > 0.5
        assert values.max() < 1.4


def test_naming_tokens_are_the_nouns_and_colours(drawn):
    tokens = tokenizer.build()
    for truth in drawn.truth:
        offsets = tokens(truth["caption"], return_offsets_mapping=True)["offset_mapping"]
        for position, owner in naming_tokens(truth, offsets):
            start, end = offsets[position]
            if owner == GROUND:
                assert truth["caption"][start:end] in GROUNDS
                continue
            item = truth["objects"][owner]
            assert truth["caption"][start:end] in item["name"] + " " + item["colour"]
    assert any(truth["ground"] for truth in drawn.truth)


def test_the_grounds_mask_is_what_lies_below_the_horizon_beside_the_objects(drawn, encoded):
    for row, truth in enumerate(drawn.truth):
        ground = encoded.masks[row, GROUND].float() / 255
        objects = encoded.masks[row, :GROUND].float().sum(0) / 255
        rim = truth["horizon"] * 16
        assert ground[: int(rim)].max() == 0
        below = (ground + objects)[int(rim) + 1 :]
        torch.testing.assert_close(below, torch.ones_like(below), atol=0.02, rtol=0)


def test_grounding_is_nought_when_words_look_inside_and_one_when_outside():
    masks = torch.zeros(1, 2, 16, 16)
    masks[:, :, :8] = 1
    words = grounding.Words(torch.tensor([[3, -1]]), masks)
    for half, expected in ((slice(0, 128), 0.0), (slice(128, 256), 1.0)):
        maps = torch.zeros(1, 256, 77)
        maps[:, half, 3] = 0.5
        value = grounding.loss([maps], words, torch.ones(1))
        assert float(value) == pytest.approx(expected)


def test_the_recording_processor_changes_nothing():
    torch.manual_seed(0)
    unet_ = parts.unet((16, 32, 32), (1, 2, 2), 32).eval()
    args = torch.randn(2, 4, 32, 32), torch.tensor([10, 500]), torch.randn(2, 77, 32)
    with torch.no_grad():
        plain = unet_(*args).sample
        recorders = grounding.record(unet_)
        recorded = unet_(*args).sample
    torch.testing.assert_close(recorded, plain, atol=1e-5, rtol=1e-4)
    maps = [recorder.taken() for recorder in recorders]
    assert sorted({layer.shape[1] for layer in maps}) == [64, 256]
    torch.testing.assert_close(maps[0].sum(-1), torch.ones(2, maps[0].shape[1]))


def test_a_map_is_asked_for_before_the_layer_ran():
    with pytest.raises(RuntimeError, match="call the UNet first"):
        grounding.MapRecorder().taken()


def test_spoiling_keeps_shape_and_is_seeded():
    signal = torch.zeros(2, 3, 128, 128)
    first, second = (spoil(signal, torch.Generator().manual_seed(3)) for _ in range(2))
    assert first.shape == signal.shape
    assert torch.equal(first, second)
