"""What the panel remembers: there and back through a file, and nothing that is broken or out of bounds."""

import gc
import json
import weakref

import pytest
from qtpy.QtCore import QSettings, Qt
from qtpy.QtWidgets import QWidget

from builders import write_tiny_checkpoint
from napari_diffseg.ensemble.summary import Measure, Rule, Summary
from napari_diffseg.errors import BadRequest
from napari_diffseg.events import SegmentRequest
from napari_diffseg.plugin.background.worker import launch
from napari_diffseg.plugin.panel.panel import DiffsegPanel
from napari_diffseg.plugin.panel.remembered import MOST_CHECKPOINTS, OF_ONE_CASE, Remembered
from napari_diffseg.plugin.session.engine import EngineCache
from napari_diffseg.plugin.session.session import Session
from napari_diffseg.plugin.session.task import Phase
from plugin_fakes import MODALITIES, FakeLoader, ready, run_here


def write(path, **texts):
    path.parent.mkdir(exist_ok=True)
    stored = QSettings(str(path), QSettings.Format.IniFormat)
    for key, text in texts.items():
        stored.setValue(key, text)
    stored.sync()


def again(path, remembered):
    """What another session reads from the file."""
    remembered._file.sync()
    return Remembered(path)


def test_what_is_remembered_is_there_in_the_next_session(remembered_path):
    before = Remembered(remembered_path)
    chosen = {"members": 12, "sampler": "dpmpp", "eta": 0.25, "seed": 2**53 - 1, "device": "cuda:1", "batch_size": None}
    for name, value in chosen.items():
        before.remember_value(name, value)
    before.remember_keep_seed(False)
    before.remember_summary(Summary(Rule.MEAN, 0.3, Measure.ENTROPY, 1.5))
    after = again(remembered_path, before)
    assert after.values == chosen
    assert after.keep_seed is False
    assert after.summary == Summary(Rule.MEAN, 0.3, Measure.ENTROPY, 1.5)


def test_settings_of_one_case_are_not_remembered():
    remembered = Remembered(None)
    for name in OF_ONE_CASE:
        remembered.remember_value(name, SegmentRequest.model_fields[name].default)
    assert remembered.values == {}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "7",
        "null",
        "[" * 100_000,
        json.dumps({"members": 0, "eta": 7, "device": "<b>", "nonsense": 1, "slices": "1:2"}),
    ],
)
def test_broken_settings_count_as_never_chosen(remembered_path, text):
    write(remembered_path, run=text, result=text, checkpoints=text, keep_seed=text)
    remembered = Remembered(remembered_path)
    assert remembered.values == {}
    assert remembered.summary == Summary()
    assert remembered.checkpoints == ()
    assert remembered.keep_seed is True


@pytest.mark.parametrize("threshold", [0.99, "half", None, [], float("nan")])
def test_a_broken_threshold_brings_the_majority_back(remembered_path, threshold):
    write(remembered_path, result=json.dumps({"rule": Rule.MEAN.value, "threshold": threshold, "measure": "entropy"}))
    assert Remembered(remembered_path).summary == Summary()


@pytest.mark.parametrize(
    ("word", "rule"), [("mean at threshold", Rule.MEAN), ("STAPLE", Rule.STAPLE), ("majority", Rule.MAJORITY)]
)
def test_rules_that_were_remembered_before_are_known(remembered_path, word, rule):
    write(remembered_path, result=json.dumps({"rule": word, "threshold": 0.3, "measure": "variance"}))
    assert Remembered(remembered_path).summary.rule is rule


def test_the_checkpoints_own_rule_is_remembered(remembered_path):
    Remembered(remembered_path).remember_summary(Summary(measure=Measure.PROBABILITY))
    assert Remembered(remembered_path).summary == Summary(measure=Measure.PROBABILITY)


@pytest.mark.parametrize("smoothing_mm", [-1, 99, "much", [], float("nan")])
def test_a_broken_smoothing_brings_the_checkpoints_back(remembered_path, smoothing_mm):
    kept = {"rule": Rule.MEAN.value, "threshold": 0.3, "measure": "entropy", "smoothing_mm": smoothing_mm}
    write(remembered_path, result=json.dumps(kept))
    assert Remembered(remembered_path).summary == Summary()


def test_one_broken_setting_takes_no_other_with_it(remembered_path):
    write(remembered_path, run=json.dumps({"members": 4000, "seed": 3}))
    assert Remembered(remembered_path).values == {"seed": 3}


def test_checkpoints_are_listed_once_the_last_one_first_with_their_timesteps():
    remembered = Remembered(None)
    for text, timesteps in [("a.pt", 10), ("b.pt", None), ("a.pt", None), ("c.pt", 50)]:
        remembered.remember_checkpoint(text, timesteps)
    assert [(entry.text, entry.timesteps) for entry in remembered.checkpoints] == [
        ("c.pt", 50),
        ("a.pt", 10),
        ("b.pt", None),
    ]
    assert remembered.timesteps_of("a.pt") == 10
    for n in range(20):
        remembered.remember_checkpoint(f"{n}.pt")
    assert len(remembered.checkpoints) == MOST_CHECKPOINTS
    assert remembered.checkpoints[0].text == "19.pt"


