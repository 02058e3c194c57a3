"""Trajectories on disk, and where they do not fit."""

from dataclasses import replace

import pytest
import torch
from underpaint import Trajectory
from underpaint.errors import (
    TrajectoryMismatchError,
)
from underpaint.testing import toy_pipeline
from underpaint.trajectory import Tuned

from tests.framework.pictures import PROMPT, picture


def test_a_trajectory_survives_its_file(tmp_path):
    path = toy_pipeline().invert(picture(), PROMPT, num_inference_steps=3)
    tuned = Tuned(path.levels, torch.randn(3, 1, 77, 8), 4.0, ("",), {"method": "test"})
    with_words = replace(path, tuned=tuned)
    with_words.save(tmp_path / "cat.safetensors")
    read = Trajectory.load(tmp_path / "cat.safetensors")
    assert (read.levels, read.prompts, read.made_by) == (path.levels, path.prompts, path.made_by)
    assert read.model_digest == path.model_digest
    assert torch.equal(read.pivots, path.pivots)
    assert torch.equal(read.tuned.embeddings, tuned.embeddings)
    for fact in ("levels", "guidance_scale", "negative_prompts", "edit"):
        assert getattr(read.tuned, fact) == getattr(tuned, fact)


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
