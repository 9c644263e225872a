from napari_diffseg.ensemble.window import describe_scope


def test_a_range_that_counts_from_the_end_says_which_slices_it_means():
    (said,) = describe_scope("-5:", None, slices=range(150, 155), sampled=(150,))
    assert said == "Only slices -5: (150 to 154, counted from the end) are asked for: masks are empty elsewhere."
    assert describe_scope("2:4", None, slices=(2, 3), sampled=(2,)) == (
        "Only slices 2:4 are asked for: masks are empty elsewhere.",
    )
    assert describe_scope(None, None, slices=range(4), sampled=()) == ()


def test_slices_without_brain_are_said_to_give_empty_masks():
    assert describe_scope("-5:", None, slices=range(150, 155))[-1] == "None of them holds brain: all masks are empty."
