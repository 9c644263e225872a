"""One control for one setting, made from the setting's own declaration: bounds, default, title and description."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLineEdit,
    QSlider,
    QSpinBox,
    QWidget,
)
from superqt import QLargeIntSpinBox

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_SLIDER_STEPS = 1000
BOX_WIDTH = 92
_LARGEST_SPIN = 2**31 - 1
_DEVICES = ("auto", "cpu", "cuda", "mps")
_LONG_WORD = re.compile("([^\\s\u200b]{16})(?=[^\\s\u200b])")


class Control(QWidget):
    """A setting's control: `value` as the setting takes it, `changed` whenever the user or `set_value` changes it."""

    changed = Signal(object)

    def value(self) -> Any:
        """The value, None where the setting is left open."""
        raise NotImplementedError

    def set_value(self, value: Any) -> None:
        """Show a value."""
        raise NotImplementedError

    def _hold(self, *widgets: QWidget) -> None:
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for n, widget in enumerate(widgets):
            layout.addWidget(widget, 1 if n == 0 else 0)
            guard_from_wheel(widget)
        self.setFocusProxy(widgets[-1])

    def _tell(self, *_: object) -> None:
        self.changed.emit(self.value())


class SliderControl(Control):
    """A whole number: a slider for its order of magnitude, a box for its exact value."""

    def __init__(self, low: int, high: int, value: int) -> None:
        super().__init__()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, _SLIDER_STEPS)
        self.box = QSpinBox()
        self.box.setFixedWidth(BOX_WIDTH)
        self._hold(self.slider, self.box)
        self.set_range(low, high)
        self.set_value(value)
        self.box.valueChanged.connect(self._take_box)
        self.slider.sliderMoved.connect(self._take_slider)
        self.slider.actionTriggered.connect(lambda _: self._take_slider(self.slider.sliderPosition()))

    def set_range(self, low: int, high: int) -> None:
        """Smallest and largest value."""
        self.box.setRange(low, high)
        self._place_slider()

    def value(self) -> int:
        """The number."""
        return int(self.box.value())

    def set_value(self, value: int) -> None:
        """Show a number."""
        self.box.setValue(value)
        self._place_slider()

    def _take_box(self, _: int) -> None:
        self._place_slider()
        self._tell()

    def _take_slider(self, position: int) -> None:
        low, high = self.box.minimum(), self.box.maximum()
        self.box.setValue(round(low * (high / low) ** (position / _SLIDER_STEPS)))

    def _place_slider(self) -> None:
        if self.slider.isSliderDown():
            return
        low, high = self.box.minimum(), self.box.maximum()
        share = math.log(self.box.value() / low) / math.log(high / low) if high > low else 0.0
        self.slider.blockSignals(True)
        self.slider.setValue(round(share * _SLIDER_STEPS))
        self.slider.blockSignals(False)


class IntControl(Control):
    """A whole number in a box; an optional one shows `auto` below its smallest value."""

    def __init__(self, low: int, high: int, value: int | None, *, optional: bool) -> None:
        super().__init__()
        self._open = low - 1 if optional else None
        self.box: Any = QSpinBox() if high <= _LARGEST_SPIN else QLargeIntSpinBox()
        self.box.setRange(low - 1 if optional else low, high)
        if optional:
            self.box.setSpecialValueText("auto")
        self._hold(self.box)
        self.set_value(value)
        self.box.valueChanged.connect(self._tell)

    def value(self) -> int | None:
        """The number, or None for auto."""
        number = int(self.box.value())
        return None if number == self._open else number

    def set_value(self, value: int | None) -> None:
        """Show a number, or auto."""
        self.box.setValue(self._open if value is None else value)


class FloatControl(Control):
    """A number in a box."""

    def __init__(self, low: float, high: float, value: float) -> None:
        super().__init__()
        self.box = QDoubleSpinBox()
        self.box.setRange(low, high)
        self.box.setSingleStep((high - low) / 20)
        self._hold(self.box)
        self.set_value(value)
        self.box.valueChanged.connect(self._tell)

    def value(self) -> float:
        """The number."""
        return float(self.box.value())

    def set_value(self, value: float) -> None:
        """Show a number."""
        self.box.setValue(value)


