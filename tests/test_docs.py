"""The pages' pictures: what is shown is there and small, and what is there is shown."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LARGEST_BYTES = 300_000
PANEL_BYTES = 1_500_000


def pictures_of(page):
    return [
        (page.parent / link).resolve() for link in re.findall(r"!\[[^]]+\]\(([^)]+\.png)\)", page.read_text("utf-8"))
    ]


def test_every_picture_that_a_page_shows_is_there_and_small():
    shown = [picture for page in PAGES for picture in pictures_of(page)]
    assert shown
    for picture in shown:
        assert picture.is_file(), picture
        assert 1000 < picture.stat().st_size < LARGEST_BYTES, picture


def test_every_picture_in_the_docs_is_shown_by_a_page():
    there = {path.resolve() for path in (ROOT / "docs").rglob("*.png")}
    assert there == {picture for page in PAGES for picture in pictures_of(page)}


def test_the_panels_pictures_are_small_together():
    pictures = list((ROOT / "docs" / "images" / "panel").glob("*.png"))
    assert len(pictures) > 20
    assert sum(picture.stat().st_size for picture in pictures) < PANEL_BYTES


def test_the_panels_page_tells_of_every_part_of_the_panel_and_every_key():
    page = (ROOT / "docs" / "panel.md").read_text("utf-8")
    plugin = ROOT / "src" / "napari_diffseg" / "plugin"
    titles = re.findall(r'_fold", "([^"]+)"', (plugin / "widgets" / "explore_box.py").read_text("utf-8"))
    titles += re.findall(r'_fold",\n\s+"([^"]+)"', (plugin / "widgets" / "explore_box.py").read_text("utf-8"))
    keys = re.findall(
        r'^            "([A-Z][\w-]*)": ', (plugin / "explore" / "exploring.py").read_text("utf-8"), re.MULTILINE
    )
    assert len(titles) >= 7
    assert len(keys) >= 3
    for title in titles:
        assert f"### {title}\n" in page
    for key in keys:
        assert f"| `{key.replace('-', '+')}` |" in page


def test_every_link_between_pages_leads_to_a_file():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
