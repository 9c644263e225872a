"""Programs that stand in for the compiler's process, and what is looked at of it."""

from __future__ import annotations

import contextlib
import time

import psutil

HEAD = """
import json, os, pathlib, subprocess, sys, threading, time
from napari_diffseg.segmenting.device.compile_worker import _end_with_parent
threading.Thread(target=_end_with_parent, daemon=True).start()
folder = pathlib.Path(json.loads(sys.argv[1])["folder"])
"""
MAKES = "(folder / 'network.pt2').write_text('made')"
SLEEPS = """
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
(folder / "pids").write_text(f"{os.getpid()} {child.pid} ")
time.sleep(600)
"""


def left_in(cache):
    """Files in a folder, from which others may be removed meanwhile."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            return [path for path in cache.rglob("*") if path.is_file()]


def wait_until(happened, *, seconds=60.0):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


def pids_in(cache):
    """The worker of `SLEEPS` and what it started, once both go on."""
    found = []

    def look():
        texts = [path.read_text() for path in cache.rglob("pids")]
        found[:] = [int(word) for text in texts if text.endswith(" ") for word in text.split()]
        return found

    wait_until(look)
    return found


def wait_for_the_end_of(pids):
    wait_until(lambda: not any(goes_on(pid) for pid in pids), seconds=30)


def goes_on(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
