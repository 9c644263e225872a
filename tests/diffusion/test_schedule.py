from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffseg.diffusion.schedule import cosine_betas, linear_betas, make_schedule, respaced_timesteps
from napari_diffseg.errors import ScheduleError


def test_the_linear_schedule_goes_from_one_ten_thousandth_to_two_hundredths():
    betas = linear_betas(1000)
    assert (betas[0], betas[-1], betas.dtype) == (1e-4, 0.02, np.float64)
    np.testing.assert_allclose(np.diff(betas), 0.0199 / 999, rtol=1e-9)


def test_the_linear_schedule_leaves_the_known_signal():
    kept = make_schedule("linear", 1000).alphas_cumprod
    np.testing.assert_allclose(kept[[0, 497, 999]], [0.9999, 0.0802, 4.04e-5], rtol=2e-3)


def test_fewer_timesteps_end_with_about_as_much_noise():
    few, many = (make_schedule("linear", total).alphas_cumprod[-1] for total in (250, 4000))
    assert few == pytest.approx(many, rel=0.3)


def test_the_cosine_schedule_keeps_a_squared_cosine_of_the_signal():
    kept = np.cumprod(1 - cosine_betas(1000))
    t = np.arange(1, 1000) / 1000
    expected = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    np.testing.assert_allclose(kept[:-1], expected, rtol=1e-6)


def test_no_beta_of_the_cosine_schedule_exceeds_0999():
    assert cosine_betas(1000)[-1] == cosine_betas(1)[0] == 0.999


@settings(max_examples=60)
@given(st.data())
def test_respaced_timesteps_go_evenly_from_the_last_to_the_first(data):
    total = data.draw(st.integers(2, 4000))
    count = data.draw(st.integers(2, total))
    timesteps = respaced_timesteps(total, count)
    assert timesteps.dtype == np.int64
    assert (len(timesteps), timesteps[0], timesteps[-1]) == (count, total - 1, 0)
    gaps = -np.diff(timesteps)
    assert gaps.min() >= 1
    assert np.abs(gaps - (total - 1) / (count - 1)).max() < 1.001


def test_a_chain_of_one_step_starts_from_pure_noise():
    assert respaced_timesteps(1000, 1).tolist() == [999]


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_a_shortened_chain_has_the_noise_of_the_original_at_its_timesteps(name):
    timesteps = respaced_timesteps(1000, 37)
    short, full = make_schedule(name, 1000, timesteps=timesteps), make_schedule(name, 1000)
    np.testing.assert_array_equal(short.timesteps, timesteps)
    np.testing.assert_allclose(short.alphas_cumprod[::-1], full.alphas_cumprod[timesteps], rtol=1e-9)
    np.testing.assert_allclose(np.cumprod(1 - short.betas), short.alphas_cumprod, rtol=1e-12)


def test_an_index_and_its_timestep_belong_together_in_either_order_given():
    for given_order in ([3, 500, 999], [999, 3, 500]):
        schedule = make_schedule("linear", 1000, timesteps=given_order)
        assert [schedule.timestep(i) for i in range(len(schedule))] == [3, 500, 999]


def test_the_posterior_is_what_bayes_rule_gives():
    """Ratio of Gaussians: q(x_{t-1} | x_0) times q(x_t | x_{t-1}), as precisions that add up."""
    s = make_schedule("linear", 1000, timesteps=respaced_timesteps(1000, 20))
    i = np.arange(1, 20)
    a, kept = 1 - s.betas[i], s.alphas_cumprod[i - 1]
    precision = a / s.betas[i] + 1 / (1 - kept)
    np.testing.assert_allclose(np.exp(s.posterior_log_variance[i]), 1 / precision, rtol=1e-9)
    np.testing.assert_allclose(s.posterior_mean_x_t[i], np.sqrt(a) / s.betas[i] / precision, rtol=1e-9)
    np.testing.assert_allclose(s.posterior_mean_x0[i], np.sqrt(kept) / (1 - kept) / precision, rtol=1e-9)


def test_the_last_step_gives_x0_itself_and_borrows_the_variance_of_the_one_before():
    s = make_schedule("cosine", 1000)
    assert s.posterior_mean_x0[0] == pytest.approx(1, abs=1e-12)
    assert s.posterior_mean_x_t[0] == 0
    assert s.posterior_log_variance[0] == s.posterior_log_variance[1] == s.large_log_variance[0]
    np.testing.assert_array_equal(s.large_log_variance[1:], np.log(s.betas[1:]))


