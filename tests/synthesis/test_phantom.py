from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffseg.errors import BadRequest
from napari_diffseg.synthesis.phantom import MODALITIES, Phantom, PhantomSettings, ReaderModel, make_phantom

KINDS = ["glioma", "lowgrade", "ms", "healthy"]
SLICE = PhantomSettings(shape=(48, 52, 1), spacing_mm=(4.0, 4.0, 4.0), empty_fraction=0.0)


def arrays(phantom: Phantom) -> list[np.ndarray]:
    return [*phantom.volumes.values(), phantom.seg, phantom.readers, phantom.probability, phantom.affine]


def seen_anywhere(phantom: Phantom) -> np.ndarray:
    return np.any([v != 0 for v in phantom.volumes.values()], axis=0)


def check_consistent(phantom: Phantom) -> None:
    shape = phantom.settings.shape
    assert tuple(phantom.volumes) == MODALITIES == ("t1", "t1ce", "t2", "flair")
    assert all(v.shape == shape and v.dtype == np.int16 and v.min() >= 0 for v in phantom.volumes.values())
    assert phantom.seg.shape == phantom.probability.shape == shape
    assert phantom.readers.shape == (phantom.settings.readers, *shape)
    assert (phantom.seg.dtype, phantom.readers.dtype, phantom.probability.dtype) == (np.uint8, np.uint8, np.float32)
    assert set(np.unique(phantom.seg)) <= {0, 1, 2, 4}
    assert set(np.unique(phantom.readers)) <= {0, 1}
    assert phantom.probability.min() >= 0
    assert phantom.probability.max() <= 1
    marked = phantom.readers.any(axis=0) | (phantom.seg > 0) | (phantom.probability > 0)
    assert not (marked & ~seen_anywhere(phantom)).any()


