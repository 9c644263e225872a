"""A checkpoint that can do without an image: leaving one out is a choice, never what happens to one that is missing."""

import pytest
from panel_clicks import click, wait_idle

from napari_diffseg.errors import BadRequest
from napari_diffseg.plugin.panel.resampling import offer_for
from napari_diffseg.plugin.session.command_line import predict_words
from napari_diffseg.plugin.session.run_store import RunStore
from napari_diffseg.plugin.widgets.case_box import CaseBox
from plugin_fakes import MODALITIES, write_images


@pytest.fixture
def recipe(recipe):
    return recipe.model_copy(update={"may_miss": True})


@pytest.fixture
def box(qtbot, tmp_path, layers):
    made = CaseBox(RunStore(tmp_path / "runs"))
    qtbot.addWidget(made)
    made.set_layers(layers.values())
    made.set_modalities(MODALITIES, may_miss=True)
    return made


def ready(session, layers, *, without=()):
    session.choose_checkpoint("demo", {})
    session.poll()
    for name, layer in layers.items():
        session.assign(name, None if name in without else layer, left_out=name in without)
    session.set_value("members", 2)
    return session


def run(session):
    session.start()
    session.poll()
    return session.runs.on_screen


def test_a_missing_image_is_asked_for_until_it_is_left_out(session, layers):
    ready(session, layers)
    session.assign("t1ce", None)
    assert session.why_not_run() == "Choose an image for t1ce, or leave it out."
    session.assign("t1ce", None, left_out=True)
    assert session.why_not_run() is None


def test_a_run_without_an_image_has_the_others_in_the_recipes_order(session, segmenter, layers):
    record = run(ready(session, layers, without=("t1", "t2")))
    assert list(segmenter.cases[-1].volumes) == ["t1ce", "flair"]
    assert record.plan.left_out == ("t1", "t2")


def test_something_must_be_left(session, layers):
    assert ready(session, layers, without=MODALITIES).why_not_run() == "Every image is left out: choose one."


def test_a_checkpoint_that_cannot_do_without_asks_for_what_was_left_out(session, segmenter, recipe, layers):
    ready(session, layers, without=("t2",))
    segmenter.recipe = recipe.model_copy(update={"may_miss": False})
    session.choose_checkpoint("strict.pt", {})
    session.poll()
    assert session.why_not_run() == "Choose an image for t2."


def test_a_folder_that_holds_what_was_left_out_has_no_command_line(session, layers, case_folder):
    record = run(ready(session, layers, without=("t2",)))
    with pytest.raises(BadRequest, match="would not find the images"):
        predict_words(record)
    (case_folder / "case_1_t2.nii.gz").unlink()
    assert str(case_folder) in predict_words(record)


def test_leaving_out_is_offered_where_the_checkpoint_can_do_without(box, layers):
    combo = box.combos["t2"]
    assert combo.layer() is layers["t2"]  # what is open is taken
    told = []
    box.assigned.connect(lambda *what: told.append(what))
    combo.setCurrentText("(left out)")
    assert told == [("t2", None, True)]
    box.set_layers(list(layers.values())[:2])
    box.guess(layers.values())
    assert combo.is_left_out  # a layer that comes is not put in its place
    box.set_modalities(MODALITIES, may_miss=False)
    assert combo.findText("(left out)") == -1
    assert told[-1] == ("t2", None, False)


def test_what_was_left_out_stays_so_with_the_next_checkpoint_that_can_do_without(box, layers):
    box.combos["t2"].setCurrentText("(left out)")
    told = {}
    box.assigned.connect(lambda name, layer, out: told.update({name: (layer, out)}))
    box.set_modalities(MODALITIES, may_miss=False)  # so it is while a checkpoint is being loaded
    box.guess(layers.values())
    assert box.combos["t2"].layer() is None
    box.set_modalities(("t2", "flair"), may_miss=True)
    assert box.combos["t2"].is_left_out
    assert told["t2"] == (None, True)
    box.combos["t2"].choose(layers["t2"])
    box.set_modalities(("t2", "flair"), may_miss=False)
    box.set_modalities(("t2", "flair"), may_miss=True)
    assert box.combos["t2"].layer() is layers["t2"]


def test_where_it_must_be_there_who_chooses_it_does_so_for_good(box, layers):
    box.combos["t2"].setCurrentText("(left out)")
    box.set_modalities(MODALITIES, may_miss=False)
    box.combos["t2"].choose(layers["t2"])
    box.set_modalities(MODALITIES, may_miss=True)
    assert box.combos["t2"].layer() is layers["t2"]


def leave_out_t2(panel):
    panel.case.combos["t2"].setCurrentText("(left out)")
    assert panel.session.chosen.left_out == {"t2"}


def test_another_checkpoint_brings_nothing_back(ready, qtbot):
    leave_out_t2(ready)
    ready.checkpoint.choose("another.pt")
    ready.viewer.layers[0].name += " "  # whatever happens to a layer
    wait_idle(ready, qtbot)
    assert ready.case.combos["t2"].is_left_out
    assert list(ready.session.chosen.images(ready.session.recipe)) == ["t1", "t1ce", "flair"]


@pytest.mark.slow
def test_a_run_that_is_reopened_is_without_what_it_left_out(ready, tmp_path, qtbot):
    panel = ready
    leave_out_t2(panel)
    click(panel, "run", qtbot)
    wait_idle(panel, qtbot)
    panel.case.opened.emit([str(write_images(tmp_path / "bob", case_id="bob"))])
    wait_idle(panel, qtbot)
    assert panel.session.chosen.inputs["t2"].name == "bob t2"
    panel.case.reopen_asked.emit(str(panel.session.runs.records[-1].plan.folder))
    wait_idle(panel, qtbot)
    assert len([layer for layer in panel.viewer.layers if layer.name.startswith("case_1 ")]) == len(MODALITIES)
    images = panel.session.chosen.images(panel.session.recipe)
    assert {name: layer.name for name, layer in images.items()} == {n: f"case_1 {n}" for n in ("t1", "t1ce", "flair")}
    assert panel.case.combos["t2"].is_left_out


def test_a_layer_of_that_name_is_not_left_out(box, layers):
    layers["t2"].name = "(left out)"
    box.set_layers(layers.values())
    combo = box.combos["t2"]
    assert combo.layer() is layers["t2"]
    assert not combo.is_left_out


def test_an_image_that_is_left_out_may_lie_on_another_grid(layers):
    layers["t2"].scale = (3.0, 1.0, 1.0)
    assert offer_for(layers) is not None
    assert offer_for({name: layer for name, layer in layers.items() if name != "t2"}) is None
