import subprocess
import sys
from pathlib import Path

import pytest

from napari_diffseg.errors import BadCase
from napari_diffseg.imaging.case_files import find_case_files, looks_like_case
from napari_diffseg.imaging.names.grouping import case_id_of
from napari_diffseg.imaging.names.naming import (
    case_stem,
    is_image_name,
    modalities_named,
    modality_named,
    modality_of,
    printable,
)


@pytest.mark.parametrize(
    ("name", "modality", "stem"),
    [
        ("Brats18_CBICA_AAM_1_t1.nii.gz", "t1", "Brats18_CBICA_AAM_1"),
        ("Brats18_CBICA_AAM_1_t1ce.nii.gz", "t1ce", "Brats18_CBICA_AAM_1"),
        ("Brats18_CBICA_AAM_1_t2.nii.gz", "t2", "Brats18_CBICA_AAM_1"),
        ("Brats18_CBICA_AAM_1_flair.nii.gz", "flair", "Brats18_CBICA_AAM_1"),
        ("Brats18_CBICA_AAM_1_seg.nii.gz", "seg", "Brats18_CBICA_AAM_1"),
        ("BraTS-GLI-00000-000-t1n.nii.gz", "t1", "BraTS-GLI-00000-000"),
        ("BraTS-GLI-00000-000-t1c.nii.gz", "t1ce", "BraTS-GLI-00000-000"),
        ("BraTS-GLI-00000-000-t2w.nii.gz", "t2", "BraTS-GLI-00000-000"),
        ("BraTS-GLI-00000-000-t2f.nii.gz", "flair", "BraTS-GLI-00000-000"),
        ("BraTS-GLI-00000-000-seg.nii.gz", "seg", "BraTS-GLI-00000-000"),
        ("VSD.Brain.XX.O.MR_T1c.54514.nii", "t1ce", "VSD.Brain.XX.O.MR"),
        ("VSD.Brain_3more.XX.XX.OT.54517.nii", "seg", "VSD.Brain_3more.XX.XX"),
        ("brats_train_001_flair_080_w.nii.gz", "flair", "brats_train_001_080_w"),
        ("brats_train_001_t1ce_080_w.nii.gz", "t1ce", "brats_train_001_080_w"),
        ("UPENN-GBM-00001_11_T1GD.nii.gz", "t1ce", "UPENN-GBM-00001_11"),
        ("sub-01_T1w.nii.gz", "t1", "sub-01"),
        ("sub-01_ce-gadolinium_T1w.nii.gz", "t1ce", "sub-01"),
        ("sub-01_ce-gadolinium_FLAIR.nii.gz", "flair", "sub-01"),
        ("pat7_t1post.nii", "t1ce", "pat7"),
        ("pat7_T1_post.nii", "t1ce", "pat7"),
        ("pat7 T1 Gd.nii", "t1ce", "pat7"),
        ("pat7_t1_post_contrast.nii", "t1ce", "pat7"),
        ("pat7_T2-FLAIR.nii.gz", "flair", "pat7"),
        ("pat7_fla.mgz", "flair", "pat7"),
        ("flair.hdr", "flair", ""),
        ("pat7_flair_seg.nii.gz", "seg", "pat7"),
        ("pat7_lesion_mask.nii.gz", "seg", "pat7"),
        ("lesion_7_flair.nii.gz", "flair", "lesion_7"),
        ("sub-01_space-T1w_T2w.nii.gz", "t2", "sub-01"),
        ("sub-01_space-T1w_ce-gadolinium_T1w.nii.gz", "t1ce", "sub-01"),
        ("sub-01_ce-gad_desc-preproc_T1w.nii.gz", "t1ce", "sub-01"),
        ("sub-01_space-T1w_desc-preproc_FLAIR.nii.gz", "flair", "sub-01"),
        ("sub-01_ses-2_space-MNI152NLin2009cAsym_res-2_T1w.nii.gz", "t1", "sub-01_ses-2"),
        ("sub-01_space-T1w_desc-lesion_mask.nii.gz", "seg", "sub-01"),
        ("t2_shift_t1.nii.gz", "t1", "t2_shift"),
        ("t2_shift_t2_flair.nii.gz", "flair", "t2_shift"),
        ("t2_shift_seg.nii.gz", "seg", "t2_shift"),
        ("lacks_t1ce_flair.nii.gz", "flair", "lacks_t1ce"),
        ("pat7_t1_t2.nii.gz", "t2", "pat7_t1"),
        ("pat7_flair_in_t1.nii.gz", "flair", "pat7"),
        ("pat7_t1_to_T2_FLAIR.nii.gz", "t1", "pat7"),
        ("pat7_t2_on_t1_gd.nii.gz", "t2", "pat7"),
    ],
)
def test_a_name_states_its_modality_and_its_case(name, modality, stem):
    assert modality_of(name) == modality
    assert modality_of(name.upper()) == modality
    assert case_stem(name) == stem


