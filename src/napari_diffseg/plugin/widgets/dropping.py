"""What is being dropped on a widget."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qtpy.QtGui import QDropEvent


def dropped_paths(event: QDropEvent) -> list[str]:
    """The local files and folders that are being dropped; none where it is something else, or not all are local."""
    data = event.mimeData()
    paths = [url.toLocalFile() for url in data.urls()] if data is not None else []
    return paths if all(paths) else []
