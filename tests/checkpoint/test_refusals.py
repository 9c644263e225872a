"""Every bad file is refused in one sentence that names it; none is run, and none is given memory it asks for."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import tracemalloc
import zipfile

import pytest
import torch
from torch import nn

from builders import tiny_recipe
from napari_diffseg.checkpoint import load_checkpoint, save_checkpoint
from napari_diffseg.errors import BadCheckpoint


def refused(path, said):
    with pytest.raises(BadCheckpoint, match=said) as caught:
        load_checkpoint(path)
    text = str(caught.value)
    assert text.startswith(f"{path.name}: ")
    assert text.isprintable()
    assert "weights_only" not in text
    return text


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


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\n<!DOCTYPE html><html></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git-LFS"),
        (b"\x80\x02}q\x00.", "bare pickle"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "Keras"),
        (b"\x1f\x8b\x08" + bytes(64), "gzip"),
        (bytes(257) + b"ustar" + bytes(300), "tar"),
        (b"hello", "no checkpoint"),
        (bytes(4096), "no checkpoint"),
        (b"PK\x03\x04", "cut short"),
        (b"PK\x03\x04" + bytes(4096), "cut short"),
    ],
)
def test_what_is_no_checkpoint_is_named_for_what_it_is(tmp_path, content, said):
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    refused(path, said)


def test_only_regular_files_are_opened(tmp_path):
    refused(tmp_path / "absent.pt", "no such file")
    refused(tmp_path, "folder")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.pt")
        refused(tmp_path / "pipe.pt", "not a regular file")


def test_a_dangling_link_is_no_file(tmp_path):
    (tmp_path / "link.pt").symlink_to(tmp_path / "gone.pt")
    refused(tmp_path / "link.pt", "no such file")


def test_a_legacy_file_and_a_bare_pickle_are_refused(tmp_path, state):
    torch.save(state, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    refused(tmp_path / "legacy.pt", "before 1.6")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps({"weights": [1.0]}))
    refused(tmp_path / "raw.pt", "bare pickle")


def test_another_zip_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "report.docx", "w") as archive:
        archive.writestr("word/document.xml", "<w/>")
        archive.writestr("[Content_Types].xml", "<t/>")
    refused(tmp_path / "report.docx", "zip archive")


class Code:
    """Would write a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_with_code_is_refused_by_the_name_it_asks_for_and_not_run(tmp_path, save_state):
    refused(save_state({"a": Code(tmp_path / "ran")}), r"Python code.*io\.open")
    assert not (tmp_path / "ran").exists()


def test_a_whole_pickled_model_is_refused_by_its_class(save_state):
    refused(save_state(nn.Linear(2, 2)), r"torch\.nn\.modules\.linear\.Linear.*state_dict")


def test_a_torchscript_program_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__/net.py"):
            archive.writestr(f"script/{name}", b"\x80\x02}.")
    refused(tmp_path / "script.pt", "TorchScript")


def test_an_optimizers_state_is_refused(save_state, state):
    optimizer = torch.optim.AdamW([nn.Parameter(value) for value in state.values()])
    refused(save_state(optimizer.state_dict(), name="optsavedmodel060000.pt"), "optimizer")


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        (torch.zeros(3), "single tensor"),
        ([torch.zeros(3)], "a list"),
        ({"weight": torch.zeros(3), "epoch": 3}, "epoch"),
        ({}, "empty dict"),
        ({"a": torch.zeros(3)}, "guided-diffusion"),
        ({"a": torch.eye(3).to_sparse()}, "sparse"),
        ({"a": torch.zeros(1).expand(1 << 40)}, "not dense"),
        ({"a": torch.zeros(8)[::2]}, "not dense"),
        ({"a": torch.zeros(3, dtype=torch.float64)}, "float64"),
        ({"a": torch.zeros(3, dtype=torch.int64)}, "int64"),
        ({"a": torch.zeros(3, device="meta")}, "without data"),
        ({(1, 2): torch.zeros(3)}, "neither text nor number"),
        ({"a" * 5000: torch.zeros(3)}, "4096"),
        ({"a": 1 << 70}, "63 bits"),
        ({"a": {1, 2}}, "set"),
    ],
)
def test_what_is_not_a_dict_of_dense_weights_is_refused(save_state, saved, said):
    refused(save_state(saved), said)


def test_three_missing_tensors_are_named_and_the_rest_counted(save_state, state):
    for name in list(state)[-6:]:
        if not name.startswith("out.2"):
            del state[name]
    text = refused(save_state(state), "missing")
    assert "and 1 more" in text


def test_a_surplus_tensor_is_named(save_state, state):
    refused(save_state({**state, "hwm.weight": torch.zeros(2)}), r"too many \(hwm\.weight\)")


def test_a_tensor_of_another_shape_is_named_with_both_shapes(save_state, state):
    state["time_embed.2.weight"] = torch.zeros(128, 64)
    refused(save_state(state), r"time_embed\.2\.weight \(128, 64\) instead of \(128, 128\)")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused_by_name(save_state, state, value):
    state["out.0.weight"][3] = value
    refused(save_state(state), r"1 of 32 values of tensor out\.0\.weight")


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


@pytest.fixture
def own(tmp_path, config, state):
    """The bytes of a file of our own, and where to put them."""
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, state, recipe=tiny_recipe(variance="learned_range"), config=config)
    return path


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


def mutated(data, rng):
    """A few bytes changed, removed or doubled; half of the time near the start or the end, where structure is."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        edge = rng.choice([600, len(changed)])
        place = rng.randrange(min(edge, len(changed)))
        place = place if rng.random() < 0.6 else len(changed) - 1 - place
        kind = rng.random()
        if kind < 0.7:
            changed[place] = rng.randrange(256)
        elif kind < 0.85:
            del changed[place : place + rng.randint(1, 40)]
        else:
            changed[place:place] = changed[place : place + rng.randint(1, 40)]
    return bytes(changed)


def index_mutated(data, rng):
    """As `mutated`, but of the pickle inside the archive, so that the checksum does not catch it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(buffer, "w") as new:
        for name in archive.namelist():
            record = archive.read(name)
            new.writestr(name, mutated(record, rng) if name.endswith("data.pkl") else record)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["zip", "index", "safetensors"])
def test_mutated_files_load_or_are_refused_and_nothing_else(kind, own, save_state):
    rng = random.Random(f"2112.03145 {kind}")
    source = own if kind == "safetensors" else save_state(name="model.pt")
    data = source.read_bytes()
    mutate = index_mutated if kind == "index" else mutated
    refusals = []
    for _ in range(300):
        source.write_bytes(mutate(data, rng))
        try:
            load_checkpoint(source)
        except BadCheckpoint as err:
            refusals.append(str(err))
    assert len(refusals) > 100
    assert all(text.isprintable() for text in refusals)
