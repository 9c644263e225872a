"""`napari-diffseg info`."""

from __future__ import annotations

import sys
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from cyclopts import Parameter

from napari_diffseg.cli.overrides import RecipeOptions, RecipeOverrides

if TYPE_CHECKING:
    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.segmenting.self_test import Verdict


def info(
    checkpoint: str,
    *,
    json: bool = False,
    try_case: Annotated[Path | None, Parameter(name="--try")] = None,
    device: str = "auto",
    overrides: RecipeOptions = RecipeOverrides(),
) -> int:
    """Say what a checkpoint is: architecture, parameters, recipe, what was guessed, digest.

    Parameters
    ----------
    checkpoint
        A .safetensors or .pt file, the folder of a diffusers model, or `demo` for the shipped one.
    json
        Print it as JSON, for programs.
    try_case
        A case with a reference mask, on which other readings of the recipe are tried: channel order, mask coding,
        normalisation, directions.
    device
        Where `--try` evaluates the network: auto, cpu, cuda, cuda:N or mps.
    """
    from napari_diffseg.checkpoint import as_values, describe, load_checkpoint, resolve_checkpoint

    loaded = load_checkpoint(resolve_checkpoint(checkpoint), **overrides.given())
    verdict = None if try_case is None else _check(loaded, try_case, device)
    if json:
        found = {} if verdict is None else {"check": verdict.as_values()}
        sys.stdout.write(f"{dumps({**as_values(loaded), **found}, indent=2)}\n")
        return 0
    rows = [*describe(loaded), *([] if verdict is None else verdict.rows())]
    width = max(len(name) for name, _ in rows)
    sys.stdout.writelines(f"{name:<{width}}  {value}\n" for name, value in rows)
    return 0


def _check(checkpoint: Checkpoint, folder: Path, device: str) -> Verdict:
    """The self-test, with a bar on standard error."""
    from tqdm import tqdm

    from napari_diffseg.imaging.case import read_case
    from napari_diffseg.segmenting.self_test import check_checkpoint

    recipe = checkpoint.recipe
    case = read_case(folder, modalities=recipe.modalities, may_miss=recipe.may_miss)
    test = check_checkpoint(checkpoint, case, device=device)
    with tqdm(desc=f"{case.id}: readings", file=sys.stderr, dynamic_ncols=True) as bar:
        while True:
            try:
                progress = next(test)
            except StopIteration as end:
                return cast("Verdict", end.value)
            bar.total = progress.total
            bar.update(progress.done - bar.n)
