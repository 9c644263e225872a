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
