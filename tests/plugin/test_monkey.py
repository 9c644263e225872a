"""A thousand random actions: no exception, no hang, no thread or timer left behind.

`MONKEY_SEED` and `MONKEY_ACTIONS` say which, and how many; a failure prints its seed and what was done.
"""

import logging
import os
import sys
import threading
import time
import traceback

import pytest
from monkey import Monkey
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QDialog, QFileDialog, QMessageBox

from napari_diffseg.errors import DiffsegError
from napari_diffseg.plugin.panel.panel import DiffsegPanel

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:napari.*")  # it warns of what it does not draw in 3-D
SEED = int(os.environ.get("MONKEY_SEED", "1"))
_OTHERS = ("Dummy", "tqdm", "asyncio")  # threads of Qt's and napari's
ACTIONS = int(os.environ.get("MONKEY_ACTIONS", "150"))


@pytest.fixture
def faults(monkeypatch, caplog):
    """What napari was told of that is no refusal of ours, and what was logged as unexpected."""
    from napari.utils.notifications import notification_manager

    found = []

    def hear(notification):
        error = getattr(notification, "exception", None)
        if error is not None and not isinstance(error, DiffsegError):
            found.append(repr(error))

    hook = sys.excepthook

    def catch(kind, error, trace):
        found.append("".join(traceback.format_exception(kind, error, trace)))
        hook(kind, error, trace)

    monkeypatch.setattr(sys, "excepthook", catch)
    notification_manager.notification_ready.connect(hear)
    caplog.set_level(logging.ERROR, "napari_diffseg")
    yield lambda: found + [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    notification_manager.notification_ready.disconnect(hear)


@pytest.fixture
def monkey(screen, make_napari_viewer, recipe, tmp_path, monkeypatch):
    made = Monkey(SEED, lambda: make_napari_viewer(show=True), recipe=recipe, folder=tmp_path)
    rng, case = made._rng, str(made.cases[1])

    def answer(dialog):
        """Nobody is there to answer a modal window: every second one is accepted."""
        if hasattr(dialog, "folder"):
            dialog.folder.setText(str(tmp_path / "exports"))
        choices = (QDialog.DialogCode.Accepted, QDialog.DialogCode.Rejected)
        return rng.choice(choices)

    monkeypatch.setattr(QDialog, "exec", answer)
    monkeypatch.setattr(QMessageBox, "exec", lambda _: rng.choice((QMessageBox.StandardButton.Yes, 0)))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, **__: rng.choice(("", case)))
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_, **__: (rng.choice(([], [case])), ""))
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_, **__: (rng.choice(("", str(tmp_path / "t.csv"))), "")
    )
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (rng.choice(("", "demo", "bad")), ""))
    monkeypatch.setattr(
        "napari_diffseg.plugin.widgets.reopen_button.QDesktopServices.openUrl", lambda *_: True, raising=False
    )
    return made


def _threads():
    return {thread for thread in threading.enumerate() if thread.is_alive()}


def _let(monkey, faults, actions):
    from superqt.utils import WorkerBase

    before = _threads()
    try:
        for _ in range(actions):
            monkey.act()
            assert not faults()
        monkey.finish()
        WorkerBase.await_workers(20_000)
        monkey.settle(0.2)
        assert not faults()
        assert not WorkerBase._worker_set
        end = time.monotonic() + 20
        while (left := _threads() - before) and time.monotonic() < end:
            monkey.settle(0.1)
        assert not [thread.name for thread in left if not thread.name.startswith(_OTHERS)]
        panels = [widget for widget in QApplication.allWidgets() if isinstance(widget, DiffsegPanel)]
        assert not [timer for panel in panels for timer in panel.findChildren(QTimer) if timer.isActive()]
    except BaseException:
        did = "\n  ".join(monkey.log[-60:])
        sys.stdout.write(f"MONKEY_SEED={SEED}, after {len(monkey.log)} actions; the last ones:\n  {did}\n")
        raise


@pytest.mark.slow
def test_thirty_random_actions_do_no_harm(monkey, faults):
    _let(monkey, faults, 30)


@pytest.mark.slow
def test_many_random_actions_do_no_harm(monkey, faults):
    _let(monkey, faults, ACTIONS)
