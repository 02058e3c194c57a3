import pytest
import torch
from diffusers import DDIMScheduler
from underpaint.errors import InvalidRequestError, ModelLoadError
from underpaint.records import Window
from underpaint.schedule import SPACINGS, NoiseSchedule
from underpaint.testing import toy_schedule

SD = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "set_alpha_to_one": False,
    "clip_sample": False,
}


def pair(**config):
    config = {**SD, **config}
    return NoiseSchedule.from_config(config), DDIMScheduler(**config)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("offset", [0, 1])
def test_moves_start_at_diffusers_timesteps(spacing, offset):
    ours, theirs = pair(timestep_spacing=spacing, steps_offset=offset)
    for steps in range(1 if spacing != "linspace" else 2, 1000):
        theirs.set_timesteps(steps)
        expected = [t for t in theirs.timesteps.tolist() if t >= 0]  # see documented exceptions
        assert [m.t for m in ours.moves(steps)] == expected, steps


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 2, 7, 30, 50, 999, 1000])
def test_each_move_starts_where_the_last_ended_and_the_last_ends_clean(spacing, steps):
    moves = toy_schedule().moves(steps, spacing)
    assert len(moves) == steps
    assert [m.next_t for m in moves] == [*(m.t for m in moves[1:]), -1]
    assert all(m.t > m.next_t for m in moves)
    assert moves[0].t < 1000


def test_documented_exceptions():
    schedule = toy_schedule()
    assert schedule.moves(1000, "leading")[0].t == 999  # diffusers: 1000, out of range
    assert schedule.moves(1, "linspace")[0].t == 999  # diffusers: 0, no noise to remove
    theirs = DDIMScheduler(timestep_spacing="trailing")
    theirs.set_timesteps(61)
    assert theirs.timesteps.tolist() == [*(m.t for m in schedule.moves(61, "trailing")), -1]


@pytest.mark.parametrize("kind", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_levels_equal_diffusers_to_the_bit(kind):
    ours, theirs = pair(beta_schedule=kind)
    assert torch.equal(torch.tensor(ours.alphas), theirs.alphas_cumprod)
    assert ours.final_alpha == float(theirs.final_alpha_cumprod)


def test_trained_betas_equal_diffusers():
    betas = torch.linspace(1e-4, 0.02, 100).tolist()
    ours, theirs = pair(trained_betas=betas, num_train_timesteps=100)
    assert torch.equal(torch.tensor(ours.alphas), theirs.alphas_cumprod)


def test_clean_end_defaults_to_one_for_ddim_and_to_the_first_level_for_other_schedulers():
    without = {key: value for key, value in SD.items() if key != "set_alpha_to_one"}
    ddim = NoiseSchedule.from_config({**without, "_class_name": "DDIMScheduler"})
    pndm = NoiseSchedule.from_config({**without, "_class_name": "PNDMScheduler"})
    assert ddim.final_alpha == 1.0
    assert pndm.final_alpha == pndm.alphas[0]


def test_zero_terminal_snr_equals_diffusers_but_for_a_trace_of_signal():
    ours, theirs = pair(rescale_betas_zero_snr=True)
    assert torch.allclose(torch.tensor(ours.alphas), theirs.alphas_cumprod, atol=1e-6)
    assert theirs.alphas_cumprod[-1] == 0
    assert 0 < ours.alphas[-1] < 1e-6


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_steps_out_of_range_are_an_error_that_says_the_range(steps):
    with pytest.raises(InvalidRequestError, match=rf"{steps}.*1 to 1000"):
        toy_schedule().moves(steps)


@pytest.mark.parametrize(
    ("field", "value"),
    [("beta_schedule", "sigmoid"), ("prediction_type", "flow"), ("timestep_spacing", "karras")],
)
def test_config_of_another_family_is_refused(field, value):
    with pytest.raises(ModelLoadError, match=rf"{field}='{value}'.*Valid"):
        NoiseSchedule.from_config({**SD, field: value})


def test_unknown_spacing_lists_the_valid():
    with pytest.raises(InvalidRequestError, match=r"leading.*Did you mean 'trailing'"):
        toy_schedule().moves(10, "trailng")


def test_progress_and_windows_are_fractions_of_the_noise_range():
    schedule = toy_schedule()
    assert schedule.progress(999) == 0
    assert schedule.progress(-1) == 1
    window = Window(0.0, 0.4)
    inside = [m for m in schedule.moves(10, "trailing") if window.contains(schedule.progress(m.t))]
    assert len(inside) == 4


@pytest.mark.parametrize("limits", [(-0.1, 1), (0, 1.1), (0.6, 0.4), (float("nan"), 1)])
def test_window_outside_the_noise_range_is_an_error(limits):
    with pytest.raises(InvalidRequestError, match=r"fractions of the noise range"):
        Window(*limits)
