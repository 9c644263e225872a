"""The words of a command line that make a run again, whoever tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from napari_diffseg.events import SegmentRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

_SAID_FIRST: Final = "members"
_ALWAYS: Final = ("sampler", "timesteps", "seed")
"""Settings that are written out even where they are the default: another version's might be another."""
_OF_THE_SCREEN: Final = ("focus",)
"""Settings that change the order of the work and nothing of the result."""


def checkpoint_word(file: str, digest: str) -> str:
    """What `--checkpoint` is to be told: `demo` for the shipped weights, else the name of the file.

    Parameters
    ----------
    file : str
        The file's name, as `run.json` has it.
    digest : str
        SHA-256 of its bytes: a file that is only called like the shipped one is not the shipped one.
    """
    from napari_diffseg.checkpoint.resolve import DEMO, is_shipped

    return DEMO if is_shipped(file, digest) else file


def request_words(settings: Mapping[str, Any]) -> list[str]:
    """The options of a request, the members first; what is the default of its field is left out.

    Parameters
    ----------
    settings : mapping
        Values of `SegmentRequest` by field; those of a run's sampler, timesteps and seed are always told.
    """
    words = option_words(_SAID_FIRST, settings.get(_SAID_FIRST, 1))
    for name, field in SegmentRequest.model_fields.items():
        value = settings.get(name)
        if name in (_SAID_FIRST, *_OF_THE_SCREEN) or value is None or (name not in _ALWAYS and value == field.default):
            continue
        words += option_words(name, value)
    return words


def override_words(overrides: Mapping[str, Any]) -> list[str]:
    """The options that say what a checkpoint is, instead of its file; its sampler and timesteps are those of a run."""
    words: list[str] = []
    for name, value in overrides.items():
        if name not in SegmentRequest.model_fields:
            words += option_words(name, str(value).lower() if isinstance(value, bool) else value)
    return words


def option_words(name: str, value: Any) -> list[str]:
    """One option and its value, as the command line reads them."""
    option = f"--{name.replace('_', '-')}"
    if value is True:
        return [option]
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return [f"{option}={text}"] if text.startswith("-") else [option, text]
