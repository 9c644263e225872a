"""Standard input and output of `napari-diffseg engine`: the engine itself, or the way to one that outlives its link.

An engine is served in this process where its client's death cannot be a lost link, as with a child process, or where it
could not outlive this process: within a job of a cluster, and where there are no Unix sockets.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Final

from napari_diffseg.errors import DiffsegError, EngineFailed
from napari_diffseg.remote.answers import failed, welcome
from napari_diffseg.remote.blob_store import QUOTA_BYTES, BlobStore, default_store_folder
from napari_diffseg.remote.computer import LINK_GONE, OUTLIVE_S
from napari_diffseg.remote.engine_settings import IDLE_S, EngineSettings
from napari_diffseg.remote.frames import frame_bytes, read_frame, write_frame
from napari_diffseg.remote.messages import Hello, header_of, to_engine
from napari_diffseg.remote.sockets import (
    connect,
    is_alive,
    listen,
    log_path,
    new_token,
    remove,
    remove_left_over,
    socket_path,
    sockets_folder,
)

if TYPE_CHECKING:
    from pathlib import Path

    from napari_diffseg.remote.frames import Frame
    from napari_diffseg.remote.server import Server

logger = logging.getLogger(__name__)

_JOB_SIGNS: Final = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "SGE_JOB_SPOOL_DIR")
"""A job's processes end with it, and must: the device is lent to the job."""
_PIECE: Final = 1 << 18
_LAST_WORDS: Final = 8192
_LOOK_S: Final = 1.0
_ENDED_S: Final = 2.0
_ANSWER_S: Final = 60.0
"""How long an engine that is found may take for its first word."""
_KILLED: Final = 137


def serve_stdio(*, quota_gb: float | None = None, folder: Path | None = None, outlive_s: float = OUTLIVE_S) -> int:
    """Serve one client over standard input and output.

    Whatever else is printed in this process goes to standard error, so that it cannot come between messages.

    Parameters
    ----------
    quota_gb : float, optional
        How much of images and checkpoints is kept between runs, in 10^9 bytes.
    folder : Path, optional
        Where they are kept; the user's cache by default.
    outlive_s : float
        How long a run goes on at most when the link is lost; the client may want less.

    Returns
    -------
    int
        The exit code: 0 where the client has ended it, else how the engine ended.
    """
    incoming, outgoing = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    _make_binary(incoming.fileno(), outgoing.fileno())
    os.dup2(2, 1)
    quota = QUOTA_BYTES if quota_gb is None else int(quota_gb * 1e9)
    store = folder or default_store_folder()
    try:
        frame = read_frame(incoming)
        if frame is None:
            return 0
        hello = to_engine(frame)
        if not isinstance(hello, Hello):
            raise EngineFailed("The first message does not say who asks.")
        where = sockets_folder() if _may_outlive(hello) else None
        if where is None:
            _serve_here(incoming, outgoing, BlobStore(store, quota=quota), frame)
            return 0
        return _Relay(where, store.absolute(), quota, min(outlive_s, hello.outlive_s)).run(hello, incoming, outgoing)
    except DiffsegError as err:
        with suppress(OSError):
            write_frame(outgoing, header_of(failed(0, err)))
        return 1


def _may_outlive(hello: Hello) -> bool:
    return hello.outlive_s > 0 and not any(name in os.environ for name in _JOB_SIGNS)


def _serve_here(incoming: BinaryIO, outgoing: BinaryIO, store: BlobStore, first: Frame) -> None:
    """Be the engine; it ends with the link."""
    from napari_diffseg.remote.outbox import Outbox
    from napari_diffseg.remote.server import Server  # not above: the way to another process needs little

    server = Server(Outbox(outgoing), store)
    threading.Thread(target=_end_unheard, args=(server,), name="engine-lease", daemon=True).start()
    server.serve(incoming, first)
    server.close()


def _end_unheard(server: Server) -> None:
    """End this process, and free its device, once its client has long been silent: a link may be lost without a sign.

    Looks are counted, not the clock: a job that is suspended, or a computer that sleeps, hears nobody meanwhile.
    """
    heard_at, looks = server.heard_at, 0
    while looks * _LOOK_S < IDLE_S:
        time.sleep(_LOOK_S)
        looks = looks + 1 if server.heard_at == heard_at else 0
        heard_at = server.heard_at
    logger.warning("The engine ends: its client has not been heard for %.0f s.", IDLE_S)
    os._exit(1)


