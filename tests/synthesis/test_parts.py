from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from napari_diffseg.synthesis.anatomy import make_anatomy
from napari_diffseg.synthesis.fields import smooth_field
from napari_diffseg.synthesis.grid import PhantomGrid, Pose, draw_pose
from napari_diffseg.synthesis.lesions import Lesions, grow_lesions, region_levels
from napari_diffseg.synthesis.readers import draw_label_maps, reader_probability
from napari_diffseg.synthesis.seeds import LARGEST_CORE_MM, LesionSeed, draw_seeds
from napari_diffseg.synthesis.settings import ReaderModel
from napari_diffseg.synthesis.template import CENTRE_MM, load_template
from napari_diffseg.synthesis.tissues import Tissue, mix_tissues

GRID = PhantomGrid((40, 44, 3), (5.0, 5.0, 5.0), (-100.0, -110.0, -5.0), is_slab=True)
SEED = LesionSeed((30.0, 22.0, 8.0), radius_mm=18.0, spread=1.8, stretch=(1.0, 1.0, 1.0))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_field_has_mean_zero_variance_one_and_the_length_asked_for():
    field = smooth_field(rng(), (256, 256), length_mm=12, spacing_mm=(1.0, 1.0))
    assert field.dtype == np.float32
    assert field.mean() == pytest.approx(0, abs=1e-4)
    assert field.std() == pytest.approx(1, abs=1e-3)
    near, far = (float((field[:-k] * field[k:]).mean()) for k in (2, 60))
    assert near > 0.9
    assert abs(far) < 0.3


def test_a_field_of_one_voxel_is_zero():
    np.testing.assert_array_equal(smooth_field(rng(), (1, 1, 1), length_mm=5, spacing_mm=(1, 1, 1)), 0)


def test_the_template_is_a_brain_of_adult_volume_and_white_matter_lies_deeper_than_grey():
    template = load_template()
    litres = (template.depth > 0).sum() * template.spacing_mm**3 / 1e6
    assert 1.5 < litres < 2.2
    assert np.average(template.depth, weights=template.wm) > np.average(template.depth, weights=template.gm) + 3
    # Left and right of the ICBM template are alike: the midline is where the origin says.
    x = template.points_mm(np.argwhere(template.wm > 0.9))[:, 0]
    assert abs(x.mean()) < 2


def test_the_template_is_sampled_exactly_at_its_voxels():
    template = load_template()
    index = np.array([[20, 40, 40], [41, 50, 30]], np.float32)
    gm, wm, depth = template.sample(template.points_mm(index).T)
    where = tuple(index.astype(int).T)
    np.testing.assert_allclose(gm, template.gm[where], atol=1e-5)
    np.testing.assert_allclose(wm, template.wm[where], atol=1e-5)
    np.testing.assert_allclose(depth, template.depth[where], atol=1e-4)


def test_a_pose_undoes_itself():
    pose = draw_pose(rng())
    point = (12.0, -30.0, 25.0)
    axes = [np.array([v], np.float32) for v in pose.to_head(point)]
    np.testing.assert_allclose(pose.to_template(axes).ravel(), point, atol=1e-3)
    np.testing.assert_allclose(pose.to_head(CENTRE_MM), 0, atol=1e-12)


def test_an_array_on_the_box_is_put_back_where_it_came_from():
    grid = PhantomGrid((80, 8, 3), (4.0, 4.0, 4.0), (-160.0, -16.0, 0.0), is_slab=True)
    x, y, z = grid.axes_mm()
    whole = grid.embed(np.ones((x.size, y.size, z.size), np.uint8))
    assert whole.shape == (80, 8, 3)
    assert whole.sum() == x.size * y.size * z.size < whole.size
    assert x[0] == grid.origin_mm[0] + 4.0 * np.flatnonzero(whole.any(axis=(1, 2)))[0]


def test_a_grid_off_the_head_still_has_a_box():
    grid = PhantomGrid((8, 8, 1), (1.0, 1.0, 1.0), (500.0, -500.0, 0.0), is_slab=True)
    assert [a.size for a in grid.axes_mm()] == [1, 1, 1]


@pytest.mark.parametrize(("tight_weight", "share"), [(0.0, 0.0), (1.0, 1.0), (0.25, 0.25)])
def test_the_probability_is_the_share_of_readers_beyond_the_boundary(tight_weight, share):
    model = ReaderModel(tight_weight, tight=-0.5, generous=0.5, sd=0.01)
    p = reader_probability(np.array([-0.9, 0.0, 0.9, 6.0], np.float32), model)
    np.testing.assert_allclose(p, [1, 1 - share, 0, 0], atol=1e-6)


def test_the_probability_follows_the_normal_distribution():
    model = ReaderModel(1.0, tight=0.1, generous=0.1, sd=0.2)
    g = np.linspace(-0.5, 0.7, 13, dtype=np.float32)
    np.testing.assert_allclose(reader_probability(g, model), norm.sf(g, 0.1, 0.2), atol=1e-6)


def test_readers_are_nested_sets():
    masks = draw_label_maps(rng(), {1: np.linspace(-1, 1, 200, dtype=np.float32)}, model=ReaderModel(), count=20)
    order = masks.sum(axis=1).argsort()
    for small, large in zip(masks[order], masks[order][1:], strict=False):
        assert (small <= large).all()


