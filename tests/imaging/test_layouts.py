"""What finding cases to segment, training and evaluation make of data sets as people have them."""

from __future__ import annotations

import pytest
from layouts import FOUR, LAYOUTS, value_of

from napari_diffseg.errors import BadCase, DiffsegError
from napari_diffseg.evaluation.cases.find_truth import TruthFolder
from napari_diffseg.imaging.case import read_case
from napari_diffseg.imaging.case_files import find_case_sources, told_apart
from napari_diffseg.imaging.formats.nifti import read_mask
from napari_diffseg.recipe import Recipe
from napari_diffseg.training.config import DataSettings
from napari_diffseg.training.folders import FolderSource, find_cases


def each(step):
    known = [layout for layout in LAYOUTS if getattr(layout, step) is not None]
    return pytest.mark.parametrize("layout", known, ids=[layout.name for layout in known])


@pytest.fixture
def root(tmp_path, layout):
    layout.write(tmp_path / "study")
    return tmp_path / "study"


def segmented(layout, root):
    """The cases as `predict` reads them."""
    found = told_apart(find_case_sources(root / layout.start, modalities=layout.modalities, pick=layout.pick))
    return [
        read_case(one.readable(), modalities=layout.modalities, may_miss=True, case_id=one.name, pick=layout.pick)
        for one in found
    ]


@each("predict")
def test_cases_are_found_whole_and_unmixed_or_asked_about(root, layout):
    if isinstance(layout.predict, str):
        with pytest.raises(BadCase, match=layout.predict):
            segmented(layout, root)
        return
    cases = segmented(layout, root)
    assert {case.id: set_of(case) for case in cases} == {
        name: {m: value_of(k, m) for m in layout.modalities if (k, m) in present(layout)}
        for name, k in layout.predict.items()
    }
    assert len(cases) == len(layout.predict)


def present(layout):
    kinds = set(layout.files.values())
    return {(k, m) for k, kind in kinds for m in (FOUR if kind == "4d" else [kind])}


def set_of(case):
    return {m: int(volume.data.max()) for m, volume in case.volumes.items()}


@each("evaluate")
def test_the_truth_of_each_case_is_found_or_asked_about(root, layout):
    truth = TruthFolder(root / layout.truth)
    if isinstance(layout.evaluate, str):
        (name,) = layout.predict if isinstance(layout.predict, dict) else ("F-1",)
        with pytest.raises(BadCase, match=layout.evaluate):
            truth.of(name)
        return
    for name, case in layout.evaluate.items():
        for path in truth.of(name):
            assert read_mask(path).data.sum() == case + 1
    assert truth.unused(layout.evaluate) == set()


@each("train")
def test_what_is_trained_on_is_each_case_with_its_mask(root, layout):
    def read():
        data = DataSettings(pick=layout.pick)
        found = find_cases(root, modalities=layout.modalities, pick=layout.pick)
        source = FolderSource(found, recipe, data, seed=0, root=root)
        return {name: source.read(name) for name in source.places}

    recipe = Recipe(modalities=layout.modalities, size=(16, 16))
    if isinstance(layout.train, str):
        with pytest.raises(DiffsegError, match=layout.train):
            read()
        return
    read_cases = read()
    assert set(read_cases) == set(layout.train)
    for name, case in layout.train.items():
        assert set_of(read_cases[name].case) == {m: value_of(case, m) for m in layout.modalities}
        assert read_cases[name].readers[0].sum() == case + 1
