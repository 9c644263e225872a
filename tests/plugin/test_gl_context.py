"""Removing a run from a viewer that is on the screen, in a process of its own, because it once ended the process."""

import subprocess
import sys
from pathlib import Path

import pytest

from napari_diffseg.cli.demo import has_display

_REMOVE_AND_RUN_AGAIN = """
import sys, time
from pathlib import Path
import napari
from qtpy.QtWidgets import QApplication
from napari_diffseg.plugin.panel.panel import DiffsegPanel
from napari_diffseg.plugin.panel.remembered import Remembered
from napari_diffseg.plugin.session.session import Session
from napari_diffseg.plugin.session.task import Phase
from napari_diffseg.plugin.background.worker import end_all, launch
from napari_diffseg.recipe import Recipe
from plugin_fakes import FakeLoader, FakeSegmenter, write_images

def until(condition, least=0.0):
    began = time.monotonic()
    while not condition() or time.monotonic() - began < least:
        QApplication.processEvents()
        time.sleep(0.01)

folder = Path(sys.argv[1])
recipe = Recipe(modalities=("t1", "t1ce", "t2", "flair"), timesteps=4, train_timesteps=8)
viewer = napari.Viewer()
session = Session(launch=launch, load_engine=FakeLoader(FakeSegmenter(recipe)), runs_folder=folder / "runs")
panel = DiffsegPanel(viewer, session=session, remembered=Remembered(None))
viewer.window.add_dock_widget(panel, area="right")
panel.case.opened.emit([str(write_images(folder / "case_1"))])
panel.checkpoint.choose("demo")
idle = lambda: session.phase is Phase.IDLE
until(idle, least=0.3)
for _ in range(3):
    panel.run_box.run.click()
    until(idle, least=0.3)
    for record in session.runs.records:
        panel.runs_box.remove_asked.emit(record)
until(idle, least=0.3)
session.close()
viewer.close()
end_all()
print("survived")
"""


@pytest.mark.slow
@pytest.mark.skipif(not has_display(), reason="draws: needs a display or xvfb-run")
def test_a_removed_run_leaves_a_canvas_that_can_be_drawn(tmp_path):
    paths = f"{Path(__file__).parent!s}"
    code = f"import sys; sys.path.insert(0, {paths!r})\n{_REMOVE_AND_RUN_AGAIN}"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.endswith("survived\n")
