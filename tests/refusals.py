"""What every refusal of a checkpoint has in common."""

from __future__ import annotations

import pytest

from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.errors import BadCheckpoint


def refused(path, said):
    """The one sentence that loading a file is refused with: it names the file, and matches `said`."""
    with pytest.raises(BadCheckpoint, match=said) as caught:
        load_checkpoint(path)
    text = str(caught.value)
    assert text.startswith(f"{path.name}: ")
    assert text.isprintable()
    assert "weights_only" not in text
    return text
