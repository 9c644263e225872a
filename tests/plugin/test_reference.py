"""A result against a reference on a viewer model: whose voxels are whose, scores, errors on the canvas."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from played_runs import SHAPE, events_of, play, volume

from napari_diffseg.ensemble.dice import dice
from napari_diffseg.ensemble.summary import Rule, Summary
from napari_diffseg.errors import GridMismatch
from napari_diffseg.evaluation.metrics.judgement import Verdict
from napari_diffseg.plugin.explore.against_reference import AgainstReference
from napari_diffseg.plugin.explore.answer_polling import AnswerPolling
from napari_diffseg.plugin.grid.frame import METADATA_KEY, Frame
from napari_diffseg.plugin.grid.reference import on_grid_of
from napari_diffseg.plugin.layers.error_layer import NAME
from napari_diffseg.plugin.layers.result_layers import ResultLayers
from napari_diffseg.plugin.widgets.reference_box import ReferenceBox
from plugin_fakes import fake_member, run_here

TRUTH = fake_member(SHAPE, 2).astype(np.uint8)


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def results(viewer):
    made = ResultLayers(viewer)
    play(made, events_of(members=4))
    return made


@pytest.fixture
def box(qtbot):
    made = ReferenceBox()
    qtbot.addWidget(made)
    return made


@pytest.fixture
def against(viewer, results, box):
    polling = AnswerPolling(box)
    made = AgainstReference(viewer, results, box, launch=run_here, polling=polling)
    yield made
    made.close()
    polling.close()


def reference_layer(viewer, name="case_1 seg"):
    frame = Frame.of_volume(volume())
    layer = Labels(frame.to_display(TRUTH.copy()), **{**frame.layer_attributes(), "name": name})
    viewer.add_layer(layer)
    return layer


def choose(box, viewer, layer):
    box.set_layers(viewer.layers)
    box.layer.choose(layer)


def polled(against):
    against.judging.poll()
    return against


def test_a_layer_that_napari_made_anew_is_turned_onto_the_voxels_of_the_run(viewer, results):
    frame = results.view.frame
    index = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    display, world = frame.to_display(index), np.diag(frame.world)[:3]
    turned = np.flip(display, [axis for axis in range(3) if world[axis] < 0])
    far = results.view.mask.data_to_world(np.array(display.shape) - 1)
    near = results.view.mask.data_to_world((0, 0, 0))
    layer = Labels(turned, scale=np.abs(world), translate=np.minimum(near, far), units="mm")
    np.testing.assert_array_equal(on_grid_of(results.view.frame, layer), index)


def test_a_layer_on_other_voxels_is_refused_with_both_grids_named(results):
    layer = Labels(np.zeros((3, 4, 5), np.uint8), name="other")
    with pytest.raises(GridMismatch, match=r"Layer other is .*3 x .*but the run is 7 x 6 x 5 voxels"):
        on_grid_of(results.view.frame, layer)


def test_scores_are_those_of_the_mask_on_the_screen(viewer, box, against, results):
    choose(box, viewer, reference_layer(viewer))
    polled(against)
    stack = np.stack([fake_member(SHAPE, k) for k in range(4)])
    expected = dice(stack.mean(0) > 0.5, TRUTH > 0)
    members = [dice(member, TRUTH > 0) for member in stack]
    assert box.line.text().startswith(f"Dice {expected:.3f} (members {min(members):.2f} to {max(members):.2f}); HD95 ")
    results.summarise(Summary(rule=Rule.MEAN, threshold=0.2))
    against.judge()
    polled(against)
    assert box.line.text().startswith(f"Dice {dice(stack.mean(0) > 0.2, TRUTH > 0):.3f} ")


def test_errors_are_on_the_canvas_while_they_are_wanted(viewer, box, against):
    choose(box, viewer, reference_layer(viewer))
    polled(against)
    assert NAME not in viewer.layers
    selected = viewer.layers.selection.active
    box.errors.setChecked(True)
    layer = viewer.layers[NAME]
    assert viewer.layers.selection.active is selected
    mean = np.mean([fake_member(SHAPE, k) for k in range(4)], axis=0)
    shown = layer.metadata[METADATA_KEY].to_source(np.asarray(layer.data))
    np.testing.assert_array_equal(np.isin(shown, (1, 2)), (TRUTH > 0) & (mean <= 0.5))
    np.testing.assert_array_equal(shown == Verdict.SURELY_FALSE, (TRUTH == 0) & (mean == 1))
    assert layer.features.set_index("index")["error"][1] == "missed"
    box.errors.setChecked(False)
    assert not layer.visible


def test_a_stroke_in_the_reference_is_judged(viewer, box, against, qtbot):
    layer = reference_layer(viewer)
    choose(box, viewer, layer)
    polled(against)
    before = box.line.text()
    layer.paint((0, 0, 0), 1)
    qtbot.waitUntil(lambda: box.line.text() not in ("", before), timeout=90_000)


def test_a_removed_reference_is_forgotten_and_a_wrong_one_says_why(viewer, box, against):
    layer = reference_layer(viewer)
    choose(box, viewer, layer)
    polled(against)
    box.errors.setChecked(True)
    viewer.layers.remove(layer)
    box.set_layers(viewer.layers)
    assert box.line.text().startswith("Choose a labels layer")
    assert not viewer.layers[NAME].visible
    other = viewer.add_labels(np.zeros((2, 2, 2), np.uint8), name="other")
    choose(box, viewer, other)
    assert box.line.text().startswith("Layer other is ")


def test_the_reference_of_the_case_before_is_never_kept(viewer, box):
    first = reference_layer(viewer)
    image = viewer.add_image(np.zeros((2, 2, 2)), name="case_2 t1")
    box.set_layers(viewer.layers)
    box.guess([first])
    assert box.layer.layer() is first
    box.guess([image])
    assert box.layer.layer() is None


def test_results_are_never_offered_as_their_own_reference(viewer, results, box):
    layer = reference_layer(viewer)
    box.set_layers(viewer.layers)
    assert [box.layer.itemText(i) for i in range(box.layer.count())] == ["(choose)", layer.name]


def test_each_dot_of_the_reliability_plot_lies_where_its_bin_does(viewer, box, against):
    choose(box, viewer, reference_layer(viewer))
    polled(against)
    dots = box.plot.dots()
    assert len(dots) == sum(n > 0 for n in against._judged.judgement.curve.count)
    places = [place for place, _, _ in dots]
    assert places == sorted(places, key=lambda place: place.x())
    assert places[0].y() > places[-1].y()  # nobody, nothing: bottom left; everybody, lesion: further up
