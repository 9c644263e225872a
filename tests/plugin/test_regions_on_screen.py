"""A run of nested regions on a viewer model: one Labels layer for all; maps, measures and Dice of the chosen one."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from played_runs import SHAPE, events_of, play, source, volume

from napari_diffseg.ensemble.dice import dice
from napari_diffseg.events import Expected, Finished, Sampled, Started
from napari_diffseg.plugin.canvas.result_style import colors_of
from napari_diffseg.plugin.explore.exploring import Exploring
from napari_diffseg.plugin.explore.judging import Judging
from napari_diffseg.plugin.explore.measuring import Measuring
from napari_diffseg.plugin.grid.frame import Frame
from napari_diffseg.plugin.layers.contours import NAME, Contours
from napari_diffseg.plugin.layers.result_layers import ResultLayers
from napari_diffseg.plugin.panel.exporting import Exporting
from napari_diffseg.plugin.widgets.result_box import ResultBox
from napari_diffseg.regions import compose_label_map, nest, number_channels, regions_named
from plugin_fakes import run_here

BRATS = regions_named("brats2021")
SLICES = tuple(range(SHAPE[2]))
MEMBERS = [nest(np.random.default_rng(k).random((3, *SHAPE)) > 0.6, BRATS) for k in range(3)]
STARTED = Started(
    "r", "case", "cpu", "fp32", "ddim", 4, (0, 1, 2), SLICES, SLICES, 2, SHAPE, tuple(r.name for r in BRATS), 9,
    label_values=tuple(r.values for r in BRATS),
)  # fmt: skip


def sampled(k):
    return Sampled("r", k, SLICES, np.moveaxis(MEMBERS[k], 3, 1))


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def results(viewer):
    made = ResultLayers(viewer)
    play(made, [STARTED, *(sampled(k) for k in range(3)), Finished("r", (0, 1, 2), 1.0, 1)])
    return made


def test_all_regions_are_in_one_labels_layer_with_the_colours_of_brats(results):
    majority = np.mean(MEMBERS, axis=0) > 0.5
    np.testing.assert_array_equal(source(results.view.mask), number_channels(majority, BRATS))
    assert colors_of(BRATS) == ("#00e676", "#ff1744", "#ffea00")
    np.testing.assert_allclose(results.view.mask.get_color(3)[:3], (1, 0xEA / 255, 0), atol=0.01)


def test_only_the_maps_of_the_region_that_is_chosen_are_in_sight(results):
    def in_sight():
        return [layer.visible for layer in results.view.uncertainty]

    assert in_sight() == [True, False, False]
    results.choose_region(2)
    assert in_sight() == [False, False, True]
    assert results.view.mean_in_sight == (results.view.mean[2],)
    results.choose_region(None)
    assert in_sight() == [True, False, False]


@pytest.mark.parametrize("region", [None, 0, 1, 2])
def test_volumes_lesions_and_convergence_are_of_the_region(results, region):
    results.choose_region(region)
    measuring = Measuring(launch=run_here)
    measuring.ask(results.view)
    measuring.poll()
    found = measuring.findings
    masks = [member.any(axis=0) if region is None else member[region] for member in MEMBERS]
    ml = {k: mask.sum() * 3.0 / 1000 for k, mask in enumerate(masks)}
    assert found.volumes.by_member == pytest.approx(ml)
    assert found.convergence.volume_ml[0] == pytest.approx(ml[0])
    assert {lesion.asked for lesion in found.lesions} == {3}


@pytest.mark.parametrize("year", ["brats2021", "brats2023"])
def test_dice_is_of_the_region_whatever_year_the_reference_is_of(results, year):
    drawn = compose_label_map(MEMBERS[1], regions_named(year))
    frame = Frame.of_volume(volume())
    layer = Labels(frame.to_display(drawn), **{**frame.layer_attributes(), "name": "seg"})
    majority = np.mean(MEMBERS, axis=0) > 0.5
    for region in range(3):
        results.choose_region(region)
        assert judged(results, layer).judgement.dice == pytest.approx(dice(majority[region], MEMBERS[1][region]))


def test_dice_of_a_run_of_tumour_core_alone_is_with_its_labels(viewer):
    events = [event for event in events_of(members=2, labels=("tumour core",)) if isinstance(event, Started | Sampled)]
    results = ResultLayers(viewer)
    play(results, events)
    core = results.view.ensemble.consensus()[0].astype(bool)
    frame = results.view.frame
    for oedema in (0, 2):
        drawn = np.where(core, 4, oedema).astype(np.uint8)
        drawn[0, 0, 0] = 1
        layer = Labels(frame.to_display(drawn), **{**frame.layer_attributes(), "name": "seg"})
        assert judged(results, layer).judgement.dice == pytest.approx(dice(core, np.isin(drawn, (1, 4))))
    layer.data = np.where(layer.data == 2, 7, layer.data)
    heard = []
    assert judged(results, layer, heard) is None
    assert heard[0].endswith("do not tell tumour core: choose a reference with the labels of BraTS.")


def test_a_reference_of_one_label_says_nothing_of_a_region(results):
    frame = Frame.of_volume(volume())
    drawn = MEMBERS[1][0].astype(np.uint8)
    layer = Labels(frame.to_display(drawn), **{**frame.layer_attributes(), "name": "seg"})
    heard = []
    results.choose_region(1)
    assert judged(results, layer, heard) is None
    assert heard == [
        "The reference has the labels 1, which do not tell tumour core: choose all regions, or a reference with the "
        "labels of BraTS."
    ]
    results.choose_region(None)
    assert judged(results, layer).judgement.dice > 0


@pytest.mark.parametrize(("year", "is_told"), [(None, False), ("brats2023", True)])
def test_the_page_of_an_export_has_a_reference_only_where_its_labels_tell_the_regions(results, year, is_told):
    frame = Frame.of_volume(volume())
    drawn = MEMBERS[1][0].astype(np.uint8) if year is None else compose_label_map(MEMBERS[1], regions_named(year))
    layer = Labels(frame.to_display(drawn), **{**frame.layer_attributes(), "name": "seg"})
    panel = SimpleNamespace(_results=results, _exploring=SimpleNamespace(reference=SimpleNamespace(layer=layer)))
    assert (Exporting._truth(panel, SimpleNamespace(started=STARTED)) is not None) is is_told


def judged(results, layer, failed=None):
    answers = []
    judging = Judging(launch=run_here)
    judging.judged.connect(answers.append)
    judging.failed.connect((failed if failed is not None else []).append)
    judging.ask(results.view, layer)
    judging.poll()
    return answers[-1] if answers else None


def test_outlines_are_of_the_region(results, viewer):
    contours = Contours(viewer)
    counts = []
    for region in (0, 2):
        results.choose_region(region)
        contours.draw(results.view)
        counts.append(len(viewer.layers[NAME].data))
    assert counts[0] != counts[1]


def test_the_one_step_estimate_of_a_region_is_its_own():
    from napari_diffseg.ensemble.ensemble import Ensemble

    probability = np.random.default_rng(0).random((3, *SHAPE)).astype(np.float32)
    started = replace(STARTED, smoothing_mm=1.0, rule="probability")
    ensemble = Ensemble.from_events(
        [started, Expected("r", SLICES, np.moveaxis(probability, 3, 1)), *(sampled(k) for k in range(3))]
    )
    of_core = ensemble.whole_members().of_region(1)
    np.testing.assert_array_equal(of_core.expected.probability()[0], probability[1])
    np.testing.assert_array_equal(of_core.member(2)[0], MEMBERS[2][1])


def test_the_box_offers_regions_only_where_there_are_several(qtbot):
    box = ResultBox()
    qtbot.addWidget(box)
    heard = []
    box.region_chosen.connect(heard.append)
    assert box.region.isHidden()
    box.show_regions(BRATS, None)
    assert not box.region.isHidden()
    assert [box.region.itemText(n) for n in range(4)] == ["all regions", *(r.name for r in BRATS)]
    assert heard == []
    box.region.setCurrentIndex(3)
    assert heard == [2]


def test_what_was_measured_of_another_region_goes_as_soon_as_one_is_chosen(screen, qtbot, viewer, results):
    waiting = []
    result_box = ResultBox()
    exploring = Exploring(viewer, results, result_box, launch=lambda target, _stop: waiting.append(target))
    qtbot.addWidget(result_box)
    qtbot.addWidget(exploring.box)
    exploring.measure()
    finish(exploring.measuring, waiting)
    of_all = exploring.box.line.text()
    assert " ml " in of_all
    results.choose_region(2)
    exploring.measure_other()
    assert exploring.box.line.text() == "Measuring…"
    assert exploring.measuring.findings is None
    finish(exploring.measuring, waiting)
    assert " ml " in exploring.box.line.text() != of_all
    exploring.close()


def finish(measuring, waiting):
    while waiting:
        waiting.pop()()
    measuring.poll()
