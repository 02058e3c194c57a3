"""Attributes on disk: what was written comes back, and nothing else is taken for it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from underpaint import registry
from underpaint.errors import UnknownNameError
from underpaint.testing import EditSession, toy_pipeline
from underpaint_asyrp import Asyrp, Attribute, UnusableAttributeError
from underpaint_asyrp.attribute import shipped
from underpaint_asyrp.directions import ConstantDirection, ConvDirection

KINDS = [
    {"kind": "conv"},
    {"kind": "constant"},
    {"kind": "constant", "buckets": 4},
    {"kind": "constant", "buckets": 2, "size": (4, 4)},
]


@pytest.mark.parametrize("facts", KINDS)
def test_what_was_written_comes_back(make_attribute, facts):
    path = make_attribute(**facts)
    first, second = Attribute.load(path), Attribute.load(path)
    assert first.facts == second.facts
    hidden = torch.randn(2, 8, 4, 4)
    assert torch.equal(first.direction(hidden, 700), second.direction(hidden, 700))
    assert first.direction(hidden, 700).shape == hidden.shape
    EditSession()(Asyrp(attributes={path: 1.0}))


def test_conv_follows_h_and_t_and_starts_near_zero():
    torch.manual_seed(0)
    direction = ConvDirection(8)
    hidden = torch.randn(2, 8, 4, 4)
    delta = direction(hidden, 700)
    assert 0 < delta.abs().max() < 0.05
    assert not torch.allclose(delta[0], delta[1])
    assert not torch.allclose(delta, direction(hidden, 100))


def test_constant_has_a_value_for_each_part_of_the_noise_range():
    direction = ConstantDirection(8, buckets=4)
    hidden = torch.randn(2, 8, 4, 4)
    times = (0, 249, 250, 999)
    chosen = [direction(hidden, t)[0, :, 0, 0] for t in times]
    for value, bucket in zip(chosen, (0, 0, 1, 3), strict=True):
        assert torch.equal(value, direction.value[bucket, :, 0, 0])


def test_a_delta_by_place_needs_the_size_of_its_training(make_attribute):
    path = make_attribute(kind="constant", size=(4, 4))
    with pytest.raises(ValueError, match=r"trained for h of 4x4, this call's is 8x8"):
        EditSession()(Asyrp(attributes={path: 1.0}), height=64, width=64)


def test_another_models_attribute_is_refused(make_attribute):
    path = make_attribute()
    other = EditSession(toy_pipeline(prediction_type="v_prediction"))
    with pytest.raises(UnusableAttributeError, match=r"was trained on 'toy'.*asyrp train"):
        other(Asyrp(attributes={path: 0.0}))


def spoil(path: Path, how: str) -> None:
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    elif how == "noise":
        path.write_bytes(b"no attribute at all")
    elif how == "gone":
        path.unlink()
    else:
        tensors = load_file(path)
        header = {"underpaint": Attribute.load(str(path)).facts.model_dump_json()}
        if how == "nan":
            tensors["leave.bias"][0] = float("nan")
        elif how == "missing":
            del tensors["leave.bias"]
        elif how == "shape":
            tensors["leave.bias"] = torch.zeros(3)
        elif how == "facts":
            header = {"underpaint": json.dumps({"format": "something else"})}
        elif how == "plain":
            header = {}
        save_file(tensors, path, header)


@pytest.mark.parametrize(
    "how", ["cut", "noise", "gone", "nan", "missing", "shape", "facts", "plain"]
)
def test_a_spoilt_file_is_refused(make_attribute, how):
    path = make_attribute()
    spoil(Path(path), how)
    with pytest.raises(UnusableAttributeError, match="asyrp train"):
        EditSession()(Asyrp(attributes={path: 1.0}))


def test_an_unknown_name_is_answered_with_the_names_there_are():
    with pytest.raises(UnknownNameError, match=r"No attribute 'nihgt'\. Valid: "):
        EditSession()(Asyrp(attributes={"nihgt": 1.0}))


def test_the_shipped_attributes_are_picturebooks():
    from underpaint_engines.checkpoint import open_checkpoint

    _, folder = registry.locate_model("picturebook")
    digest = open_checkpoint(folder).digest
    facts = {name: Attribute.load(name).facts for name in shipped()}
    assert facts.keys() == {"night", "snow"}
    assert {each.model_digest for each in facts.values()} == {digest}


def test_no_attribute_at_all_is_an_error():
    with pytest.raises(ValueError, match="attributes"):
        Asyrp(attributes={})