@pytest.mark.parametrize("kind", KINDS)
def test_equal_settings_give_equal_bytes_and_another_seed_another_patient(slice_of, kind):
    first, again, other = slice_of(kind=kind, seed=7), slice_of(kind=kind, seed=7), slice_of(kind=kind, seed=8)
    for a, b in zip(arrays(first), arrays(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first.volumes["t1"] != other.volumes["t1"]).any()


@pytest.mark.parametrize("kind", KINDS)
def test_images_labels_readers_and_probability_share_one_brain(slice_of, kind):
    for seed in range(6):
        # Without artefacts no field of view cuts the brain: every brain voxel is seen.
        check_consistent(slice_of(kind=kind, seed=seed, artefacts=0.0))


def test_a_whole_head_is_consistent_and_holds_every_label_of_a_glioma(volume):
    check_consistent(volume)
    assert {0, 2} < set(np.unique(volume.seg))
    # A brain is about 1.1 to 1.7 litres.
    litres = seen_anywhere(volume).sum() * 5.0**3 / 1e6
    assert 0.9 < litres < 2.0


def test_health_has_empty_masks_and_probability_zero(slice_of):
    phantom = slice_of(kind="healthy", seed=1)
    assert seen_anywhere(phantom).sum() > 100
    assert not phantom.seg.any()
    assert not phantom.readers.any()
    assert not phantom.probability.any()


@pytest.mark.parametrize("kind", ["glioma", "lowgrade", "ms"])
def test_the_probability_is_the_mean_of_many_readers_within_sampling_error(slice_of, kind):
    changes = {"shape": (96, 104, 1), "spacing_mm": (2.0, 2.0, 2.0), "ambiguity": 1.0, "readers": 1000}
    phantom = slice_of(kind=kind, seed=9, **changes)
    p = phantom.probability.astype(np.float64)
    assert ((p > 0.05) & (p < 0.95)).sum() > 5
    error = phantom.readers.mean(axis=0) - p
    # 5 standard errors of a share of 1000, and a little for shares near 0 and 1.
    assert (np.abs(error) < 5 * np.sqrt(p * (1 - p) / 1000) + 0.005).all()


def test_the_reference_holds_what_all_readers_mark_and_nothing_that_none_does(slice_of):
    for seed in range(5):
        phantom = slice_of(seed=seed)
        assert (phantom.seg[phantom.probability > 0.999] > 0).all()
        assert (phantom.seg[phantom.probability < 0.001] == 0).all()


def test_the_number_of_readers_changes_nothing_but_the_readers(slice_of):
    few, many, none = (slice_of(seed=2, readers=n) for n in (3, 9, 0))
    np.testing.assert_array_equal(few.readers, many.readers[:3])
    assert none.readers.shape == (0, 48, 52, 1)
    for name in MODALITIES:
        np.testing.assert_array_equal(few.volumes[name], none.volumes[name])
    np.testing.assert_array_equal(few.seg, none.seg)


def test_contrast_does_not_move_the_lesion(slice_of):
    plain, wild = slice_of(seed=4, randomise=0.0), slice_of(seed=4, randomise=1.0)
    np.testing.assert_array_equal(plain.probability, wild.probability)
    assert (plain.volumes["t2"] != wild.volumes["t2"]).any()


def test_readers_disagree_about_as_much_as_people_do(slice_of):
    scores = []
    for seed in range(12):
        readers = slice_of(seed=seed, readers=6).readers.reshape(6, -1).astype(bool)
        if readers.any(axis=1).all():
            scores += [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in combinations(readers, 2)]
    assert 0.65 < np.mean(scores) < 0.95


def test_more_ambiguity_makes_more_voxels_doubtful(slice_of):
    def doubtful(ambiguity: float) -> int:
        p = slice_of(seed=6, ambiguity=ambiguity).probability
        return int(((p > 0.02) & (p < 0.98)).sum())

    assert doubtful(0.1) < doubtful(0.5) < doubtful(1.5)


def test_readers_who_always_agree_draw_one_mask(slice_of):
    phantom = slice_of(seed=6, ambiguity=1.0, reader_model=ReaderModel(tight=0.0, generous=0.0, sd=1e-6))
    assert phantom.readers[0].any()
    for mask in phantom.readers[1:]:
        np.testing.assert_array_equal(mask, phantom.readers[0])
    np.testing.assert_array_equal(phantom.seg > 0, phantom.readers[0] > 0)


def test_slabs_show_the_lesion_unless_empty_ones_are_asked_for(slice_of):
    with_lesion = sum(slice_of(seed=s).seg.any() for s in range(30))
    beside = sum(slice_of(seed=s, empty_fraction=1.0).seg.any() for s in range(30))
    assert with_lesion >= 27
    assert beside <= 3


def test_a_slab_lies_where_slice_z_puts_it():
    slab = replace(SLICE, shape=(48, 52, 5), slice_z=80.0)
    middle = make_phantom(slab).affine @ (24, 26, 2, 1)
    assert middle[2] == pytest.approx(80.0)


def test_a_full_brats_grid_has_the_affine_of_brats():
    from napari_diffseg.synthesis.grid import Pose, place_grid

    grid = place_grid(PhantomSettings(), np.random.default_rng(0), pose=Pose(np.eye(3)), seeds=())
    expected = [[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(grid.affine, expected)


def test_enhancing_tumours_are_brighter_after_contrast_medium_than_before(slice_of):
    ratios = []
    for seed in range(30):
        phantom = slice_of(seed=seed, randomise=0.0, artefacts=0.0)
        rim, rest = phantom.seg == 4, seen_anywhere(phantom) & (phantom.seg == 0)
        if rim.sum() > 3:
            before, after = phantom.volumes["t1"], phantom.volumes["t1ce"]
            rise = np.median(after[rim]) / np.median(before[rim])
            ratios.append(rise / (np.median(after[rest]) / np.median(before[rest])))
    assert len(ratios) >= 5
    assert np.median(ratios) > 1.2


def test_oedema_is_bright_in_flair_and_fluid_is_not(slice_of):
    ratios = []
    for seed in range(20):
        phantom = slice_of(seed=seed, randomise=0.0, artefacts=0.0)
        oedema, rest = phantom.seg == 2, seen_anywhere(phantom) & (phantom.seg == 0)
        if oedema.sum() > 5:
            flair = phantom.volumes["flair"]
            ratios.append(np.median(flair[oedema]) / np.median(flair[rest]))
    assert len(ratios) >= 10
    assert np.min(ratios) > 1.0
    assert np.median(ratios) > 1.3


def test_artefacts_cut_fields_of_view_and_their_absence_leaves_one_mask(slice_of):
    def differs(artefacts: float) -> list[bool]:
        found = []
        for seed in range(30):
            seen = [v != 0 for v in slice_of(seed=seed, artefacts=artefacts).volumes.values()]
            found.append(any((s != seen[0]).any() for s in seen))
        return found

    assert not any(differs(0.0))
    assert any(differs(1.0))


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**40),
    shape=st.tuples(st.integers(8, 33), st.integers(8, 33), st.integers(1, 9)),
    spacing=st.tuples(*[st.floats(0.2, 20)] * 3),
    randomise=st.floats(0, 1),
)
def test_any_grid_any_seed_any_contrast_gives_a_sound_phantom(kind, seed, shape, spacing, randomise):
    check_consistent(
        make_phantom(
            PhantomSettings(
                kind=kind, seed=seed, shape=shape, spacing_mm=spacing, randomise=randomise, artefacts=0.0, readers=2
            )
        )
    )


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"kind": "stroke"}, "kind 'stroke'"),
        ({"seed": -1}, "seed -1"),
        ({"shape": (4, 48, 1)}, "shape"),
        ({"shape": (48, 48, 0)}, "shape"),
        ({"spacing_mm": (0.0, 1.0, 1.0)}, "spacing_mm"),
        ({"readers": -1}, "readers -1"),
        ({"randomise": 1.5}, "randomise"),
        ({"ambiguity": 0.0}, "ambiguity"),
        ({"slice_z": float("nan")}, "slice_z"),
    ],
)
def test_settings_out_of_bounds_are_refused_by_name(change, names):
    with pytest.raises(BadRequest, match=names):
        replace(SLICE, **change)


@pytest.mark.parametrize("change", [{"sd": 0.0}, {"tight": 0.5}, {"tight_weight": 1.1}, {"tight": -0.95}])
def test_a_reader_model_that_is_no_distribution_is_refused(change):
    with pytest.raises(BadRequest, match="Reader model"):
        ReaderModel(**change)


def test_readers_draw_nested_regions_about_the_references(slice_of):
    scores = []
    for seed in range(12):
        phantom = slice_of(seed=seed, readers=5, shape=(96, 104, 1), spacing_mm=(2.0, 2.0, 2.0))
        assert set(np.unique(phantom.reader_labels)) <= {0, 1, 2, 4}
        core = phantom.seg % 3 == 1  # 1 and 4
        if core.sum() > 50:
            drawn = phantom.reader_labels % 3 == 1
            scores += [2 * (d & core).sum() / (d.sum() + core.sum()) for d in drawn]
            assert len({int(d.sum()) for d in drawn}) > 1  # they differ there, too
    assert len(scores) >= 20
    assert np.mean(scores) > 0.9


def test_the_reader_in_the_middle_draws_the_reference(slice_of):
    phantom = slice_of(seed=4, readers=1, reader_model=ReaderModel(1.0, 0.0, 0.0, 1e-6))
    assert {1, 2, 4} & set(np.unique(phantom.seg))
    np.testing.assert_array_equal(phantom.reader_labels[0] > 0, phantom.seg > 0)
