"""Where in a saved object the state dict is: at the top, or under names that training code uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_diffseg.checkpoint.families import is_bookkeeping
from napari_diffseg.checkpoint.strict_pickle import StoredTensor
from napari_diffseg.checkpoint.weights import MAX_TENSORS, shown, shown_some
from napari_diffseg.errors import BadCheckpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

_EMA_NESTS = ("ema", "ema_state_dict", "state_dict_ema", "model_ema", "ema_model", "average_model", "average")
_NESTS = ("state_dict", "model_state_dict", "model", "network", "net", "unet", "params", "module", "network_weights")
_NO_NETWORK = ("optimizer", "optim", "scheduler", "scaler", "engine", "trainer", "criterion", "loss")
"""Beginnings of names under which training code keeps other things than a network."""
_DEEPEST = 3


def find_state_dict(saved: object) -> tuple[dict[str, StoredTensor], tuple[str, ...]]:
    """The state dict in what was saved, without what wrappers count in it.

    The average of the weights (EMA) is preferred to the weights.

    Parameters
    ----------
    saved : object
        As `describe_pickle` gives it.

    Returns
    -------
    state : dict of str to StoredTensor
        At least one.
    notes : tuple of str
        What was chosen, for people.

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
        raise BadCheckpoint(
            "it is the state of an optimizer, as in MedSegDiff's and the authors' `opt...` files, not a network: "
            "choose the file of weights beside it, best the average (`ema...`)."
        )
    if not saved:
        raise BadCheckpoint("it is an empty dict: choose a file with weights.")
    found = sorted(_state_dicts(saved, ()), key=_rank)
    if not found:
        raise _without_state_dict(saved)
    path, state = found[0]
    if len(state) > MAX_TENSORS:
        raise BadCheckpoint(f"it holds {len(state)} tensors, where {MAX_TENSORS} are the most: it is no U-Net.")
    return state, _notes(path, saved)


def _state_dicts(
    saved: dict[Any, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], dict[str, StoredTensor]]]:
    """Every dict of nothing but named tensors, and where it is."""
    counted = {k: v for k, v in saved.items() if not (isinstance(k, str) and is_bookkeeping(k))}
    if counted and all(isinstance(k, str) and isinstance(v, StoredTensor) for k, v in counted.items()):
        yield path, counted
        return
    if len(path) == _DEEPEST or "param_groups" in saved:
        return
    for name, value in saved.items():
        if isinstance(name, str) and isinstance(value, dict) and not name.lower().startswith(_NO_NETWORK):
            yield from _state_dicts(value, (*path, name))


def _rank(found: tuple[tuple[str, ...], dict[str, StoredTensor]]) -> tuple[int, int, int]:
    """The average first, then names that are known, then the most tensors."""
    path, state = found
    known = (*_EMA_NESTS, *_NESTS)
    place = min((known.index(name) for name in path if name in known), default=len(known))
    return place, len(path), -len(state)


def _notes(path: tuple[str, ...], saved: dict[Any, Any]) -> tuple[str, ...]:
    if not path:
        return ()
    others = shown_some(sorted(repr(shown(str(name))) for name in saved if name != path[0]))
    kind = "the average of the weights (EMA)" if set(path) & set(_EMA_NESTS) else "the weights"
    where = shown(".".join(path))
    return (f"weights are {kind} under {where!r}" + (f"; the file also holds {others}" if others else ""),)


def _without_state_dict(saved: dict[Any, Any]) -> BadCheckpoint:
    strange = [str(name) for name, v in saved.items() if not (isinstance(v, StoredTensor) and isinstance(name, str))]
    return BadCheckpoint(
        f"it holds things that are not named tensors ({shown_some(strange or map(str, saved))}), and no state dict "
        f"under {_NESTS[0]!r}, {_NESTS[2]!r} or {_EMA_NESTS[0]!r}: save model.state_dict() alone."
    )
