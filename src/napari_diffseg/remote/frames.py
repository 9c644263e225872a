"""Frames: what crosses the pipe, each of bounded size, looked at only once its first bytes are ours.

```
4 bytes  b"NDSG"
2 bytes  version of the protocol, big-endian
2 bytes  0
4 bytes  length of the header, at most MOST_HEADER
4 bytes  length of the body, at most MOST_BODY
header   JSON, UTF-8: one message of `messages`
body     raw blocks, one after another, as the header lists them
1 byte   line feed: what starts the engine may pass on whole lines only, as srun does
```

Nothing is pickled. What is not ours, is too large, or is of another version is refused before its header is read.
"""

from __future__ import annotations

import struct
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from napari_diffseg.errors import EngineFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAGIC: Final = b"NDSG"
VERSION: Final = 4
MOST_HEADER: Final = 1 << 20
MOST_BODY: Final = 1 << 26
_PREFIX: Final = struct.Struct(">4sHHII")
_END: Final = b"\n"
_AT_ONCE: Final = 1 << 18
_SHOWN: Final = 60


class Frame(NamedTuple):
    """One message as it crosses: the bytes of its JSON header, and those of its blocks."""

    header: bytes
    body: bytes

    @property
    def size(self) -> int:
        """Bytes that it takes on its way."""
        return _PREFIX.size + len(self.header) + len(self.body) + len(_END)


class NotOurs(EngineFailed):
    """What came is no frame: another program's text, most often a line that a start-up file of the shell prints."""


class OtherVersion(EngineFailed):
    """A frame of another version of the protocol."""


def frame_bytes(header: bytes, blocks: Sequence[bytes | memoryview] = ()) -> bytes:
    """One frame as it crosses.

    Raises
    ------
    EngineFailed
        If header or body are larger than a frame may be.
    """
    body = sum(memoryview(block).nbytes for block in blocks)
    _check_sizes(len(header), body)
    return b"".join((_PREFIX.pack(MAGIC, VERSION, 0, len(header), body), header, *blocks, _END))


def write_frame(stream: IO[bytes], header: bytes, blocks: Sequence[bytes | memoryview] = ()) -> int:
    """Write one frame; the number of bytes it took.

    Raises
    ------
    EngineFailed
        If header or body are larger than a frame may be.
    OSError
        If nobody reads any more.
    """
    data = frame_bytes(header, blocks)
    stream.write(data)
    stream.flush()
    return len(data)


def read_frame(stream: IO[bytes], heard: Callable[[], None] = lambda: None) -> Frame | None:
    """The next frame; None where the stream ends, also in the middle of one, as a link does that is cut.

    Parameters
    ----------
    stream : binary file
        One without a buffer gives what has come, one with a buffer waits for more.
    heard : callable, optional
        Called whenever something has come: over a slow link a large frame takes minutes.

    Raises
    ------
    NotOurs
        If the next bytes are no frame's.
    OtherVersion
        If the other end speaks another version.
    EngineFailed
        If a frame claims to be larger than one may be.
    """
    start = _read(stream, _PREFIX.size, heard)
    if not start.startswith(MAGIC[: len(start)]):
        raise NotOurs(f"what came instead of the engine's answer begins with {_shown(start)}")
    if len(start) < _PREFIX.size:
        return None
    _, version, zero, header_size, body_size = _PREFIX.unpack(start)
    if version != VERSION:
        raise OtherVersion(f"the other end speaks version {version} of the protocol, this one {VERSION}")
    if zero:
        raise NotOurs("what came instead of the engine's answer is damaged")
    _check_sizes(header_size, body_size)
    header, body, end = (_read(stream, size, heard) for size in (header_size, body_size, len(_END)))
    if end and end != _END:
        raise NotOurs("what came from the engine is damaged")
    return Frame(header, body) if end else None


def _check_sizes(header: int, body: int) -> None:
    if header > MOST_HEADER or body > MOST_BODY:
        raise EngineFailed(
            f"A message of {(header + body) / 1e6:.0f} MB is larger than one may be ({MOST_BODY / 1e6:.0f} MB)."
        )


def _read(stream: IO[bytes], count: int, heard: Callable[[], None]) -> bytes:
    """So many bytes, fewer where the stream ends."""
    parts = []
    while count:
        part = stream.read(min(count, _AT_ONCE))
        if not part:
            break
        heard()
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _shown(data: bytes) -> str:
    text = data[:_SHOWN].decode("utf-8", "replace")
    return repr("".join(c if c.isprintable() else " " for c in text))