@pytest.mark.parametrize(
    ("kind", "counts"), [("healthy", {0}), ("lowgrade", {1}), ("glioma", {1, 2}), ("ms", set(range(6, 30)))]
)
def test_each_kind_has_its_number_of_lesions_within_bounds(kind, counts):
    source = rng()
    found = [draw_seeds(source, kind, load_template()) for _ in range(40)]
    assert {len(seeds) for seeds in found} <= counts
    for seed in (s for seeds in found for s in seeds):
        assert 1.5 <= seed.radius_mm <= LARGEST_CORE_MM
        assert seed.spread >= 1
        assert np.prod(seed.stretch) == pytest.approx(1)


def test_tissue_fractions_fill_every_voxel():
    anatomy = make_anatomy(rng(), GRID, pose=Pose(np.eye(3)), tumour=SEED)
    lesions = grow_lesions(rng(), (SEED,), anatomy=anatomy, kind="glioma", spacing_mm=GRID.spacing_mm)
    fractions = mix_tissues(
        rng(), anatomy, lesions=lesions, model=ReaderModel(), kind="glioma", spacing_mm=GRID.spacing_mm
    )
    assert fractions.min() >= -1e-6
    np.testing.assert_allclose(fractions.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(anatomy.csf + anatomy.gm + anatomy.wm, 1, atol=1e-5)


def test_oedema_often_fades_on_its_way_out_and_at_times_does_not():
    anatomy = make_anatomy(rng(), GRID, pose=Pose(np.eye(3)), tumour=SEED)
    lesions = grow_lesions(rng(), (SEED,), anatomy=anatomy, kind="glioma", spacing_mm=GRID.spacing_mm)
    inner, outer = ((lesions.boundary > low) & (lesions.boundary < low + 0.15) for low in (-0.5, -0.15))
    white = (anatomy.wm > 0.8) & ~lesions.in_core
    sharp = ReaderModel(1.0, tight=0.5, generous=0.5, sd=0.01)  # all see it as far as this, so the image could, too
    faded = []
    for seed in range(40):
        source = np.random.default_rng(seed)
        fractions = mix_tissues(
            source, anatomy, lesions=lesions, model=sharp, kind="glioma", spacing_mm=GRID.spacing_mm
        )
        oedema = fractions[Tissue.OEDEMA]
        faded.append(oedema[outer & white].mean() / oedema[inner & white].mean())
    assert min(faded) < 0.75
    assert max(faded) > 0.95


def test_lesions_stay_in_the_brain_and_necrosis_in_the_core():
    anatomy = make_anatomy(rng(), GRID, pose=Pose(np.eye(3)), tumour=SEED)
    for seed in range(8):
        source = np.random.default_rng(seed)
        lesions = grow_lesions(source, (SEED,), anatomy=anatomy, kind="glioma", spacing_mm=GRID.spacing_mm)
        assert not ((lesions.boundary < 5) & ~anatomy.brain).any()
        assert not (lesions.in_core & ~(lesions.boundary < 0)).any()
        assert not (lesions.in_enhancing & ~lesions.in_core).any()


def test_a_tumour_pushes_the_tissue_around_it_outwards():
    still = make_anatomy(rng(), GRID, pose=Pose(np.eye(3)), tumour=None)
    pushed = make_anatomy(rng(), GRID, pose=Pose(np.eye(3)), tumour=SEED)
    np.testing.assert_array_equal(still.coords_mm, pushed.coords_mm)
    # What lies under the tumour's side of the surface is sampled from closer to its centre: deeper tissue.
    near = SEED.distance_mm(still.coords_mm) < 2 * SEED.radius_mm
    outer = near & (still.coords_mm[0] > SEED.centre_mm[0] + SEED.radius_mm)
    assert pushed.depth_mm[outer].mean() > still.depth_mm[outer].mean()


def test_half_of_the_readers_draw_beyond_the_median():
    model = ReaderModel(tight_weight=0.25, tight=-0.2, generous=0.2, sd=0.07)
    deltas = np.sort(draw_deltas(model, count=20_000))
    assert model.median == pytest.approx(deltas[10_000], abs=0.003)
    assert float(model.probability(model.median)) == pytest.approx(0.5, abs=1e-9)


def draw_deltas(model, *, count):
    rng = np.random.default_rng(0)
    tight = rng.random(count) < model.tight_weight
    return np.where(tight, model.tight, model.generous) + model.sd * rng.standard_normal(count)


def test_the_lesion_loses_contrast_where_tight_readers_stop_and_the_rest_where_generous_ones_do():
    model = ReaderModel(tight_weight=0.25, tight=-0.2, generous=0.2, sd=0.01)

    assert model.visibility(np.array([-0.5, 0.0, 0.5])) == pytest.approx([1, 0.4, 0], abs=1e-6)
    assert model.visibility(model.median) == pytest.approx(0.4 * (1 - 1 / 3), abs=1e-3)  # half mark more, of 3 in 4


def test_the_levels_of_regions_give_the_share_of_readers_who_draw_each():
    model, generator = ReaderModel(), rng()
    lesions = Lesions(*(generator.uniform(-0.5, 1.5, 300).astype(np.float32) for _ in range(4)))
    levels = region_levels(lesions, lesions.boundary, median=model.median)
    maps = draw_label_maps(generator, levels, model=model, count=2000)
    assert (levels[2] <= levels[1]).all()
    assert (levels[1] <= levels[4]).all()
    for labels, level in zip(((1, 2, 4), (1, 4), (4,)), levels.values(), strict=True):
        p = reader_probability(level, model)
        assert np.abs(np.isin(maps, labels).mean(axis=0) - p).max() < 0.06  # 5 standard errors of 2000
        assert ((p > 0.1) & (p < 0.9)).any()