@pytest.mark.parametrize(
    "name",
    [
        "BRATS_001_0000.nii.gz",
        "BRATS_001_0003.nii.gz",
        "out12.nii",
        "t123.nii",
        "pat7_flairx.nii",
        "pat7_T1_FLAIR.nii",
        "sub-01_space-T1w_desc-brain_mask.nii.gz",
        "pat7_t1_post_op.nii",
        "pat7_brain_mask.nii.gz",
        "pat7_segauto.nii.gz",
        "pat7_algo1.nii.gz",
        "t1/pat7.nii.gz",
        "",
    ],
)
def test_a_name_that_states_no_modality_is_not_guessed(name):
    assert modality_of(name) is None


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("3_t1_mprage_sag", "t1"),
        ("9_t1_mprage_sag_KM", "t1ce"),
        ("4_t2_tse_tra", "t2"),
        ("5_t2_tirm_tra_dark-fluid", "flair"),
        ("t2_spc_da-fl_sag_p2_iso", "flair"),
        ("T2_3D_FLAIR", "flair"),
        ("T1_MPRAGE_POST", "t1ce"),
        ("T1_axial_gad", "t1ce"),
        ("AX_T1_+C", "t1ce"),
        ("T1W_GD_3D_TFE_SENSE", "t1ce"),
        ("T1_post_bet_reg", "t1ce"),
        ("gd_T1", "t1ce"),
        ("sub-01_acq-postcontrast_T1w", "t1ce"),
        ("sub-01_acq-mprage_T1w", "t1"),
        ("sub-01_acq-precontrast_T1w", "t1"),
        ("T1_pre_contrast", "t1"),
        ("T1_noncontrast", "t1"),
        ("t1_ohne_KM", "t1"),
        ("T1_native_space", "t1"),
        ("CT1_r2s_bet_reg", "t1ce"),
        ("cT1w", "t1ce"),
        ("T1km", "t1ce"),
        ("3DT1", "t1"),
        ("3DT1GADO", "t1ce"),
        ("3DFLAIR", "flair"),
        ("flair2t1", "flair"),
        ("FLAIR_to_T1space", "flair"),
        ("ID_T1c_bias", "t1ce"),
        ("p_tumor_segmentation", "seg"),
        ("p_tumorMask", "seg"),
        ("p_msk", "seg"),
        ("p_automated_approx_segm", "seg"),
        ("GOLD_STANDARD_STRIPPED", "seg"),
        ("sub-1_ses-1_space-MNI_label-L_desc-T1lesion_mask", "seg"),
        ("sub-1_space-flair_seg-lst", "seg"),
        ("non-contrast T1", "t1"),
        ("without_contrast_T1", "t1"),
        ("no_gd_t1", "t1"),
        ("T1_vor_KM", "t1"),
        ("post-contrast T1", "t1ce"),
        ("T1w_post-contrast", "t1ce"),
        ("T1_C+", "t1ce"),
        ("T1-weighted", "t1"),
        ("T2weighted", "t2"),
        ("T2_in_FLAIR_space", "t2"),
        ("T1_coreg_to_FLAIR", "t1"),
        ("FLAIR_registered_T1", None),
        ("T1_C-", "t1"),
        ("T1_GM", None),
        ("T1_lesion_filled", None),
        ("sub-1_acq-flair_T2w", None),
        ("sub-1_acq-swi_T2w", None),
        ("p_MPRAGE", "t1"),
        ("3D_MPRAGE_post_gad", "t1ce"),
        ("T1_map", None),
        ("T2_map", None),
        ("T2_star", None),
        ("t2_swi", None),
        ("t2_fl2d_hemo", None),
        ("sub-01_T2starw", None),
        ("sub-01_part-phase_T2w", None),
        ("sub-01_acq-3d_T1map", None),
        ("T1_subtraction", None),
        ("T1_mprage_SUB", None),
        ("T1_sub-01", "t1"),
        ("t2_spc_ir_sag_p2_iso", None),
        ("T2_reg_T1", None),
        ("t1_2_flair", None),
        ("sub-01_ce-none_T1w", "t1"),
        ("sub-01_ce-gadolinium_T1w", "t1ce"),
        ("patient01_T1WKS", "t1ce"),
        ("ples_lpa_m01_FLAIR", None),
        ("p_T1_fast_seg", None),
        ("VS-SEG-001_t1_gd", "t1ce"),
        ("sub-01_desc-lesion_dseg", "seg"),
        ("sub-01_desc-aseg_dseg", None),
        ("TCGA-02-1_1997.06.08_GlistrBoost_ManuallyCorrected", "seg"),
        ("T1_pre_post", None),
        ("T1_bias_field", None),
        ("p_T1_FA", None),
        ("flair_x_t1", None),
        ("lesion_probability", None),
        ("pat_seg_softmax", None),
        ("sub-01_label-lesion_probseg", None),
        ("tumor_001", None),
    ],
)
def test_one_word_does_not_decide_whatever_stands_around_it(name, modality):
    assert modality_of(f"{name}.nii.gz") == modality


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("FLAIR_N4_noneck_reduced_winsor_regtoMNI", ""),
        ("T1_r2s_bet_reg", ""),
        ("Flair_subtrMeanDivStd", ""),
        ("pat7_t1_mprage_sag_p2_iso", "pat7"),
        ("pat7_brain_t1n", "pat7"),
        ("pat7_t1_bias", "pat7"),
        ("anna_t1_mprage_sag_20190203112233_3", "anna_20190203112233"),
        ("Sub7_T1_visit2", "Sub7_visit2"),
        ("sub-01_ses-2_acq-a_rec-b_run-1_T1w", "sub-01_ses-2"),
        ("UPENN-GBM-00001_11_automated_approx_segm", "UPENN-GBM-00001_11"),
        ("tumour_mask_01", "tumour_01"),
        ("c_seg", "c"),
        ("GD_seg", "GD"),
        ("p_t1_gd_seg", "p"),
    ],
)
def test_what_says_how_an_image_was_made_is_not_the_case(name, stem):
    assert case_stem(f"{name}.nii.gz") == stem


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("study/p7", "p7"),
        ("study/p7/anat", "p7"),
        ("study/UCSF-1_nifti", "UCSF-1_nifti"),
        ("study/p7/visit2", "p7_visit2"),
        ("study/sub-01/ses-2/anat", "sub-01_ses-2"),
        ("study/p7/20190203", "p7_20190203"),
        ("study/p7/baseline/nifti", "p7_baseline"),
    ],
)
def test_a_folder_that_is_no_patient_takes_the_name_above_it(tmp_path, folder, name):
    assert case_id_of([tmp_path / folder / "T1_bet.nii.gz", tmp_path / folder / "FLAIR_bet.nii.gz"]) == name


