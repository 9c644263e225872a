"""The list of runs: their lines, doing one again, taking one away, and the command that makes one again."""

import re
import shlex
from dataclasses import replace

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QWidget

from napari_diffseg.cli import app
from napari_diffseg.errors import BadRequest
from napari_diffseg.plugin.background.mailbox import Ending
from napari_diffseg.plugin.background.worker import launch
from napari_diffseg.plugin.panel.panel import DiffsegPanel
from napari_diffseg.plugin.session.command_line import command_line, predict_words
from napari_diffseg.plugin.session.run_log import RunLog
from napari_diffseg.plugin.session.session import Session
from napari_diffseg.plugin.session.task import Phase
from plugin_fakes import FakeLoader, ready


def run(session, **values):
    for name, value in values.items():
        session.set_value(name, value)
    session.start()
    session.poll()
    return session.runs.records[-1]


def understood(words):
    """What the command line makes of the words."""
    _, bound, _ = app.parse_args(words[1:], exit_on_error=False, print_error=False)
    return bound.arguments


def test_each_run_has_a_number_and_a_line_that_says_what_it_is(session, layers, segmenter):
    ready(session, layers, members=1)
    first = run(session)
    segmenter.fail_at, segmenter.error = 1, RuntimeError("power")
    second = run(session, members=3, seed=7)
    assert re.fullmatch(r"1 case_1: \d\d:\d\d, whole volume, 1 member x 2 ddim, seed 0", first.line)
    assert second.line.endswith(", whole volume, 3 members x 2 ddim, seed 7; failed")
    segmenter.fail_at = None
    session.add_members(1)
    session.poll()
    assert second.line.endswith(", whole volume, 4 members x 2 ddim, seed 7")


def test_a_rerun_has_the_images_and_settings_of_the_run_and_files_of_its_own(session, layers, segmenter):
    first = run(ready(session, layers), members=2, seed=3)
    session.set_value("seed", 9)
    session.assign("t1", None)
    session.rerun(first)
    session.poll()
    assert (segmenter.seen[1].seed, segmenter.seen[1].members) == (3, 2)
    assert segmenter.cases[1] is segmenter.cases[0]
    second = session.runs.records[1]
    assert second.plan.folder != first.plan.folder
    for name in ("mask.nii.gz", "members/member-002.nii.gz"):
        assert (first.plan.folder / name).read_bytes() == (second.plan.folder / name).read_bytes()


def test_a_removed_run_leaves_its_files_and_its_number_and_the_screen_to_the_one_before(session, layers):
    ready(session, layers, members=1)
    first = run(session)
    second = run(session)
    session.runs.remove(second)
    assert (second.plan.folder / "mask.nii.gz").exists()
    assert session.runs.on_screen is first
    session.runs.remove(first)
    assert session.why_not_add() == "There is no run of this case to add members to: run first."
    assert run(session).number == 3
    assert [record.number for record in session.runs.records] == [3]


def test_the_line_says_how_good_the_run_was_until_the_reference_is_another(session, layers):
    ready(session, layers, members=1)
    first = run(session)
    second = run(session)
    heard = []
    session.runs.changed.connect(lambda: heard.append(True))
    session.runs.judged("diffseg 1", 0.8765)
    session.runs.judged("diffseg 1", 0.8765)
    assert first.line.endswith(", 1 member x 2 ddim, seed 0; Dice 0.88")
    assert "Dice" not in second.line
    assert len(heard) == 1
    session.runs.forget_judgements()
    session.runs.forget_judgements()
    assert "Dice" not in first.line
    assert len(heard) == 2


def test_a_run_that_is_going_on_is_not_removed(session, layers):
    finished = run(ready(session, layers, members=1))
    log = RunLog()
    entry = log.begun(finished.plan, finished.started)
    with pytest.raises(BadRequest, match="Run 1 is going on"):
        log.remove(entry)
    log.ended(entry, Ending.DONE)
    log.remove(entry)
    assert log.records == ()


@pytest.mark.parametrize(
    "values",
    [
        {"members": 3},
        {"members": 7, "seed": 11, "slices": "1:4", "batch_size": 2, "device": "cpu", "precision": "fp32"},
        {"members": 2, "first_member": 3, "eta": 0.5, "reproducible": True, "timesteps": 4, "sampler": "ddpm"},
    ],
)
def test_the_command_line_is_understood_as_the_same_run(session, layers, case_folder, values):
    record = run(ready(session, layers, **values))
    arguments = understood(predict_words(record))
    said = {"sampler": record.started.sampler, "timesteps": record.started.timesteps, "focus": None}
    assert arguments["request"] == record.plan.request.model_copy(update=said)
    assert arguments["checkpoint"] == "demo"
    assert arguments["cases"] == (case_folder,)
    assert shlex.split(command_line(record)) == predict_words(record)


