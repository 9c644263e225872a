"""The shipped case and checkpoint in napari: for a person, or on a virtual screen that leaves pictures."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffseg.errors import DiffsegError, RunFailed
from napari_diffseg.imaging.demo_case import demo_case_folder
from napari_diffseg.plugin.panel.remembered import Remembered, settings_path
from napari_diffseg.plugin.session.session import Session
from napari_diffseg.plugin.session.task import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari

    from napari_diffseg.plugin.panel.panel import DiffsegPanel

_WINDOW = (1400, 900)
_LOAD_SECONDS = 300.0
_RUN_SECONDS = 3600.0
_SETTLE_SECONDS = 0.4


def open_demo(out_dir: Path | None) -> None:
    """Open napari with the shipped case and checkpoint and the panel docked; returns when it is closed.

    Parameters
    ----------
    out_dir : Path or None
        Where the results of runs are kept; the user's data folder by default.

    Raises
    ------
    BadCase
        If the installation lacks the shipped case.
    """
    import napari

    folder = demo_case_folder()
    _open(folder, _session(out_dir), Remembered(settings_path()))
    napari.run()


def screenshot_demo(out_dir: Path, *, session: Session | None = None, case: Path | None = None) -> list[Path]:
    """Run the shipped case through the panel's own buttons, export, and take pictures; needs an X display or Xvfb.

    Results of an earlier demo in the folder are replaced.

    Parameters
    ----------
    out_dir : Path
        Gets the pictures and a folder with the results.
    session, case : optional
        Replace the engine and the case, for a test.

    Returns
    -------
    list of Path
        The pictures `running.png`, `window.png`, `canvas.png`, then the folder with the results.

    Raises
    ------
    DiffsegError
        If anything fails, with the sentence that the panel shows.
    """
    from napari.utils.notifications import notification_manager

    from napari_diffseg.plugin.background.worker import end_all

    case = case or demo_case_folder()
    out_dir.mkdir(parents=True, exist_ok=True)
    session = session or _session(None)
    failures: list[str] = []
    session.failed.connect(lambda sentence, _: failures.append(sentence))
    with notification_manager:  # without it, PyQt6 ends the process at an error in a slot
        viewer, panel = _open(case, session, Remembered(None))
        try:
            return _drive(viewer, panel, out_dir, failures)
        finally:
            session.close()
            viewer.close()
            end_all()  # napari does it when its event loop ends, and none was started here


def _session(runs_folder: Path | None) -> Session:
    from napari_diffseg.plugin.background.worker import launch

    return Session(launch=launch, runs_folder=runs_folder)


def _open(case: Path, session: Session, remembered: Remembered) -> tuple[napari.Viewer, DiffsegPanel]:
    import napari

    from napari_diffseg.plugin.panel.panel import DiffsegPanel

    viewer = napari.Viewer(title="napari-diffseg")
    viewer.window.resize(*_WINDOW)
    panel = DiffsegPanel(viewer, session=session, remembered=remembered)
    viewer.window.add_dock_widget(panel, name="Diffusion ensemble", area="right")
    panel.case.opened.emit([str(case)])
    panel.checkpoint.choose("demo")
    return viewer, panel


def _drive(viewer: Any, panel: DiffsegPanel, out_dir: Path, failures: list[str]) -> list[Path]:
    session = panel.session
    pictures = [out_dir / name for name in ("running.png", "window.png", "canvas.png")]

    def is_idle() -> bool:
        return session.phase is Phase.IDLE

    def is_shown() -> bool:
        return is_idle() and not panel.results.is_behind

    _wait(is_idle, _LOAD_SECONDS, "loading", failures)
    viewer.reset_view()
    panel.run_box.run.click()
    if is_idle():
        raise RunFailed(session.why_not_run() or panel.run_box.status.text())
    halfway = panel.run_box.bar.maximum() // 2
    _wait(lambda: is_idle() or panel.run_box.bar.value() >= halfway, _RUN_SECONDS, "sampling", failures)
    viewer.window.screenshot(str(pictures[0]), flash=False)
    _wait(is_shown, _RUN_SECONDS, "sampling", failures)
    _go_to_largest(viewer)
    _settle()
    viewer.window.screenshot(str(pictures[1]), flash=False)
    viewer.screenshot(str(pictures[2]), canvas_only=True, flash=False)
    from napari_diffseg.runs.export import ExportChoice

    results = out_dir / "results"
    session.export(results, ExportChoice(pattern="{what}", overwrite=True))
    _wait(is_idle, _LOAD_SECONDS, "exporting", failures)
    return [*pictures, results]


def _wait(condition: Callable[[], bool], seconds: float, what: str, failures: list[str]) -> None:
    """Let Qt work until the condition holds."""
    from qtpy.QtWidgets import QApplication

    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RunFailed(f"The demo was still {what} after {seconds:.0f} s: this machine is too slow for it.")
        QApplication.processEvents()
        time.sleep(0.01)
    if failures:
        raise RunFailed(failures[0])


def _settle() -> None:
    """Let everything be painted."""
    from qtpy.QtWidgets import QApplication

    deadline = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < deadline:
        QApplication.processEvents()
        time.sleep(0.02)


def _go_to_largest(viewer: Any) -> None:
    """Show the axial slice with most lesion."""
    mean = next(layer for layer in reversed(viewer.layers) if " | mean" in layer.name)
    index = int(np.argmax(np.asarray(mean.data).sum(axis=(1, 2))))
    viewer.dims.set_point(viewer.dims.ndim - 3, float(mean.data_to_world((index, 0, 0))[0]))


def main(arguments: list[str]) -> int:
    """`python -m napari_diffseg.plugin.demo FOLDER`, as the command line starts it on a virtual screen."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m napari_diffseg.plugin.demo FOLDER\n")
        return 2
    try:
        made = screenshot_demo(Path(arguments[0]))
    except DiffsegError as err:
        sys.stderr.write(f"{err}\n")
        return 1
    sys.stdout.writelines(f"{path}\n" for path in made)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
