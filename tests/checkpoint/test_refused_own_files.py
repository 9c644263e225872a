"""Files of our own that are damaged, of a later version or too large for the machine are refused in a sentence."""

from __future__ import annotations

import struct

import pytest

from refusals import refused


def header_changed(path, old, new):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = data[8 : 8 + length]
    assert old in header
    header = header.replace(old, new, 1)
    path.write_bytes(struct.pack("<Q", len(header)) + header + data[8 + length :])
    return path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'\\"format\\": 1', b'\\"format\\": 2', "later version"),
        (b'\\"format\\": 1', b'\\"format\\": 0', "format"),
        (b'\\"model_channels\\": 32', b'\\"model_channels\\": 1000000', "cannot be built"),
        (b'\\"model_channels\\": 32', b'\\"model_channels\\": 64', "another shape"),
        (b'\\"in_channels\\": 5', b'\\"in_channels\\": 6', "does not fit its network"),
        (b'\\"train_timesteps\\": 8', b'\\"train_timesteps\\": 1000000000', "train_timesteps"),
        (b'\\"schedule\\"', b'\\"secret\\"', "secret"),
        (b'\\"recipe\\"', b'\\"rec', "damaged"),
        (b'"F32"', b'"F64"', "F64"),
        (b'"F32"', b'"F16"', "damaged"),
        (b'"shape":[', b'"shape":[-1,', "no proper shape"),
        (b'"shape":[', b'"shape":[7,', "another shape"),
        (b'"data_offsets":[0,', b'"data_offsets":[4,', "damaged"),
        (b'"out.0.weight"', b'"out.0.bias"', "damaged"),
        (b"{", b"[", "no checkpoint"),
        (b"{", b"{{", "damaged"),
    ],
)
def test_a_damaged_file_of_our_own_is_refused(own, old, new, said):
    refused(header_changed(own, old, new), said)


def test_a_header_longer_than_the_file_or_the_limit_is_refused(own):
    data = own.read_bytes()
    own.write_bytes(struct.pack("<Q", 1 << 63) + data[8:])
    refused(own, "8 MB")
    own.write_bytes(struct.pack("<Q", 5_000_000) + data[8:])
    refused(own, "cut short")


def test_a_deeply_nested_header_is_refused(own):
    header = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    own.write_bytes(struct.pack("<Q", len(header)) + header)
    refused(own, "damaged")


@pytest.mark.parametrize("length", [8, 9, 100, -1])
def test_a_truncated_file_of_our_own_is_refused(own, length):
    own.write_bytes(own.read_bytes()[:length])
    refused(own, "cut short")


def test_bytes_behind_the_weights_are_refused(own):
    own.write_bytes(own.read_bytes() + b"more")
    refused(own, "damaged")


def test_a_file_that_would_not_fit_in_memory_is_refused_before_it_is_read(own, monkeypatch):
    import psutil

    class Little:
        available = 1000

    monkeypatch.setattr(psutil, "virtual_memory", Little)
    refused(own, "of memory")
