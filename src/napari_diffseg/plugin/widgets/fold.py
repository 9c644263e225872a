"""A titled part of the panel that folds away at once, and takes no more than its title's room then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qtpy.QtGui import QIcon
from superqt import QCollapsible

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

_SPACING: Final = 2
_ANY_HEIGHT: Final = 2**24 - 1  # Qt's own bound
_OPEN, _SHUT = "\u25be", "\u25b8"
"""Triangles down and to the right, as letters: superqt's own are pictures, black in a dark theme and coarse on a screen
of many pixels.
"""


class Fold(QCollapsible):
    """Folded at first.

    Parameters
    ----------
    name : str
        Its object name is `diffseg_{name}`.
    title, tip : str
        What is on it, and its tooltip.
    content : QWidget, optional
        What it hides.
    """

    def __init__(self, name: str, title: str, *, tip: str = "", content: QWidget | None = None) -> None:
        super().__init__(title)
        self._title = title
        for set_icon in (self.setExpandedIcon, self.setCollapsedIcon):
            set_icon(QIcon())
        self.toggled.connect(self._show_arrow)
        self._show_arrow(False)
        self.setObjectName(f"diffseg_{name}")
        self.setToolTip(tip)
        self.setDuration(0)
        layout = self.layout()
        assert layout is not None  # it is made with one
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(_SPACING)
        self.toggled.connect(self._show_content)
        if content is not None:
            self.replace_content(content)

    def set_title(self, title: str) -> None:
        """Put something else on it."""
        self._title = title
        self._show_arrow(self.isExpanded())

    def replace_content(self, content: QWidget) -> None:
        """Put something else in place of what it hides, folded or not as before."""
        old, is_open = self.content(), self.isExpanded()
        self.setContent(content)
        layout = self.layout()
        if layout is not None and old is not content:
            layout.removeWidget(old)
            old.deleteLater()
        if is_open:
            self.expand(animate=False)
        else:
            self.collapse(animate=False)
        self._show_content(is_open)

    def _show_arrow(self, is_open: bool) -> None:
        self.setText(f"{_OPEN if is_open else _SHUT}  {self._title}")

    def _show_content(self, is_open: bool) -> None:
        """Hide what is folded, so that it draws nothing; let the rest grow, which its height when unfolded forbids."""
        content = self.content()
        content.setVisible(is_open)
        if is_open:
            content.setMaximumHeight(_ANY_HEIGHT)