def test_a_broken_checkpoint_takes_no_other_with_it(remembered_path):
    entries = [{"text": ""}, {"text": "a.pt", "timesteps": -3}, 7, {"text": "b.pt", "timesteps": 4}]
    write(remembered_path, checkpoints=json.dumps(entries))
    assert [entry.text for entry in Remembered(remembered_path).checkpoints] == ["b.pt"]


def test_a_seed_that_is_not_kept_is_another_for_each_run(session, layers, segmenter):
    ready(session, layers, members=1, seed=5)
    drawn = []
    session.seed_drawn.connect(drawn.append)
    session.start()
    session.poll()
    session.chosen.keep_seed = False
    for _ in range(2):
        session.start()
        session.poll()
    seeds = [request.seed for request in segmenter.seen]
    assert seeds[0] == 5
    assert seeds[1:] == drawn
    assert len({*seeds}) == 3
    session.add_members(1)
    assert segmenter.seen[-1].seed == seeds[-1]


def test_unloading_lets_go_of_the_weights_and_the_next_run_loads_them_again(layers, tmp_path):
    loader = EngineCache()
    text = str(write_tiny_checkpoint(tmp_path / "tiny.safetensors"))
    session = Session(launch=run_here, load_engine=loader, runs_folder=tmp_path / "runs")
    session.choose_checkpoint(text)
    session.poll()
    weights = weakref.ref(loader(text, {}).checkpoint)
    session.unload()
    gc.collect()
    assert weights() is None
    for name in MODALITIES:
        session.assign(name, layers[name])
    session.set_value("members", 1)
    assert session.why_not_run() is None
    session.start()
    session.poll()
    assert (session.runs.on_screen.plan.folder / "mask.nii.gz").exists()


def test_nothing_is_unloaded_during_a_run(segmenter, layers, tmp_path):
    session = Session(launch=lambda target, stop: None, load_engine=FakeLoader(segmenter), runs_folder=tmp_path)
    session.choose_checkpoint("demo")
    with pytest.raises(BadRequest, match="The checkpoint is being loaded"):
        session.unload()
    session.close()


@pytest.fixture
def make_panel(viewer, segmenter, tmp_path, qtbot):
    made = []

    def make():
        session = Session(launch=launch, load_engine=FakeLoader(segmenter), runs_folder=tmp_path / "runs")
        panel = DiffsegPanel(viewer, session=session)
        viewer.window.add_dock_widget(panel, name=f"Diffusion ensemble {len(made)}", area="right")
        made.append(panel)
        return panel

    yield make
    for panel in made:
        panel.session.close()


def find(panel, name):
    return panel.findChild(QWidget, f"diffseg_{name}")


def load(panel, text, qtbot):
    panel.checkpoint.choose(text)
    qtbot.waitUntil(lambda: panel.session.phase is Phase.IDLE, timeout=90_000)


def test_the_next_panel_begins_with_what_was_chosen_in_the_last(make_panel, viewer, qtbot):
    first = make_panel()
    load(first, "/data/one & two/net.pt", qtbot)
    first.settings.controls["members"].set_value(17)
    first.settings.controls["timesteps"].set_value(3)
    first.settings.controls["slices"].set_value("1:2")
    find(first, "keep_seed").setChecked(False)
    find(first, "measure").setCurrentText("entropy")
    find(first, "live").setCurrentText("Live: predicted mask")
    viewer.window.remove_dock_widget(first)
    second = make_panel()
    assert second.session.values["members"] == second.settings.controls["members"].value() == 17
    assert second.settings.controls["slices"].value() is None
    assert second.session.chosen.keep_seed is find(second, "keep_seed").isChecked() is False
    assert second.result.summary.measure is Measure.ENTROPY
    assert find(second, "live").currentText() == "Live: predicted mask"
    (action,) = find(second, "checkpoint_recent").menu().actions()
    assert (action.text(), action.toolTip()) == ("net.pt", "/data/one & two/net.pt")
    action.trigger()
    qtbot.waitUntil(lambda: second.session.phase is Phase.IDLE, timeout=90_000)
    assert second.settings.controls["timesteps"].value() == 3
    load(second, "other.pt", qtbot)
    assert second.settings.controls["timesteps"].value() == 4


def test_a_checkpoint_that_was_refused_is_not_among_the_recent_ones(make_panel, qtbot):
    panel = make_panel()
    assert not find(panel, "checkpoint_recent").isVisibleTo(panel)
    load(panel, "bad", qtbot)
    assert not find(panel, "checkpoint_recent").isVisibleTo(panel)


def test_unload_is_a_button_in_the_checkpoints_card(make_panel, qtbot):
    panel = make_panel()
    load(panel, "demo", qtbot)
    panel.checkpoint.card.expand(animate=False)
    button = panel.checkpoint.card.content().findChild(QWidget, "diffseg_unload")
    qtbot.waitUntil(lambda: button.height() > 0)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert panel.run_box.status.text() == "The checkpoint's memory is free. The next run loads it again."


def test_that_nothing_is_to_be_refined_is_remembered(remembered_path):
    before = Remembered(remembered_path)
    assert before.summary.refined
    before.remember_summary(Summary(refined=False))
    assert not again(remembered_path, before).summary.refined