class _Relay:
    """The way to an engine in another process, which is started or found.

    Parameters
    ----------
    folder : Path
        Of the sockets.
    store, quota, outlive_s :
        For an engine that is started; see `EngineSettings`.
    """

    def __init__(self, folder: Path, store: Path, quota: int, outlive_s: float) -> None:
        self._folder, self._store, self._quota, self._outlive_s = folder, store, quota, outlive_s
        self._engine: subprocess.Popen[bytes] | None = None
        self._log: BinaryIO | None = None

    def run(self, hello: Hello, incoming: BinaryIO, outgoing: BinaryIO) -> int:
        """Pass everything on, both ways, until one end is gone; the exit code."""
        link, hello = self._found(hello)
        if link is None:
            write_frame(outgoing, header_of(welcome(hello)))
            return 0
        with link:
            with suppress(OSError):  # the engine is gone already, which is seen below
                link.sendall(frame_bytes(header_of(hello)))
            threading.Thread(target=_to_engine, args=(incoming, link), name="relay", daemon=True).start()
            try:
                _from_engine(link, outgoing)
            except TimeoutError:
                sys.stderr.write(f"It is there, but has not answered for {_ANSWER_S:.0f} s.\n")
                return LINK_GONE
            except (OSError, KeyboardInterrupt):  # nobody reads any more, or this process is ended, not the engine
                return LINK_GONE
        return self._how_it_ended(hello)

    def _found(self, hello: Hello) -> tuple[socket.socket | None, Hello]:
        """A connection to the engine that is asked for, or to a new one if one is wanted, and what to say there."""
        if hello.engine is not None:
            path = socket_path(self._folder, hello.engine)
            with suppress(OSError):
                self._log = log_path(path).open("rb")
            if (link := connect(path)) is not None:
                link.settimeout(_ANSWER_S)
                return link, hello
            if not hello.start:
                return None, hello
        remove_left_over(self._folder)
        token = new_token()
        try:
            return self._start(token), hello.model_copy(update={"engine": token, "run": None, "have": 0})
        except OSError as err:
            raise EngineFailed(
                f"The engine cannot be started ({err.strerror or err}): look at {self._folder}."
            ) from err

    def _start(self, token: str) -> socket.socket:
        """Start an engine that goes on when this process, or the login that it belongs to, ends."""
        path = socket_path(self._folder, token)
        settings = EngineSettings(token, str(path), str(self._store), self._quota, self._outlive_s)
        self._log = _new_log(log_path(path))
        with listen(path) as listener:
            number = listener.fileno()
            self._engine = subprocess.Popen(
                [sys.executable, "-m", "napari_diffseg.remote.engine_process", str(number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                pass_fds=(number,),
                start_new_session=True,
                cwd="/",
            )
        link = connect(path)  # it waits there until the engine is ready
        with suppress(BrokenPipeError), self._engine.stdin as asked:  # type: ignore[union-attr]
            asked.write(settings.as_json())
        if link is None:
            raise EngineFailed("The engine ended before it could be spoken with.")
        return link

    def _how_it_ended(self, hello: Hello) -> int:
        """The engine does not speak any more: whether it has ended, and how, in an exit code and its last words."""
        code: int | None = None
        if self._engine is not None:
            with suppress(subprocess.TimeoutExpired):
                code = self._engine.wait(_ENDED_S)
        path = socket_path(self._folder, hello.engine or "")
        if code is None:  # it goes on, or another process has started it; one that is not killed removes its socket
            was_there = path.exists()
            code = LINK_GONE if is_alive(path) else _KILLED * was_there
        if code not in (0, LINK_GONE):
            self._repeat_last_words()
            remove(path)
        return code if code >= 0 else 128 - code

    def _repeat_last_words(self) -> None:
        if self._log is None:
            return
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _LAST_WORDS))
        sys.stderr.buffer.write(self._log.read())
        sys.stderr.flush()


def _new_log(path: Path) -> BinaryIO:
    """The file that an engine prints to; whatever its link, it can always print."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    return os.fdopen(descriptor, "r+b")


def _to_engine(incoming: BinaryIO, link: socket.socket) -> None:
    """Pass on what the client says, until it is gone."""
    with suppress(OSError):
        while data := incoming.read(_PIECE):
            link.sendall(data)
    with suppress(OSError):
        link.shutdown(socket.SHUT_WR)


def _from_engine(link: socket.socket, outgoing: BinaryIO) -> None:
    """Pass on what the engine says, until it says no more.

    Raises
    ------
    TimeoutError
        If it says nothing at all for as long as the link waits.
    OSError
        If it cannot be passed on.
    """
    while True:
        try:
            data = link.recv(_PIECE)
        except ConnectionError:  # it was killed
            return
        if not data:
            return
        link.settimeout(None)
        outgoing.write(data)
        outgoing.flush()


def _make_binary(*descriptors: int) -> None:
    """On Windows a descriptor is one of text until it is told otherwise."""
    if os.name == "nt":
        import msvcrt

        for descriptor in descriptors:
            msvcrt.setmode(descriptor, os.O_BINARY)  # type: ignore[attr-defined,unused-ignore]
