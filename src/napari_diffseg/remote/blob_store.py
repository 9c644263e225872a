"""Contents by their SHA-256, kept on the engine's computer within a quota, so that each crosses the link once.

Of one that was interrupted the pieces that have come stay, and the next engine goes on with them.
"""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from platformdirs import user_cache_path

from napari_diffseg.errors import EngineFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PIECE: Final = 1 << 20
"""Bytes of a content that cross at once: between two a cancel gets through, and an upload that was cut goes on."""
QUOTA_BYTES: Final = 20 * 10**9
"""What is kept at most, unless told otherwise; what was not used for longest gives way."""
_IS_POSIX: Final = os.name == "posix"
"""Otherwise it is Windows, where a file that is open cannot be renamed or removed."""
_PART: Final = ".part-"
_LEFT_OVER_S: Final = 86_400.0
"""After how long without another piece a content counts as given up."""


def default_store_folder() -> Path:
    """Where contents are kept on a computer, in the user's cache."""
    return user_cache_path("napari-diffseg") / "engine"


class BlobStore:
    """Contents in a folder that only the user can read; each file's name is its SHA-256.

    Parameters
    ----------
    folder : Path
        Made when the first content comes.
    quota : int
        Bytes that are kept at most; what a run needs now stays, however much it is.
    """

    def __init__(self, folder: Path, *, quota: int = QUOTA_BYTES) -> None:
        self._folder, self._quota = folder, quota
        self._used: set[str] = set()
        self._coming: dict[str, _Coming] = {}

    @property
    def folder(self) -> Path:
        """Where contents are kept."""
        return self._folder

    def missing(self, digests: Iterable[str]) -> tuple[str, ...]:
        """Those that are not here; all of them are needed now, and stay until `release`."""
        missing = []
        for digest in dict.fromkeys(digests):
            self._used.add(digest)
            try:
                os.utime(self._path(digest))
            except OSError:
                missing.append(digest)
        return tuple(missing)

    def begun(self, digest: str) -> int:
        """How many first bytes of a content that is missing are here, from an upload that was interrupted."""
        if digest not in self._coming:
            try:
                size = (self._folder / _part_name(digest)).stat().st_size
                if _usable(size):
                    self._coming[digest] = _Coming(self._folder, digest, start=size)
            except OSError:
                return 0
        return self._coming[digest].written if digest in self._coming else 0

    def release(self) -> None:
        """What was asked for until now has been read, and may give way to other contents."""
        self._used.clear()

    def path(self, digest: str) -> Path:
        """The file of a content.

        Raises
        ------
        EngineFailed
            If it is not here.
        """
        path = self._path(digest)
        if not path.is_file():
            raise EngineFailed(f"Content {digest[:12]} is not kept on the engine's computer any more: run again.")
        return path

    def put(self, digest: str, piece: bytes, *, offset: int, size: int) -> None:
        """Take the next piece of a content; with its last one it is here, once its SHA-256 is seen to be right.

        Raises
        ------
        EngineFailed
            If the disk is full or cannot be written, a piece is missing, or the whole is not what its name says.
        """
        try:
            self._put(digest, piece, offset=offset, size=size)
        except OSError as err:
            self.give_up(digest)
            raise EngineFailed(
                f"The engine's computer could not keep what was sent ({err.strerror or err}): make room in "
                f"{self._folder} there."
            ) from err

    def _put(self, digest: str, piece: bytes, *, offset: int, size: int) -> None:
        if offset == 0:
            self.give_up(digest)
        if digest not in self._coming:
            self._make_room(size)
            self._coming[digest] = _Coming(self._folder, digest, start=offset)
        coming = self._coming[digest]
        if coming.written != offset or offset + len(piece) > size:
            self.give_up(digest)
            raise EngineFailed("A piece of what was sent is missing: run again.")
        coming.write(piece)
        if coming.written == size:
            if coming.digest != digest:
                self.give_up(digest)
                raise EngineFailed("What was sent arrived damaged: run again.")
            coming.keep_as(self._path(digest))
            del self._coming[digest]

    def close(self) -> None:
        """Put what has come so far on disk, for the next engine to go on with."""
        for digest in list(self._coming):
            coming = self._coming.pop(digest)
            with suppress(OSError):
                coming.close()
                if not coming.can_go_on:
                    coming.path.unlink()

    def give_up(self, digest: str | None = None) -> None:
        """Forget what has come of a content so far, or of all."""
        for name in [digest] if digest is not None else list(self._coming):
            coming = self._coming.pop(name, None)
            if coming is not None:
                coming.drop()

    def _make_room(self, size: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._remove_left_over()
        files = sorted(((s.st_mtime, s.st_size, p) for p, s in self._files()), key=lambda entry: entry[0])
        total = sum(entry[1] for entry in files) + size + self._size_of_parts()
        for _, bytes_, path in files:
            if total <= self._quota:
                return
            if path.name not in self._used:
                path.unlink(missing_ok=True)
                total -= bytes_

    def _size_of_parts(self) -> int:
        """Bytes of contents that have not come whole."""
        total = 0
        for path in self._folder.glob(f"{_PART}*"):
            with suppress(OSError):  # another engine has it whole now
                total += path.stat().st_size
        return total

    def _remove_left_over(self) -> None:
        """What nobody has gone on with for long; a piece of what comes just now is younger."""
        for path in self._folder.glob(f"{_PART}*"):
            with suppress(OSError):  # another engine has removed it
                if time.time() - path.stat().st_mtime > _LEFT_OVER_S:
                    path.unlink()

    def _files(self) -> Iterable[tuple[Path, os.stat_result]]:
        for path in self._folder.iterdir():
            if len(path.name) == 2 * hashlib.sha256().digest_size:
                try:
                    yield path, path.stat()
                except OSError:
                    continue  # another engine has removed it

    def _path(self, digest: str) -> Path:
        return self._folder / digest


class _Coming:
    """A content that is being written under a temporary name.

    Parameters
    ----------
    folder : Path
        Where.
    digest : str
        Its SHA-256: the name of the file says it, so that another engine of this computer can go on with it.
    start : int
        How many first bytes are there; 0 to begin anew.
    """

    def __init__(self, folder: Path, digest: str, *, start: int) -> None:
        self.path = folder / _part_name(digest)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        if not _is_mine(descriptor, self.path):  # another engine takes the same content just now
            os.close(descriptor)
            descriptor, name = tempfile.mkstemp(prefix=_PART, dir=folder)  # mode 0600
            self.path = Path(name)
        self.can_go_on = self.path.name == _part_name(digest)
        self._file: BinaryIO = os.fdopen(descriptor, "r+b")
        self._file.truncate(min(start, _usable(os.fstat(descriptor).st_size)))
        self._hash = hashlib.sha256()
        while piece := self._file.read(PIECE):
            self._hash.update(piece)
        self.written = self._file.tell()

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self._hash.update(piece)
        self.written += len(piece)

    @property
    def digest(self) -> str:
        """The SHA-256 of what has come so far."""
        return self._hash.hexdigest()

    def close(self) -> None:
        """End it as it is; its lock is free from now on."""
        self._file.close()

    def keep_as(self, path: Path) -> None:
        """Give the file its name, on disk and before its lock is free: nobody else may go on with it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._end(lambda: self.path.replace(path))

    def drop(self) -> None:
        """Remove the file."""
        self._end(lambda: self.path.unlink(missing_ok=True))

    def _end(self, do: Callable[[], object]) -> None:
        """Close the file, after something was done to its name where the system lets that be done to an open file."""
        if _IS_POSIX:
            do()
        with suppress(OSError):  # what is still buffered fails again on a full disk
            self._file.close()
        if not _IS_POSIX:
            do()


def _part_name(digest: str) -> str:
    """The file of a content that has not come whole.

    It is of this computer alone: not every file system that several computers share has locks that hold between them.
    """
    return f"{_PART}{hashlib.sha256(platform.node().encode()).hexdigest()[:8]}-{digest}"


def _usable(size: int) -> int:
    """Bytes of a file that was cut short that are whole pieces; the last piece comes again, and completes it."""
    return max(size - 1, 0) // PIECE * PIECE


def _is_mine(descriptor: int, path: Path) -> bool:
    """Whether no other engine writes that file; the system forgets it with the process, however that ends."""
    if not _IS_POSIX:
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), path.stat())  # another one may have had it whole meanwhile
    except OSError:
        return False
