"""A case of a few voxels, a session with a fake engine, and a viewer and a panel where there is a display."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest

from napari_diffseg.plugin.session.session import Session
from napari_diffseg.recipe import Recipe
from plugin_fakes import FakeLoader, FakeSegmenter, drop, run_here, write_images, write_reference


@pytest.fixture(autouse=True, scope="module")
def little_to_collect():
    """napari collects garbage whenever a layer is removed, through all that was ever imported: set that aside."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def remembered_path(tmp_path, monkeypatch):
    """The panel's settings file: each test has its own, so none remembers what another chose."""
    path = tmp_path / "settings" / "panel.ini"
    for module in ("panel.remembered", "panel.panel", "demo"):
        monkeypatch.setattr(f"napari_diffseg.plugin.{module}.settings_path", lambda: path)
    return path


@pytest.fixture
def recipe():
    return Recipe(modalities=("t1", "t1ce", "t2", "flair"), timesteps=4, train_timesteps=8)


@pytest.fixture
def segmenter(recipe):
    return FakeSegmenter(recipe)


@pytest.fixture
def case_folder(tmp_path):
    return write_images(tmp_path / "case_1")


@pytest.fixture
def session(segmenter, tmp_path):
    made = Session(launch=run_here, load_engine=FakeLoader(segmenter), runs_folder=tmp_path / "runs")
    yield made
    made.close()


@pytest.fixture
def layers(case_folder):
    """The case's image layers by modality, without a viewer."""
    from napari.layers import Layer

    from napari_diffseg.plugin.files.reader import read_layers

    made = [Layer.create(*data) for data in read_layers(str(case_folder))]
    return {layer.name.split()[-1]: layer for layer in made}


@pytest.fixture
def screen():
    """Skips the test where no window with OpenGL can be opened."""
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        pytest.skip("needs a display: run under xvfb-run")


@pytest.fixture
def viewer(screen, make_napari_viewer):
    from superqt.utils import WorkerBase

    made = make_napari_viewer(show=True)
    yield made
    WorkerBase.await_workers(5000)


@pytest.fixture
def registered():
    """The manifest known to napari, whether or not the package is installed."""
    import npe2

    import napari_diffseg.plugin as plugin

    manager = npe2.PluginManager.instance()
    if "napari-diffseg" not in manager:
        manager.register(npe2.PluginManifest.from_file(Path(plugin.__file__).parent / "napari.yaml"))


@pytest.fixture
def panel(viewer, segmenter, tmp_path):
    """The panel in a real viewer, with nothing open or chosen; its jobs are in threads, as a user's are."""
    from napari_diffseg.plugin.background.worker import launch
    from napari_diffseg.plugin.panel.panel import DiffsegPanel

    session = Session(launch=launch, load_engine=FakeLoader(segmenter), runs_folder=tmp_path / "runs")
    made = DiffsegPanel(viewer, session=session)
    viewer.window.add_dock_widget(made, name="Diffusion ensemble", area="right")
    yield made
    session.close()


@pytest.fixture
def ready(panel, case_folder, qtbot):
    """The panel with a case open and the checkpoint chosen."""
    from panel_clicks import click, find, wait_idle

    panel.case.opened.emit([str(case_folder)])
    click(panel, "checkpoint_demo", qtbot)
    wait_idle(panel, qtbot)
    panel.settings.controls["members"].set_value(3)
    assert find(panel, "run").isEnabled(), find(panel, "reason").text()
    return panel


@pytest.fixture
def many(tmp_path):
    """A folder of three cases, of which the second has a reference."""
    for name in ("alice", "bob", "carol"):
        write_images(tmp_path / "all" / name, case_id=name)
    write_reference(tmp_path / "all" / "bob" / "bob_seg.nii.gz")
    return tmp_path / "all"


@pytest.fixture
def gone_into(panel, many, qtbot):
    """The panel with the folder of cases dropped on it and the checkpoint chosen."""
    from panel_clicks import click, settle, wait_idle

    click(panel, "checkpoint_demo", qtbot)
    wait_idle(panel, qtbot)
    assert drop(panel.case, many)
    settle(panel, qtbot)
    panel.settings.controls["members"].set_value(2)
    return panel
