"""`napari-diffseg info`."""

from __future__ import annotations

import sys
from json import dumps

from napari_diffseg.cli.overrides import RecipeOptions, RecipeOverrides


def info(
    checkpoint: str,
    *,
    json: bool = False,
    overrides: RecipeOptions = RecipeOverrides(),
) -> int:
    """Say what a checkpoint is: architecture, parameters, recipe, what was guessed, digest.

    Parameters
    ----------
    checkpoint
        A .safetensors or .pt file, or `demo` for the shipped one.
    json
        Print it as JSON, for programs.
    """
    from napari_diffseg.checkpoint import as_values, describe, load_checkpoint, resolve_checkpoint

    loaded = load_checkpoint(resolve_checkpoint(checkpoint), **overrides.given())
    if json:
        sys.stdout.write(f"{dumps(as_values(loaded), indent=2)}\n")
        return 0
    rows = describe(loaded)
    width = max(len(name) for name, _ in rows)
    sys.stdout.writelines(f"{name:<{width}}  {value}\n" for name, value in rows)
    return 0
