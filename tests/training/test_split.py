"""Who is held out: patients, not cases; by a hash that later cases do not move."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_diffseg.errors import BadRequest
from napari_diffseg.training.split import Split, patient_of, split_cases


@pytest.mark.parametrize(
    ("case", "patient"),
    [
        ("brats_train_001_080_w", "brats_train_001"),
        ("BraTS-GLI-00005-101", "BraTS-GLI-00005"),
        ("BraTS2021_00005", "BraTS2021_00005"),
        ("Brats18_TCIA02_321_1", "Brats18_TCIA02_321_1"),
        ("sub-012_ses-2_run-1", "sub-012"),
        ("sub-012", "sub-012"),
    ],
)
def test_names_that_tell_the_patient_are_understood(case, patient):
    assert patient_of(case) == patient


@given(st.sets(st.integers(0, 400), min_size=2), st.integers(0, 9), st.floats(0.01, 0.9))
def test_no_patient_is_on_both_sides_and_no_case_is_lost(numbers, seed, share):
    cases = [f"BraTS-GLI-{n // 3:05d}-{n % 3:03d}" for n in numbers]
    if len({patient_of(c) for c in cases}) < 2:
        return
    split = split_cases(cases, share=share, seed=seed)
    assert sorted(split.train + split.held_out) == sorted(cases)
    assert split.train
    assert split.held_out
    assert not {patient_of(c) for c in split.train} & {patient_of(c) for c in split.held_out}


def test_cases_that_come_later_move_nobody():
    first = [f"p{n}" for n in range(100)]
    before = split_cases(first, share=0.2, seed=1)
    after = split_cases([*first, *(f"q{n}" for n in range(100))], share=0.2, seed=1)
    assert set(before.train) <= set(after.train)
    assert set(before.held_out) <= set(after.held_out)
    assert 10 < len(before.held_out) < 30
    assert before != split_cases(first, share=0.2, seed=2)


@given(st.integers(2, 29), st.integers(0, 10_000), st.floats(0.01, 0.5))
def test_of_few_patients_no_more_are_held_out_than_the_share_rounded_up_nor_than_are_left(count, seed, share):
    split = split_cases([f"p{n}" for n in range(count)], share=share, seed=seed)
    assert 1 <= len(split.held_out) <= max(1, math.ceil(share * count))
    assert len(split.held_out) <= len(split.train)


def test_of_three_patients_one_is_held_out_where_the_hash_would_take_two():
    split = split_cases(["BRATS_001", "BRATS_002", "BRATS_003"], share=0.1, seed=1000)
    assert (len(split.train), len(split.held_out)) == (2, 1)


def test_one_patient_cannot_be_both_and_a_share_of_nothing_holds_out_nobody():
    one = ["BraTS-GLI-00005-100", "BraTS-GLI-00005-101"]
    with pytest.raises(BadRequest, match=r"only patient.*hold nobody out"):
        split_cases(one, share=0.1, seed=0)
    assert split_cases(one, share=0, seed=0) == Split(tuple(one), ())


def test_the_digest_knows_who_is_where():
    digests = {Split(("a", "b"), ("c",)).digest, Split(("a",), ("b", "c")).digest, Split(("a", "b", "c"), ()).digest}
    assert len(digests) == 3
