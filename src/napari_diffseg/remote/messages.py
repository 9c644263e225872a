"""The messages that cross, each checked as a whole before any of it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from napari_diffseg.errors import EngineFailed
from napari_diffseg.events import SegmentRequest
from napari_diffseg.recipe import Recipe, describe_validation
from napari_diffseg.remote.arrays import Block
from napari_diffseg.remote.computer import MOST_OUTLIVE_S

if TYPE_CHECKING:
    from napari_diffseg.remote.frames import Frame

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Number = Annotated[int, Field(ge=0, lt=1 << 53)]
Name = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^/\\\x00-\x1f]+$")]
_MOST_DIGESTS: Final = 64
_MOST_BLOB: Final = 1 << 36


class Message(BaseModel):
    """What all messages have: a number by which answers name what they answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Number = 0


class Hello(Message):
    """To the engine, first: who asks, and whether of an engine that it has spoken with before.

    `outlive_s` is how long the engine is to go on without its client, where it can. `engine` names the engine that is
    wanted, as its `Welcome` did; where it is gone another one is started, unless `start` is false. `run` is the run
    that goes on, of whose lasting events the first `have` have arrived; any other run of that engine is cancelled.
    """

    kind: Literal["hello"] = "hello"
    version: str = Field(max_length=64)
    outlive_s: float = Field(0.0, ge=0, le=MOST_OUTLIVE_S)
    engine: Digest | None = None
    start: bool = True
    run: Number | None = None
    have: Number = 0


class Ask(Message):
    """To the engine: a question which of these contents are not kept there."""

    kind: Literal["ask"] = "ask"
    digests: tuple[Digest, ...] = Field(max_length=_MOST_DIGESTS)


class Put(Message):
    """To the engine: the next piece of a content, in the body; all pieces together have that SHA-256.

    `unpacked` bytes come of this piece; `width` is that of the numbers whose bytes are sorted by place.
    """

    kind: Literal["put"] = "put"
    digest: Digest
    size: int = Field(ge=0, le=_MOST_BLOB)
    offset: int = Field(ge=0)
    unpacked: int = Field(ge=0, le=1 << 24)
    width: Literal[1, 2, 4, 8] = 1


class FilePart(BaseModel):
    """A file of a checkpoint: its place within the folder that holds all of them, and its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: tuple[Name, ...] = Field(min_length=1, max_length=3)
    digest: Digest


class Load(Message):
    """To the engine: make a checkpoint ready; `main` is the place of what is to be loaded."""

    kind: Literal["load"] = "load"
    files: tuple[FilePart, ...] = Field(min_length=1, max_length=_MOST_DIGESTS)
    main: tuple[Name, ...] = Field(max_length=3)
    overrides: dict[str, JsonValue] = Field({}, max_length=200)
    beside_viewer: bool = False
    preview_interval_s: Annotated[float, Field(ge=0, le=3600)] | None = None
    compile_meanwhile: bool = False


class VolumePart(BaseModel):
    """An image: its content is the array's bytes, and this is how to read them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: Digest
    dtype: str = Field(pattern=r"^([<|][biuf][1248]|<f16)$")
    shape: tuple[Annotated[int, Field(ge=1, le=1 << 20)], ...] = Field(min_length=3, max_length=3)
    order: Literal["C", "F"]
    affine: tuple[float, ...] = Field(min_length=16, max_length=16)
    name: str | None = Field(None, max_length=1024)
    notes: tuple[str, ...] = Field((), max_length=100)
    resampled_to: str | None = Field(None, max_length=64)


class CasePart(BaseModel):
    """A case without its reference mask, which no engine needs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(max_length=1024)
    volumes: dict[str, VolumePart] = Field(min_length=1, max_length=16)


class ChangePart(BaseModel):
    """A change to a case: see `segmenting.what_if.Change`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    modality: str = Field(max_length=64)
    volume: VolumePart | None = None


TaskName = Literal["segment", "trace", "what_if"]


class Begin(Message):
    """To the engine: sample, with the checkpoint that is loaded; the answers are events."""

    kind: Literal["begin"] = "begin"
    task: TaskName = "segment"
    case: CasePart
    request: SegmentRequest
    change: ChangePart | None = None


class Tell(Message):
    """To the engine, of a run that goes on: stop, rest after this step, go on."""

    kind: Literal["tell"] = "tell"
    word: Literal["cancel", "rest", "go_on"]


class LookAt(Message):
    """To the engine: the source slice that is looked at now."""

    kind: Literal["look_at"] = "look_at"
    slice_index: int | None = Field(None, ge=0)


class Seen(Message):
    """To the engine: so many previews of the run have arrived over this link, and so many of its lasting events."""

    kind: Literal["seen"] = "seen"
    previews: Number
    events: Number = 0


class Measure(Message):
    """To the engine: a question how long one evaluation of one slice takes."""

    kind: Literal["measure"] = "measure"
    request: SegmentRequest


