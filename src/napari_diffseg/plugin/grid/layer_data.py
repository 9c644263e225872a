"""What napari calls a layer data tuple."""

from typing import Any

LayerData = tuple[Any, dict[str, Any], str]
