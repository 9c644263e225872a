"""Layers of earlier runs are put away, and come back as they were left."""

import numpy as np
import pytest
from panel_clicks import click, find, wait_idle

from napari_diffseg.plugin.grid.frame import RESULT_KEY


def layers_of(viewer, number):
    return [
        layer.name
        for layer in viewer.layers
        if layer.metadata.get(RESULT_KEY) == f"diffseg {number}" and layer.name != "diffseg | live"
    ]


@pytest.mark.slow
def test_only_the_run_on_the_screen_has_layers_and_a_double_click_brings_another_back(ready, viewer, qtbot):
    click(ready, "run", qtbot)
    wait_idle(ready, qtbot)
    before = layers_of(viewer, 1)
    count = len(viewer.layers)
    viewer.layers["diffseg 1 | uncertainty"].visible = False
    viewer.layers["diffseg 1 | mean"].name = "mine"
    viewer.layers.remove("diffseg 1 | member 2")
    for _ in range(3):
        click(ready, "run", qtbot)
        wait_idle(ready, qtbot)
    assert len(viewer.layers) == count
    assert [layers_of(viewer, n) for n in (1, 2, 3)] == [[], [], []]
    runs = find(ready, "runs")
    runs.setCurrentRow(0)
    runs.itemDoubleClicked.emit(runs.item(0))
    wait_idle(ready, qtbot)
    names = {name.replace("mine", "diffseg 1 | mean") for name in layers_of(viewer, 1)}
    assert names == set(before) - {"diffseg 1 | member 2"}
    assert not viewer.layers["diffseg 1 | uncertainty"].visible
    assert viewer.layers["diffseg 1 | mask"].visible
    assert layers_of(viewer, 4) == []
    assert np.asarray(viewer.layers["diffseg 1 | mask"].data).any()


@pytest.mark.slow
def test_an_edited_mask_is_never_taken_out_of_the_viewer(ready, viewer, qtbot):
    click(ready, "run", qtbot)
    wait_idle(ready, qtbot)
    edited = viewer.layers["diffseg 1 | mask"]
    edited.data_setitem((np.array([0]), np.array([0]), np.array([0])), 1)
    wait_idle(ready, qtbot)
    assert edited.name == "diffseg 1 | mask edited"
    click(ready, "run", qtbot)
    wait_idle(ready, qtbot)
    assert layers_of(viewer, 1) == ["diffseg 1 | mask edited"]
    assert not edited.visible
    ready.runs_box.show_asked.emit(ready.session.runs.records[0])
    wait_idle(ready, qtbot)
    assert edited.visible
    assert edited.data[0, 0, 0] == 1
    assert "diffseg 1 | mask" in layers_of(viewer, 1)
