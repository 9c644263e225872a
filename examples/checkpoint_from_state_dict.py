"""A state dict of your own training as a checkpoint: `python checkpoint_from_state_dict.py WEIGHTS.pt OUT.safetensors`.

A state dict does not say which modalities its network takes, in which order, or how masks are encoded: what you know is
said here, and all else is guessed as in the paper's code. The new file carries all of it, so nobody has to guess again.
"""

import sys

from napari_diffseg import load_checkpoint
from napari_diffseg.checkpoint import save_checkpoint

KNOWN = {"modalities": ("t1", "t1ce", "t2", "flair"), "normalisation": "zscore"}
"""Fields of the recipe that differ from the paper's code, or are known for certain."""


def main(weights: str, out: str) -> None:
    """Read weights with what is known of them, and write both into one file."""
    checkpoint = load_checkpoint(weights, **KNOWN)
    for guess in checkpoint.guesses:
        print(f"guessed: {guess}")
    save_checkpoint(
        out, checkpoint.state, recipe=checkpoint.recipe, config=checkpoint.config, guesses=checkpoint.guesses
    )
    print(f"{out}: {load_checkpoint(out).kind}")


if __name__ == "__main__":
    main(*sys.argv[1:])
