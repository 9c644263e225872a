"""Pixels are brought to voxels on a device with the numbers that the host gets."""

from __future__ import annotations

import platform

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffseg.imaging.geometry.grid import Grid
from napari_diffseg.segmenting.device import source_planes
from napari_diffseg.segmenting.device.source_planes import SourcePlanes

SHAPE = (19, 23, 4)
TURNED = np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def grid(spacing_mm, own_mm=1.0, codes=("P", "L", "S"), size=(16, 24), turned=False, fit="crop"):
    affine = np.diag([own_mm, own_mm, 2.0, 1.0])
    affine = TURNED @ affine if turned else affine
    return Grid.plan(SHAPE, affine, axis_codes=codes, size=size, spacing_mm=spacing_mm, fit=fit)


@pytest.mark.parametrize(
    "planned",
    [
        grid(None),
        grid(None, turned=True, codes=("R", "A", "I")),
        grid(1.7),
        grid(1.03, turned=True),
        grid(0.73, size=(40, 40)),
        grid(2.0, own_mm=0.8, codes=("R", "A", "I"), size=(8, 8)),
        grid(0.5, own_mm=1.9, size=(48, 64)),  # voxels 3.8 pixels apart: smoothed first
        grid(None, size=(8, 40), fit="stretch"),
        grid(9.0, size=(1, 1)),
    ],
)
def test_every_number_is_the_hosts(planned):
    stack = np.random.default_rng(0).standard_normal((3, planned.rows.pixels, planned.columns.pixels), np.float32)
    got = SourcePlanes(planned, torch.device("cpu"))(torch.from_numpy(stack), fill=-1.0)
    check_same(got.numpy(), planned.to_source(stack, fill=-1.0))
    assert got.is_contiguous()


def check_same(got, expected):
    """To the bit; to the last digit where scipy's compiler may contract a product and a sum."""
    tolerance = 0.0 if platform.machine().lower() in ("x86_64", "amd64") else 1e-6
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@given(
    own_mm=st.floats(0.3, 4.0),
    spacing_mm=st.floats(0.3, 4.0),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    turned=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=40)
def test_whatever_the_grid(own_mm, spacing_mm, size, turned, seed):
    planned = grid(spacing_mm, own_mm=own_mm, size=size, turned=turned)
    stack = np.random.default_rng(seed).standard_normal((2, *size), np.float32)
    got = SourcePlanes(planned, torch.device("cpu"))(torch.from_numpy(stack), fill=0.0)
    check_same(got.numpy(), planned.to_source(stack, fill=0.0))


def test_many_slices_are_done_part_by_part(monkeypatch):
    monkeypatch.setitem(source_planes._CHUNK_BYTES, "cpu", 2 * 8 * SHAPE[0] * SHAPE[1])
    planned = grid(1.7)
    stack = np.random.default_rng(1).standard_normal((5, 16, 24), np.float32)
    got = SourcePlanes(planned, torch.device("cpu"))(torch.from_numpy(stack), fill=0.0)
    check_same(got.numpy(), planned.to_source(stack, fill=0.0))
