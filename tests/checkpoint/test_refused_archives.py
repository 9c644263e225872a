"""Archives that are cut short, damaged or made to harm are refused, and given none of the memory they ask for."""

from __future__ import annotations

import tracemalloc
import zipfile

import pytest
import torch

from refusals import refused


def rewritten(path, *, change=lambda name, data: data, compression=zipfile.ZIP_STORED, extra=()):
    """A zip file again, with each record changed; None drops one. Checksums are those of the new records."""
    with zipfile.ZipFile(path) as archive:
        records = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in [*records, *extra]:
            if (new := change(name, data)) is not None:
                archive.writestr(name, new)
    return path


def index_changed(old, new):
    """Replaces bytes in the pickle, which must hold them."""

    def change(name, data):
        if not name.endswith("data.pkl"):
            return data
        assert old in data
        return data.replace(old, new)

    return change


def with_index(path, index):
    return rewritten(path, change=lambda name, data: index if name.endswith("data.pkl") else data)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(save_state, share):
    path = save_state()
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refused(path, "cut short")


def test_a_bit_flipped_in_the_weights_is_found(save_state, state):
    path = save_state()
    data = bytearray(path.read_bytes())
    place = data.index(state["time_embed.2.weight"].numpy().tobytes())
    data[place + 1000] ^= 0x10
    path.write_bytes(data)
    refused(path, "checksum")


def test_a_compressed_archive_is_refused_before_it_is_inflated(save_state):
    path = save_state({"a": torch.zeros(1 << 20)})
    rewritten(path, compression=zipfile.ZIP_DEFLATED)
    refused(path, "compressed")


def test_an_encrypted_archive_is_refused(save_state):
    path = save_state()
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 8] |= 1
    path.write_bytes(data)
    refused(path, "encrypted")


def test_a_place_in_the_archive_beyond_63_bits_is_refused(save_state):
    path = save_state()
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x06\x06") + 55] = 0xC6  # the top byte of where the table of contents begins
    path.write_bytes(data)
    refused(path, "damaged")


def test_a_record_that_is_missing_is_refused(save_state):
    refused(rewritten(save_state(), change=lambda n, d: None if n.endswith("data/3") else d), "record of .* is missing")


def test_a_record_that_is_there_twice_is_refused(save_state):
    path = save_state({"a": torch.zeros(3)})
    with pytest.warns(UserWarning, match="Duplicate"):
        rewritten(path, extra=[("emasavedmodel_0.9999_060000/data/0", bytes(12))])
    refused(path, "twice")


def test_a_file_of_a_big_endian_machine_is_refused(save_state):
    refused(rewritten(save_state(), change=lambda n, d: b"big" if n.endswith("byteorder") else d), "big-endian")


def test_a_size_that_is_larger_than_the_record_is_refused_without_taking_it(save_state):
    path = save_state({"a": torch.zeros(1000)})
    rewritten(path, change=index_changed(b"M\xe8\x03", b"J\x00\x00\x00\x7f"))
    tracemalloc.start()
    refused(path, "another size is stated")
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_a_view_that_reaches_beyond_its_storage_is_refused(save_state):
    path = save_state({"a": torch.arange(300.0)[260:]})
    rewritten(path, change=index_changed(b"M\x04\x01", b"M\x05\x01"))  # the offset, 260, becomes 261
    refused(path, "beyond its record")


def test_many_views_of_one_storage_cannot_multiply_memory(save_state):
    whole = torch.zeros(100_000)
    refused(save_state({f"a{i}": whole for i in range(3)}), "larger than the file")


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (b"", "cut short"),
        (b"\x80\x02}", "cut short"),
        (b"\x80\x02.", "damaged"),
        (b"\x80\x02(.", "damaged"),
        (b"\x80\x02h\x07.", "damaged"),
        (b"\x80\x02)R.", "damaged"),
        (b"\x80\x02}K\x01Q.", "damaged"),
        (b"\x80\x02ctorch\nFloatStorage\nJ\x00\x00\x00\x7f\x85R.", "damaged"),
        (b"\x80\x02c_codecs\nencode\n.", "_codecs.encode"),
        (b"\x80\x02cbuiltins\nbytearray\n.", "builtins.bytearray"),
        (b"\x80\x02cevil\x1b[31m\nrun\n.", "evil"),
        (b"\x80\x04\x8c\x01a\x94.", "SHORT_BINUNICODE"),
        (b"\x80\x02" + b")" * 600_000 + b".", "too many entries"),
        (b"\x80\x02}q\x00(" + b"X\x04\x00\x00\x00selfh\x00" + b"u.", "self"),
        (b"\x80\x02" + b")" + b"\x85" * 100_000 + b".", "a list"),
        (b"\x80\x02}(" + b")" + b"\x85" * 100_000 + b"K\x01u.", "neither text nor number"),
        (b"\x80\x02]q\x00" + b"(" + b"h\x00" * 100_000 + b"e.", "a list"),
    ],
)
def test_an_index_that_is_damaged_or_made_to_harm_is_refused(save_state, index, said):
    refused(with_index(save_state({"a": torch.zeros(3)}), index), said)


def test_an_index_that_is_too_large_is_refused(save_state):
    refused(with_index(save_state({"a": torch.zeros(3)}), bytes((32 << 20) + 1)), "32 MB")
