from __future__ import annotations

import hashlib

import torch

from napari_diffseg.diffusion.noise import SeededNoise, member_seed

SHAPE = (2, 5, 7)


def test_a_row_is_the_same_alone_and_anywhere_in_a_batch():
    alone, batch = SeededNoise([7], SHAPE, "cpu"), SeededNoise([3, 9, 7, 1], SHAPE, "cpu")
    for _ in range(3):
        assert torch.equal(alone()[0], batch()[2])


def test_a_row_is_what_torch_draws_from_its_seed():
    noise, generator = SeededNoise([2**63 - 1], SHAPE, "cpu"), torch.Generator().manual_seed(2**63 - 1)
    for _ in range(2):
        assert torch.equal(noise()[0], torch.randn(SHAPE, generator=generator))


def test_draws_differ_between_rows_and_between_steps():
    noise = SeededNoise([0, 1], SHAPE, "cpu")
    first, second = noise(), noise()
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)


def test_draws_are_float32_whatever_the_default_is():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert SeededNoise([0], SHAPE, "cpu")().dtype == torch.float32
    finally:
        torch.set_default_dtype(before)


def test_the_global_generator_is_neither_read_nor_moved():
    before = torch.get_rng_state()
    SeededNoise([0], SHAPE, "cpu")()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_members_seed_is_the_documented_hash():
    digest = hashlib.sha256(b"5/12/77").hexdigest()
    assert member_seed(5, 12, 77) == int(digest[:16], 16) // 2


def test_members_slices_and_runs_do_not_share_seeds_in_the_bits_that_the_generator_uses():
    seeds = {member_seed(s, m, i) & 0xFFFFFFFF for s in range(4) for m in range(20) for i in range(50)}
    assert len(seeds) == 4 * 20 * 50
