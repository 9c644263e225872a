"""What a step is shown: pure functions of numbers, background that stays background, shares that are kept."""

import numpy as np
import pytest
import torch

from napari_diffseg.training.augment import Augmentation, drop_modalities
from napari_diffseg.training.config_file import changed
from napari_diffseg.training.examples import BatchNumbers, Examples
from napari_diffseg.training.pool import Pool
from napari_diffseg.training.presets import TINY


@pytest.fixture
def pool():
    """Five slices with a square that two readers draw, one empty one that one reader saw."""
    images = np.zeros((6, 4, 32, 32), np.float16)
    images[:, :, 4:28, 6:26] = 0.4
    images[:5, :, 10:16, 8:14] = 0.9
    masks = np.zeros((11, 1, 32, 32), np.uint8)
    masks[:10:2, :, 10:16, 8:14] = 1
    masks[1:10:2, :, 11:15, 9:13] = 1
    return Pool(images, masks, np.array([0, 2, 4, 6, 8, 10, 11]))


def test_an_example_is_the_same_whoever_asks_and_whenever(pool):
    one, other = Examples(pool, TINY), Examples(pool, TINY)
    later = [other[n] for n in (9, 3, 7)][-1]
    for name, value in one[7].items():
        torch.testing.assert_close(later[name], value, rtol=0, atol=0)
    assert not torch.equal(one[8]["noise"], one[7]["noise"])


def test_masks_have_the_recipes_values_and_come_from_one_reader_at_a_time(pool):
    plain = changed(TINY, {"augmentation": {"kind": "off", "missing": 0}, "data": {"empty_share": 0}}, where="test")
    examples = Examples(pool, plain)
    sizes = {int((examples[n]["mask"] == 1).sum()) for n in range(40)}
    assert sizes == {36, 16}
    assert set(examples[0]["mask"].unique().tolist()) == {-1.0, 1.0}


def test_slices_without_lesion_are_drawn_as_often_as_asked(pool):
    for share, expected in ((0.5, 0.5), ("none", 1 / 6)):
        values = {"augmentation": {"kind": "off", "missing": 0}, "data": {"empty_share": share}}
        examples = Examples(pool, changed(TINY, values, where="test"))
        empty = np.mean([bool((examples[n]["mask"] < 0).all()) for n in range(1000)])
        assert empty == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(("parts", "processes"), [(1, 1), (2, 1), (1, 3), (2, 3)])
def test_processes_and_parts_share_the_same_numbers_between_them(parts, processes):
    each = 12 // (parts * processes)
    shown = [list(BatchNumbers(5, 7, each, parts, rank, processes)) for rank in range(processes)]
    of_step_5 = sorted(n for rank in shown for part in rank[:parts] for n in part)
    assert of_step_5 == list(range(60, 72))
    assert [len(BatchNumbers(5, 7, each, parts, r, processes)) for r in range(processes)] == [2 * parts] * processes


def test_augmentation_keeps_background_zero_and_moves_image_and_mask_together():
    image, mask = np.zeros((4, 32, 32), np.float32), np.zeros((1, 32, 32), np.float32)
    image[:, 8:24, 8:24] = 0.5
    mask[:, 8:24, 8:24] = 1
    strong = Augmentation(kind="strong", missing=0.0)
    moved = 0
    for seed in range(30):
        out, drawn = strong(image, mask, seed=seed)
        assert set(np.unique(drawn)) <= {0.0, 1.0}
        visible, seen = (out != 0).any(axis=0), drawn[0] > 0
        # bilinear against nearest: they may differ along the outline, never inside
        assert (visible != seen).mean() < 0.08
        assert (visible & seen).sum() > 0.8 * seen.sum()
        assert np.isfinite(out).all()
        moved += bool((drawn != mask).any())
    assert moved > 10


def test_augmentation_is_a_pure_function_of_its_seed():
    rng = np.random.default_rng(0)
    image, mask = rng.random((4, 24, 24), np.float32), (rng.random((1, 24, 24)) > 0.5).astype(np.float32)
    one, other = Augmentation(kind="strong", missing=0.2), Augmentation(kind="strong", missing=0.2)
    other(image, mask, seed=1)
    for a, b in zip(one(image, mask, seed=5), other(image, mask, seed=5), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_bias_field_is_a_smooth_factor_on_the_brightness_before_the_z_score():
    rng = np.random.default_rng(0)
    image, mask = rng.standard_normal((4, 32, 32), np.float32), np.zeros((1, 32, 32), np.float32)
    biased = Augmentation(kind="off", missing=0.0, bias=0.2)
    drawn = [biased(image, mask, seed=seed)[0] for seed in range(20)]
    with np.errstate(invalid="ignore"):
        factors = [np.log((1 + 0.3 * d) / (1 + 0.3 * image)) for d in drawn]
    assert max(np.nanmax(np.abs(f)) for f in factors) < 6 * 0.2
    assert max(np.nanmax(np.abs(np.diff(f))) for f in factors) < 0.2
    # about 60 % of the images have one, also in the mean of a slice
    changed = [abs(np.nanmean(f[m])) > 1e-3 for f in factors for m in range(4)]
    assert 0.4 < np.mean(changed) < 0.8
    none = Augmentation(kind="off", missing=0.0)(image, mask, seed=3)[0]
    np.testing.assert_array_equal(none, image)


def test_missing_modalities_leave_at_least_one():
    rng = np.random.default_rng(0)
    present = np.array([drop_modalities(np.ones((3, 2, 2), np.float32), rng, missing=0.9) for _ in range(200)])
    left = present.any(axis=(2, 3)).sum(axis=1)
    assert left.min() == 1
    assert left.mean() == pytest.approx(1 + 2 * 0.1, abs=0.1)
