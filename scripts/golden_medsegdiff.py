"""Numbers of MedSegDiff's own network (version "new"), which the tests hold ours against.

Usage: python scripts/golden_medsegdiff.py CLONE OUT.npz
CLONE is github.com/KidsWithTokens/MedSegDiff at 60850bf.

Weights and input are drawn from fixed seeds, in the order of the tensors' names, so the file holds the output alone.
Modules that the network's file imports and does not need for an evaluation are stood in for.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter


def main(clone: Path, out: Path) -> None:
    """Evaluate the network once and keep a part of what it gives."""
    stand_ins: dict[str, dict[str, object]] = {
        "batchgenerators": {},
        "batchgenerators.augmentations": {},
        "batchgenerators.augmentations.utils": {"pad_nd_image": None},
        "scipy.ndimage.filters": {"gaussian_filter": gaussian_filter},
    }
    for name, contents in stand_ins.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(contents)
    sys.path.insert(0, str(clone))
    from guided_diffusion.unet import UNetModel_newpreview  # type: ignore[import-not-found]

    network = UNetModel_newpreview(
        image_size=256,
        in_channels=5,
        model_channels=128,
        out_channels=2,
        num_res_blocks=1,
        attention_resolutions=(2,),
        channel_mult=(1, 1),
        num_heads=1,
    )
    network.load_state_dict(drawn(network.state_dict()))
    network.eval()
    x = torch.from_numpy(np.random.RandomState(8).standard_normal((2, 5, 32, 64)).astype(np.float32))
    with torch.no_grad():
        y, _ = network(x, torch.tensor([10, 700]))
    np.savez(out, y=y[:, :, ::4, ::8].numpy())


def drawn(like: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of every name, from one generator in the order of the names."""
    rng = np.random.RandomState(7)  # whose numbers no later version changes
    state = {}
    for name, value in sorted(like.items()):
        if name.endswith("num_batches_tracked"):
            state[name] = value
            continue
        draw = torch.from_numpy(rng.standard_normal(tuple(value.shape)).astype(np.float32))
        if value.ndim > 1:
            state[name] = draw * (1.2 / max(1, value[0].numel()) ** 0.5)
        elif name.endswith("running_var"):
            state[name] = 1 + 0.5 * draw.abs()
        else:
            state[name] = 1 + 0.2 * draw if name.endswith(("norm.weight", "instnorm.weight")) else 0.2 * draw
    return state


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
