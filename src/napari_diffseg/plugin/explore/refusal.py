"""A reason why something cannot be done on the slice on the screen, for as long as it can be true."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel

    from napari_diffseg.plugin.session.session import Session


class Refusal:
    """What has been said stands until another slice is on the screen, or the session does something else.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Shows the slice.
    session : Session
        May be what was busy.
    withdraw : callable
        Says what there was to say before.
    """

    def __init__(self, viewer: ViewerModel, session: Session, *, withdraw: Callable[[], None]) -> None:
        self._viewer, self._withdraw = viewer, withdraw
        self._stands = False
        viewer.dims.events.current_step.connect(self.lift)
        session.phase_changed.connect(self.lift)

    def stand(self) -> None:
        """A reason has been said."""
        self._stands = True

    def lift(self, _event: object = None) -> None:
        """The reason may be gone, so nothing more is said of it."""
        if self._stands:
            self._stands = False
            self._withdraw()

    def close(self) -> None:
        """Leave the viewer alone from now on."""
        self._stands = False
        self._viewer.dims.events.current_step.disconnect(self.lift)
