"""The Unix sockets by which an engine can be spoken with again, in a folder that only the user can enter.

It is `/tmp/napari-diffseg-UID`, as terminal multiplexers have it, and not the user's runtime folder: the system removes
that one when the last login ends, which is what happens where the link is lost. The name of a socket says nothing about
the token that its engine wants to hear.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

_TMP: Final = Path("/tmp")
_SOCKET: Final = ".sock"
_LOG: Final = ".log"
_BEING_MADE: Final = ".new-"
_OLD_S: Final = 3600.0
_CONNECT_S: Final = 5.0


def sockets_folder() -> Path | None:
    """Where sockets are, made if need be; None where there can be none that only the user can reach."""
    if not hasattr(socket, "AF_UNIX") or not hasattr(os, "geteuid"):
        return None
    folder = _TMP / f"napari-diffseg-{os.geteuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as err:
        logger.warning("No socket can be made: %s", err)
        return None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        logger.warning("%s is not a folder of this user alone, so no socket is made in it.", folder)
        return None
    return folder


def new_token() -> str:
    """A name for an engine that nobody can guess."""
    return secrets.token_hex(32)


def socket_path(folder: Path, token: str) -> Path:
    """The socket of the engine of that token."""
    return folder / f"{hashlib.sha256(token.encode()).hexdigest()[:24]}{_SOCKET}"


def log_path(path: Path) -> Path:
    """What the engine of a socket prints."""
    return path.with_suffix(_LOG)


def listen(path: Path) -> socket.socket:
    """A socket that listens under that name, from the moment on that the name is there.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    being_made = path.with_name(f"{_BEING_MADE}{path.stem}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(being_made))
        listener.listen(4)
        being_made.replace(path)
    except OSError:
        listener.close()
        being_made.unlink(missing_ok=True)
        raise
    return listener


def connect(path: Path) -> socket.socket | None:
    """A connection to the engine of that socket; None where it is gone, and what it left is removed."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(_CONNECT_S)
    try:
        link.connect(str(path))
    except ConnectionRefusedError:  # its process has ended without a word
        remove(path)
    except OSError as err:
        logger.debug("%s cannot be reached: %s", path, err)
    else:
        link.settimeout(None)
        return link
    link.close()
    return None


def is_alive(path: Path) -> bool:
    """Whether the engine of that socket is there."""
    link = connect(path)
    if link is not None:
        link.close()
    return link is not None


def remove(path: Path) -> None:
    """Remove a socket, and what belongs to it."""
    for name in (path, log_path(path)):
        with suppress(OSError):
            name.unlink()


def remove_left_over(folder: Path) -> None:
    """Remove what engines have left that were killed."""
    for path in folder.glob(f"*{_SOCKET}"):
        is_alive(path)  # removes it where it is not
    for path in [*folder.glob(f"{_BEING_MADE}*"), *folder.glob(f"*{_LOG}")]:
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime > _OLD_S and not path.with_suffix(_SOCKET).exists():
                path.unlink()