class ChoiceControl(Control):
    """One of some values; an optional one begins with `default`, the checkpoint's own."""

    def __init__(self, choices: tuple[str, ...], value: str | None, *, optional: bool, editable: bool = False) -> None:
        super().__init__()
        self.box = QComboBox()
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setEditable(editable)
        if optional:
            self.box.addItem("default", None)
        for choice in choices:
            self.box.addItem(choice, choice)
        self._hold(self.box)
        self.set_value(value)
        self.box.currentTextChanged.connect(self._tell)

    def value(self) -> str | None:
        """The value chosen or typed, or None for the checkpoint's own."""
        typed: str = self.box.currentText().strip()
        return typed if self.box.isEditable() else self.box.currentData()

    def set_value(self, value: str | None) -> None:
        """Choose a value."""
        if self.box.isEditable():
            self.box.setCurrentText(value or "")
        else:
            self.box.setCurrentIndex(self.box.findData(value))


class TextControl(Control):
    """A line of text; empty is None."""

    def __init__(self, value: str | None) -> None:
        super().__init__()
        self.line = QLineEdit()
        self.line.setPlaceholderText("all")
        self._hold(self.line)
        self.set_value(value)
        self.line.textChanged.connect(self._tell)

    def value(self) -> str | None:
        """The text, or None."""
        return self.line.text().strip() or None

    def set_value(self, value: str | None) -> None:
        """Show a text."""
        self.line.setText(value or "")


class FlagControl(Control):
    """A box to tick."""

    def __init__(self, *, value: bool) -> None:
        super().__init__()
        self.box = QCheckBox()
        self._hold(self.box)
        self.set_value(value)
        self.box.toggled.connect(self._tell)

    def value(self) -> bool:
        """Whether it is ticked."""
        return bool(self.box.isChecked())

    def set_value(self, value: bool) -> None:
        """Tick it, or not."""
        self.box.setChecked(value)


def make_control(name: str, field: FieldInfo, *, slider: bool = False) -> Control:
    """The control of one field of SegmentRequest.

    Parameters
    ----------
    name : str
        The field's name; it becomes the object name.
    field : FieldInfo
        Type, bounds, default, title and description.
    slider : bool
        Whether a whole number gets a slider.

    Raises
    ------
    TypeError
        If there is no control for the field's type: a setting may not be forgotten in silence.
    """
    control = _control(name, field, slider=slider)
    control.setObjectName(f"diffseg_{name}")
    control.setToolTip(field.description or "")
    return control


def _control(name: str, field: FieldInfo, *, slider: bool) -> Control:
    options = [a for a in get_args(field.annotation) if a is not type(None)] or [field.annotation]
    literal = get_origin(field.annotation) is Literal
    kind = field.annotation if literal else options[0]
    optional = not literal and type(None) in get_args(field.annotation)
    if get_origin(kind) is Literal:
        return ChoiceControl(get_args(kind), field.default, optional=optional)
    if name == "device":
        return ChoiceControl(_DEVICES, field.default, optional=False, editable=True)
    if kind is bool:
        return FlagControl(value=field.default)
    if kind is str:
        return TextControl(field.default)
    if kind in (int, float):
        low, high = _bounds(field)
        if kind is float:
            return FloatControl(low, high, field.default)
        if slider:
            return SliderControl(int(low), int(high), field.default or int(high))
        return IntControl(int(low), int(high), field.default, optional=optional)
    raise TypeError(f"No control for setting {name} of type {field.annotation}.")


def _bounds(field: FieldInfo) -> tuple[float, float]:
    """Smallest and largest value that a number's declaration allows."""
    low, high = 0.0, float(_LARGEST_SPIN)
    for bound in field.metadata:
        low = getattr(bound, "ge", low)
        high = getattr(bound, "le", high)
        high = getattr(bound, "lt", high + 1) - 1
    return low, high


class _WheelGuard(QObject):
    """Keeps the wheel, meant to scroll the panel, from changing a control that it passes over."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is None or event.type() != QEvent.Type.Wheel:
            return False
        if isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return False


def guard_from_wheel(widget: QWidget) -> None:
    """Let a control answer the wheel only while it has the focus."""
    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    widget.installEventFilter(_WheelGuard(widget))


def breakable(text: str) -> str:
    """The text with invisible places to break after the signs that join long names and paths, and in longer words."""
    for sign in "/\\_-":
        text = text.replace(sign, f"{sign}\u200b")
    return _LONG_WORD.sub("\\1\u200b", text)
