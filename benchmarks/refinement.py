"""What the refinement by brightness changes: the same runs, summed up with it and without.

    python benchmarks/refinement.py [--cases DIR] [--phantoms 3] [--members 5] [--work DIR]

Phantoms of each kind and family, 2 mm isotropic, every second one with faint oedema and look-alikes, and the cases in
DIR, folders with images and a `_seg` file. Writes `benchmarks/results/refinement.json` after each: figures only.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from cells import RESULTS, WORK, write_record
from held_out import phantom_case
from kept_members import ensemble_of

from napari_diffseg import LocalSegmenter, SegmentRequest, load_checkpoint, read_case
from napari_diffseg.ensemble.dice import dice
from napari_diffseg.ensemble.expected import ExpectedMask
from napari_diffseg.evaluation.metrics.calibration import reliability
from napari_diffseg.imaging.case_files import find_case_files
from napari_diffseg.imaging.formats.nifti import read_mask
from napari_diffseg.imaging.intensity import brain_mask
from napari_diffseg.segmenting.device.choose_device import resolve_device
from napari_diffseg.synthesis.phantom import PhantomSettings, make_phantom
from napari_diffseg.synthesis.settings import PhantomFamily, PhantomKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from napari_diffseg.ensemble.ensemble import Ensemble
    from napari_diffseg.imaging.case import Case

    Share = npt.NDArray[np.floating[Any]]
    """Of readers who mark a voxel, (X, Y, Z)."""

_FIRST_SEED = 970_000


def main() -> None:
    """Sample each once, sum up twice, write."""
    options = _options()
    checkpoint = load_checkpoint(options.checkpoint)
    segmenter = LocalSegmenter(checkpoint, preview_interval_s=None)
    request = SegmentRequest(members=options.members, device=options.device, precision=options.precision)
    rows: list[dict[str, Any]] = []
    for name, kind, case, share in _subjects(options, checkpoint.recipe.modalities):
        ensemble = ensemble_of(case, segmenter, checkpoint, request, folder=options.work)
        rows.append({"case": name, "kind": kind} | _compared(ensemble, case, share))
        print(rows[-1], flush=True)
        figures = {"members": options.members, "refine_by": checkpoint.recipe.refine_by, "rows": rows}
        write_record(
            options.out or RESULTS / "refinement.json",
            figures,
            checkpoint=checkpoint,
            device=resolve_device(options.device),
        )


def _options() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    p.add_argument("--checkpoint", default="demo", help="a file, or `demo` for the shipped one")
    p.add_argument("--cases", type=Path, help="folder of real cases, each with a _seg file")
    p.add_argument("--only", default="", help="some of the cases, separated by commas")
    p.add_argument("--phantoms", type=int, default=3, help="of each kind and family")
    p.add_argument("--members", type=int, default=5)
    p.add_argument("--device", default="auto")
    p.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    p.add_argument("--work", type=Path, default=WORK, help="where members are kept; reused when given again")
    p.add_argument("--out", type=Path, help="the JSON to write; by default in benchmarks/results")
    return p.parse_args()


def _subjects(options: argparse.Namespace, modalities: tuple[str, ...]) -> Iterator[tuple[str, str, Case, Share]]:
    """Name, kind, case, and the exact share of readers of a phantom, or the one reader of a case."""
    for folder in sorted(p for p in options.cases.iterdir() if p.is_dir()) if options.cases else []:
        found = find_case_files(folder)
        if (not options.only or folder.name in options.only.split(",")) and "seg" in found:
            truth = read_mask(found["seg"]).data > 0
            yield folder.name, "real", read_case(folder, modalities=modalities), truth.astype(np.float32)
    for kind in get_args(PhantomKind):
        for family in get_args(PhantomFamily) if kind in ("glioma", "ms") else ("grown",):
            for n in range(options.phantoms):
                odd = 0.5 * (n % 2)
                settings = PhantomSettings(
                    kind=kind, family=family, seed=_FIRST_SEED + n, shape=(120, 120, 78), spacing_mm=(2.0, 2.0, 2.0),
                    readers=0, faint=odd, lookalikes=odd,
                )  # fmt: skip
                phantom = make_phantom(settings)
                name = f"{kind}-{family}-{n}"
                yield name, f"{kind}, {family}", phantom_case(phantom, name), phantom.probability


def _compared(ensemble: Ensemble, case: Case, share: Share) -> dict[str, Any]:
    brain = brain_mask(list(case.volumes.values()))
    plain = replace(ensemble.whole(), expected=_unrefined(ensemble.expected))
    for k in ensemble.members:
        plain.add(k, ensemble.slices, np.moveaxis(ensemble.member(k), ensemble.slice_axis + 1, 1)[:, ensemble.slices])
    return {
        "truth": int((share > 0.5).sum()),
        "not refined": _figures(plain.probability()[0], share, brain),
        "refined": _figures(ensemble.probability()[0], share, brain),
    }


def _unrefined(expected: ExpectedMask | None) -> ExpectedMask:
    """The estimate as it is of a run that does not refine it."""
    assert expected is not None
    started = replace(expected.started, refined_by="")
    plain = ExpectedMask(started)
    plain.add(started.sampled, np.moveaxis(expected.probability(), started.slice_axis + 1, 1)[:, started.sampled])
    return plain


def _figures(p: Share, share: Share, brain: npt.NDArray[np.bool_]) -> dict[str, float]:
    return {
        "dice": round(float(dice(p > 0.5, share > 0.5)), 4),
        "voxels": int((p > 0.5).sum()),
        "ece": round(reliability(p[brain], share[brain].astype(np.float32), bins=10).ece, 5),
    }


if __name__ == "__main__":
    main()
