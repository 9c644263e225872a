"""Two windows, each with its panel: what one does never reaches the other."""

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from napari_diffseg.plugin.background.worker import launch
from napari_diffseg.plugin.panel.panel import DiffsegPanel
from napari_diffseg.plugin.session.session import Session
from napari_diffseg.plugin.session.task import Phase
from plugin_fakes import FakeLoader, FakeSegmenter, write_images

_PATIENCE = 90_000


@pytest.fixture
def panels(screen, make_napari_viewer, recipe, tmp_path, qtbot):
    from superqt.utils import WorkerBase

    made = []
    for n in (1, 2):
        viewer = make_napari_viewer(show=True)
        segmenter = FakeSegmenter(recipe, pause=0.01)
        session = Session(launch=launch, load_engine=FakeLoader(segmenter), runs_folder=tmp_path / f"runs {n}")
        panel = DiffsegPanel(viewer, session=session)
        viewer.window.add_dock_widget(panel, name="Diffusion ensemble", area="right")
        panel.case.opened.emit([str(write_images(tmp_path / f"case_{n}", case_id=f"case_{n}"))])
        panel.checkpoint.choose("demo")
        qtbot.waitUntil(panel.run_box.run.isEnabled, timeout=_PATIENCE)
        panel.settings.controls["members"].set_value(n + 1)
        made.append(panel)
    yield made
    for panel in made:
        panel.session.close()
    WorkerBase.await_workers(5000)


@pytest.mark.slow
def test_two_windows_run_at_once_and_each_has_its_own_results(panels, qtbot):
    for panel in panels:
        qtbot.mouseClick(panel.findChild(QWidget, "diffseg_run"), Qt.MouseButton.LeftButton)
    assert all(panel.session.phase is Phase.RUNNING for panel in panels)
    for panel in panels:
        qtbot.waitUntil(lambda p=panel: p.session.phase is Phase.IDLE and not p.results.is_behind, timeout=_PATIENCE)
    for n, panel in enumerate(panels, start=1):
        names = [layer.name for layer in panel.viewer.layers]
        assert [name for name in names if "member" in name] == [f"diffseg 1 | member {k + 1}" for k in range(n + 1)]
        assert all(name.startswith((f"case_{n} ", "diffseg")) for name in names)
        assert panel.session.runs.on_screen.plan.case.id == f"case_{n}"


@pytest.mark.slow
def test_closing_one_window_leaves_the_run_of_the_other_alone(panels, qtbot):
    for panel in panels:
        qtbot.mouseClick(panel.findChild(QWidget, "diffseg_run"), Qt.MouseButton.LeftButton)
    panels[0].viewer.close()
    qtbot.waitUntil(lambda: panels[1].session.phase is Phase.IDLE, timeout=_PATIENCE)
    assert len(panels[1].results.members) == 3
