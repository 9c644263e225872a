"""A faster version of the network that is prepared beside runs: what the panel says of it, and how it is stopped."""

import pytest

from napari_diffseg.plugin.panel.compiling import CompilingLine
from napari_diffseg.plugin.panel.remembered import Remembered
from napari_diffseg.plugin.session.engine import Engine
from napari_diffseg.plugin.session.run_store import RunStore
from napari_diffseg.plugin.session.session import Session
from napari_diffseg.plugin.session.task import Phase
from napari_diffseg.plugin.widgets.dialogs.settings_dialog import SettingsDialog
from napari_diffseg.plugin.widgets.run_box import RunBox
from napari_diffseg.segmenting.device.compiling import CompilePhase, Compiling
from plugin_fakes import run_here


class Compiler:
    """Tells what a test wants it to tell."""

    def __init__(self) -> None:
        self.state, self.is_wanted, self.cancelled = Compiling(), True, 0

    def cancel(self) -> None:
        self.cancelled += 1
        self.state = Compiling(CompilePhase.CANCELLED)


@pytest.fixture
def compiler():
    return Compiler()


@pytest.fixture
def session(tmp_path, compiler):
    made = Session(launch=run_here, runs_folder=tmp_path / "runs")
    made.load_engine._engine = Engine(None, None, (), lambda: None, compiler=compiler)
    yield made
    made.close()


@pytest.fixture
def box(qtbot):
    made = RunBox()
    qtbot.addWidget(made)
    made.show()
    return made


def test_the_line_follows_what_is_compiled_and_cancel_ends_it(session, compiler, box):
    line = CompilingLine(session, Remembered(None), box)
    line.look()
    assert not box.compiling.isVisible()
    assert not line._timer.isActive(), "nothing goes on that could begin it"
    session.phase_changed.emit(Phase.RUNNING)
    assert line._timer.isActive()
    compiler.state = Compiling(CompilePhase.UNDER_WAY, 38.4)
    line.look()
    assert box.compiling.isVisible()
    assert box.compiling.text() == "Preparing a faster version of this network (38 s). Later runs use it."
    assert line._timer.isActive(), "it is followed after the run, too"
    box.cancel_compiling.click()
    assert compiler.cancelled == 1
    assert not box.compiling.isVisible()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (Compiling(CompilePhase.READY, 40.0), "A faster version of this network is ready: the next run uses it."),
        (
            Compiling(CompilePhase.FAILED, 3.0, "The network was not compiled: no C++ compiler was found"),
            "The network was not compiled: no C++ compiler was found. Runs go on as before.",
        ),
    ],
)
def test_how_it_ended_is_said_until_it_is_hidden_or_the_next_run_begins(session, compiler, box, state, words):
    line = CompilingLine(session, Remembered(None), box)
    compiler.state = state
    line.look()
    assert (box.compiling.text().replace("\u200b", ""), box.cancel_compiling.text()) == (words, "Hide")
    session.phase_changed.emit(Phase.RUNNING)
    line.look()
    assert not box.compiling.isVisible()
    compiler.state = Compiling(state.phase, 1.0, state.note)
    line.look()
    box.cancel_compiling.click()
    line.look()
    assert not box.compiling.isVisible()


def test_the_setting_is_remembered_and_ends_what_is_under_way(session, compiler, box, qtbot, tmp_path):
    remembered = Remembered(tmp_path / "panel.ini")
    assert remembered.compile_meanwhile
    CompilingLine(session, remembered, box)
    assert compiler.is_wanted
    dialog = SettingsDialog(RunStore(tmp_path / "runs"), box, compile_meanwhile=True)
    dialog.compile_toggled.connect(session.set_compile_meanwhile)
    dialog.compile_toggled.connect(remembered.remember_compile_meanwhile)
    dialog.compile.click()
    assert (compiler.is_wanted, compiler.cancelled) == (False, 1)
    assert not Remembered(tmp_path / "panel.ini").compile_meanwhile
    compiler.is_wanted = True
    CompilingLine(session, Remembered(tmp_path / "panel.ini"), box)
    assert not compiler.is_wanted, "and the next session knows"


def test_the_end_of_the_session_ends_what_is_compiled(session, compiler):
    session.close()
    assert compiler.cancelled == 1
