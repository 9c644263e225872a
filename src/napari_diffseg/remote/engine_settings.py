"""What an engine in a process of its own is told when it is started; cheap to import, as the relay does."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

IDLE_S: Final = 90.0
"""How long an engine without a link waits that has nothing to do and nothing to tell."""


@dataclass(frozen=True)
class EngineSettings:
    """What an engine is told by the process that starts it, over its standard input: others cannot read it there.

    Attributes
    ----------
    token : str
        What whoever speaks with it has to say first.
    socket : str
        Its name in the file system.
    store : str
        Folder of images and checkpoints.
    quota : int
        Bytes that are kept there.
    outlive_s : float
        How long a run goes on without a link.
    """

    token: str
    socket: str
    store: str
    quota: int
    outlive_s: float

    def as_json(self) -> bytes:
        """As the process reads it."""
        return json.dumps(asdict(self)).encode()
