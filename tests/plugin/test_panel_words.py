"""What an error says in the panel: its sentence, with the controls that help at its end."""

import pytest

from napari_diffseg.errors import BadCase, Remedy
from napari_diffseg.plugin.background.panel_words import worded


@pytest.mark.parametrize(
    ("remedies", "words"),
    [
        ((), "The names do not tell."),
        ((Remedy("channel"),), "The names do not tell."),
        (
            (Remedy("image", "t1=FILE"), Remedy("slices")),
            "The names do not tell (open the images with 'Files…', and choose each under Case, or change Scope).",
        ),
    ],
)
def test_an_error_names_the_controls_that_the_panel_has(remedies, words):
    assert worded(BadCase("The names do not tell.", *remedies)) == words