@pytest.mark.parametrize(
    ("name", "safe"),
    [(" ", "case"), ("", "case"), ("..", "__"), ("..a", "__a"), (".a", "_a"), (" a ", "a"), ("a/b", "a_b")],
)
def test_a_name_neither_hides_nor_leaves_the_folder_of_results(name, safe):
    assert printable(name) == safe


@pytest.mark.parametrize("name", ["a.nii", "a.NII.GZ", "a.mgz", "a.mgh", "a.hdr"])
def test_images_are_known_by_their_names(name):
    assert is_image_name(name)


@pytest.mark.parametrize("name", ["a.gz", "a.img", "a.png", "nii", "._a.nii.gz", ".hidden.nii", "a.nii.gz.part"])
def test_other_files_and_hidden_ones_are_no_images(name):
    assert not is_image_name(name)


def make(folder, *names):
    for name in names:
        (folder / name).touch()
    return folder


def test_the_files_of_a_case_come_in_canonical_order_and_the_rest_is_left_out(tmp_path):
    make(
        tmp_path,
        *(f"c_{m}.nii.gz" for m in ("flair", "seg", "t2", "t1ce", "t1", "algo1")),
        "README.md",
        "._c_t1.nii.gz",
    )
    (tmp_path / "old_t1.nii").mkdir()
    files = find_case_files(tmp_path)
    assert list(files) == ["t1", "t1ce", "t2", "flair", "seg"]
    assert files["t1"] == tmp_path / "c_t1.nii.gz"


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ((), "no images at all"),
        (("c_0000.nii.gz", "c_0001.nii.gz"), "but c_0000.nii.gz, c_0001.nii.gz: rename"),
        (("c_T1.mif", "c_T2.MNC"), "holds no image that is read, but c_T1.mif, c_T2.MNC: .*convert other formats"),
        (("c_seg.nii.gz",), "but c_seg.nii.gz: rename"),
        (("a_t1.nii.gz", "b_t1.nii.gz", "b_t2.nii.gz"), "holds 2 cases \\(a, b\\)"),
        (("t1.nii.gz", "b_t1.nii.gz"), "holds 2 cases \\(one without a name, b\\)"),
        (("a_t1.nii", "a_t1.nii.gz"), "a_t1.nii and a_t1.nii.gz both say t1"),
        (("a-t1n.nii", "a_t1.nii.gz"), "both say t1"),
    ],
)
def test_a_folder_that_is_not_one_case_is_refused(tmp_path, names, text):
    with pytest.raises(BadCase, match=text):
        find_case_files(make(tmp_path, *names))


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadCase, match="cannot be read"):
        find_case_files(tmp_path / "absent")


