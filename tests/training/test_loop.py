"""Training: what is learned, what is reproduced, what survives."""

import numpy as np
import pytest
import torch

from napari_diffseg.diffusion.schedule import make_schedule
from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.training.augment import augment
from napari_diffseg.training.loop import Trainer, TrainingSettings
from napari_diffseg.training.loss import diffuse, draw_timesteps, soft_dice_loss
from napari_diffseg.training.pool import Pool

CONFIG = UNetConfig(
    in_channels=3, model_channels=32, out_channels=1, num_res_blocks=1, attention_factors=(), channel_mult=(1,)
)
SCHEDULE = make_schedule("cosine", 20)


@pytest.fixture
def pool():
    """Bright squares on a dim brain, and the square as mask."""
    rng = np.random.default_rng(0)
    images = np.full((6, 2, 8, 8), 0.2, np.float16)
    masks = np.zeros((6, 2, 8, 8), np.uint8)
    for k in range(6):
        r, c = rng.integers(0, 5, 2)
        images[k, :, r : r + 3, c : c + 3] = 0.9
        masks[k, :, r : r + 3, c : c + 3] = 1
    return Pool(images, masks)


def trainer(pool, **changes):
    values = {"steps": 6, "batch_size": 4, "warmup": 2, "save_every": 3, "bf16": False, "missing": 0.0} | changes
    return Trainer(CONFIG, SCHEDULE, pool, TrainingSettings(**values))


def silent(step, loss, seconds):
    pass


def test_the_loss_falls_on_squares_that_can_be_seen(pool, tmp_path):
    losses = []
    t = trainer(pool, steps=60, learning_rate=2e-3)
    t.train(tmp_path / "state.pt", lambda step, loss, seconds: losses.append(loss))
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])


def test_a_training_taken_up_again_ends_in_the_same_weights(pool, tmp_path):
    whole = trainer(pool)
    whole.train(tmp_path / "whole.pt", silent)

    def stop_at_four(step, loss, seconds):
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(pool).train(tmp_path / "part.pt", stop_at_four)
    again = trainer(pool)
    again.resume(tmp_path / "part.pt")
    assert again.step == 3
    again.train(tmp_path / "part.pt", silent)
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(again.network.state_dict()[name], value, rtol=0, atol=0)
        torch.testing.assert_close(again.average[name], whole.average[name], rtol=0, atol=0)


def test_the_forward_process_keeps_unit_variance_of_unit_variance_data():
    generator = torch.Generator().manual_seed(0)
    data, noise = (torch.randn(20, 1, 64, 64, generator=generator) for _ in range(2))
    x_t = diffuse(data, torch.arange(20), SCHEDULE, noise=noise)
    np.testing.assert_allclose(x_t.var(dim=(1, 2, 3)).numpy(), 1.0, atol=0.06)


def test_timesteps_cover_all_and_favour_the_noisiest_fifth():
    t = draw_timesteps(20_000, 100, generator=torch.Generator().manual_seed(0))
    assert (t.min(), t.max()) == (0, 99)
    assert abs((t >= 80).float().mean().item() - 0.6) < 0.02


def test_dice_loss_is_zero_for_the_answer_and_near_one_for_its_opposite():
    target = (torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    assert soft_dice_loss(target, target).item() == pytest.approx(0.0, abs=1e-6)
    assert soft_dice_loss(1 - target, target).item() == pytest.approx(1.0, abs=1e-2)


def test_augmentation_keeps_background_zero_and_moves_image_and_mask_together():
    image = torch.zeros(40, 2, 8, 8)
    image[:, :, 2:5, 1:3] = 0.5
    mask = (image[:, :1] > 0).float()
    out, moved = augment(image, mask, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close((out[:, :1] != 0).float(), moved)
    assert 5 < (moved != mask).any(dim=(1, 2, 3)).sum() < 35


def test_missing_modalities_leave_at_least_one():
    image = torch.full((50, 3, 4, 4), 0.5)
    out, _ = augment(image, image[:, :1], generator=torch.Generator().manual_seed(0), missing=0.9)
    present = (out != 0).any(dim=-1).any(dim=-1)
    assert present.any(dim=1).all()
    assert present.float().mean() < 0.6
