"""What DiffuseIT refuses, with messages that say what to do."""

import pytest
from underpaint.errors import InvalidRequestError, NotOfferedError
from underpaint.pipeline import Pipeline
from underpaint.testing import EditSession, ToyEngine
from underpaint_diffuse_it import DiffuseIt


def test_without_a_picture_it_says_what_to_do(session):
    with pytest.raises(InvalidRequestError, match=r"pass image=\.\.\., or --image"):
        session(DiffuseIt(), image=None)


def test_a_style_picture_that_is_none_is_refused_before_anything_runs(session, scorer, tmp_path):
    with pytest.raises(InvalidRequestError, match=r"there is no file.*missing\.png"):
        session(DiffuseIt(style_image=tmp_path / "missing.png"))
    assert scorer.looks == 0


def test_too_little_strength_for_the_steps_is_refused(session):
    with pytest.raises(InvalidRequestError, match=r"strength=0\.01 leaves none of 4 steps"):
        session(DiffuseIt(strength=0.01), num_inference_steps=4, timestep_spacing="trailing")


def test_without_a_scorer_it_says_what_to_do(session):
    bare = EditSession(Pipeline(ToyEngine()))
    with pytest.raises(NotOfferedError, match="no scorer"):
        bare(DiffuseIt(), image=session.call["image"])
