"""Layers on their way into a viewer or out of it, one in each turn of the window's event loop."""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from napari_diffseg.plugin.canvas.add_layer import add_quietly, is_there, move_below, removing_together
from napari_diffseg.plugin.canvas.color_bar import show_colors, show_name
from napari_diffseg.plugin.grid.frame import RESULT_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from napari.components import ViewerModel
    from napari.layers import Layer

    Step = tuple[Layer, Callable[[], None] | None]
    """A layer, and what is done with it in a turn; without it leaves."""


class LayerQueue:
    """Adds and removes layers one at a time, because napari takes up to a tenth of a second for each.

    Of layers that leave one after the other napari collects the garbage once, after the last.

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
        self._leaving: ExitStack | None = None
        """From the first of layers that leave until the last; meanwhile napari draws no layer that comes."""

    @property
    def is_due(self) -> bool:
        """Whether `add_next` has something to do."""
        return bool(self._due)

    def put(self, layer: Layer, *, below: Collection[Layer] = ()) -> None:
        """Let a layer come, after those that wait already, once `release` is called; in the list below some others.

        If it is out of sight its colour bar, where it has one, comes when it is brought into it.
        """
        self._held.append((layer, partial(self._add, layer, below)))

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
        """Add or remove the layer whose turn it is."""
        layer, act = self._due.popleft()
        if act is None:
            self._take_out(layer)
        else:
            act()

    def add_now(self, layer: Layer) -> None:
        """Add a layer that waits before all others, because somebody has just asked for it."""
        self.drop(layer)
        self._add(layer)

    def _take_out(self, layer: Layer) -> None:
        if self._leaving is None:
            self._leaving = ExitStack()
            self._leaving.enter_context(removing_together(self._viewer))
        self._remove(layer)
        self._end_with_last()

    def _end_with_last(self) -> None:
        if not self._due or self._due[0][1] is not None:
            self.end_leaving()

    def end_leaving(self) -> None:
        """Have napari clean up after the layers that have left until now."""
        if self._leaving is not None:
            self._leaving.close()
            self._leaving = None

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
        self._end_with_last()

    def _add(self, layer: Layer, below: Collection[Layer] = ()) -> None:
        self.end_leaving()
        add_quietly(self._viewer, layer)
        move_below(self._viewer, layer, below)
        layer.refresh(extent=False, highlight=False)  # napari does not look whether it was written to meanwhile

    def _remove(self, layer: Layer) -> None:
        if is_there(self._viewer, layer):
            self._viewer.layers.remove(layer)

    def _draw(self, layer: Layer, draw: Callable[[Layer], None]) -> None:
        if is_there(self._viewer, layer):
            draw(layer)
