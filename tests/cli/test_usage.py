"""What the command line says of words that it does not understand."""

import re

import pytest

from napari_diffseg.cli import main

RUN = ["predict", "x", "--checkpoint", "demo", "--out", "o"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            [*RUN, "--membrs", "3"],
            "Unknown option: --membrs. Did you mean --members? See napari-diffseg predict --help.",
        ),
        ([*RUN, "--members", "0"], "or equal to 1. See napari-diffseg predict --help."),
        ([*RUN, "--device", "gpu"], "device: 'gpu' is no device: choose auto, cpu, cuda, cuda:0 or mps. See napari-"),
        (["phantom", "--out", "o", "--kind", "x"], "See napari-diffseg phantom --help."),
        (["frobnicate"], ", ... See napari-diffseg --help."),
    ],
)
def test_a_sentence_ends_once_and_names_the_help_of_its_verb(words, said, capsys):
    assert main(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "verb", ["predict", "export", "train", "evaluate", "info", "convert", "phantom", "demo", "prepare"]
)
def test_no_option_only_repeats_a_default(verb, capsys):
    assert main([verb, "--help"]) == 0
    options = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
    assert not {o for o in options if o.startswith(("--no-", "--empty-"))} - {"--no-window"}
