"""A training's state that was damaged is refused in words."""

from __future__ import annotations

import zipfile

import pytest
import torch

from napari_diffseg.errors import BadCheckpoint
from napari_diffseg.training.state import load_state, save_state


@pytest.mark.parametrize("content", [b"", b"\x80", b"\x80\x02.", b"\x80\x02}.", None], ids=repr)
def test_a_state_whose_index_is_empty_or_cut_is_refused_in_one_sentence(tmp_path, content):
    weights = {"out.bias": torch.zeros(2)}
    state = {"network": weights, "average": weights, "optimizer": {}, "step": 3, "validated": {}}
    save_state(tmp_path / "whole.pt", {**state, "best_dice": 0.5, "best_step": 2})
    assert load_state(tmp_path / "whole.pt")["step"] == 3
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(tmp_path / "state.pt", "w") as damaged:
        for name in whole.namelist():
            if not name.endswith("data.pkl"):
                damaged.writestr(name, whole.read(name))
            elif content is not None:
                damaged.writestr(name, content)
    with pytest.raises(BadCheckpoint, match="damaged"):
        load_state(tmp_path / "state.pt")
