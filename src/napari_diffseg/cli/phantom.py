"""`napari-diffseg phantom`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal


def phantom(
    *,
    out: Path,
    kind: Literal["glioma", "lowgrade", "ms", "healthy"] = "glioma",
    family: Literal["grown", "mixture"] = "grown",
    seed: int = 0,
    readers: int = 5,
    spacing_mm: float = 1.0,
    randomise: float = 0.25,
    artefacts: float = 0.5,
    faint: bool = False,
    lookalikes: bool = False,
    scalp: bool = False,
    overwrite: bool = False,
) -> int:
    """Write a synthetic case in BraTS layout, with the masks of readers who disagree in a known way.

    Parameters
    ----------
    out
        Folder for cases; this one gets a folder of its own in it.
    kind
        What is wrong with the patient.
    family
        grown: lesions grow into tissue as a scanner shows it. mixture: drawn by another idea, to find out whether a
        network knows the first alone.
    seed
        Same seed and settings, same case.
    readers
        How many readers draw a mask.
    spacing_mm
        Size of the voxels; the head is 240 x 240 x 155 mm.
    randomise
        0: plausible contrasts; 1: any contrast.
    artefacts
        0: perfect images; 1: as the wild has them.
    faint
        The oedema hardly shows in its outer third; readers mark it all the same.
    lookalikes
        Add what looks like a lesion and is none: vessels, dura, bright white matter and more.
    scalp
        Leave skull, scalp and the noise of the air on.
    overwrite
        Replace files that are there.
    """
    from napari_diffseg.synthesis.phantom import PhantomSettings, make_phantom
    from napari_diffseg.synthesis.settings import head_shape
    from napari_diffseg.synthesis.write import write_case

    settings = PhantomSettings(
        kind=kind,
        family=family,
        seed=seed,
        shape=head_shape(spacing_mm),
        spacing_mm=(spacing_mm, spacing_mm, spacing_mm),
        readers=readers,
        randomise=randomise,
        artefacts=artefacts,
        faint=float(faint),
        lookalikes=float(lookalikes),
        scalp=scalp,
    )
    told = {family: family != "grown", "faint": faint, "lookalikes": lookalikes, "scalp": scalp}
    case_id = "_".join(["phantom", *(word for word, is_so in told.items() if is_so), kind, f"{seed:04d}"])
    write_case(make_phantom(settings), out / case_id, case_id=case_id, overwrite=overwrite)
    sys.stdout.write(f"{out / case_id}\n")
    return 0
