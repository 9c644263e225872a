"""Layers on their way into a viewer, one in each turn of the window's event loop, or out of it, together."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from napari_diffseg.plugin.canvas.add_layer import add_quietly, is_there, removing_together
from napari_diffseg.plugin.canvas.color_bar import show_colors, show_name
from napari_diffseg.plugin.grid.frame import RESULT_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Layer

    Step = tuple[Layer, Callable[[], None] | None]
    """A layer, and what is done with it in a turn; without it leaves."""


class LayerQueue:
    """Adds layers one at a time, because napari takes about a tenth of a second for each.

    Layers that leave one after the other leave in one turn: after each that leaves alone napari collects garbage.

    A layer can be written to, renamed and hidden while it waits.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Where they go.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._held: list[Step] = []
        self._due: deque[Step] = deque()

    @property
    def is_due(self) -> bool:
        """Whether `add_next` has something to do."""
        return bool(self._due)

    def put(self, layer: Layer) -> None:
        """Let a layer come, after those that wait already, once `release` is called.

        If it is out of sight its colour bar, where it has one, comes when it is brought into it.
        """
        self._held.append((layer, partial(self._add, layer)))

    def put_first(self, layer: Layer) -> None:
        """Let a layer come next, before those that wait."""
        self._due.appendleft((layer, partial(self._add, layer)))

    def put_bar(self, layer: Layer) -> None:
        """Give a layer that waits its colour bar, in two turns of their own: its first drawing takes long."""
        self._held += [(layer, partial(self._draw, layer, draw)) for draw in (show_colors, show_name)]

    def put_out(self, layer: Layer) -> None:
        """Let a layer leave the viewer, after those that come, once `release` is called."""
        self._held.append((layer, None))

    def release(self) -> None:
        """What was put until now may come."""
        self._due.extend(self._held)
        self._held.clear()

    def add_next(self) -> None:
        """Add the layer whose turn it is, or remove those that leave now."""
        layer, act = self._due.popleft()
        if act is not None:
            act()
            return
        leaving = [layer]
        while self._due and self._due[0][1] is None:
            leaving.append(self._due.popleft()[0])
        with removing_together(self._viewer):
            for gone in leaving:
                self._remove(gone)

    def add_now(self, layer: Layer) -> None:
        """Add a layer that waits before all others, because somebody has just asked for it."""
        self.drop(layer)
        self._add(layer)

    def awaits(self, layer: Layer) -> bool:
        """Whether a layer is on its way."""
        return any(waiting is layer for waiting, _ in (*self._held, *self._due))

    def drop(self, layer: Layer) -> None:
        """Let a layer that waits never come; nothing happens where it does not wait."""
        self._keep(lambda waiting: waiting is not layer)

    def drop_run(self, prefix: str) -> None:
        """Let none of the waiting layers come whose names begin with a run's prefix, as their metadata say."""
        self._keep(lambda waiting: waiting.metadata.get(RESULT_KEY) != prefix)

    def _keep(self, wanted: Callable[[Layer], bool]) -> None:
        self._held = [step for step in self._held if wanted(step[0])]
        self._due = deque(step for step in self._due if wanted(step[0]))

    def _add(self, layer: Layer) -> None:
        add_quietly(self._viewer, layer)
        layer.refresh(extent=False, highlight=False)  # napari does not look whether it was written to meanwhile

    def _remove(self, layer: Layer) -> None:
        if is_there(self._viewer, layer):
            self._viewer.layers.remove(layer)

    def _draw(self, layer: Layer, draw: Callable[[Layer], None]) -> None:
        if is_there(self._viewer, layer):
            draw(layer)
