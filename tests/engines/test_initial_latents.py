"""Readings that a plugin asks for before the first step, on every engine."""

from __future__ import annotations

import pytest
import torch
from underpaint import Pipeline
from underpaint_engines import onnxruntime, openvino
from underpaint_initial_image_editing import LayoutToImage

BOX = (0.0, 0.0, 0.5, 0.5)


@pytest.mark.parametrize("load", [onnxruntime.load, openvino.load], ids=["onnxruntime", "openvino"])
def test_a_layout_is_that_of_pytorch(load, bundle_of, engine_of):
    edit = LayoutToImage(boxes={"cat": BOX})
    call = {"edits": [edit], "num_inference_steps": 3, "seed": 3, "output_type": "latent"}
    got, expected = (
        Pipeline(engine)("a cat on the grass", **call)
        for engine in (load(bundle_of("tiny-vae"), name="tiny-vae"), engine_of("tiny-vae"))
    )
    assert not got.warnings
    sources, ours = (r.reports["layout.sources"][0] for r in (expected, got))
    assert torch.equal(ours, sources)
    assert not torch.equal(sources.flatten(), torch.arange(sources.numel()))
    torch.testing.assert_close(got.latents, expected.latents, atol=1e-3, rtol=0)
