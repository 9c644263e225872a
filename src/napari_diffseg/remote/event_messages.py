"""Events as messages, and back. A field that an event gains crosses by itself: the form is made from its class."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_type_hints

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from napari_diffseg import events
from napari_diffseg.errors import EngineFailed
from napari_diffseg.events import Expected, Finished, Found, Preview, Refined, Sampled, Started, Stepped
from napari_diffseg.recipe import describe_validation
from napari_diffseg.remote.arrays import pack, unpack
from napari_diffseg.remote.messages import Happened
from napari_diffseg.segmenting.trajectory import Traced

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.remote.arrays import Block

Event = Started | Stepped | Found | Finished | Traced

_NAMES: Final = {
    **vars(events),
    "np": np,
    "npt": npt,
    "Window": tuple[tuple[int, int], tuple[int, int]],
}
"""What the annotations of events speak of, some of it known to type checkers only."""
_ARRAYS: Final[dict[type, tuple[str, ...]]] = {
    Started: (),
    Stepped: (),
    Expected: ("probability",),
    Refined: ("probability",),
    Sampled: ("mask",),
    Finished: (),
    Traced: ("evidence", "mask"),
    Preview: ("mask", "sample"),
}


class _Form(NamedTuple):
    make: Callable[..., Any]
    plain: type[BaseModel]
    arrays: tuple[str, ...]


def _form(kind: type) -> _Form:
    hints = get_type_hints(kind, globalns=_NAMES)
    plain: dict[str, Any] = {
        f.name: (hints[f.name], ...) for f in fields(kind) if f.name not in _ARRAYS[kind] and f.name != "preview"
    }
    model = create_model(kind.__name__, __config__=ConfigDict(extra="forbid"), **plain)
    return _Form(kind, model, _ARRAYS[kind])


_FORMS: Final = {kind.__name__: _form(kind) for kind in _ARRAYS}
_PREVIEW: Final = "preview"
_MOST_AT_ONCE: Final = 1 << 24
"""Bytes of probabilities, before they are compressed, from which on an event crosses in parts."""


def is_lasting(event: Event) -> bool:
    """Whether an event must not be lost: one that tells of a step may, as the next one says more."""
    return not isinstance(event, Stepped)


def in_parts(event: Event) -> list[Event]:
    """The event, or, where its probabilities are many, several of some slices each, so that each fits a frame."""
    if not isinstance(event, Expected | Refined) or not event.slices:
        return [event]
    step = max(1, _MOST_AT_ONCE // max(1, event.probability.nbytes // len(event.slices)))
    starts = range(0, len(event.slices), step)
    return [
        replace(event, slices=event.slices[k : k + step], probability=event.probability[:, k : k + step])
        for k in starts
    ]


def as_message(event: Event, *, run: int, count: int = 0) -> tuple[Happened, list[bytes]]:
    """An event as a message and its blocks. A preview is rounded to half precision, as it is looked at only."""
    form = _FORMS[type(event).__name__]
    values = _plain(event, form)
    arrays = [_small(event, name) for name in form.arrays]
    if isinstance(event, Stepped) and event.preview is not None:
        preview = _FORMS["Preview"]
        values[_PREVIEW] = _plain(event.preview, preview)
        arrays = [getattr(event.preview, name).astype(np.float16) for name in preview.arrays]
    packed = [pack(array) for array in arrays]
    blocks = tuple(block for block, _ in packed)
    happened = Happened(id=run, event=type(event).__name__, fields=values, blocks=blocks, count=count)
    return happened, [data for _, data in packed]


def as_event(message: Happened, body: bytes) -> Event:
    """The event of a message.

    Raises
    ------
    EngineFailed
        If it is no event, or its arrays are not what it says.
    """
    form = _FORMS.get(message.event)
    if form is None or form.make is Preview:
        raise EngineFailed("An event came that this version does not know.")
    arrays = _arrays(message.blocks, body)
    values = dict(message.fields)
    preview = values.pop(_PREVIEW, None)
    if preview is not None and form.make is Stepped:
        seen = _made(_FORMS["Preview"], preview, [array.astype(np.float32) for array in arrays])
        return _made(form, values, [], preview=seen)  # type: ignore[no-any-return]
    return _made(form, values, arrays)  # type: ignore[no-any-return]


def _plain(event: object, form: _Form) -> dict[str, Any]:
    plain = {name: getattr(event, name) for name in form.plain.model_fields}
    return form.plain.model_construct(**plain).model_dump(mode="json")


def _small(event: Event, name: str) -> npt.NDArray[Any]:
    """An array of an event; of a trace, predictions in the half precision that they are kept in."""
    array: npt.NDArray[Any] = getattr(event, name)
    return array.astype(np.float16) if isinstance(event, Traced) and name == "evidence" else array


def _arrays(blocks: tuple[Block, ...], body: bytes) -> list[npt.NDArray[Any]]:
    if sum(block.size for block in blocks) != len(body):
        raise EngineFailed("A message came whose blocks are not of the sizes it says.")
    arrays, start = [], 0
    for block in blocks:
        arrays.append(unpack(block, body[start : start + block.size]))
        start += block.size
    return arrays


def _made(form: _Form, values: object, arrays: list[npt.NDArray[Any]], **more: object) -> Any:
    if len(arrays) != len(form.arrays):
        raise EngineFailed("An event came without its arrays.")
    try:
        plain = form.plain.model_validate(values)
    except ValidationError as err:
        raise EngineFailed(f"An event came that cannot be used ({describe_validation(err)}).") from err
    named = dict(zip(form.arrays, arrays, strict=True))
    if form.make is Traced:
        named["evidence"] = named["evidence"].astype(np.float32)
    return form.make(**{name: getattr(plain, name) for name in form.plain.model_fields}, **named, **more)
