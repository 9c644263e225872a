"""What every benchmark of a checkpoint asks for on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from cells import WORK
from sampling import Model

from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint
from napari_diffseg.segmenting.device.choose_device import precision_name, resolve_device, resolve_precision
from napari_diffseg.segmenting.device.prepare import prepare

if TYPE_CHECKING:
    from napari_diffseg.checkpoint import Checkpoint


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with what is common."""
    p = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    p.add_argument("--checkpoint", default="demo", help="a file, or `demo` for the shipped one")
    p.add_argument("--phantoms", type=int, default=4, help="held-out phantoms")
    p.add_argument("--every", type=int, default=6, help="keep one slice in so many")
    p.add_argument("--randomise", type=float, help="contrasts, 0 plausible to 1 any; by default as a training has them")
    p.add_argument("--device", default="auto")
    p.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    p.add_argument("--batch", type=int, default=24, help="rows evaluated at once")
    p.add_argument("--budget-s", type=float, help="begin nothing that would end later; what is missing is said")
    p.add_argument("--work", type=Path, default=WORK, help="what is computed already; reused when given again")
    p.add_argument("--out", type=Path, help="the JSON to write; by default in benchmarks/results")
    return p


def read_model(options: argparse.Namespace) -> tuple[Model, Checkpoint]:
    """The checkpoint that is asked for, ready for sampling."""
    checkpoint = load_checkpoint(resolve_checkpoint(options.checkpoint))
    device = torch.device(resolve_device(options.device))
    dtype = resolve_precision(options.precision, device)
    network = prepare(checkpoint.network(), checkpoint.recipe.size, device=device, dtype=dtype)
    digest = f"{checkpoint.digest}/{precision_name(dtype)}"
    return Model(network, checkpoint.recipe, device, digest, options.batch), checkpoint
