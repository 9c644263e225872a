"""The loss against closed forms, the golden schedule, and arithmetic done again in float64."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm

from napari_diffseg.diffusion.schedule import make_schedule
from napari_diffseg.errors import BadRecipe
from napari_diffseg.training.config import LossSettings
from napari_diffseg.training.loss import (
    TrainingLoss,
    binned_log_likelihood,
    diffuse,
    place_timestep,
    predicted_x0,
    soft_dice_loss,
    variational_bound,
)
from napari_diffseg.training.presets import DEFAULT, PAPER

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "golden" / "plain.npz")
LINEAR = make_schedule("linear", 1000)
KINDS = ("epsilon", "x0", "v")


def batch(*, t, low=0.0, seed=0):
    g = torch.Generator().manual_seed(seed)
    n = len(t)
    square = (torch.rand(n, 1, 8, 8, generator=g) > 0.5).float()
    return {
        "image": torch.rand(n, 4, 8, 8, generator=g),
        "mask": low + (1 - low) * square,
        "timestep": torch.tensor(t),
        "noise": torch.randn(n, 1, 8, 8, generator=g),
        "known": torch.ones(n, 1),
    }


def numpy_bound(batch, epsilon, v, betas):
    """The variational term in bits, from the published formulas, in float64, row by row."""
    kept = np.cumprod(1 - betas)
    before = np.append(1.0, kept[:-1])
    smallest = betas * (1 - before) / (1 - kept)
    smallest[0] = smallest[1]
    bits = []
    for row, t in enumerate(batch["timestep"].tolist()):
        x0 = batch["mask"][row].numpy().astype(np.float64)
        x_t = np.sqrt(kept[t]) * x0 + np.sqrt(1 - kept[t]) * batch["noise"][row].numpy()
        guess = (x_t - np.sqrt(1 - kept[t]) * epsilon[row]) / np.sqrt(kept[t])

        def mean(clean, t=t, x_t=x_t):
            a, b = np.sqrt(before[t]) * betas[t], np.sqrt(1 - betas[t]) * (1 - before[t])
            return (a * clean + b * x_t) / (1 - kept[t])

        f = (v[row] + 1) / 2
        logvar = f * np.log(betas[t]) + (1 - f) * np.log(smallest[t])
        if t:
            ratio = smallest[t] / np.exp(logvar)
            term = 0.5 * (-np.log(ratio) - 1 + ratio + (mean(x0) - mean(guess)) ** 2 / np.exp(logvar))
        else:
            d = norm(mean(guess), np.exp(0.5 * logvar))
            upper = np.where(x0 > 0.999, 1, d.cdf(x0 + 1 / 255))
            lower = np.where(x0 < -0.999, 0, d.cdf(x0 - 1 / 255))
            term = -np.log(np.maximum(upper - lower, 1e-12))
        bits.append(term.mean() / np.log(2))
    return np.array(bits)


def test_the_hybrid_loss_is_the_golden_schedules_arithmetic():
    shown = batch(t=[0, 1, 250, 700, 999])
    g = np.random.default_rng(1)
    epsilon, v = (0.5 * g.standard_normal((5, 1, 8, 8)) for _ in range(2))
    out = torch.from_numpy(np.concatenate([epsilon, v], axis=1)).float()
    loss = TrainingLoss(PAPER.recipe, LINEAR, PAPER.loss)(lambda x, t: out, shown)
    squared = ((epsilon - shown["noise"].numpy()) ** 2).mean()
    expected = squared + numpy_bound(shown, epsilon, v, GOLDEN["linear_betas"]).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_the_golden_networks_answer_has_the_loss_that_its_numbers_give():
    out = torch.from_numpy(GOLDEN["model_out"])
    x_t, t = torch.from_numpy(GOLDEN["x_t"]), torch.from_numpy(GOLDEN["t"]).long()
    kept = np.cumprod(1 - GOLDEN["linear_betas"])[t.numpy()].reshape(-1, 1, 1, 1)
    mask = torch.zeros_like(x_t)
    noise = torch.from_numpy(GOLDEN["x_t"] / np.sqrt(1 - kept)).float()  # so that diffusing nothing gives x_t
    shown = {"image": torch.from_numpy(GOLDEN["image"]), "mask": mask, "timestep": t, "noise": noise}
    shown["known"] = torch.ones(len(t), 1)
    loss = TrainingLoss(PAPER.recipe, LINEAR, PAPER.loss)(lambda x, told: out, shown)
    epsilon, v = GOLDEN["model_out"][:, :1].astype(np.float64), GOLDEN["model_out"][:, 1:].astype(np.float64)
    expected = ((epsilon - noise.numpy()) ** 2).mean() + numpy_bound(shown, epsilon, v, GOLDEN["linear_betas"]).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_the_bound_trains_the_variance_and_never_the_mean():
    shown = batch(t=[0, 400])
    out = torch.full((2, 2, 8, 8), 0.3, requires_grad=True)
    both = TrainingLoss(PAPER.recipe, LINEAR, PAPER.loss)(lambda x, t: out, shown)
    alone = TrainingLoss(PAPER.recipe, LINEAR, LossSettings(dice_weight=0, variational_weight=0))(
        lambda x, t: out, shown
    )
    (of_both,), (of_alone,) = torch.autograd.grad(both, out), torch.autograd.grad(alone, out)
    torch.testing.assert_close(of_both[:, :1], of_alone[:, :1])
    assert of_both[:, 1:].abs().min() > 0
    assert of_alone[:, 1:].abs().max() == 0


def test_the_bound_of_the_true_posterior_is_zero():
    shown = batch(t=[1, 500, 999])
    x_t = diffuse(shown["mask"], shown["timestep"], LINEAR, noise=shown["noise"])
    smallest = torch.full_like(x_t, -1.0)
    bound = variational_bound(shown["mask"], smallest, x_t, shown["mask"], shown["timestep"], LINEAR)
    torch.testing.assert_close(bound, torch.zeros(3, 1), atol=1e-6, rtol=0)


def test_the_bins_of_all_256_values_share_the_whole_mass():
    values = torch.linspace(-1, 1, 256)
    mass = binned_log_likelihood(values, torch.tensor(0.3), torch.tensor(-1.0)).exp().sum()
    assert mass.item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_perfect_prediction_of_every_kind_costs_nothing_and_means_the_mask(kind):
    shown = batch(t=[3, 500], low=-1.0)
    schedule = make_schedule("cosine", 1000)
    kept = torch.from_numpy(schedule.alphas_cumprod)[shown["timestep"]].float().view(-1, 1, 1, 1)
    mask, noise = shown["mask"], shown["noise"]
    perfect = {"epsilon": noise, "x0": mask, "v": kept.sqrt() * noise - (1 - kept).sqrt() * mask}[kind]
    recipe = DEFAULT.recipe.model_copy(update={"prediction": kind})
    loss = TrainingLoss(recipe, schedule, DEFAULT.loss)(lambda x, t: perfect, shown)
    assert loss.item() == pytest.approx(0.0, abs=1e-4)
    x_t = diffuse(mask, shown["timestep"], schedule, noise=noise)
    clean = predicted_x0(perfect, x_t, shown["timestep"], schedule, kind=kind)
    torch.testing.assert_close(clean, mask, atol=1e-4, rtol=0)


def test_the_network_is_told_the_rescaled_time_where_the_recipe_says_so():
    told = []

    def network(x, t):
        told.append(t)
        return torch.zeros(1, 1, 8, 8)

    for rescale in (False, True):
        recipe = DEFAULT.recipe.model_copy(update={"rescale_timesteps": rescale})
        TrainingLoss(recipe, make_schedule("cosine", 50), DEFAULT.loss)(network, batch(t=[25], low=-1.0))
    assert [t.item() for t in told] == [25, 500]


def test_a_network_without_the_recipes_variance_is_refused():
    with pytest.raises(BadRecipe, match="gives 1 channels"):
        TrainingLoss(PAPER.recipe, LINEAR, PAPER.loss)(lambda x, t: torch.zeros(1, 1, 8, 8), batch(t=[5]))


def test_the_forward_process_keeps_unit_variance_of_unit_variance_data():
    g = torch.Generator().manual_seed(0)
    data, noise = (torch.randn(20, 1, 64, 64, generator=g) for _ in range(2))
    x_t = diffuse(data, torch.arange(20), make_schedule("cosine", 20), noise=noise)
    np.testing.assert_allclose(x_t.var(dim=(1, 2, 3)).numpy(), 1.0, atol=0.06)


def test_timesteps_cover_all_evenly_or_favour_the_noisiest_part():
    draws = np.random.default_rng(0).random((20_000, 2))
    uniform, noisy = (np.array([place_timestep(a, b, 100, noisiest=part) for a, b in draws]) for part in (1.0, 0.2))
    assert (uniform.min(), uniform.max(), noisy.min(), noisy.max()) == (0, 99, 0, 99)
    assert (uniform >= 80).mean() == pytest.approx(0.2, abs=0.02)
    assert (noisy >= 80).mean() == pytest.approx(0.6, abs=0.02)


def test_dice_loss_is_zero_for_the_answer_and_near_one_for_its_opposite():
    target = (torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    assert soft_dice_loss(target, target).item() == pytest.approx(0.0, abs=1e-6)
    assert soft_dice_loss(1 - target, target).item() == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize(("order", "first"), [("images_first", 0), ("mask_first", 1)])
def test_the_network_sees_its_channels_in_the_recipes_order(order, first):
    seen, shown = [], batch(t=[25], low=-1.0)

    def network(x, t):
        seen.append(x)
        return torch.zeros(1, 1, 8, 8)

    recipe = DEFAULT.recipe.model_copy(update={"channel_order": order})
    TrainingLoss(recipe, make_schedule("cosine", 50), DEFAULT.loss)(network, shown)
    torch.testing.assert_close(seen[0][:, first : first + 4], shown["image"])