def test_a_folder_looks_like_a_case_by_one_name_of_a_modality(tmp_path):
    assert not looks_like_case(make(tmp_path, "c_0000.nii.gz", "c_seg.nii.gz", "t1.txt"))
    assert looks_like_case(make(tmp_path, "c_t2.nii.gz"))
    assert not looks_like_case(tmp_path / "absent")
    assert not looks_like_case(tmp_path / "t1.txt")


@pytest.mark.parametrize(
    ("names", "case_id"),
    [
        (["p/c_7_t1.nii", "p/c_7_flair.nii"], "c_7"),
        (["p/t1.nii", "p/flair.nii"], "p"),
        (["p/c_7_mprage.nii", "p/c_7_dark.nii"], "c_7"),
        (["p/BRATS_001.nii.gz"], "BRATS_001"),
    ],
)
def test_a_case_is_named_by_what_its_files_have_in_common(names, case_id):
    assert case_id_of([Path(n) for n in names]) == case_id


def test_naming_brings_nothing_heavy_with_it():
    code = (
        "import sys, napari_diffseg.imaging.names.naming\n"
        "print([m for m in ('numpy', 'scipy', 'nibabel', 'torch', 'pydantic') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_folder_given_as_two_dots_lends_its_own_name_and_never_the_dots(tmp_path, monkeypatch):
    (tmp_path / "patient_7" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "patient_7" / "sub")
    assert case_id_of([Path("../t1.nii.gz"), Path("../t2.nii.gz")]) == "patient_7"


def test_a_case_is_never_named_with_what_cannot_be_printed():
    assert case_id_of([Path("a\n\udcffb_flair.nii.gz")]) == "a__b"


@pytest.mark.parametrize(
    ("word", "modality"),
    [
        ("FLAIR", "flair"),
        (" T2-FLAIR", "flair"),
        ("t1gd", "t1ce"),
        ("T1c", "t1ce"),
        ("T1+C", "t1ce"),
        ("T1w", "t1"),
        ("T2w", "t2"),
        ("adc", "adc"),
        ("tlce", "tlce"),
    ],
)
def test_a_user_may_spell_a_modality_as_names_of_files_do(word, modality):
    assert modality_named(word) == modality


def test_a_word_means_a_modality_of_the_recipe_however_that_spells_it():
    assert modality_named("t1gd", ("T1c", "ADC")) == "T1c"
    assert modality_named("adc", ("T1c", "ADC")) == "ADC"


def test_an_unknown_channel_beside_a_missing_modality_is_refused_with_what_was_meant():
    with pytest.raises(BadCase, match=r"tlce is no modality that is known, and there is no t1ce: did you mean t1ce\?"):
        modalities_named(["flair", "t1", "tlce", "t2"], ("t1", "t1ce", "t2", "flair"))
    with pytest.raises(BadCase, match="adc is no modality that is known, and there is no t2: spell it as one of"):
        modalities_named(["flair", "t1", "t1ce", "adc"], ("t1", "t1ce", "t2", "flair"))
    assert modalities_named(["T2", "adc", "other"], ("t2",)) == ["t2", "adc", "other"]
