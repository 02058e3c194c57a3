"""Metrics on pictures whose values are known by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks.picturebench.edit_types import EditType
from benchmarks.picturebench.metrics_core import (
    PSNR_CAP,
    attention_iou,
    core_metrics,
    fidelity,
    locality,
    seam,
)
from benchmarks.picturebench.metrics_paper import (
    PAPER_METRICS,
    MissingWeightsError,
    PaperMetrics,
    what_is_missing,
)
from benchmarks.picturebench.picture_set import draw_item

GREY = np.full((32, 32, 3), 100, np.uint8)
LEFT = np.zeros((32, 32), bool)
LEFT[:, :16] = True


def shifted(where, by):
    picture = GREY.copy()
    picture[where] += np.uint8(by)
    return picture


def test_equal_pictures_are_equal():
    assert fidelity(GREY, GREY, LEFT) == {"psnr": PSNR_CAP, "ssim": pytest.approx(1), "mse": 0}


def test_a_known_difference_gives_its_mse_and_psnr():
    found = fidelity(shifted(LEFT, 51), GREY, LEFT)
    assert found["mse"] == pytest.approx(0.2**2)
    assert found["psnr"] == pytest.approx(10 * math.log10(1 / 0.04))
    assert found["ssim"] < 1


def test_what_lies_elsewhere_does_not_count():
    found = fidelity(shifted(~LEFT, 51), GREY, LEFT)
    assert found["mse"] == 0
    assert found["psnr"] == PSNR_CAP


def test_nothing_to_compare_is_nan():
    assert all(math.isnan(value) for value in fidelity(GREY, GREY, LEFT & ~LEFT).values())


def test_locality_is_the_part_of_the_change_in_the_mask():
    quarter = LEFT.copy()
    quarter[16:] = False
    assert locality(shifted(LEFT, 10), GREY, LEFT) == 1
    assert locality(shifted(~LEFT, 10), GREY, LEFT) == 0
    assert locality(shifted(LEFT, 10), GREY, quarter) == 0.5
    assert math.isnan(locality(GREY, GREY, LEFT))


def test_a_seam_is_a_step_that_no_reference_has():
    edge = shifted(LEFT, 10)
    assert seam(edge, (GREY, GREY), LEFT) == 10
    assert seam(edge, (GREY, edge), LEFT) == 0
    assert seam(GREY, (GREY, edge), LEFT) == 0


def test_the_iou_of_a_map_that_lies_on_the_mask_is_one():
    grid = np.zeros((8, 8), np.float32)
    grid[:, :4] = 0.7
    assert attention_iou(grid, LEFT) == pytest.approx(1, abs=0.1)
    assert attention_iou(grid, ~LEFT) == pytest.approx(0, abs=0.1)
    assert math.isnan(attention_iou(np.ones((8, 8), np.float32), LEFT))


def test_the_expected_result_of_an_item_is_perfect_and_the_source_untouched():
    item = draw_item("test", EditType.CHANGE_OBJECT, 0)
    perfect = core_metrics(item, item.truth.picture, None)
    assert (perfect["psnr_outside"], perfect["psnr_inside"]) == (PSNR_CAP, PSNR_CAP)
    assert (perfect["locality"], perfect["seam"]) == (1, 0)
    source = core_metrics(item, item.picture, None)
    assert source["psnr_outside"] == PSNR_CAP
    assert source["psnr_inside"] < 30
    assert source["seam"] == 0


def test_the_paper_profile_lists_all_that_is_missing_and_downloads_nothing(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    missing = list(what_is_missing({"dino": tmp_path, "clip": None, "lpips": tmp_path / "none"}))
    told = "\n".join(missing)
    assert "--clip FOLDER" in told
    assert str(tmp_path / "model.safetensors") in told
    assert "squeezenet1_1.safetensors" in told
    assert str(tmp_path / "config.json") not in told
    with pytest.raises(MissingWeightsError, match=r"--profile core"):
        PaperMetrics.load({"dino": tmp_path, "clip": None, "lpips": None})


class Networks:
    """Features that are the means of the picture's quarters; a text is a grey picture."""

    def vit_features(self, images):
        return images.unfold(2, 112, 112).unfold(3, 112, 112).mean((-1, -2)).flatten(2).mT, None

    def image_features(self, images):
        return F.normalize(images.mean((2, 3)), dim=-1)

    def text_features(self, prompts):
        return F.normalize(torch.ones(len(prompts), 3), dim=-1)


def test_the_paper_metrics_are_those_of_the_part_that_is_left_alone():
    item = draw_item("test", EditType.CHANGE_OBJECT, 0)
    metrics = PaperMetrics(Networks(), Networks(), lambda a, b: (a - b).abs().mean())
    same, other = metrics(item, item.picture), metrics(item, item.truth.picture)
    assert set(same) == set(PAPER_METRICS)
    assert same["structure_distance"] == pytest.approx(0, abs=1e-9)
    assert other["structure_distance"] > 1e-6
    assert same["mse_unedit_part"] == other["mse_unedit_part"] == other["lpips_unedit_part"] == 0
    assert other["ssim_unedit_part"] == pytest.approx(1, abs=1e-3)
    white = np.full_like(item.picture, 255)
    assert metrics(item, white)["clip_similarity_target_image"] == pytest.approx(100)
    assert metrics(item, white)["mse_unedit_part"] > 0


def test_nothing_unedited_is_nan_and_not_perfect():
    whole = draw_item("test", EditType.STYLE, 0)
    metrics = PaperMetrics(Networks(), Networks(), lambda a, b: (a - b).abs().mean())
    values = metrics(whole, whole.picture)
    assert all(math.isnan(value) for name, value in values.items() if "unedit" in name)
    assert math.isfinite(values["structure_distance"])


def test_the_outermost_pixels_count_as_edited_in_the_paper_profile_alone():
    item = draw_item("test", EditType.CHANGE_OBJECT, 0)
    rim = item.picture.copy()
    rim[0] = rim[:, -1] = 0
    metrics = PaperMetrics(Networks(), Networks(), lambda a, b: (a - b).abs().mean())
    assert metrics(item, rim)["mse_unedit_part"] == 0
    assert core_metrics(item, rim, None)["mse_outside"] > 0
