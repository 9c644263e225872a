"""Images in two files, a header and its voxels. Standard library only, so that it imports in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

HEADER: Final = ".hdr"
VOXELS: Final = ".img"
_GZIP = ".gz"


def is_voxels_name(name: str) -> bool:
    """Whether a file of this name may hold the voxels of a pair, and is not hidden."""
    return not name.startswith(".") and _is(name, VOXELS)


def is_header_name(name: str) -> bool:
    """Whether a file of this name may be the header of a pair, and is not hidden."""
    return not name.startswith(".") and _is(name, HEADER)


def voxels_of(header: Path) -> Path | None:
    """The file of voxels beside a header, compressed or not; None where there is none."""
    return _beside(header, VOXELS)


def header_of(path: Path) -> Path:
    """The header of a pair that is named by its voxels; any other path, or one whose header is absent, as it is."""
    if not is_voxels_name(path.name):
        return path
    return _beside(path, HEADER) or path


def other_half(path: Path) -> Path | None:
    """The other file of a pair, whichever is given; None where there is none."""
    if is_voxels_name(path.name):
        return _beside(path, HEADER)
    return voxels_of(path) if is_header_name(path.name) else None


def each_pair_once(paths: Iterable[Path]) -> list[Path]:
    """The files in their order, a pair by its header and once, however many of its files are named."""
    return list(dict.fromkeys(map(header_of, paths)))


def stem_of(path: Path) -> Path:
    """A path without the suffixes of a pair: `a.hdr.gz` and `a.img` are both `a`."""
    plain = path.with_suffix("") if path.suffix.lower() == _GZIP else path
    return plain.with_suffix("") if plain.suffix.lower() in (HEADER, VOXELS) else plain


def _is(name: str, suffix: str) -> bool:
    return name.lower().endswith((suffix, suffix + _GZIP))


def _beside(path: Path, suffix: str) -> Path | None:
    stem = stem_of(path)
    for ending in (suffix, suffix + _GZIP, suffix.upper()):
        candidate = stem.with_name(stem.name + ending)
        if candidate.exists():
            return candidate
    return None
