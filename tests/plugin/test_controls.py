"""The panel's controls: one for each setting, which gives back what it is given, is explained, and can be read."""

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QComboBox, QPushButton, QScrollArea, QWidget

from napari_diffseg.events import SegmentRequest
from napari_diffseg.plugin.widgets.controls import make_control
from napari_diffseg.plugin.widgets.settings_box import ADVANCED, FIRST, FROM_SCREEN


@pytest.mark.slow
def test_the_checkpoint_bounds_the_timesteps_and_gives_their_default(ready):
    control = ready.settings.controls["timesteps"]
    assert (control.box.minimum(), control.box.maximum(), control.value()) == (1, 8, 4)
    assert ready.session.values["timesteps"] == 4


def test_every_setting_has_one_control_with_its_declared_default():
    assert {*FIRST, *ADVANCED, *FROM_SCREEN} == set(SegmentRequest.model_fields)


def test_every_control_starts_at_its_declared_default(panel):
    for name, control in panel.settings.controls.items():
        field = SegmentRequest.model_fields[name]
        if name != "timesteps":
            assert control.value() == field.default, name
        assert control.toolTip() == field.description


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 2**53 - 1),
        ("eta", 0.5),
        ("sampler", "ddim"),
        ("device", "cuda:1"),
        ("slices", "1:4"),
        ("batch_size", 7),
    ],
)
def test_a_control_gives_back_what_it_is_given(qtbot, name, value):
    control = make_control(name, SegmentRequest.model_fields[name])
    qtbot.addWidget(control)
    with qtbot.waitSignal(control.changed) as told:
        control.set_value(value)
    assert told.args == [value]
    assert control.value() == value
    SegmentRequest(**{name: value})


def test_the_members_slider_reaches_both_ends(qtbot):
    control = make_control("members", SegmentRequest.model_fields["members"], slider=True)
    qtbot.addWidget(control)
    for position, value in [(0, 1), (1000, 1000), (500, 32)]:
        control.slider.sliderMoved.emit(position)
        assert control.value() == value


def test_the_wheel_over_a_control_without_focus_changes_nothing(ready, qtbot):
    box = ready.settings.controls["seed"].box
    wheel = QWheelEvent(
        QPointF(5, 5), QPointF(box.mapToGlobal(QPoint(5, 5))), QPoint(0, 0), QPoint(0, 120),
        Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    ready.setFocus()
    QApplication.sendEvent(box, wheel)
    assert ready.settings.controls["seed"].value() == 0


def test_nothing_is_cut_off_at_the_least_width(ready, qtbot):
    ready.settings.advanced.expand(animate=False)
    ready.resize(320, 1200)
    QApplication.processEvents()
    for button in ready.findChildren(QPushButton):
        if button.isVisible() and button.text():
            assert button.width() >= button.fontMetrics().horizontalAdvance(button.text()), button.text()
    for combo in ready.findChildren(QComboBox):
        assert combo.fontMetrics().horizontalAdvance(combo.currentText()) < combo.width(), combo.objectName()
    content = ready.findChild(QScrollArea)
    assert content.widget().minimumSizeHint().width() <= content.viewport().width()


def test_every_control_has_a_tooltip(ready):
    named = [w for w in ready.findChildren(QWidget) if w.objectName().startswith("diffseg_") and not w.isWindow()]
    assert not [w.objectName() for w in named if not w.toolTip()]
