"""Contents by their SHA-256, kept on the engine's computer within a quota, so that each crosses the link once."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from platformdirs import user_cache_path

from napari_diffseg.errors import EngineFailed

if TYPE_CHECKING:
    from collections.abc import Iterable

QUOTA_BYTES: Final = 20 * 10**9
"""What is kept at most, unless told otherwise; what was not used for longest gives way."""
_PART: Final = ".part-"
_LEFT_OVER_S: Final = 3600.0
"""After how long without another piece a content counts as given up: an engine ends after far less silence."""


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
        """Those that are not here; those that are, are needed now and stay until this store is closed."""
        missing = []
        for digest in dict.fromkeys(digests):
            self._used.add(digest)
            try:
                os.utime(self._path(digest))
            except OSError:
                missing.append(digest)
        return tuple(missing)

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
            self._make_room(size)
            self._coming[digest] = _Coming(self._folder)
        coming = self._coming.get(digest)
        if coming is None or coming.written != offset or offset + len(piece) > size:
            self.give_up(digest)
            raise EngineFailed("A piece of what was sent is missing: run again.")
        coming.write(piece)
        if coming.written == size:
            if coming.close() != digest:
                self.give_up(digest)
                raise EngineFailed("What was sent arrived damaged: run again.")
            coming.path.replace(self._path(digest))
            del self._coming[digest]

    def give_up(self, digest: str | None = None) -> None:
        """Forget what has come of a content so far, or of all."""
        for name in [digest] if digest is not None else list(self._coming):
            coming = self._coming.pop(name, None)
            if coming is not None:
                with suppress(OSError):  # what is still buffered fails again on a full disk
                    coming.close()
                coming.path.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._remove_left_over()
        files = sorted(((s.st_mtime, s.st_size, p) for p, s in self._files()), key=lambda entry: entry[0])
        total = sum(entry[1] for entry in files) + size
        for _, bytes_, path in files:
            if total <= self._quota:
                return
            if path.name not in self._used:
                path.unlink(missing_ok=True)
                total -= bytes_

    def _remove_left_over(self) -> None:
        """What an engine that was killed had begun to keep; a piece of one that lives comes more often than that."""
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
    """A content that is being written under a temporary name."""

    def __init__(self, folder: Path) -> None:
        descriptor, name = tempfile.mkstemp(prefix=_PART, dir=folder)  # mode 0600
        self.path = Path(name)
        self.written = 0
        self._file: BinaryIO = os.fdopen(descriptor, "wb")
        self._hash = hashlib.sha256()

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self._hash.update(piece)
        self.written += len(piece)

    def close(self) -> str:
        """End it; its SHA-256."""
        self._file.close()
        return self._hash.hexdigest()
