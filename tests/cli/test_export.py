"""``underpaint export`` and ``underpaint cache``."""

from __future__ import annotations

import json

import pytest
from underpaint.cache_folder import FOLDER_VARIABLE


@pytest.fixture
def entry(bundle_of, tmp_path, monkeypatch):
    """Return a bundle that lies in the cache."""
    import shutil

    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    return shutil.copytree(bundle_of("tiny-vae"), tmp_path / "cache" / "bundles" / "0123")


def test_an_exported_model_is_a_model(cli, bundle_of):
    model = ("--model", str(bundle_of("tiny-vae")))
    for engine in ("onnxruntime", "openvino"):
        flags = (*model, "--steps", "2", "--seed", "7", "--engine", engine, "-o", f"{engine}.png")
        code, out, _ = cli("generate", "a cat on grass", *flags)
        assert (code, out.strip()) == (0, f"{engine}.png")
    code, _, err = cli("models", "info", model[1])
    assert code == 2
    assert "--engine onnxruntime" in err


def test_export_says_what_it_would_not_do(cli, model, tmp_path):
    (tmp_path / "there").mkdir()
    code, _, err = cli("export", model, "--to", "onnxruntime", "-o", "there")
    assert code == 2
    assert "exists" in err
    code, _, err = cli("export", model, "--to", "onnxruntime", "-o", "b", "--size", "many")
    assert code == 2
    assert "--size 256,512" in err
    code, _, err = cli("export", model, "--to", "coreml", "-o", "b")
    assert code == 2
    assert "onnxruntime" in err


def test_the_cache_is_listed_verified_and_emptied(cli, entry):
    code, out, _ = cli("cache", "list", "--json")
    assert code == 0
    (found,) = json.loads(out)
    assert (found["model"], found["dtype"], found["problem"]) == ("tiny-vae", "fp32", None)
    assert cli("cache", "verify")[0] == 0
    (entry / "unet" / "weights.safetensors").write_bytes(b"")
    code, out, _ = cli("cache", "verify", "--json")
    assert code == 1
    assert "has changed" in json.loads(out)[0]["problem"]
    code, out, _ = cli("cache", "prune", "--all", "--json")
    assert json.loads(out) == {"removed": [str(entry)]}
    assert not entry.exists()
    assert "empty" in cli("cache", "list")[1]
