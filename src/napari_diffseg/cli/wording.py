"""Errors in the words of the command line: the sentence, and the options that help."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_diffseg.errors import DiffsegError, Remedy


def worded(err: DiffsegError, *, options: Mapping[str, str] | None = None) -> str:
    """What an error says, with the options that help at its end, such as `(--channels flair,t1)`.

    Parameters
    ----------
    err : DiffsegError
        With its remedies.
    options : mapping of str to str, optional
        Settings that the verb calls otherwise than `--setting`, and how; an empty text where it has none.
    """
    named = [_option(remedy, options or {}) for remedy in err.remedies]
    listed = " or ".join(dict.fromkeys(name for name in named if name))
    return f"{str(err).removesuffix('.')} ({listed})." if listed else str(err)


def _option(remedy: Remedy, options: Mapping[str, str]) -> str:
    name = options.get(remedy.setting, f"--{remedy.setting.replace('_', '-')}")
    return " ".join(word for word in (name, remedy.value) if word) if name else ""
