"""Files with bytes changed at random load or are refused in a sentence, and no other error comes."""

from __future__ import annotations

import io
import random
import zipfile

import pytest

from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.errors import BadCheckpoint


def mutated(data, rng):
    """A few bytes changed, removed or doubled; half of the time near the start or the end, where structure is."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        edge = rng.choice([600, len(changed)])
        place = rng.randrange(min(edge, len(changed)))
        place = place if rng.random() < 0.6 else len(changed) - 1 - place
        kind = rng.random()
        if kind < 0.7:
            changed[place] = rng.randrange(256)
        elif kind < 0.85:
            del changed[place : place + rng.randint(1, 40)]
        else:
            changed[place:place] = changed[place : place + rng.randint(1, 40)]
    return bytes(changed)


def index_mutated(data, rng):
    """As `mutated`, but of the pickle inside the archive, so that the checksum does not catch it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(buffer, "w") as new:
        for name in archive.namelist():
            record = archive.read(name)
            new.writestr(name, mutated(record, rng) if name.endswith("data.pkl") else record)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["zip", "index", "safetensors"])
def test_mutated_files_load_or_are_refused_and_nothing_else(kind, own, save_state):
    rng = random.Random(f"2112.03145 {kind}")
    source = own if kind == "safetensors" else save_state(name="model.pt")
    data = source.read_bytes()
    mutate = index_mutated if kind == "index" else mutated
    refusals = []
    for _ in range(300):
        source.write_bytes(mutate(data, rng))
        try:
            load_checkpoint(source)
        except BadCheckpoint as err:
            refusals.append(str(err))
    assert len(refusals) > 100
    assert all(text.isprintable() for text in refusals)
