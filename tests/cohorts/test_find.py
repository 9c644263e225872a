"""Which cases several paths hold, and what becomes of those that hold none."""

from napari_diffseg.cohorts.find import find_cases
from plugin_fakes import write_images


def test_cases_of_one_name_take_the_names_of_their_folders(tmp_path):
    for site in ("north", "south"):
        write_images(tmp_path / site / "p1", case_id="p1")
    found = find_cases([tmp_path / "north", tmp_path / "south"])
    assert [case.name for case in found.cases] == ["north_p1", "south_p1"]
    assert found.renamed == (("p1", "north_p1"), ("p1", "south_p1"))


def test_a_path_without_a_case_costs_no_other(tmp_path):
    write_images(tmp_path / "p1", case_id="p1")
    mixed = tmp_path / "sites"
    for name in ("imagesTr", "imagesTs"):
        (mixed / name).mkdir(parents=True)
    found = find_cases([mixed, tmp_path / "p1"])
    assert [case.name for case in found.cases] == ["p1"]
    [(path, err)] = found.refused
    assert path == mixed
    assert "imagesTr and imagesTs" in str(err)
