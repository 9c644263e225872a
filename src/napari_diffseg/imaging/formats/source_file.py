"""A file that a user gave, read once from start to end without being believed."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import zlib
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import BadImage
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.imaging.names.placeholders import annex_link, how_to_fetch

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

GZIP_MAGIC = b"\x1f\x8b"
DEFLATE_LIMIT = 1040
"""Deflate cannot expand a byte to more than 1032; a header that claims more is false."""

_PIECE = 1 << 20
_FILE_PIECE = 1 << 17


class SourceFile:
    """Reads a regular file, inflating it when it begins as gzip does, whatever its name says.

    The file is never memory-mapped: one that shrinks under a mapping kills the process. Gzip members (several are
    fine) are read to their end, so that their checksums are verified, which nibabel does not do.

    Parameters
    ----------
    path : Path
        Opened without blocking, so that a pipe is refused and not waited for.

    Raises
    ------
    BadImage
        From any method: if the path is no readable regular file, or its compressed content is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = _open(path)
        self.size = os.fstat(self._descriptor).st_size
        self._hash = hashlib.sha256()
        self._raw = b""  # of the file, not yet interpreted
        self._peeked = b""  # of the content, not yet read
        self._at_end = False
        self._inflater: zlib._Decompress | None = None
        self._members_ended = False
        self._ignored = 0
        try:
            self._fill(len(GZIP_MAGIC))
        except BadImage:
            os.close(self._descriptor)
            raise
        self.is_compressed = self._raw[:2] == GZIP_MAGIC
        if self.is_compressed:
            self._inflater = zlib.decompressobj(wbits=31)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def capacity(self) -> int:
        """The most bytes that the content can have."""
        return self.size * DEFLATE_LIMIT if self.is_compressed else self.size

    def peek(self, count: int) -> bytes:
        """The next `count` bytes of the content, fewer only at its end; they stay to be read."""
        while len(self._peeked) < count and (piece := self._produce(count - len(self._peeked))):
            self._peeked += piece
        return self._peeked[:count]

    def skip(self, count: int) -> None:
        """Pass over bytes of the content.

        Raises
        ------
        BadImage
            If the content ends before.
        """
        while count > 0:
            piece = self._next(min(count, _PIECE))
            if not piece:
                raise self.bad("is cut short, its voxels are missing: copy or download it again")
            count -= len(piece)

    def read_array(self, count: int) -> npt.NDArray[np.uint8]:
        """The next `count` bytes of the content, written straight into one buffer.

        Raises
        ------
        BadImage
            If the content ends before.
        """
        buffer = np.empty(count, np.uint8)
        done = 0
        while done < count and (piece := self._next(min(count - done, _PIECE))):
            buffer[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
            done += len(piece)
        if done < count:
            raise self.bad(f"is cut short, {done} of {count} bytes of its voxels are there: copy or download it again")
        return buffer

    def finish(self, at_most: int) -> tuple[str, int]:
        """Read to the end, so that every checksum in the file is verified.

        Parameters
        ----------
        at_most : int
            Bytes of content that may follow what was read.

        Returns
        -------
        digest : str
            SHA-256 of the file's own bytes.
        ignored : int
            Bytes after the end of the compressed content.
        """
        while piece := self._next(_PIECE):
            at_most -= len(piece)
            if at_most < 0:
                raise self.bad("holds more than its header declares, which no writer does: make it again")
        while self._raw or not self._at_end:
            self._ignored += len(self._raw.lstrip(b"\0"))
            self._raw = b""
            self._fill(_PIECE)
        return self._hash.hexdigest(), self._ignored

    def bad(self, what: str) -> BadImage:
        """An error that begins with the file's name: what it is or does, then what to do."""
        return BadImage(f"{shown_name(self.path)} {what}.")

    def _next(self, count: int) -> bytes:
        if self._peeked:
            piece, self._peeked = self._peeked[:count], self._peeked[count:]
            return piece
        return self._produce(count)

    def _produce(self, count: int) -> bytes:
        """Some of the next bytes of the content, at most `count`; none at its end."""
        if self._inflater is None:
            self._fill(count)
            piece, self._raw = self._raw[:count], self._raw[count:]
            return piece
        return self._inflate(count)

    def _inflate(self, count: int) -> bytes:
        while not self._members_ended:
            assert self._inflater is not None  # the caller asked
            if self._inflater.eof and not self._next_member():
                break
            self._fill(1)
            try:
                piece = self._inflater.decompress(self._raw, count)
            except zlib.error as err:
                raise self.bad("is damaged, its compressed data do not check: copy or download it again") from err
            self._raw = self._inflater.unconsumed_tail or self._inflater.unused_data
            if piece:
                return piece
            if self._at_end and not self._raw and not self._inflater.eof:
                raise self.bad("is cut short in its compressed data: copy or download it again")
        return b""

    def _next_member(self) -> bool:
        """Go on with the next gzip member, if one follows."""
        self._fill(2)
        self._members_ended = self._raw[:2] != GZIP_MAGIC
        if not self._members_ended:
            self._inflater = zlib.decompressobj(wbits=31)
        return not self._members_ended

    def _fill(self, count: int) -> None:
        """Have at least `count` bytes of the file at hand, fewer only at its end."""
        while len(self._raw) < count and not self._at_end:
            try:
                piece = os.read(self._descriptor, _FILE_PIECE)
            except OSError as err:
                raise self.bad(f"cannot be read, {err.strerror}: copy it to another disk") from err
            self._hash.update(piece)
            self._raw += piece
            self._at_end = not piece


def _open(path: Path) -> int:
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    name = shown_name(path)
    try:
        if path.is_dir():
            raise BadImage(f"{name} is a folder: choose an image file in it.")
        descriptor = os.open(path, flags)
    except FileNotFoundError as err:
        if (link := annex_link(path)) is not None:
            raise BadImage(f"{name} is {link}: {how_to_fetch(link)}.") from err
        what = "is a link to nothing" if path.is_symlink() else "does not exist"
        raise BadImage(f"{name} {what} (in {path.parent}): choose a file that is there.") from err
    except (OSError, ValueError) as err:
        reason = os.strerror(err.errno) if isinstance(err, OSError) and err.errno else "it is no possible file name"
        hint = "allow reading it" if isinstance(err, OSError) and err.errno == errno.EACCES else "choose another file"
        raise BadImage(f"{name} cannot be opened, {reason}: {hint}.") from err
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadImage(f"{name} is no regular file but a pipe or a device: choose an image file.")
    return descriptor
