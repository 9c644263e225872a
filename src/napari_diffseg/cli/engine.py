"""`napari-diffseg engine`."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from napari_diffseg.errors import BadRequest


def engine(*, stdio: bool = False, quota_gb: float = 20.0, cache: Path | None = None) -> int:
    """Serve runs to the napari panel, or to another program, of this computer or of another one over ssh.

    Parameters
    ----------
    stdio
        Speak over standard input and output, the only way there is; ends when they are closed.
    quota_gb
        How much of the images and checkpoints that were sent is kept for the next time, in GB.
    cache
        Where they are kept; by default in the user's cache.
    """
    from napari_diffseg.remote.server import serve_stdio

    if not stdio:
        raise BadRequest("The engine is started by the panel or by another program: give --stdio to speak with it.")
    logging.getLogger("napari_diffseg").setLevel(logging.INFO)
    serve_stdio(quota_gb=quota_gb, folder=cache)
    sys.stderr.flush()
    os._exit(0)  # a step that goes on in a thread must not hold the device: closing the link is a cancel