def test_a_chain_of_one_step_has_finite_variances():
    s = make_schedule("linear", 1000, timesteps=[999])
    assert np.isfinite(s.posterior_log_variance).all()
    assert np.isfinite(s.large_log_variance).all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: respaced_timesteps(1000, 0), "0 timesteps cannot be chosen of 1000"),
        (lambda: respaced_timesteps(1000, 1001), "1001 timesteps"),
        (lambda: respaced_timesteps(0, 0), "A chain of 0 timesteps"),
        (lambda: cosine_betas(-1), "A chain of -1 timesteps"),
        (lambda: cosine_betas(10**9), "A chain of 1000000000 timesteps"),
        (lambda: linear_betas(20), "beta of 1: use more than 20"),
        (lambda: make_schedule("linear", 1000, timesteps=[5, 5]), "one twice"),
        (lambda: make_schedule("linear", 1000, timesteps=[0, 1000]), "from 0 to 1000"),
        (lambda: make_schedule("linear", 1000, timesteps=[-1, 7]), "from -1 to 7"),
        (lambda: make_schedule("linear", 1000, timesteps=[]), "one or more whole numbers"),
        (lambda: make_schedule("linear", 1000, timesteps=[0.5]), "one or more whole numbers"),
    ],
)
def test_what_cannot_be_is_refused_in_words(make, said):
    with pytest.raises(ScheduleError, match=said):
        make()


def test_schedules_and_configurations_come_without_torch():
    code = (
        f"import sys; sys.path[:] = {sys.path}\n"
        "import napari_diffseg.diffusion.schedule, napari_diffseg.networks.config, napari_diffseg.networks.infer\n"
        "sys.exit('torch is imported' if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "middle"), [("linear", (0.001 + 0.1) / 2), ("scaled_linear", ((0.001**0.5 + 0.1**0.5) / 2) ** 2)]
)
def test_betas_between_two_ends_have_the_ends_and_the_middle_that_their_name_says(name, middle):
    betas = make_schedule(name, 21, beta_range=(0.001, 0.1)).betas
    np.testing.assert_allclose(betas[[0, 10, 20]], [0.001, middle, 0.1])


def test_a_sigmoid_of_betas_is_halfway_in_the_middle_and_flat_at_the_ends():
    betas = make_schedule("sigmoid", 21, beta_range=(0.001, 0.1)).betas
    assert betas[10] == pytest.approx(0.0505)
    assert betas[0] == pytest.approx(0.001 + 0.099 / (1 + np.exp(6)))


def test_explicit_betas_are_taken_as_they_are():
    given = [0.01, 0.5, 0.9]
    np.testing.assert_array_equal(make_schedule("explicit", 3, betas=given).betas, given)


def test_with_zero_terminal_signal_the_last_timestep_is_pure_noise_and_the_first_as_it_was():
    plain, changed = (make_schedule("linear", 1000, zero_terminal_snr=zero) for zero in (False, True))
    assert changed.alphas_cumprod[-1] == 0
    assert changed.alphas_cumprod[0] == pytest.approx(plain.alphas_cumprod[0])
    assert (np.diff(changed.alphas_cumprod) < 0).all()


@pytest.mark.parametrize(
    ("spacing", "offset", "expected"),
    [
        ("linspace", 0, [999, 749, 500, 250, 0]),
        ("leading", 0, [800, 600, 400, 200, 0]),
        ("leading", 1, [801, 601, 401, 201, 1]),
        ("trailing", 0, [999, 799, 599, 399, 199]),
    ],
)
def test_a_chain_visits_the_timesteps_that_its_spacing_says(spacing, offset, expected):
    assert respaced_timesteps(1000, 5, spacing=spacing, offset=offset).tolist() == expected


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: make_schedule("linear", 30, beta_range=(0.2, 0.1)), "rise between 0 and 1"),
        (lambda: make_schedule("cosine", 30, beta_range=(0.1, 0.2)), "no first and last beta"),
        (lambda: make_schedule("explicit", 3, betas=[0.1, 0.2]), "as many betas, not 2"),
        (lambda: make_schedule("explicit", 3), "as many betas, not 0"),
        (lambda: make_schedule("explicit", 2, betas=[1.0, 0.2]), "between 0 and 1"),
        (lambda: make_schedule("cosine", 1, zero_terminal_snr=True), "two timesteps"),
        (lambda: respaced_timesteps(1000, 1000, spacing="leading", offset=1), "up to 1000"),
    ],
)
def test_betas_and_spacings_that_cannot_be_are_refused(wrong, said):
    with pytest.raises(ScheduleError, match=said):
        wrong()
