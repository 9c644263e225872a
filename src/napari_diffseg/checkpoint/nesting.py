"""Where in a saved object the state dict is: at the top, or under a name that training code uses."""

from __future__ import annotations

from typing import Any

from napari_diffseg.checkpoint.strict_pickle import StoredTensor
from napari_diffseg.checkpoint.weights import MAX_TENSORS, shown, shown_some
from napari_diffseg.errors import BadCheckpoint

_EMA_NESTS = ("ema", "ema_state_dict", "state_dict_ema", "model_ema", "ema_model", "average_model", "average")
_NESTS = ("state_dict", "model_state_dict", "model", "network", "net", "unet", "params")
_PREFIXES = ("module.", "_orig_mod.", "model.")


def find_state_dict(saved: object) -> tuple[dict[str, StoredTensor], tuple[str, ...]]:
    """The state dict in what was saved.

    The average of the weights (EMA) is preferred to the weights. Prefixes that wrappers add to all names are removed.

    Parameters
    ----------
    saved : object
        As `describe_pickle` gives it.

    Returns
    -------
    state : dict of str to StoredTensor
        At least one.
    notes : tuple of str
        What was chosen or removed, for people.

    Raises
    ------
    BadCheckpoint
        If there is none.
    """
    if isinstance(saved, StoredTensor) or not isinstance(saved, dict):
        raise BadCheckpoint(
            "it holds a single tensor or a list, where a dict of named tensors is needed: save model.state_dict()."
        )
    if "param_groups" in saved:
        raise BadCheckpoint("it is an optimizer's state, not a network's: choose the `ema...` file beside it.")
    nest = next((name for name in (*_EMA_NESTS, *_NESTS) if _is_state_dict(saved.get(name))), None)
    if nest is None:
        return _without_prefixes(_tensors(saved), ())
    others = shown_some(sorted(repr(shown(str(name))) for name in saved if name != nest))
    kind = "the average of the weights (EMA)" if nest in _EMA_NESTS else "the weights"
    note = f"weights are {kind} under {nest!r}" + (f"; the file also holds {others}" if others else "")
    return _without_prefixes(_tensors(saved[nest]), (note,))


def strip_prefixes(names: list[str]) -> tuple[list[str], str]:
    """The names without the wrappers' prefixes that all of them share, in the same order, and what was removed."""
    removed = ""
    while prefix := next((p for p in _PREFIXES if names and all(name.startswith(p) for name in names)), ""):
        names = [name.removeprefix(prefix) for name in names]
        removed += prefix
    return names, removed


def prefix_note(removed: str) -> str:
    """What to tell people of a removed prefix."""
    return f"the prefix {removed!r} was removed from all names"


def _is_state_dict(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(v, StoredTensor) for v in value.values())


def _tensors(saved: dict[Any, Any]) -> dict[str, StoredTensor]:
    if not saved:
        raise BadCheckpoint("it is an empty dict: choose a file with weights.")
    if len(saved) > MAX_TENSORS:
        raise BadCheckpoint(f"it holds {len(saved)} tensors, where {MAX_TENSORS} are the most: it is no U-Net.")
    strange = [str(name) for name, v in saved.items() if not (isinstance(v, StoredTensor) and isinstance(name, str))]
    if strange:
        raise BadCheckpoint(
            f"it holds things that are not named tensors ({shown_some(strange)}), and no state dict under "
            f"{_NESTS[0]!r}, {_NESTS[2]!r} or {_EMA_NESTS[0]!r}: save model.state_dict() alone."
        )
    return saved


def _without_prefixes(
    state: dict[str, StoredTensor], notes: tuple[str, ...]
) -> tuple[dict[str, StoredTensor], tuple[str, ...]]:
    names, removed = strip_prefixes(list(state))
    if not removed:
        return state, notes
    return dict(zip(names, state.values(), strict=True)), (*notes, prefix_note(removed))
