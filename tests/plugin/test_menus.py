"""Where people look for the plugin in napari: menus, the command palette, samples."""

import numpy as np
import pytest
from panel_clicks import find

from napari_diffseg.plugin.grid.frame import METADATA_KEY
from napari_diffseg.plugin.opening import PLUGIN, WIDGET
from napari_diffseg.plugin.panel.panel import DiffsegPanel
from plugin_fakes import MODALITIES, write_images


def test_layers_segment_opens_the_panel_and_the_same_one_again(registered, viewer, qtbot):
    from napari._app_model import get_app_model

    app = get_app_model()
    command = f"{PLUGIN}.show_panel"
    assert command in {
        item.command.id for item in app.menus.get_menu("napari/layers/segment") if hasattr(item, "command")
    }
    for _ in range(2):
        app.commands.execute_command(command).result()
    panels = viewer.window._qt_window.findChildren(DiffsegPanel)
    assert len(panels) == 1
    assert panels[0].isVisible()
    assert f"{WIDGET} ({PLUGIN})" in viewer.window.dock_widgets
    panels[0].session.close()


@pytest.mark.parametrize(("kind", "function"), [("lowgrade", "draw_lowgrade"), ("ms", "draw_sclerosis")])
def test_a_drawn_sample_is_a_case_with_its_reference(monkeypatch, kind, function):
    from napari_diffseg.plugin import samples

    monkeypatch.setattr(samples, "_SHAPE", (24, 24, 16))
    monkeypatch.setattr(samples, "_SPACING_MM", (8.0, 8.0, 8.0))
    layers = getattr(samples, function)()
    names = [attributes["name"] for _, attributes, _ in layers]
    assert names == [f"phantom_{kind} {what}" for what in ("t1", "t1ce", "t2", "flair", "seg")]
    assert [attributes.get("visible", True) for _, attributes, _ in layers] == [False, False, False, True, False]
    assert [sort for _, _, sort in layers] == [*["image"] * 4, "labels"]
    data, attributes, _ = layers[-1]
    assert set(np.unique(data)) == {0, 1}
    assert attributes["metadata"][METADATA_KEY].volume.shape == (24, 24, 16)


def test_the_sample_menu_has_the_shipped_case_and_those_that_are_drawn(registered):
    import npe2

    samples = dict(npe2.PluginManager.instance().iter_sample_data())[PLUGIN]
    assert [sample.key for sample in samples] == ["demo_case", "drawn_lowgrade", "drawn_sclerosis"]


def test_the_manifest_offers_reader_writers_sample_and_panel(registered, viewer, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_diffseg.imaging.demo_case.files", lambda _: tmp_path)
    write_images(tmp_path / "data" / "demo_case", case_id="demo")
    viewer.open_sample("napari-diffseg", "demo_case")
    assert [layer.name for layer in viewer.layers] == [f"demo {m}" for m in MODALITIES]
    _, panel = viewer.window.add_plugin_dock_widget("napari-diffseg", "Diffusion ensemble")
    assert find(panel, "layer_t2").currentText() == "demo t2"
    viewer.layers["demo t1"].save(str(tmp_path / "t1.nii.gz"), plugin="napari-diffseg")
    viewer.open(tmp_path / "t1.nii.gz", plugin="napari-diffseg")
    np.testing.assert_array_equal(viewer.layers[-1].data, viewer.layers["demo t1"].data)
    assert panel.session.inputs["t1"] is viewer.layers["demo t1"]
    panel.session.close()
