"""`napari-diffseg engine`."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Final

from napari_diffseg.errors import BadRequest

_TERMINATED: Final = 143


def engine(
    *, stdio: bool = False, quota_gb: float = 20.0, cache: Path | None = None, outlive_minutes: float = 10.0
) -> int:
    """Serve runs to the napari panel, or to another program, of this computer or of another one over ssh.

    Parameters
    ----------
    stdio
        Speak over standard input and output, the only way there is.
    quota_gb
        How much of the images and checkpoints that were sent is kept for the next time, in GB.
    cache
        Where they are kept; by default in the user's cache.
    outlive_minutes
        How long a run goes on at most when the connection is lost, for whoever asked to come back; 0: it ends with it.
    """
    from napari_diffseg.remote.relay import serve_stdio

    if not stdio:
        raise BadRequest("The engine is started by the panel or by another program: give --stdio to speak with it.")
    logging.getLogger("napari_diffseg").setLevel(logging.INFO)
    if not outlive_minutes >= 0:
        raise BadRequest("The minutes for which a run goes on cannot be fewer than 0.")
    try:
        code = serve_stdio(quota_gb=quota_gb, folder=cache, outlive_s=60 * outlive_minutes)
    except KeyboardInterrupt:
        code = _TERMINATED  # its job is ended: what is sampled would fail while Python ends, with a reason of its own
    sys.stderr.flush()
    os._exit(code)  # a step that goes on in a thread must not hold the device: closing the link is a cancel
