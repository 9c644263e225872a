"""What is seen before anything is loaded is what can be used then; the rest comes when it can."""

from panel_clicks import click, find, wait_idle
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QScrollBar,
    QWidget,
)

MOST = 12
_KINDS = (QAbstractButton, QAbstractItemView, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit)


def controls(panel):
    """What of the panel can be clicked or typed in and is in sight; the parts of a control are not counted again."""
    return [
        widget
        for widget in panel.findChildren(QWidget)
        if isinstance(widget, _KINDS)
        and not isinstance(widget, QScrollBar)
        and not isinstance(widget.parentWidget(), QAbstractSpinBox | QComboBox | QAbstractItemView)
        and widget.isVisibleTo(panel)
    ]


def test_at_most_twelve_controls_are_in_sight_before_anything_is_loaded(panel):
    names = {widget.objectName() for widget in controls(panel)}
    assert len(controls(panel)) <= MOST
    assert names >= {"diffseg_open_folder", "diffseg_open_sample", "diffseg_checkpoint"}
    for later in ("run", "progress", "results", "layer_t1", "members"):
        assert not find(panel, later).isVisibleTo(panel), later


def test_what_can_be_used_comes_step_by_step(ready, viewer, qtbot):
    for name in ("run", "live", "members", "layer_t1"):
        assert find(ready, name).isVisibleTo(ready), name
    for name in ("results", "progress", "cancel"):
        assert not find(ready, name).isVisibleTo(ready), name
    click(ready, "run", qtbot)
    wait_idle(ready, qtbot)
    for name in ("results", "export", "more", "runs_fold", "volume_fold"):
        assert find(ready, name).isVisibleTo(ready), name
    viewer.layers.clear()
    qtbot.waitUntil(lambda: not find(ready, "run").isVisibleTo(ready), timeout=30_000)
    assert not find(ready, "export").isVisibleTo(ready)
    assert find(ready, "runs_fold").isVisibleTo(ready)
