from __future__ import annotations

import math

import pytest
import torch

from napari_diffseg.diffusion.denoiser import ConditionedDenoiser
from napari_diffseg.diffusion.schedule import make_schedule, respaced_timesteps
from napari_diffseg.errors import BadRecipe

SCHEDULE = make_schedule("linear", 1000, timesteps=respaced_timesteps(1000, 10))
INDEX = 6
SIGNAL = math.sqrt(SCHEDULE.alphas_cumprod[INDEX])
NOISE = math.sqrt(1 - SCHEDULE.alphas_cumprod[INDEX])

_generator = torch.Generator().manual_seed(0)
IMAGE = torch.randn(3, 4, 8, 8, generator=_generator)
X0 = torch.rand(3, 2, 8, 8, generator=_generator) * 2 - 1
EPSILON = torch.randn(3, 2, 8, 8, generator=_generator)
X_T = SIGNAL * X0 + NOISE * EPSILON


def denoiser(network, **settings):
    return ConditionedDenoiser(
        network, IMAGE, SCHEDULE, **{"prediction": "epsilon", "variance": "fixed_small"} | settings
    )


def says(answer):
    return lambda x, t: answer


@pytest.mark.parametrize(
    ("prediction", "answer"), [("epsilon", EPSILON), ("x0", X0), ("v", SIGNAL * EPSILON - NOISE * X0)]
)
def test_the_clean_mask_and_the_noise_are_found_from_any_prediction(prediction, answer):
    denoised = denoiser(says(answer), prediction=prediction)(X_T, INDEX)
    torch.testing.assert_close(denoised.x0, X0, rtol=0, atol=1e-5)
    torch.testing.assert_close(denoised.epsilon, EPSILON, rtol=0, atol=1e-5)


def test_the_noise_fits_the_clipped_mask():
    denoised = denoiser(says(X0), prediction="x0", clip=(0.0, 0.5))(X_T, INDEX)
    assert torch.equal(denoised.x0, X0.clamp(0, 0.5))
    torch.testing.assert_close(SIGNAL * denoised.x0 + NOISE * denoised.epsilon, X_T, rtol=0, atol=1e-6)


def test_nothing_is_clipped_unless_asked_for():
    denoised = denoiser(says(3 * X0), prediction="x0", clip=None)(X_T, INDEX)
    assert torch.equal(denoised.x0, 3 * X0)


def test_the_network_sees_the_clean_image_the_noisy_mask_and_the_original_timestep():
    seen = []
    denoiser(lambda x, t: seen.append((x, t)) or X0)(X_T, INDEX)
    x, t = seen[0]
    assert torch.equal(x, torch.cat([IMAGE, X_T], dim=1))
    assert t.tolist() == [666.0] * 3


def test_a_network_that_can_be_conditioned_is_shown_the_image_once_and_the_original_timestep_every_time():
    shown, told = [], []

    class Conditionable:
        def conditioned_on(self, image):
            shown.append(image)
            return lambda x_t, timestep: told.append(timestep) or X0

    conditioned = denoiser(Conditionable(), prediction="x0")
    for index in (INDEX, INDEX, 0):
        assert torch.equal(conditioned(X_T, index).x0, X0)
    assert [id(image) for image in shown] == [id(IMAGE)]
    assert told == [666.0, 666.0, 0.0]


def test_rows_whose_first_answer_is_known_are_not_asked_for_it_again():
    shown = []

    class Conditionable:
        def conditioned_on(self, image):
            return lambda x_t, timestep: shown.append((image, x_t)) or X0[: len(x_t)] + timestep

    known = torch.full_like(X0[0], 0.25)
    conditioned = denoiser(Conditionable(), prediction="x0", clip=None, first=[None, known, None])
    first = conditioned(X_T, 0)
    torch.testing.assert_close(first.x0, torch.stack([X0[0], known, X0[1]]))
    torch.testing.assert_close(shown[0][0], IMAGE[[0, 2]])
    torch.testing.assert_close(shown[0][1], X_T[[0, 2]])
    torch.testing.assert_close(conditioned.last, first.x0)
    torch.testing.assert_close(conditioned(X_T, 0).x0, X0)
    torch.testing.assert_close(shown[1][0], IMAGE)
    conditioned = denoiser(Conditionable(), prediction="x0", clip=None, first=[known] * 3)
    torch.testing.assert_close(conditioned(X_T, INDEX).x0, torch.stack([known] * 3))
    assert len(shown) == 2


def test_the_network_is_told_a_rescaled_timestep_where_it_was_trained_so():
    seen = []
    schedule = make_schedule("linear", 4000, timesteps=[10, 3999])
    settings = {"prediction": "x0", "variance": "fixed_small", "rescale_timesteps": True}
    ConditionedDenoiser(lambda x, t: seen.append(t) or X0, IMAGE, schedule, **settings)(X_T, 1)
    assert seen[0].tolist() == [999.75] * 3


@pytest.mark.parametrize(("v", "share"), [(-1.0, 0.0), (1.0, 1.0), (0.5, 0.75)])
def test_a_learned_variance_lies_between_the_posteriors_and_beta(v, share):
    learned = torch.full_like(X0, v)
    denoised = denoiser(says(torch.cat([EPSILON, learned], dim=1)), variance="learned_range")(X_T, INDEX)
    expected = share * math.log(SCHEDULE.betas[INDEX]) + (1 - share) * SCHEDULE.posterior_log_variance[INDEX]
    torch.testing.assert_close(denoised.log_variance, torch.full_like(X0, expected))


def test_a_fixed_variance_is_beta_or_the_posteriors():
    large, small = (denoiser(says(EPSILON), variance=f"fixed_{size}")(X_T, INDEX) for size in ("large", "small"))
    assert large.log_variance == math.log(SCHEDULE.betas[INDEX])
    assert small.log_variance == SCHEDULE.posterior_log_variance[INDEX]


def test_a_half_precision_answer_is_reckoned_with_in_single_precision():
    denoised = denoiser(says(EPSILON.bfloat16()))(X_T, INDEX)
    assert denoised.x0.dtype == denoised.epsilon.dtype == torch.float32


def test_denoising_leaves_no_gradients_even_with_a_network_in_training():
    scale = torch.ones((), requires_grad=True)
    assert not denoiser(lambda x, t: EPSILON * scale)(X_T, INDEX).x0.requires_grad


@pytest.mark.parametrize(("variance", "channels"), [("learned_range", 2), ("fixed_small", 4), ("fixed_large", 1)])
def test_an_answer_of_another_number_of_channels_is_refused(variance, channels):
    with pytest.raises(BadRecipe, match=f"gives {channels} channels, but 2 mask channels with the variance {variance}"):
        denoiser(says(torch.zeros(3, channels, 8, 8)), variance=variance)(X_T, INDEX)
