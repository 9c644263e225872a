"""An engine in a process of its own session, which goes on for a while when its link is lost.

It is started by the relay of `relay.py`, listens on a Unix socket that only the user can reach, and speaks with whoever
says its token first; with the last one who did, where there are several.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from napari_diffseg.errors import EngineFailed
from napari_diffseg.remote.answers import failed, welcome
from napari_diffseg.remote.blob_store import BlobStore
from napari_diffseg.remote.engine_settings import IDLE_S, EngineSettings
from napari_diffseg.remote.frames import read_frame, write_frame
from napari_diffseg.remote.messages import Hello, header_of, to_engine
from napari_diffseg.remote.outbox import MOST_KEPT, Outbox
from napari_diffseg.remote.server import Server
from napari_diffseg.remote.sockets import remove

if TYPE_CHECKING:
    from typing import BinaryIO

logger = logging.getLogger(__name__)

_LOOK_S: Final = 0.2
_STOP_S: Final = 0.5
_HELLO_S: Final = 20.0
SILENT_S: Final = 45.0
"""After so long without a word a link that nobody has closed counts as lost: its client speaks every ten seconds."""


class EngineProcess:
    """Lets one client after the other speak with an engine, and ends it when none has come back in time.

    Parameters
    ----------
    listener : socket
        Where clients come.
    settings : EngineSettings
        What it was told.
    """

    def __init__(self, listener: socket.socket, settings: EngineSettings) -> None:
        self._listener, self._settings = listener, settings
        self._outbox = Outbox(None, most_kept=MOST_KEPT)
        self._server = Server(self._outbox, BlobStore(Path(settings.store), quota=settings.quota))
        self._changing, self._serving = threading.Lock(), threading.Lock()
        self._link: socket.socket | None = None
        self._ended = threading.Event()

    def run(self) -> None:
        """Serve until told to end, or until nobody has come back for too long."""
        self._listener.settimeout(_LOOK_S)
        try:
            while not (self._ended.is_set() or self._is_abandoned()):
                with suppress(TimeoutError):
                    link, _ = self._listener.accept()
                    link.settimeout(_HELLO_S)
                    threading.Thread(target=self._speak, args=(link,), name="engine-link", daemon=True).start()
        finally:
            remove(Path(self._settings.socket))
        self._server.close(wait_s=_STOP_S)

    def end(self) -> None:
        """Let `run` come to its end soon; callable from anywhere."""
        self._ended.set()

    def _is_abandoned(self) -> bool:
        """Whether nobody has been heard for so long that the engine ends; a link that is silent is closed before."""
        silent_s = time.monotonic() - self._server.heard_at
        with self._changing:
            if self._link is not None:
                if silent_s > SILENT_S:
                    logger.info("The link is lost: nothing was heard for %.0f s.", silent_s)
                    _shut(self._link)
                return False
        busy = self._server.is_sampling or self._outbox.keeps_something
        outlive_s = self._settings.outlive_s if busy else min(IDLE_S, self._settings.outlive_s)
        if silent_s <= outlive_s:
            return False
        logger.warning("The engine ends: its client has not been heard for %.0f s.", silent_s)
        return True

    def _speak(self, link: socket.socket) -> None:
        """Serve one client, from its first word to the end of its link."""
        unbuffered = cast("BinaryIO", link.makefile("rb", buffering=0))  # whatever has come is heard at once
        with suppress(OSError), link, unbuffered as incoming, link.makefile("wb") as outgoing:
            hello = self._heard(incoming, outgoing)
            if hello is None:
                return
            link.settimeout(None)
            self._displace(link)
            try:
                with self._serving:  # once nobody reads what the link before it has brought
                    if self._is_current(link) and self._serve(incoming, outgoing, hello):
                        self._ended.set()
            finally:
                with self._changing:
                    if self._link is link:
                        self._link = None
                        self._count_from_now()
                self._outbox.detach(outgoing)
                _shut(link)  # first: what is still buffered then fails at once

    def _is_current(self, link: socket.socket) -> bool:
        """Whether no client has come after that of the link, which is not to undo what the later one has asked for."""
        with self._changing:
            return self._link is link

    def _serve(self, incoming: BinaryIO, outgoing: BinaryIO, hello: Hello) -> bool:
        """Cancel what this client does not ask for, tell it what it has not heard, and answer; whether that is all."""
        goes_on = self._server.keep_only(hello.run) or self._outbox.has(hello.run)
        answer = welcome(hello, engine=self._settings.token, goes_on=goes_on)
        self._outbox.attach(outgoing, answer, run=hello.run, have=hello.have)
        return self._server.serve(incoming)

    def _count_from_now(self) -> None:
        """The link has ended: its client was there until now, unless it was silent for so long that it is lost."""
        now = time.monotonic()
        if now - self._server.heard_at <= SILENT_S:
            self._server.heard_at = now

    def _heard(self, incoming: BinaryIO, outgoing: BinaryIO) -> Hello | None:
        """The first word of a client, if it is ours and has the token."""
        with suppress(OSError):  # it is gone, or says nothing
            try:
                frame = read_frame(incoming)
                hello = None if frame is None else to_engine(frame)
                if not isinstance(hello, Hello) or not hmac.compare_digest(hello.engine or "", self._settings.token):
                    raise EngineFailed("This engine belongs to somebody else.")
            except EngineFailed as err:
                write_frame(outgoing, header_of(failed(0, err)))
            else:
                return hello
        return None

    def _displace(self, link: socket.socket) -> None:
        """Let this link count from now on; one that was there before is closed."""
        with self._changing:
            before, self._link = self._link, link
            self._server.heard_at = time.monotonic()
            if before is not None:
                _shut(before)


def _shut(link: socket.socket) -> None:
    with suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)


def main() -> None:
    """The process: its listening socket is inherited, its settings come over standard input."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    settings = EngineSettings(**json.loads(sys.stdin.buffer.read()))
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("napari_diffseg").setLevel(logging.INFO)
    engine = EngineProcess(listener, settings)
    signal.signal(signal.SIGTERM, lambda *_: engine.end())
    engine.run()
    sys.stderr.flush()
    os._exit(0)  # a step that goes on in a thread must not hold the device


if __name__ == "__main__":
    main()
