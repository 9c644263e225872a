"""How often short chains sample a lesion that few readers see, with a denoiser that makes no mistake.

    python benchmarks/rare_lesions.py [--draws 40000] [--pixels 100]

Every reader marks the whole of a lesion of so many pixels, or nothing of it; which share of them marks it is known, and
with it the exact posterior mean at every noise. No network takes part: what differs from the true share is the
sampler's doing. Writes `benchmarks/results/rare_lesions.json`.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from cells import RESULTS, write_record

from napari_diffseg.diffusion.ddim import sample_ddim
from napari_diffseg.diffusion.ddpm import sample_ddpm
from napari_diffseg.diffusion.denoiser import Denoised
from napari_diffseg.diffusion.dpmpp import sample_dpmpp
from napari_diffseg.diffusion.schedule import make_schedule, respaced_timesteps

if TYPE_CHECKING:
    from napari_diffseg.diffusion.samplers import SamplerName
    from napari_diffseg.diffusion.schedule import Schedule, ScheduleName

SHARES = (0.02, 0.1, 0.3)
STEPS = (3, 5, 10, 20, 50, 1000)
_SAMPLERS = {"ddpm": sample_ddpm, "ddim": sample_ddim, "dpmpp": sample_dpmpp}
_ENCODINGS: tuple[tuple[ScheduleName, float, float], ...] = (("linear", 0.0, 1.0), ("cosine", -1.0, 1.0))
"""Those of the paper and of the shipped checkpoint."""
_TOTAL = 1000


@dataclass(frozen=True)
class Lesion:
    """What readers draw: all pixels of a lesion, or none.

    Attributes
    ----------
    share : float
        P(a reader marks it), in (0, 1).
    pixels : int
        How many it has.
    low, high : float
        Values of background and lesion.
    """

    share: float
    pixels: int
    low: float
    high: float

    def denoiser(self, schedule: Schedule) -> _Exact:
        """Its posterior mean on a schedule."""
        return _Exact(self, schedule)


@dataclass(frozen=True)
class _Exact:
    """The exact denoiser of a lesion, for the mean of its pixels, (B, 1, 1, 1).

    All pixels have one x_0, so chains are linear in their mean, whose noise has 1 / sqrt(pixels) of a pixel's.
    """

    lesion: Lesion
    schedule: Schedule

    def __call__(self, x_t: torch.Tensor, index: int) -> Denoised:
        lesion = self.lesion
        kept = float(self.schedule.alphas_cumprod[index])
        signal, variance = math.sqrt(kept), 1 - kept
        middle = signal * (lesion.low + lesion.high) / 2
        evidence = lesion.pixels * signal * (lesion.high - lesion.low) / variance * (x_t.double() - middle)
        p = torch.sigmoid(evidence + math.log(lesion.share / (1 - lesion.share)))
        x0 = (lesion.low + (lesion.high - lesion.low) * p).float()
        return Denoised(x0, (x_t - signal * x0) / math.sqrt(variance), None)


def sampled_share(lesion: Lesion, sampler: SamplerName, schedule: Schedule, *, draws: int, seed: int = 0) -> float:
    """The share of `draws` chains that end with the lesion marked."""
    generator = torch.Generator().manual_seed(seed)

    def noise() -> torch.Tensor:
        return torch.randn(draws, 1, 1, 1, generator=generator) / math.sqrt(lesion.pixels)

    for step in _SAMPLERS[sampler](lesion.denoiser(schedule), schedule, noise):
        last = step.x
    return float((last > (lesion.low + lesion.high) / 2).double().mean())


def main() -> None:
    """Sample and write."""
    p = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    p.add_argument("--draws", type=int, default=40_000)
    p.add_argument("--pixels", type=int, default=100)
    p.add_argument("--out", type=Path, default=RESULTS / "rare_lesions.json")
    options = p.parse_args()
    rows = []
    for name, low, high in _ENCODINGS:
        for steps in STEPS:
            kept = None if steps == _TOTAL else respaced_timesteps(_TOTAL, steps)
            schedule = make_schedule(name, _TOTAL, timesteps=kept)
            for sampler in ("ddpm", "ddim", "dpmpp"):
                lesions = {share: Lesion(share, options.pixels, low, high) for share in SHARES}
                found = {
                    f"{share:g}": round(sampled_share(lesion, sampler, schedule, draws=options.draws), 5)
                    for share, lesion in lesions.items()
                }
                rows.append(
                    {"schedule": name, "masks": [low, high], "steps": steps, "sampler": sampler, "sampled": found}
                )
                print(rows[-1], flush=True)
    figures = {"draws": options.draws, "pixels": options.pixels, "rows": rows}
    write_record(options.out, figures, checkpoint=None, device=torch.device("cpu"))


if __name__ == "__main__":
    main()
