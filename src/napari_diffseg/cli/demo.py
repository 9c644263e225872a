"""`napari-diffseg demo`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from napari_diffseg.errors import BadRequest, RunFailed

_SCREEN = "-screen 0 1600x1000x24"


def demo(*, out: Path = Path("demo"), no_window: bool = False) -> int:
    """Segment the shipped case with the shipped checkpoint in napari.

    Without a display, or with --no-window, the same is done on a virtual screen, and pictures of it are left beside
    the masks.

    Parameters
    ----------
    out
        Folder for masks and pictures.
    no_window
        Use a virtual screen even if there is a real one.
    """
    if find_spec("napari") is None:
        raise BadRequest("The demo needs napari: pip install 'napari-diffseg[gui]'.")
    if not no_window and has_display():
        from napari_diffseg.plugin.demo import open_demo

        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a window at rest runs no Python that could heed another
        open_demo(out)
        return 0
    code = subprocess.run(_headless_command(out), check=False, env=_headless_environment()).returncode
    if code:
        raise RunFailed(f"The demo on a virtual screen ended with code {code}: its messages are above.")
    return 0


def has_display() -> bool:
    """Whether a window can be opened: always on macOS and Windows, elsewhere where an X or Wayland server is named."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _headless_command(out: Path) -> list[str]:
    run = [sys.executable, "-m", "napari_diffseg.plugin.demo", str(out)]
    if sys.platform in ("darwin", "win32"):
        return run
    xvfb = shutil.which("xvfb-run")
    if xvfb is None:
        raise BadRequest("No display and no xvfb-run: apt-get install xvfb, or run on a machine with a screen.")
    return [xvfb, "-a", "-s", _SCREEN, *run]


def _headless_environment() -> dict[str, str]:
    """The process's own, without a Qt platform that cannot draw OpenGL."""
    return {key: value for key, value in os.environ.items() if key not in ("QT_QPA_PLATFORM", "WAYLAND_DISPLAY")}
