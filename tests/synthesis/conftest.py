from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from napari_diffseg.synthesis.phantom import Phantom, PhantomSettings, make_phantom

if TYPE_CHECKING:
    from collections.abc import Callable

SLICE = PhantomSettings(shape=(48, 52, 1), spacing_mm=(4.0, 4.0, 4.0), empty_fraction=0.0)
VOLUME = PhantomSettings(shape=(40, 44, 34), spacing_mm=(5.0, 5.0, 5.0), seed=3)


@pytest.fixture(scope="session")
def slice_of() -> Callable[..., Phantom]:
    """A small slice with these settings changed."""
    return lambda **changes: make_phantom(replace(SLICE, **changes))


@pytest.fixture(scope="session")
def volume() -> Phantom:
    """A small whole head with a glioma."""
    return make_phantom(VOLUME)
