"""Keys that work on the canvas while the panel is open, and that give back what they replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari.components import ViewerModel


class Keys:
    """Binds keys of a viewer; napari's own and the user's bindings of layers come first.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Gets the keys.
    actions : mapping of str to callable without arguments
        What each key does, such as `{"U": toggle}`.
    """

    def __init__(self, viewer: ViewerModel, actions: Mapping[str, Callable[[], None]]) -> None:
        self._viewer = viewer
        self._replaced: dict[str, Any] = {}
        self._bound: dict[str, Any] = {}
        for key, action in actions.items():
            self._bound[key] = _ignoring_viewer(action)
            self._replaced[key] = _bare(viewer.bind_key(key, None))
            viewer.bind_key(key, self._bound[key])

    def close(self) -> None:
        """Give the keys back, unless somebody has taken them since."""
        for key, bound in self._bound.items():
            now = _bare(self._viewer.bind_key(key, None))
            before = self._replaced[key] if now is bound else now
            if before is not None:
                self._viewer.bind_key(key, before)
        self._bound = {}


def _ignoring_viewer(action: Callable[[], None]) -> Callable[[Any], None]:
    """What napari calls with the viewer."""

    def act(_viewer: Any) -> None:
        action()

    return act


def _bare(function: Any) -> Any:
    """The function itself: the viewer that napari hands to plugins gives out proxies, which are never identical."""
    return getattr(function, "__wrapped__", function)