class Unload(Message):
    """To the engine: free the device's memory."""

    kind: Literal["unload"] = "unload"


class Inspect(Message):
    """To the engine: a question what there is to compute with."""

    kind: Literal["inspect"] = "inspect"


class End(Message):
    """To the engine: stop whatever runs, and end."""

    kind: Literal["end"] = "end"


class Ping(Message):
    """To the engine: a question that only shows that it answers, and how soon."""

    kind: Literal["ping"] = "ping"


class Welcome(Message):
    """From the engine, first: what runs there.

    `engine` is the name by which it can be spoken with again, known to nobody else; None where it ends with its link.
    `goes_on` says whether it has the run that was asked for.
    """

    kind: Literal["welcome"] = "welcome"
    engine: Digest | None = None
    goes_on: bool = False
    version: str = Field(max_length=64)
    host: str = Field(max_length=255)
    python: str = Field(max_length=64)
    packages: dict[str, str] = Field({}, max_length=32)


class Missing(Message):
    """From the engine: contents that are not kept there, and how many first bytes of each are."""

    kind: Literal["missing"] = "missing"
    digests: tuple[Digest, ...] = Field(max_length=_MOST_DIGESTS)
    begun: tuple[Number, ...] = Field((), max_length=_MOST_DIGESTS)


class Done(Message):
    """From the engine: what was asked for is done."""

    kind: Literal["done"] = "done"


class Loaded(Message):
    """From the engine: what it found the checkpoint to be."""

    kind: Literal["loaded"] = "loaded"
    recipe: Recipe
    config: dict[str, JsonValue]
    digest: Digest
    weights: str = Field(max_length=64)
    family: str = Field(max_length=256)
    parameters: Number
    guesses: tuple[str, ...] = Field(max_length=1000)
    card: dict[str, str] = Field(max_length=1000)
    overrides: dict[str, JsonValue]
    rows: tuple[tuple[str, str], ...] = Field(max_length=2000)


class Happened(Message):
    """From the engine: an event of a run, its arrays in the body. Those that must not be lost are counted from 1.

    The end of a run, `Done` or `Failed`, counts as one more.
    """

    kind: Literal["happened"] = "happened"
    event: str = Field(max_length=32)
    fields: dict[str, JsonValue]
    blocks: tuple[Block, ...] = Field((), max_length=4)
    count: Number = 0


class Measured(Message):
    """From the engine: seconds of one evaluation of one slice."""

    kind: Literal["measured"] = "measured"
    seconds: float = Field(ge=0, allow_inf_nan=False)


class Device(BaseModel):
    """A graphics processor: its name, and its memory in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(max_length=255)
    free: Number
    total: Number


class Inspected(Message):
    """From the engine: what it has."""

    kind: Literal["inspected"] = "inspected"
    torch: str | None = Field(max_length=64)
    devices: tuple[Device, ...] = Field(max_length=64)
    cores: int = Field(ge=1)
    free_memory: Number
    free_disk: Number
    folder: str = Field(max_length=4096)


class RemedyPart(BaseModel):
    """See `errors.Remedy`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    setting: str = Field(max_length=64)
    value: str = Field("", max_length=255)


class Failed(Message):
    """From the engine: why something was not done, as an error of `errors`."""

    kind: Literal["failed"] = "failed"
    error: str = Field(max_length=64)
    text: str = Field(max_length=20_000)
    remedies: tuple[RemedyPart, ...] = Field((), max_length=10)


ToEngine = Hello | Ask | Put | Load | Begin | Tell | LookAt | Seen | Measure | Unload | Inspect | End | Ping
FromEngine = Welcome | Missing | Done | Loaded | Happened | Measured | Inspected | Failed

_TO_ENGINE: TypeAdapter[ToEngine] = TypeAdapter(Annotated[ToEngine, Field(discriminator="kind")])
_FROM_ENGINE: TypeAdapter[FromEngine] = TypeAdapter(Annotated[FromEngine, Field(discriminator="kind")])


def header_of(message: Message) -> bytes:
    """A message as a frame's header."""
    return message.model_dump_json().encode()


def to_engine(frame: Frame) -> ToEngine:
    """What a frame asks of the engine.

    Raises
    ------
    EngineFailed
        If it is no such message.
    """
    message: ToEngine = _checked(_TO_ENGINE, frame)
    return message


def from_engine(frame: Frame) -> FromEngine:
    """What a frame from the engine says.

    Raises
    ------
    EngineFailed
        If it is no such message.
    """
    message: FromEngine = _checked(_FROM_ENGINE, frame)
    return message


def _checked(adapter: TypeAdapter[Any], frame: Frame) -> Any:
    try:
        return adapter.validate_json(frame.header)
    except ValidationError as err:
        raise EngineFailed(f"A message came that cannot be used ({describe_validation(err)}).") from err
