"""`napari-diffseg prepare`."""

from __future__ import annotations

import sys
from contextlib import closing

from napari_diffseg.cli.overrides import OverrideOptions, Overrides
from napari_diffseg.events import PrecisionName, make_request


def prepare(
    checkpoint: str,
    *,
    device: str = "auto",
    precision: PrecisionName = "auto",
    overrides: OverrideOptions = Overrides(),
) -> int:
    """Compile a checkpoint's network for this machine's GPU, once; every later run on it uses what was made.

    It takes a minute or several. Runs that go on meanwhile sample as before.

    Parameters
    ----------
    checkpoint
        A .safetensors or .pt file, the folder of a diffusers model, or `demo` for the shipped one.
    device
        The GPU: auto, cuda or cuda:N.
    precision
        Number format of the network; auto: bf16 where the device supports it, else fp32.
    """
    from tqdm import tqdm

    from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint
    from napari_diffseg.segmenting.segmenter import LocalSegmenter

    loaded = load_checkpoint(resolve_checkpoint(checkpoint), **overrides.given())
    work = LocalSegmenter(loaded).compile_ahead(make_request({"device": device, "precision": precision}))
    form = "{desc} {elapsed}"
    with closing(work), tqdm(desc="compiling, in another process:", bar_format=form, file=sys.stderr) as bar:
        for _ in work:
            bar.update()
    sys.stdout.write("ready\n")
    return 0
