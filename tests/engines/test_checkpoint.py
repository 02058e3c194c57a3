from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from underpaint.errors import ModelLoadError
from underpaint_engines.pytorch import load

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(checkpoint, tmp_path):
    return shutil.copytree(checkpoint("sd1"), tmp_path / "model")


def edit_json(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def refuse(source, *parts):
    with pytest.raises(ModelLoadError) as caught:
        load(source, name="model")
    for part in parts:
        assert part in str(caught.value)


def test_nothing_there(tmp_path):
    refuse(tmp_path / "nowhere", "no folder", "nowhere")
    refuse(str(tmp_path / "no" / "where"), "no folder")
    refuse(tmp_path, "no model_index.json")


def test_a_single_file_is_told_how_to_become_a_folder(tmp_path):
    file = tmp_path / "v1-5.ckpt"
    file.write_bytes(b"")
    refuse(file, "single file", "from_single_file")


def test_a_hub_name_that_cannot_be_fetched(monkeypatch):
    import huggingface_hub

    def fail(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    refuse("someone/something", "someone/something", "no network", "path of its folder")


def test_a_hub_name_is_fetched_without_pickles(folder, monkeypatch):
    import huggingface_hub

    asked = {}

    def fetch(name, allow_patterns, ignore_patterns):
        asked.update(name=name, patterns=allow_patterns, ignored=ignore_patterns)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert load("someone/something", name="model").info.name == "model"
    assert asked["name"] == "someone/something"
    assert all(p.endswith((".json", ".txt", ".safetensors")) for p in asked["patterns"])


@pytest.mark.parametrize("suffix", [".bin", ".ckpt", ".pt"])
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_pickles_are_refused_and_told_how_to_be_converted(folder, part, suffix):
    (weights,) = (folder / part).glob("*.safetensors")
    weights.rename(weights.with_suffix(suffix))
    refuse(folder, part, "pickle", weights.stem + suffix, "save_pretrained", "convert")


@pytest.mark.parametrize("keep", [0, 5, 2000, -1])
def test_truncated_weights_are_named(folder, keep):
    file = folder / UNET
    file.write_bytes(file.read_bytes()[:keep])
    refuse(folder, str(file), "corrupt or cut short")


def test_garbage_weights_are_named(folder):
    (folder / VAE).write_bytes(bytes(range(256)) * 40)
    refuse(folder, "vae", "corrupt")


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_part_is_named(folder, part):
    shutil.rmtree(folder / part)
    refuse(folder, part, "missing")
    (folder / part).mkdir()
    refuse(folder, part)


def test_missing_weights_are_named(folder):
    (folder / UNET).unlink()
    refuse(folder, "unet", "holds no diffusion_pytorch_model.safetensors")


@pytest.mark.parametrize("file", ["model_index.json", "unet/config.json", "vae/config.json"])
@pytest.mark.parametrize("content", ["{", "[]", "\x00"])
def test_broken_json_is_named(folder, file, content):
    (folder / file).write_text(content)
    refuse(folder, file, "JSON")


def test_a_broken_tokenizer_is_named(folder):
    (folder / "tokenizer/vocab.json").write_text("{")
    refuse(folder, "tokenizer")


def test_weights_of_another_shape_or_with_a_part_missing(folder):
    weights = load_file(folder / UNET)
    incomplete = {name: value for name, value in weights.items() if not name.startswith("conv_in")}
    save_file(incomplete, folder / UNET)
    refuse(folder, "unet", "conv_in")
    weights["conv_in.weight"] = torch.zeros(16, 5, 3, 3)
    save_file(weights, folder / UNET)
    refuse(folder, "unet", "conv_in.weight")


def test_text_encoder_weights_with_a_part_missing(folder):
    file = folder / "text_encoder/model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if "final_layer_norm" in name)
    save_file({key: value for key, value in weights.items() if key != name}, file)
    refuse(folder, "text_encoder", "final_layer_norm")


def test_inpainting_is_refused(folder):
    edit_json(folder / "unet/config.json", in_channels=9)
    refuse(folder, "inpainting", "9 channels")


def test_sdxl_is_refused(folder):
    edit_json(folder / "unet/config.json", addition_embed_type="text_time")
    refuse(folder, "Stable Diffusion XL", "not supported yet")
    edit_json(folder / "model_index.json", text_encoder_2=["transformers", "CLIPTextModel"])
    refuse(folder, "Stable Diffusion XL", "not supported yet")


def test_another_family_is_refused(folder):
    edit_json(folder / "model_index.json", text_encoder=["transformers", "T5EncoderModel"])
    refuse(folder, "T5EncoderModel", "CLIPTextModel")
    edit_json(folder / "model_index.json", text_encoder=None)
    refuse(folder, "no text_encoder")


def test_parts_of_different_models_are_refused(folder):
    edit_json(folder / "unet/config.json", cross_attention_dim=64)
    refuse(folder, "text encoder's width is 32", "64")
    edit_json(folder / "unet/config.json", cross_attention_dim=32)
    edit_json(folder / "vae/config.json", latent_channels=16)
    refuse(folder, "latent channels")


def test_an_unknown_schedule_is_refused(folder):
    edit_json(folder / "scheduler/scheduler_config.json", prediction_type="flow")
    refuse(folder, "prediction_type", "flow")


def test_half_precision_files_are_taken_where_there_are_no_others(folder, engine_of):
    digest = load(folder, name="model").info.digest
    for part in ("unet", "vae", "text_encoder"):
        (file,) = (folder / part).glob("*.safetensors")
        save_file({k: v.half() for k, v in load_file(file).items()}, file.with_suffix(".tmp"))
        file.with_suffix(".tmp").rename(file.with_name(file.stem + ".fp16.safetensors"))
        file.unlink()
    engine = load(folder, name="model")
    assert engine.dtype == torch.float32
    assert engine.info.digest != digest


def test_sharded_weights_are_read_and_checked(folder, engine_of, make_call):
    weights = load_file(folder / UNET)
    (folder / UNET).unlink()
    names, stem = sorted(weights), "diffusion_pytorch_model"
    shards = {f"{stem}-0000{i + 1}-of-00002.safetensors": names[i::2] for i in range(2)}
    for file, kept in shards.items():
        save_file({name: weights[name] for name in kept}, folder / "unet" / file)
    index = {"metadata": {}, "weight_map": {n: f for f, kept in shards.items() for n in kept}}
    (folder / "unet" / f"{stem}.safetensors.index.json").write_text(json.dumps(index))
    engine, whole = load(folder, name="model"), engine_of("sd1")
    call = make_call(engine)
    assert torch.equal(engine.predict(call).noise, whole.predict(call).noise)
    (folder / "unet" / f"{stem}-00002-of-00002.safetensors").unlink()
    refuse(folder, "00002-of-00002")


def test_the_vae_of_the_first_checkpoints_names_its_attention_otherwise(folder, engine_of):
    """Stable Diffusion 1.x was saved before diffusers renamed these layers."""
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(folder / VAE)
    for new, name in old.items():
        weights = {k.replace(f".{new}.", f".{name}."): v for k, v in weights.items()}
    assert any("query" in name for name in weights)
    save_file(weights, folder / VAE)
    images = torch.rand(1, 3, 32, 32)
    expected = engine_of("sd1").encode_image(images)
    torch.testing.assert_close(load(folder, name="model").encode_image(images), expected)


def test_the_digest_follows_the_bytes_and_not_the_place(folder, engine_of):
    assert load(folder, name="model").info.digest == engine_of("sd1").info.digest
    edit_json(folder / "scheduler/scheduler_config.json", beta_end=0.013)
    assert load(folder, name="model").info.digest != engine_of("sd1").info.digest
