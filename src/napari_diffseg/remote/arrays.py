"""Arrays as blocks: masks as bits, numbers with their bytes sorted by place, both compressed; lossless."""

from __future__ import annotations

import math
import zlib
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from napari_diffseg.errors import EngineFailed

_LEVEL: Final = 1
"""Of zlib: higher ones gain a few percent for several times the work."""
_MOST_UNPACKED: Final = 1 << 31
_Side = Annotated[int, Field(ge=0, le=1 << 31)]


class Block(BaseModel):
    """One array in a frame's body: what it is, and how many bytes of the body are its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: Literal["bool", "<f2", "<f4"]
    shape: tuple[_Side, ...] = Field(max_length=5)
    size: int = Field(ge=0)

    @property
    def unpacked_size(self) -> int:
        """Bytes of the array before it was compressed."""
        count = math.prod(self.shape)
        return (count + 7) // 8 if self.dtype == "bool" else count * int(self.dtype[-1])


def pack(array: npt.NDArray[Any]) -> tuple[Block, bytes]:
    """An array of truth values, float16 or float32, and the bytes that it crosses as."""
    if array.dtype == np.bool_:
        kind, plain = "bool", np.packbits(array).tobytes()
    else:
        kind = "<f2" if array.dtype == np.float16 else "<f4"
        plain = by_place(np.ascontiguousarray(array, kind).tobytes(), int(kind[-1]))
    data = zlib.compress(plain, _LEVEL)
    return Block.model_validate({"dtype": kind, "shape": array.shape, "size": len(data)}), data


def unpack(block: Block, data: bytes) -> npt.NDArray[Any]:
    """The array that `pack` was given.

    Raises
    ------
    EngineFailed
        If the bytes are not what the block says.
    """
    size = block.unpacked_size
    if size > _MOST_UNPACKED:
        raise EngineFailed(f"An array of {size / 1e9:.1f} GB is larger than one may be.")
    plain = expand(data, size)
    if block.dtype == "bool":
        bits = np.unpackbits(np.frombuffer(plain, np.uint8), count=math.prod(block.shape))
        return bits.view(np.bool_).reshape(block.shape)
    return np.frombuffer(by_number(plain, int(block.dtype[-1])), block.dtype).reshape(block.shape).copy()


def expand(data: bytes, size: int) -> bytes:
    """What was compressed; never more than `size` bytes are made of it.

    Raises
    ------
    EngineFailed
        If it is damaged, or not of that size.
    """
    machine = zlib.decompressobj()
    try:
        plain = machine.decompress(data, size) if size else b""
    except zlib.error as err:
        raise EngineFailed("A block of numbers came damaged over the link.") from err
    if len(plain) != size or machine.unconsumed_tail:
        raise EngineFailed("A block of numbers came with another size than announced.")
    return plain


def compress(data: bytes) -> bytes:
    """Bytes for the way."""
    return zlib.compress(data, _LEVEL)


def by_place(data: bytes, width: int) -> bytes:
    """Bytes of numbers of `width` bytes, all first bytes first: these are alike, and compress well."""
    if width == 1 or len(data) % width:
        return data
    return np.frombuffer(data, np.uint8).reshape(-1, width).T.tobytes()


def by_number(data: bytes, width: int) -> bytes:
    """The inverse of `by_place`."""
    if width == 1 or len(data) % width:
        return data
    return np.frombuffer(data, np.uint8).reshape(width, -1).T.tobytes()
