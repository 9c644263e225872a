"""The window that says which keys there are, and where to read on."""

from __future__ import annotations

from html import escape
from typing import Final

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QVBoxLayout, QWidget

OWN_KEYS: Final = (
    ("Ctrl+Enter", "start the run"),
    ("U", "hide the uncertainty, and bring it back"),
    ("N", "go to the most uncertain slice, then to the next"),
    ("Shift+N", "go to the next lesion of the table"),
    ("PageDown", "open the next case of the folder"),
    ("PageUp", "open the case before"),
)
NAPARI_KEYS: Final = (
    ("Left, Right", "slice before, slice after"),
    ("V", "hide or show the selected layers"),
    ("Ctrl+E", "another plane"),
    ("Ctrl+Y", "3-D and back"),
    ("Ctrl+R", "see all"),
)
LINKS: Final = {
    "Documentation": "https://napari-hub.org/plugins/napari-diffseg",
    "Method": "https://arxiv.org/abs/2112.03145",
}
_LINK: Final = "#3d8fe0"
"""Can be read on napari's dark and on its light theme; Qt's own blue cannot on the dark one."""
_STEPS: Final = (
    "Open a case, or <i>Sample</i>; choose a checkpoint, or <i>Demo</i>.",
    "Set members and timesteps, and press <b>Run</b>.",
    "Look at the results; correct the mask with napari's brush where it is wrong.",
    "<b>Export…</b> writes NIfTI files on the voxels of your images.",
)


class HelpDialog(QDialog):
    """Four steps, the keys, and links.

    Parameters
    ----------
    parent : QWidget
        Over which it opens.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("diffseg_help_window")
        self.setToolTip("Keys, and where to read on.")
        self.setWindowTitle("Help: Diffusion ensemble")
        self.text = QLabel(_page())
        self.text.setTextFormat(Qt.TextFormat.RichText)
        self.text.setWordWrap(True)
        self.text.setOpenExternalLinks(True)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(buttons)


def _page() -> str:
    steps = "".join(f"<li>{step}</li>" for step in _STEPS)
    link = '<a style="color: {color}" href="{url}">{url}</a>'
    where = "".join(f"<p>{name}: {link.format(color=_LINK, url=url)}</p>" for name, url in LINKS.items())
    return f"<ol>{steps}</ol><p>Keys:</p>{_table(OWN_KEYS)}<p>Keys of napari:</p>{_table(NAPARI_KEYS)}{where}"


def _table(keys: tuple[tuple[str, str], ...]) -> str:
    rows = (f"<tr><td><b>{escape(key)}</b>&nbsp;&nbsp;</td><td>{escape(what)}</td></tr>" for key, what in keys)
    return f"<table>{''.join(rows)}</table>"
