import numpy as np
import pytest
from phantoms import LPS

from napari_diffseg.errors import BadImage
from napari_diffseg.imaging.intensity import brain_mask, scale_of
from napari_diffseg.imaging.volume import Volume


def normalise(array, mode, *, percentile=99.5):
    return scale_of(array, mode, percentile=percentile)(array)


BRAIN = np.arange(1, 201, dtype=np.float32)  # 99.5th percentile: 199.005
ARRAY = np.concatenate([np.zeros(800, np.float32), BRAIN]).reshape(10, 10, 10)


def test_the_upper_percentile_of_the_brain_is_one_and_background_does_not_count():
    result = normalise(ARRAY, "percentile")
    assert result.dtype == np.float32
    np.testing.assert_allclose(result.ravel()[800:], np.minimum(BRAIN, 199.005) / 199.005, rtol=1e-6)
    assert result.max() == 1
    assert (result.ravel()[:800] == 0).all()


@pytest.mark.parametrize("mode", ["percentile", "zscore", "minmax", "none"])
def test_a_part_of_a_volume_becomes_what_it_becomes_within_the_whole(mode):
    array = (ARRAY * 3 - (ARRAY > 150)).astype(np.int16)
    scale = scale_of(array, mode, percentile=98)
    np.testing.assert_array_equal(scale(array[9]), normalise(array, mode, percentile=98)[9])
    assert scale(array[9]).dtype == np.float32
    assert not np.shares_memory(scale(ARRAY), ARRAY)


def test_another_percentile_clips_more():
    assert (normalise(ARRAY, "percentile", percentile=90) == 1).sum() == 20


def test_negative_voxels_belong_to_the_brain_and_are_clipped_to_zero():
    array = ARRAY.copy()
    array[0, 0, :3] = -50
    result = normalise(array, "percentile")
    assert (result[0, 0, :3] == 0).all()
    assert result.ravel()[949] == pytest.approx(150 / np.percentile(array[array != 0], 99.5))


def test_zscore_has_mean_zero_and_deviation_one_in_the_brain_and_zero_outside():
    result = normalise(ARRAY.astype(np.int16), "zscore").ravel()
    assert result[800:].mean() == pytest.approx(0, abs=1e-6)
    assert result[800:].std() == pytest.approx(1, rel=1e-6)
    assert (result[:800] == 0).all()


def test_minmax_runs_from_zero_to_one():
    result = normalise(ARRAY - 50, "minmax")
    assert (result.min(), result.max()) == (0, 1)
    assert result[0, 0, 0] == pytest.approx(0)
    np.testing.assert_allclose(result, ARRAY / 200, atol=1e-6)


def test_none_is_a_copy():
    result = normalise(ARRAY, "none")
    np.testing.assert_array_equal(result, ARRAY)
    assert not np.shares_memory(result, ARRAY)


@pytest.mark.parametrize("mode", ["percentile", "zscore", "minmax", "none"])
def test_the_input_is_left_alone_and_the_result_finite(mode):
    array = ARRAY.copy()
    assert np.isfinite(normalise(array, mode)).all()
    np.testing.assert_array_equal(array, ARRAY)


@pytest.mark.parametrize("mode", ["percentile", "zscore", "minmax"])
def test_an_image_without_contrast_is_refused_and_not_divided_by_zero(mode):
    with pytest.raises(BadImage):
        normalise(np.zeros((3, 3, 3)), mode)


def test_no_positive_voxel_and_a_flat_brain_are_refused():
    with pytest.raises(BadImage, match="percentile is -"):
        normalise(-ARRAY, "percentile", percentile=99)
    with pytest.raises(BadImage, match="is 7 in all of its brain"):
        normalise((ARRAY > 0) * 7, "zscore")


def test_the_brain_is_where_any_modality_is_not_zero():
    first, second = np.zeros((2, 3, 1, 1), np.int16)
    first[0], second[1] = -4, 9
    volumes = [Volume(a, LPS, None, None, ()) for a in (first, second)]
    assert brain_mask(volumes).ravel().tolist() == [True, True, False]
    assert brain_mask(volumes[:1]).ravel().tolist() == [True, False, False]
