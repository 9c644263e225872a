"""Regions: the values of every BraTS year, nesting as a property, label maps there and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_diffseg.errors import BadRequest
from napari_diffseg.regions import (
    CONVENTIONS,
    Region,
    brats_convention,
    compose_label_map,
    containers,
    label_names,
    masks_of_channels,
    nest,
    number_channels,
    own_values,
    problem_with,
    regions_described,
    regions_named,
    split_label_map,
    with_values_of,
)


def region(name, *values):
    return Region(name=name, values=values)


@pytest.mark.parametrize(
    ("year", "enhancing", "core", "whole"),
    [
        ("brats2012", {4}, {1, 3, 4}, {1, 2, 3, 4}),
        ("brats2016", {4}, {1, 3, 4}, {1, 2, 3, 4}),
        ("brats2017", {4}, {1, 4}, {1, 2, 4}),
        ("BraTS2021", {4}, {1, 4}, {1, 2, 4}),
        ("brats2022", {4}, {1, 4}, {1, 2, 4}),
        ("brats2023", {3}, {1, 3}, {1, 2, 3}),
        ("brats2025", {3}, {1, 3}, {1, 2, 3}),
        ("decathlon", {3}, {2, 3}, {1, 2, 3}),
    ],
)
def test_every_year_has_its_values(year, enhancing, core, whole):
    named = {r.name: set(r.values) for r in regions_named(year)}
    assert (named["enhancing tumour"], named["tumour core"], named["whole tumour"]) == (enhancing, core, whole)


def test_a_convention_that_is_not_known_is_refused_with_those_that_are():
    for word in ("brats", "brats2011", "bratsfoo", "isles"):
        with pytest.raises(BadRequest, match="brats2021"):
            regions_named(word)


@pytest.mark.parametrize(
    ("values", "year"), [({1, 2, 4}, "brats2021"), ({1, 2, 3}, "brats2023"), ({4}, "brats2021"), ({1, 2}, None)]
)
def test_the_labels_of_a_data_set_tell_its_year(values, year):
    assert brats_convention(values) == year


def test_labels_that_fit_two_years_or_none_are_asked_about():
    with pytest.raises(BadRequest, match="brats2016 or brats2024"):
        brats_convention({1, 2, 3, 4})
    with pytest.raises(BadRequest, match="no 5"):
        brats_convention({1, 5})


@pytest.mark.parametrize(
    ("labels", "convention"),
    [
        ({"background": [0], "edema": [1], "non-enhancing tumor": [2], "enhancing tumour": [3]}, "decathlon"),
        ({"NCR": [1], "ED": [2], "ET": [4]}, "brats2021"),
        ({"NETC": [1], "SNFH": [2], "ET": [3], "RC": [4]}, "brats2024"),
        ({"whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": [3]}, "decathlon"),
        ({"necrosis": [1], "edema": [2], "non_enhancing": [3], "enhancing": [4]}, "brats2016"),
    ],
)
def test_what_a_data_set_calls_its_labels_tells_the_regions(labels, convention):
    assert regions_described(labels) == CONVENTIONS[convention]


def test_names_that_are_no_parts_of_a_tumour_tell_nothing():
    assert regions_described({"background": [0], "lesion": [1]}) is None
    assert regions_described({"edema": [1], "enhancing": [2, 3]}) is None
    assert regions_described({}) is None


def test_which_region_lies_within_which_follows_from_their_values():
    assert containers(regions_named("brats2021")) == (None, 0, 1)
    assert containers(regions_named("brats2024")) == (None, 0, 1, None)
    assert containers([region("core", 2), region("ventricle", 7), region("whole", 1, 2)]) == (2, None, None)
    assert containers([region("a"), region("b", 1)]) == (None, None)


@pytest.mark.parametrize(
    ("year", "values"), [("brats2021", (2, 1, 4)), ("brats2023", (2, 1, 3)), ("decathlon", (1, 2, 3))]
)
def test_a_label_map_has_the_values_of_the_year(year, values):
    assert own_values(regions_named(year)) == values


def test_a_region_without_a_label_of_its_own_gets_one_that_nobody_has():
    assert own_values([region("whole", 1, 2), region("a", 1), region("b", 2)]) == (3, 1, 2)
    assert own_values([region("lesion")]) == (1,)


def test_regions_that_cannot_go_together_are_told_why():
    assert "share label 2" in problem_with([region("a", 1, 2), region("b", 2, 3)])
    assert "same labels" in problem_with([region("a", 1), region("b", 1)])
    assert "two regions are called 'a'" in problem_with([region("a", 1), region("a", 2)])
    assert all(problem_with(regions) is None for regions in CONVENTIONS.values())


@given(st.sampled_from(sorted(CONVENTIONS)), st.data())
def test_nested_masks_and_probabilities_keep_the_order_and_take_nothing_away(name, data):
    regions = CONVENTIONS[name]
    for kind, elements in ((np.bool_, st.booleans()), (np.float32, st.floats(0, 1, width=32))):
        values = data.draw(arrays(kind, (len(regions), 3, 2), elements=elements))
        nested = nest(values, regions)
        assert nested.dtype == values.dtype
        assert (nested[0] >= nested[1]).all()
        assert (nested[1] >= nested[2]).all()
        assert (nested >= values).all()
        np.testing.assert_array_equal(nested[2], values[2])
        np.testing.assert_array_equal(nest(nested, regions), nested)


def test_the_mean_of_nested_members_is_nested():
    members = np.random.default_rng(0).random((9, 3, 50)) > 0.5
    regions = regions_named("brats2023")
    mean = np.mean([nest(m, regions) for m in members], axis=0)
    assert (np.diff(mean, axis=0) <= 0).all()


@given(st.sampled_from(sorted(CONVENTIONS)), st.data())
def test_a_label_map_of_nested_masks_gives_them_back(name, data):
    regions = CONVENTIONS[name]
    masks = nest(data.draw(arrays(np.bool_, (len(regions), 4, 3))), regions)
    masks[3:] &= ~masks[0]  # a cavity and a tumour exclude each other
    np.testing.assert_array_equal(split_label_map(compose_label_map(masks, regions), regions), masks)


def test_a_label_map_of_one_year_is_written_with_the_values_of_another():
    labels = np.array([0, 2, 1, 4], np.uint8)
    masks = split_label_map(labels, regions_named("brats2021"))
    np.testing.assert_array_equal(compose_label_map(masks, regions_named("brats2023")), [0, 2, 1, 3])


def test_large_values_are_held():
    regions = [region("a", 300)]
    labels = compose_label_map(np.array([[True, False]]), regions)
    assert labels.tolist() == [300, 0]


WHOLE_CORE_ENHANCING = regions_named("brats2021")


@pytest.mark.parametrize(
    ("word", "own"),
    [
        (None, (2, 1, 4)),
        ("brats2016", (2, 1, 4)),
        ("brats2020", (2, 1, 4)),
        ("brats2023", (2, 1, 3)),
        ("brats2025", (2, 1, 3)),
        ("decathlon", (1, 2, 3)),
        ("nnunet", (1, 2, 3)),
    ],
)
def test_regions_get_the_values_of_the_year_that_is_asked_for(word, own):
    assert own_values(with_values_of(WHOLE_CORE_ENHANCING, word)) == own


def test_regions_get_their_values_by_what_they_are_called_in_any_order():
    ours = (region("ET", 9), region("WT", 7, 8, 9), region("TC", 8, 9))
    asked = with_values_of(ours, "brats2021")
    assert {r.name: r.values for r in asked} == {"ET": (4,), "WT": (1, 2, 4), "TC": (1, 4)}
    tissues = (region("edema", 1), region("non-enhancing tumor", 2), region("enhancing tumor", 3))
    assert own_values(with_values_of(tissues, "brats2021")) == (2, 1, 4)
    with_cavity = regions_named("brats2024")
    assert own_values(with_values_of(with_cavity, "nnunet")) == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("regions", "word", "why"),
    [
        ((region("lesion"),), "brats2021", "no label for 'lesion'"),
        ((region("whole tumour", 1, 2, 4),), "brats2021", "needs whole tumour, tumour core and enhancing tumour"),
        (regions_named("brats2021")[:2], "brats2023", "needs whole tumour"),
        (regions_named("brats2024"), "brats2021", "no label for 'resection cavity'"),
        (regions_named("brats2021"), "isles", "no regions called isles"),
    ],
)
def test_values_that_would_mean_something_else_are_refused(regions, word, why):
    with pytest.raises(BadRequest, match=why):
        with_values_of(regions, word)


def test_each_value_of_a_label_map_is_named_by_what_of_a_region_it_is():
    assert label_names(with_values_of(WHOLE_CORE_ENHANCING, "brats2023")) == {
        1: "tumour core outside enhancing tumour",
        2: "whole tumour outside tumour core",
        3: "enhancing tumour",
    }


@given(st.permutations(WHOLE_CORE_ENHANCING), arrays(np.bool_, (3, 2, 3)))
def test_numbers_of_channels_and_masks_are_the_same_in_any_order(regions, masks):
    nested = nest(masks, regions)
    np.testing.assert_array_equal(masks_of_channels(number_channels(nested, regions), regions), nested)
    back = split_label_map(compose_label_map(nested, regions), regions)
    np.testing.assert_array_equal(back, nested)
