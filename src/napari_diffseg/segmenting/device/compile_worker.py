"""The process in which a network is compiled: `python -m napari_diffseg.segmenting.device.compile_worker TASK`.

It ends, with whatever the compiler has started, when the process that wants its result has ended.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

_NICENESS = 10


def main() -> int:
    """Compile what the task says, a JSON object; the last line on standard error says what went wrong."""
    task = json.loads(sys.argv[1])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(AttributeError, OSError):
        os.nice(_NICENESS)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(task["folder"]) / "cache")  # goes when all is done
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # no processes of the compiler's own
    try:
        _compile(task)
    except Exception as err:  # noqa: BLE001 (whatever it is goes to the process that waits)
        sys.stderr.write(f"\n{(str(err).strip().splitlines() or [type(err).__name__])[0]}\n")
        return 1
    return 0


def _compile(task: dict[str, Any]) -> None:
    import torch

    from napari_diffseg.checkpoint import load_checkpoint
    from napari_diffseg.networks.compiled_unet import compile_unet
    from napari_diffseg.networks.fast_unet import FastUNet
    from napari_diffseg.networks.unet import to_inference
    from napari_diffseg.segmenting.device.compile_ahead import MADE
    from napari_diffseg.segmenting.device.compiled import load_checked

    checkpoint = load_checkpoint(Path(task["checkpoint"]))
    dtype = torch.bfloat16 if task["precision"] == "bf16" else torch.float32
    network = to_inference(checkpoint.network(), dtype).to(torch.device(task["device"]))
    made = Path(task["folder"]) / "unchecked.pt2"
    compile_unet(network, checkpoint.recipe.size, made)
    # Here, where machine code that brings its process down brings down no run.
    load_checked(FastUNet(network), checkpoint.recipe.size, made)
    made.replace(made.with_name(MADE))


def _end_with_parent() -> None:
    """Standard input ends when the process that holds its other end does."""
    with suppress(OSError, ValueError):
        sys.stdin.read()
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        import signal

        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
