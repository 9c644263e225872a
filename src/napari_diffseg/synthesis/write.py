"""Phantoms as files in the layout of BraTS."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib

from napari_diffseg.errors import OutputExists, OutputFailed, Remedy

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from napari_diffseg.synthesis.phantom import Phantom


def write_case(
    phantom: Phantom, folder: str | os.PathLike[str], *, case_id: str, overwrite: bool = False
) -> list[Path]:
    """Write a phantom as one BraTS case.

    Parameters
    ----------
    phantom : Phantom
        What to write.
    folder : path
        Where to; made if it is not there.
    case_id : str
        Start of the file names: `<id>_t1.nii.gz`, ..., `<id>_seg.nii.gz`, `<id>_reader1.nii.gz`, ...; the
        last two are label maps of the regions.
    overwrite : bool
        Whether files of these names may be replaced.

    Returns
    -------
    list of Path
        The files: modalities, reference, readers.

    Raises
    ------
    OutputExists
        If one of the files is there and overwriting was not asked for; nothing is written then.
    OutputFailed
        If a file cannot be written; each file is whole or as it was before.
    """
    target = Path(folder)
    if not case_id or case_id.startswith(".") or Path(case_id).name != case_id:
        raise OutputFailed(f"Case id {case_id!r} cannot start a file name: give letters, digits, '-' and '_'.")
    arrays: dict[str, npt.NDArray[np.generic]] = dict(phantom.volumes.items())
    arrays |= {"seg": phantom.seg} | {f"reader{i}": labels for i, labels in enumerate(phantom.reader_labels, start=1)}
    paths = {name: target / f"{case_id}_{name}.nii.gz" for name in arrays}
    present = [p.name for p in paths.values() if os.path.lexists(p)]
    if present and not overwrite:
        raise OutputExists(
            f"{target}: {', '.join(present[:3])}{' ...' if len(present) > 3 else ''} exist already: choose another "
            "folder or case id, or allow overwriting.",
            Remedy("overwrite"),
        )
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, path in paths.items():
            _write_whole(path, array=arrays[name], affine=phantom.affine)
    except OSError as err:
        raise OutputFailed(
            f"{target}: the phantom could not be written ({err}): free space or choose a folder."
        ) from err
    return list(paths.values())


def _write_whole(path: Path, *, array: npt.NDArray[np.generic], affine: npt.NDArray[np.float64]) -> None:
    """Write beside the target, then rename, so that a file is whole or absent."""
    image = nib.Nifti1Image(array, affine)  # type: ignore[no-untyped-call]
    image.set_qform(affine, code=1)  # type: ignore[no-untyped-call]
    image.set_sform(affine, code=1)  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm")  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as scratch:
        temporary = Path(scratch) / path.name
        nib.save(image, temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
