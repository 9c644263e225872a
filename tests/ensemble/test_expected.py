"""The one-step estimate: of the first member, and of the mirror image where members see that, too."""

from dataclasses import replace

import numpy as np
import pytest

from builders import write_tiny_checkpoint
from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.ensemble.expected import ExpectedMask
from napari_diffseg.events import Expected, SegmentRequest, Started
from napari_diffseg.segmenting.segmenter import LocalSegmenter


def run(checkpoint, case, **settings):
    request = SegmentRequest(**({"device": "cpu", "members": 2} | settings))
    return list(LocalSegmenter(checkpoint, preview_interval_s=None).segment(case, request))


def expected_of(seen):
    mask = ExpectedMask(next(e for e in seen if isinstance(e, Started)))
    for e in seen:
        if isinstance(e, Expected):
            mask.add(e.slices, e.probability)
    return mask


def test_every_sampled_slice_is_expected_once_whatever_the_members(tiny_checkpoint, tiny_case):
    seen = run(tiny_checkpoint, tiny_case, members=3, batch_size=5)
    assert sorted(s for e in seen if isinstance(e, Expected) for s in e.slices) == [0, 1, 2, 3]
    assert expected_of(seen).is_complete


def test_where_it_exceeds_a_half_is_the_mask_of_a_chain_of_one_step(tiny_checkpoint, tiny_case):
    probability = expected_of(run(tiny_checkpoint, tiny_case)).probability()
    (step,) = [e for e in run(tiny_checkpoint, tiny_case, members=1, timesteps=1) if hasattr(e, "mask")]
    ensemble = Ensemble(("lesion",), tiny_case.shape, 2, range(5), range(4))
    ensemble.add(0, step.slices, step.mask)
    np.testing.assert_array_equal(probability > 0.5, ensemble.member(0))
    assert 0 < probability.min(initial=1, where=probability > 0) < probability.max() <= 1


@pytest.mark.parametrize("settings", [{"batch_size": 1}, {"batch_size": 7}, {"focus": 2}, {"members": 1}])
def test_it_is_the_same_in_any_batch_and_order(tiny_checkpoint, tiny_case, settings):
    reference = expected_of(run(tiny_checkpoint, tiny_case)).probability()
    other = expected_of(run(tiny_checkpoint, tiny_case, **settings)).probability()
    np.testing.assert_allclose(other, reference, atol=1e-5)


def test_a_checkpoint_that_predicts_the_noise_expects_nothing(tmp_path, tiny_case):
    noisy = load_checkpoint(write_tiny_checkpoint(tmp_path / "noise.safetensors", prediction="epsilon"))
    seen = run(noisy, tiny_case)
    assert not [e for e in seen if isinstance(e, Expected)]
    assert not expected_of(seen).is_complete


def test_what_is_there_stays_and_its_variance_is_that_of_a_coin(tiny_checkpoint, tiny_case):
    mask = ExpectedMask(run(tiny_checkpoint, tiny_case)[0])
    plane = (1, 1, *tiny_case.shape[:2])
    mask.add((1,), np.full(plane, 0.25, np.float32))
    mask.add((1,), np.full(plane, 0.75, np.float32))
    assert (mask.probability()[0, ..., 1] == 0.25).all()
    assert mask.variance()[0, ..., 1] == pytest.approx(0.1875)
    assert not mask.probability()[..., [0, 2, 3, 4]].any()


def test_where_members_are_mirrored_it_is_the_mean_of_both_views(tiny_checkpoint, tiny_case):
    mirrored = replace(tiny_checkpoint, recipe=tiny_checkpoint.recipe.model_copy(update={"mirror": True}))
    both = expected_of(run(mirrored, tiny_case)).probability()[0]
    first, second = (first_estimate(mirrored, tiny_case, member) for member in (0, 1))
    assert np.abs(first - second).max() > 0.01
    np.testing.assert_allclose(both, (first + second) / 2, atol=1e-5)


def first_estimate(checkpoint, case, member):
    """What the first evaluation of one member predicts, as a probability (X, Y, Z)."""
    request = SegmentRequest(device="cpu", members=1, first_member=member)
    out = np.zeros(case.shape, np.float32)
    for traced in LocalSegmenter(checkpoint, preview_interval_s=None).trace(case, request):
        if traced.step == 1:
            for (_, s), plane in zip(traced.rows, traced.evidence, strict=True):
                out[..., s] = plane
    return out


def test_slices_where_no_lesion_is_expected_take_no_second_evaluation(tiny_checkpoint, tiny_case, monkeypatch):
    mirrored = replace(tiny_checkpoint, recipe=tiny_checkpoint.recipe.model_copy(update={"mirror": True}))
    monkeypatch.setattr("napari_diffseg.segmenting.one_step_estimate.EMPTY_BELOW", 2.0)
    np.testing.assert_allclose(
        expected_of(run(mirrored, tiny_case)).probability()[0], first_estimate(mirrored, tiny_case, 0), atol=1e-5
    )
