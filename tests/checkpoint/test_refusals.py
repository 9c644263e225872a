"""What is no checkpoint, or not of a network's weights, is refused for what it is, and code in it is never run."""

from __future__ import annotations

import os
import pickle
import zipfile

import pytest
import torch
from torch import nn

from refusals import refused


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
