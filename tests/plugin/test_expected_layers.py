"""What a run expects, as a layer: the right slices of the right run, and only where there is something to expect."""

import numpy as np
import pytest
from napari.components import ViewerModel
from played_runs import add_expected, add_sampled, begin_run

from napari_diffseg.ensemble.expected import ExpectedMask
from napari_diffseg.events import Expected, Sampled, Started
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.plugin.explore.pointer import describe_point
from napari_diffseg.plugin.grid.frame import METADATA_KEY, RESULT_KEY, Frame
from napari_diffseg.plugin.layers.result_layers import ResultLayers
from napari_diffseg.plugin.session.run_result import RunResult

SHAPE = (7, 6, 5)
AFFINE = np.array([[0, 2.0, 0, -5], [0, 0, -1.5, 4], [1.0, 0, 0, 3], [0, 0, 0, 1]])
STARTED = Started("run", "case", "cpu", "fp32", "ddim", 2, (0, 1), (1, 2, 3), (1, 2), 2, SHAPE, ("lesion",), 8)
NAME = "diffseg 1 | one-step uncertainty"


def expecting(*slices, p):
    return Expected("run", slices, np.full((1, len(slices), *SHAPE[:2]), p, np.float32))


@pytest.fixture
def shown():
    viewer = ViewerModel()
    results = ResultLayers(viewer)
    begin(results)
    return viewer, results


def begin(results):
    volume = Volume(data=np.zeros(SHAPE, np.float32), affine=AFFINE, header=None, path=None, notes=())
    begin_run(results, STARTED, Frame.of_volume(volume))


def expected_at(results, voxel):
    return results.result.ensemble.expected.at(voxel)


def show(results, *slices, p):
    """The layer comes with the run's own, once the run has a member."""
    add_expected(results, expecting(*slices, p=p))
    add_sampled(results, [Sampled("run", 0, slices, np.zeros((1, len(slices), *SHAPE[:2]), np.bool_))])
    while results.catch_up(0.0):
        pass


def source(layer):
    return layer.metadata[METADATA_KEY].to_source(np.asarray(layer.data))


def test_a_slice_is_shown_where_it_belongs_with_the_variance_of_a_coin(shown):
    viewer, results = shown
    show(results, 2, p=0.1)
    add_expected(results, expecting(1, p=0.5))
    values = source(viewer.layers[NAME])
    assert values[..., 1] == pytest.approx(0.25)
    assert values[..., 2] == pytest.approx(0.09)
    assert not values[..., [0, 3, 4]].any()


def test_the_layer_comes_with_those_of_the_first_member_and_not_before(shown):
    viewer, results = shown
    add_expected(results, expecting(2, p=0.1))
    assert not results.is_behind
    assert NAME not in viewer.layers
    show(results, 1, p=0.5)
    assert source(viewer.layers[NAME])[..., 2] == pytest.approx(0.09)


def test_what_a_kept_run_expected_is_shown_at_once_and_known_to_its_ensemble(shown):
    viewer, results = shown
    known = ExpectedMask(STARTED)
    known.add((1, 2), np.stack([np.full((1, *SHAPE[:2]), p, np.float32) for p in (0.5, 0.1)], axis=1))
    kept = RunResult(2, STARTED, results.result.frame)
    kept.ensemble.expected = known
    results.show(kept)
    add_sampled(results, [Sampled("run", 0, (1, 2, 3), np.zeros((1, 3, *SHAPE[:2]), np.bool_))])
    while results.catch_up(0.0):
        pass
    values = source(viewer.layers["diffseg 2 | one-step uncertainty"])
    assert values[..., 1] == pytest.approx(0.25)
    assert values[..., 2] == pytest.approx(0.09)
    assert not values[..., [0, 3, 4]].any()
    assert results.result.ensemble.expected is known
    assert expected_at(results, (3, 2, 1)) == (0.5,)


def test_what_members_expect_that_were_added_to_a_run_without_it_is_not_shown(shown):
    viewer, results = shown
    add_sampled(results, [Sampled("run", 0, (1, 2, 3), np.zeros((1, 3, *SHAPE[:2]), np.bool_))])
    add_expected(results, expecting(1, 2, p=0.5))
    while results.catch_up(0.0):
        pass
    assert NAME not in viewer.layers
    assert expected_at(results, (3, 2, 2)) is None


def test_the_cursor_reads_what_is_expected_where_it_has_come(shown):
    _, results = shown
    add_expected(results, expecting(2, p=0.7))
    view = results.view
    outside = "not sampled: outside the scope"
    told = {s: describe_point(view, view.point_of((3, 2, s))) for s in range(5)}
    assert told == {0: outside, 1: "no member yet", 2: "no member yet; one-step 0.70", 3: "no member yet", 4: outside}
    begin(results)
    assert expected_at(results, (3, 2, 2)) is None


def test_the_layer_is_hidden_until_it_is_wanted_and_never_an_input(shown):
    viewer, results = shown
    show(results, 1, p=0.5)
    assert not viewer.layers[NAME].visible
    assert viewer.layers[NAME].metadata[RESULT_KEY] == "diffseg 1"


def test_a_run_that_expects_nothing_has_no_layer(shown):
    viewer, results = shown
    add_sampled(results, [Sampled("run", 0, (1,), np.zeros((1, 1, *SHAPE[:2]), np.bool_))])
    while results.catch_up(0.0):
        pass
    assert "diffseg 1 | mask" in viewer.layers
    assert NAME not in viewer.layers


def test_a_removed_layer_stays_removed_and_the_next_run_has_its_own(shown):
    viewer, results = shown
    show(results, 1, p=0.5)
    viewer.layers.remove(NAME)
    show(results, 2, p=0.5)
    assert NAME not in viewer.layers
    begin(results)
    show(results, 1, p=0.2)
    assert source(viewer.layers["diffseg 2 | one-step uncertainty"])[..., 1] == pytest.approx(0.16)
