"""`napari-diffseg convert`."""

from __future__ import annotations

import sys
from pathlib import Path

from napari_diffseg.cli.overrides import RecipeOptions, RecipeOverrides


def convert(
    checkpoint: Path,
    out: Path,
    *,
    overwrite: bool = False,
    overrides: RecipeOptions = RecipeOverrides(),
) -> int:
    """Write a checkpoint of any known family as a .safetensors that carries its recipe; the weights stay bit for bit.

    Parameters
    ----------
    checkpoint
        A file of weights, or the folder of a diffusers model, as `info` tells of.
    out
        The .safetensors file to write.
    overwrite
        Replace the file if it is there.
    """
    from napari_diffseg.checkpoint import convert_checkpoint

    written = convert_checkpoint(checkpoint, out, overwrite=overwrite, **overrides.given())
    sys.stdout.write(f"{out}  sha256 {written.digest}\n")
    sys.stderr.writelines(f"guessed: {guess}\n" for guess in written.guesses)
    return 0
