"""`napari-diffseg info`."""

from __future__ import annotations

import sys

from napari_diffseg.cli.overrides import RecipeOptions, RecipeOverrides


def info(checkpoint: str, *, overrides: RecipeOptions = RecipeOverrides()) -> int:
    """Say what a checkpoint is: architecture, parameters, recipe, what was guessed, digest.

    Parameters
    ----------
    checkpoint
        A .safetensors or .pt file, or `demo` for the shipped one.
    """
    from napari_diffseg.checkpoint import describe, load_checkpoint, resolve_checkpoint

    rows = describe(load_checkpoint(resolve_checkpoint(checkpoint), **overrides.given()))
    width = max(len(name) for name, _ in rows)
    sys.stdout.writelines(f"{name:<{width}}  {value}\n" for name, value in rows)
    return 0