def test_what_the_user_said_of_the_checkpoint_is_in_the_command_line(session, layers):
    session.choose_checkpoint("net.pt", {"clip": "-1,1", "normalisation": "zscore"})
    session.poll()
    arguments = understood(predict_words(run(ready_images(session, layers), members=1)))
    assert arguments["overrides"].given()["normalisation"] == "zscore"


def ready_images(session, layers):
    for name, layer in layers.items():
        session.assign(name, layer)
    return session


def test_images_that_are_no_files_have_no_command_line(session, layers):
    record = run(ready(session, layers, members=1))
    case = record.plan.case
    volumes = {name: replace(volume, path=None) for name, volume in case.volumes.items()}
    record.plan = replace(record.plan, case=replace(case, volumes=volumes))
    with pytest.raises(BadRequest, match="do not come from files"):
        command_line(record)


def test_images_chosen_against_their_names_have_no_command_line(session, layers):
    ready(session, layers, members=1)
    session.assign("t1", layers["t2"])
    session.assign("t2", layers["t1"])
    with pytest.raises(BadRequest, match="would not find the images"):
        command_line(run(session))


def find(panel, name):
    return panel.findChild(QWidget, f"diffseg_{name}")


def wait(session, qtbot):
    qtbot.waitUntil(lambda: session.phase is Phase.IDLE, timeout=90_000)


@pytest.fixture
def listing(viewer, segmenter, case_folder, tmp_path, qtbot):
    """A panel with two runs in its list, the second a rerun of the first."""
    session = Session(launch=launch, load_engine=FakeLoader(segmenter), runs_folder=tmp_path / "runs")
    panel = DiffsegPanel(viewer, session=session)
    viewer.window.add_dock_widget(panel, name="Diffusion ensemble", area="right")
    panel.case.opened.emit([str(case_folder)])
    panel.checkpoint.choose("demo")
    wait(session, qtbot)
    assert not panel.runs_box.isVisible()
    panel.run_box.run.click()
    wait(session, qtbot)
    panel.runs_box.expand(animate=False)
    qtbot.waitUntil(lambda: find(panel, "rerun").height() > 0)
    qtbot.mouseClick(find(panel, "rerun"), Qt.MouseButton.LeftButton)
    wait(session, qtbot)
    qtbot.waitUntil(lambda: not panel.results.is_behind, timeout=90_000)
    assert find(panel, "runs").count() == 2
    yield panel
    session.close()


@pytest.mark.slow
def test_the_list_in_the_panel_copies_and_removes(listing, viewer, qtbot):
    qtbot.mouseClick(find(listing, "copy_command"), Qt.MouseButton.LeftButton)
    assert QApplication.clipboard().text() == command_line(listing.session.runs.records[0])
    find(listing, "runs").setCurrentRow(1)
    qtbot.mouseClick(find(listing, "remove_run"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not listing.results.is_behind, timeout=90_000)
    names = [layer.name for layer in viewer.layers]
    assert "diffseg 1 | mean" in names
    assert not [name for name in names if name.startswith("diffseg 2")]
    assert listing.results_box.title() == "Results of run 1 of case_1"


@pytest.mark.slow
def test_two_runs_are_compared_and_one_gives_its_settings(listing, viewer, qtbot):
    compare, runs = find(listing, "compare_runs"), find(listing, "runs")
    assert not compare.isEnabled()
    runs.selectAll()
    qtbot.mouseClick(compare, Qt.MouseButton.LeftButton)
    wait(listing.session, qtbot)
    assert find(listing, "status").text().startswith("Majorities of runs 1 and 2: Dice 1.000;")
    assert not viewer.layers["diffseg 1 | mean - that of 2"].data.any()
    members = listing.settings.controls["members"]
    members.set_value(9)
    runs.setCurrentRow(1)
    qtbot.mouseClick(find(listing, "use_settings"), Qt.MouseButton.LeftButton)
    assert members.value() == listing.session.runs.records[1].plan.request.members != 9


@pytest.mark.slow
def test_the_dice_to_the_reference_is_in_the_list_while_there_is_one(listing, viewer, qtbot):
    runs, reference = find(listing, "runs"), listing.exploring.box.reference
    reference.chosen.emit(viewer.layers["diffseg 2 | mask"])
    qtbot.waitUntil(lambda: runs.item(1).text().endswith("; Dice 1.00"), timeout=90_000)
    reference.chosen.emit(None)
    assert "Dice" not in runs.item(1).text()
