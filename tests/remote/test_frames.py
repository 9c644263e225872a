"""What crosses a pipe is refused before it is looked at, unless it is ours, of our version, and of bounded size."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_diffseg.errors import EngineFailed
from napari_diffseg.events import Expected, Finished, Preview, Refined, Sampled, Started, Stepped
from napari_diffseg.remote import frames
from napari_diffseg.remote.arrays import pack, unpack
from napari_diffseg.remote.event_messages import as_event, as_message
from napari_diffseg.remote.frames import MOST_BODY, MOST_HEADER, NotOurs, OtherVersion, read_frame, write_frame
from napari_diffseg.remote.messages import Ask, Ping, from_engine, header_of, to_engine
from napari_diffseg.remote.outbox import Outbox


def prefix(magic=b"NDSG", version=frames.VERSION, zero=0, header=2, body=0):
    return struct.pack(">4sHHII", magic, version, zero, header, body)


class Untouched(io.BytesIO):
    """A stream that fails the test when more than the first bytes of a frame are read."""

    def read(self, count=-1):
        assert self.tell() + count <= 16, "the rest of a refused frame was read"
        return super().read(count)


@pytest.mark.parametrize(
    ("start", "error"),
    [
        (prefix(magic=b"Last"), NotOurs),
        (b"Welcome to the cluster\n", NotOurs),
        (prefix(version=frames.VERSION + 1), OtherVersion),
        (prefix(zero=1), NotOurs),
        (prefix(header=MOST_HEADER + 1), EngineFailed),
        (prefix(body=MOST_BODY + 1), EngineFailed),
    ],
)
def test_what_is_not_ours_too_large_or_of_another_version_is_refused_unread(start, error):
    with pytest.raises(error):
        read_frame(Untouched(start + b"{}" * 100))


@given(header=st.binary(max_size=50), blocks=st.lists(st.binary(max_size=50), max_size=3))
def test_a_frame_comes_back_as_it_was_written_and_one_cut_short_is_the_end(header, blocks):
    stream = io.BytesIO()
    count = write_frame(stream, header, blocks)
    data = stream.getvalue()
    assert len(data) == count
    assert read_frame(io.BytesIO(data)) == (header, b"".join(blocks))
    assert data.endswith(b"\n")  # srun keeps what follows the last line feed for a while
    with pytest.raises(NotOurs):
        read_frame(io.BytesIO(data[:-1] + b"x"))
    for cut in {0, 3, 15, count - 1}:
        assert read_frame(io.BytesIO(data[:cut])) is None or cut >= count


def test_a_frame_that_would_be_refused_is_not_written():
    with pytest.raises(EngineFailed):
        write_frame(io.BytesIO(), b" " * (MOST_HEADER + 1))


@given(data=st.binary(max_size=200))
def test_no_bytes_make_anything_but_a_message_or_a_refusal(data):
    for read in (to_engine, from_engine):
        with pytest.raises(EngineFailed):
            read(frames.Frame(data, b""))


def test_messages_name_what_is_wrong_with_them_and_take_nothing_extra():
    with pytest.raises(EngineFailed, match="digests"):
        to_engine(frames.Frame(b'{"kind":"ask","id":1,"digests":["../../etc/passwd"]}', b""))
    with pytest.raises(EngineFailed, match="extra"):
        to_engine(frames.Frame(b'{"kind":"ping","id":1,"extra":1}', b""))
    ask = Ask(id=3, digests=("0" * 64,))
    assert to_engine(frames.Frame(header_of(ask), b"")) == ask
    assert to_engine(frames.Frame(header_of(Ping(id=4)), b"")).id == 4


@given(
    hnp.arrays(
        st.sampled_from([np.bool_, np.float16, np.float32]), hnp.array_shapes(min_dims=1, max_dims=4, max_side=9)
    )
)
def test_arrays_come_back_bit_for_bit(array):
    block, data = pack(array)
    again = unpack(block, data)
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    assert again.tobytes() == array.tobytes()


def test_an_array_that_would_unpack_to_more_than_it_says_is_refused():
    _, data = pack(np.zeros(10_000, np.float32))
    block, _ = pack(np.zeros(10, np.float32))
    with pytest.raises(EngineFailed, match="another size"):
        unpack(block, data)


STARTED = Started(
    "r", "case", "cpu", "fp32", "ddim", 4, (0, 1), (0, 1, 2), (1,), 2, (4, 5, 6), ("a", "b"), 8, ("note",),
    ((0, 4), (1, 5)), (0.1, 0.7, 1.3), 0.5, 2.0, "probability", label_values=((1, 4), (4,)), members_across=(1,),
    plane_across="coronal", slices_across=(2, 4), refined_by="flair", versions=(("torch", "2"),),
)  # fmt: skip


@pytest.mark.parametrize(
    "event",
    [
        STARTED,
        Stepped("r", 0, 4, 750, 3),
        Stepped("r", 0, 4, 750, 3, across=(1, 17)),
        Stepped("r", 0, 4, 750, 3, estimated=9),
        Finished("r", (0, 1), 1.25, 4, 7),
        Sampled("r", 1, (1, 2), np.arange(24).reshape(1, 2, 3, 4) % 3 == 0),
        Expected("r", (1,), np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 1, 3, 4)),
        Refined("r", (1,), np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 1, 3, 4)),
    ],
)
def test_events_cross_as_they_are(event):
    message, blocks = as_message(event, run=7, count=2)
    crossed = from_engine(frames.Frame(header_of(message), b""))
    again = as_event(crossed, b"".join(blocks))
    assert repr(again) == repr(event)


def test_a_preview_crosses_in_half_precision():
    preview = Preview(2, 5, np.full((3, 4), 0.3, np.float32), np.full((3, 4), -1.7, np.float32))
    message, blocks = as_message(Stepped("r", 0, 4, 750, 3, preview), run=7)
    again = as_event(message, b"".join(blocks)).preview
    assert (again.member, again.slice_index, again.mask.dtype) == (2, 5, np.float32)
    np.testing.assert_allclose(again.sample, preview.sample, atol=1e-3)


@pytest.mark.parametrize("change", [{"event": "Unheard"}, {"fields": {}}, {"blocks": ()}])
def test_an_event_that_does_not_hold_together_is_refused(change):
    message, blocks = as_message(Sampled("r", 1, (1,), np.ones((1, 1, 2, 2), bool)), run=7)
    with pytest.raises(EngineFailed):
        as_event(message.model_copy(update=change), b"".join(blocks))


def told(*events):
    """What arrives of events that an engine tells."""
    stream = io.BytesIO()
    outbox = Outbox(stream)
    outbox.begin(1)
    for event in events:
        outbox.tell(1, event)
    outbox.close()
    stream.seek(0)
    return [(from_engine(frame), frame.body) for frame in iter(lambda: read_frame(stream), None)]


@pytest.mark.parametrize("kind", [Expected, Refined])
def test_probabilities_of_many_slices_cross_in_parts(monkeypatch, kind):
    monkeypatch.setattr("napari_diffseg.remote.event_messages._MOST_AT_ONCE", 100)
    whole = kind("r", (3, 4, 5), np.random.default_rng(0).random((2, 3, 3, 2), np.float32))
    parts = [as_event(*pair) for pair in told(whole)]
    assert [part.slices for part in parts] == [(3, 4), (5,)]
    np.testing.assert_array_equal(np.concatenate([part.probability for part in parts], axis=1), whole.probability)


def test_what_is_too_large_to_be_told_is_a_failure_of_the_run_and_what_follows_is_told(monkeypatch):
    monkeypatch.setattr(frames, "MOST_BODY", 100)
    large = Sampled("r", 0, (1,), np.random.default_rng(0).random((1, 1, 90, 90)) > 0.5)
    (failed, _), (next_one, _) = told(large, Finished("r", (0,), 1.0, 1))
    assert (failed.kind, failed.id) == ("failed", 1)
    assert "larger than one may be" in failed.text
    assert next_one.event == "Finished"
