import pytest

from napari_diffseg.imaging.case_files import find_case_files
from napari_diffseg.imaging.names.mask_names import is_brain_mask_name
from napari_diffseg.imaging.names.naming import modality_of


@pytest.mark.parametrize(
    "name",
    [
        "p1_T1_bet_mask",
        "p1_bet_T1_mask",
        "p1_hdbet_mask",
        "hd-bet_mask",
        "t1_stripped_mask.nii.gz",
        "p7_t1_skullstripped_mask",
        "brain_mask",
        "mask_brain",
        "brainMask",
        "HEAD_MASK",
        "skull_mask",
        "p_brain_extraction_mask",
        "brain_parenchyma_segmentation",
        "x_tissue_seg",
        "T1_brain_seg",
        "T1_brain_pveseg",
        "p_icv_mask",
        "wm_seg",
        "sub-1_desc-brain_mask",
        "sub-1_label-GM_probseg",
        "sub-01_label-brain_mask",
    ],
)
def test_a_mask_of_brain_head_or_tissue_is_known_by_its_name_and_is_no_reference(name):
    assert is_brain_mask_name(name)
    assert modality_of(f"{name.removesuffix('.nii.gz')}.nii.gz") is None


@pytest.mark.parametrize(
    "name",
    [
        "brain_tumor_seg",
        "brain_017_seg",
        "head_03_mask",
        "VSD.Brain_3more.XX.XX.OT",
        "p_seg",
        "p_lesion_mask",
        "flair_bet_lesion_mask",
        "sub-1_space-T1w_desc-lesion_mask",
        "MASK",
    ],
)
def test_a_lesion_in_a_brain_is_no_mask_of_the_brain(name):
    assert not is_brain_mask_name(name)
    assert modality_of(f"{name}.nii.gz") == "seg"


def test_a_brain_mask_beside_the_images_of_a_case_is_no_reference(tmp_path):
    for name in ("p1_T1", "p1_FLAIR", "p1_T1_bet_mask"):
        (tmp_path / f"{name}.nii.gz").touch()
    assert list(find_case_files(tmp_path)) == ["t1", "flair"]
