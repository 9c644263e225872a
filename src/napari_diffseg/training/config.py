"""Everything that decides a training: one frozen tree of settings, each declared once."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from napari_diffseg.events import parse_slices
from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.recipe import LabelName, Modality, Recipe
from napari_diffseg.regions import CONVENTIONS, convention_named
from napari_diffseg.synthesis.settings import PhantomFamily

_FORMERLY = {"uniform": 1.0, "noisy": 0.2}
"""Values of `timesteps`, and of `noisiest`, which took its place."""

ANY_BRATS: Final = "brats"
"""The regions of BraTS, of a year that the labels of the data set tell."""

_UNTIL_TOLD: Final = "brats2023"


def _convention(word: str | None) -> str | None:
    return word if word is None or word == ANY_BRATS else convention_named(word)


def _checked_slices(text: str | None) -> str | None:
    if text is not None:
        parse_slices(text)
    return text


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkSettings(_Section):
    """The network's shape; its channels in and out follow from the recipe."""

    model_channels: int = Field(32, description="Channels that channel_mult multiplies.")
    channel_mult: tuple[int, ...] = Field((1, 1, 2, 3, 4), description="Channels of each level, full size first.")
    num_res_blocks: int = Field(1, description="Residual blocks on a level.")
    attention_factors: tuple[int, ...] = Field((), description="Downsampling factors with attention.")
    num_heads: int = Field(1, description="Attention heads.")
    scale_shift_norm: bool = Field(True, description="Whether the time scales and shifts features (FiLM).")
    resblock_updown: bool = Field(False, description="Whether residual blocks change the resolution.")
    dropout: float = Field(0.0, description="Share of features dropped in training.")

    def unet_config(self, recipe: Recipe) -> UNetConfig:
        """The network for a recipe's channels.

        Raises
        ------
        BadRecipe
            If a value is out of bounds or contradicts another.
        """
        return UNetConfig(in_channels=recipe.in_channels, out_channels=recipe.out_channels, **self.model_dump())


class DataSettings(_Section):
    """What is learned from, and what is held out; where it says so, of folders of cases only."""

    phantoms: int = Field(450, ge=1, le=1_000_000, description="Phantoms to draw and train on, without a folder.")
    held_out_phantoms: int = Field(4, ge=0, le=10_000, description="Phantoms drawn beside them for validation.")
    families: tuple[PhantomFamily, ...] = Field(
        ("grown",), min_length=1, description="Families that phantoms are drawn from, in turn."
    )
    held_out_family: PhantomFamily | None = Field(
        None, description="Family of the held-out phantoms; none: those that are trained on."
    )
    faint_share: float = Field(
        0.0, ge=0, le=1, description="Share of the phantoms whose oedema hardly shows in its outer third."
    )
    lookalike_share: float = Field(
        0.0, ge=0, le=1, description="Share of the phantoms with much that looks like a lesion and is none."
    )
    scalp_share: float = Field(0.0, ge=0, le=1, description="Share of the phantoms whose skull is not stripped.")
    held_out: float = Field(0.1, ge=0, lt=1, description="Share of the patients held out; of folders.")
    slices: Annotated[str | None, AfterValidator(_checked_slices)] = Field(
        None,
        description="Half-open range A:B of source slices to train on; of folders. Default: all with brain. Of a "
        "second plane always all.",
    )
    empty_share: float | None = Field(
        0.2, ge=0, le=1, description="Share of drawn slices without lesion; none: every slice is as likely."
    )
    channels: tuple[Modality, ...] | None = Field(None, description="What the channels of 4-D files are; of folders.")
    pick: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        (),
        max_length=16,
        description="Which of several images of one modality to take: patterns of file names, such as *_bias*, or "
        "entities of BIDS, such as acq-3d; of folders.",
    )
    reader_pattern: str | None = Field(
        None, max_length=200, description="Names of several readers' masks, {case} the case's name; of folders."
    )
    lesion_labels: tuple[int, ...] | None = Field(
        None, min_length=1, description="Labels that count as lesion; none: all above 0; of folders."
    )
    largest_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Largest share of the brain that a mask may fill; more is asked about; of folders.",
    )
    region_files: dict[LabelName, str] | None = Field(
        None,
        max_length=16,
        description="Of regions that have files of their own: the names of their readers' masks by region, {case} the "
        "case's name; a case without any is learned from without that region; of folders.",
    )
    resample: Modality | None = Field(None, description="Modality whose grid the others are brought to; of folders.")


class LossSettings(_Section):
    """What the network is trained for; the recipe says what it predicts, and whether it learns the variance."""

    dice_weight: float = Field(0.1, ge=0, le=10, description="Weight of soft Dice on the predicted mask.")
    variational_weight: float = Field(
        1.0, ge=0, le=1000, description="Weight of the variational bound that trains a learned variance."
    )
    region_weights: tuple[Annotated[float, Field(ge=0, le=1000)], ...] | None = Field(
        None,
        max_length=16,
        description="Weight of each region's loss, in the order of recipe.labels; none: equal.",
    )
    noisiest: float = Field(
        0.2, gt=0, le=1, description="The part of the timesteps, from the noisiest on, of every second one; 1: evenly."
    )

    @model_validator(mode="before")
    @classmethod
    def _as_it_is_called(cls, values: Any) -> Any:
        """Trainings that were begun when it was called `timesteps` go on."""
        if isinstance(values, dict) and values.get("timesteps") in _FORMERLY:
            kept = {name: value for name, value in values.items() if name != "timesteps"}
            return kept | {"noisiest": _FORMERLY[values["timesteps"]]}
        return values


class OptimiserSettings(_Section):
    """How long and how fast to learn (AdamW)."""

    steps: int = Field(4500, ge=1, le=100_000_000, description="Steps of the whole training.")
    batch_size: int = Field(12, ge=1, le=65536, description="Slices a step, over all processes and parts.")
    accumulate: int = Field(1, ge=1, le=1024, description="Parts that a step's slices are evaluated in.")
    learning_rate: float = Field(4e-4, gt=0, le=1, description="Largest learning rate.")
    warmup: int = Field(100, ge=0, description="Steps in which the rate rises from 0.")
    final_rate: float = Field(0.1, ge=0, le=1, description="Share of the rate that a cosine falls to; 1: constant.")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="Decoupled weight decay.")
    ema: float = Field(0.998, ge=0, lt=1, description="Decay of the moving average of the weights, which is kept.")
    clip_gradient: float = Field(1.0, gt=0, description="Largest norm of a step's gradient.")
    precision: Literal["bf16", "fp32"] = Field("bf16", description="Arithmetic of the network (autocast).")


class AugmentationSettings(_Section):
    """Variety for the slices."""

    kind: Literal["strong", "off"] = Field("strong", description="Geometry, contrast, bias, blur and noise, or none.")
    missing: float = Field(0.1, ge=0, lt=1, description="Probability that a modality is absent; one always stays.")
    bias: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Strength of a bias field on the brightness before the z-score: largest coefficient of its "
        "logarithm; 0: none.",
    )


class ValidationSettings(_Section):
    """Held-out cases segmented as users will segment them."""

    every: int = Field(500, ge=1, description="Steps between two validations.")
    cases: int = Field(4, ge=1, le=10_000, description="Held-out cases used, at most.")
    members: int = Field(5, ge=2, le=100, description="Masks sampled a case.")
    timesteps: int | None = Field(None, ge=1, description="Denoising steps a mask; none: the recipe's.")
    slices: int | None = Field(8, ge=1, description="Slices about the lesion's middle; none: the whole volume.")


class TrainingConfig(_Section):
    """All settings of one training; equal settings and data give equal weights on one kind of device."""

    preset: str = Field("default", max_length=32, description="The preset that it started from.")
    regions: Annotated[str | None, Field(max_length=64), AfterValidator(_convention)] = Field(
        None,
        description="Regions to learn at once, which the recipe's labels and label_values follow: "
        f"{', '.join(CONVENTIONS)}; {ANY_BRATS}: of the year that the data tell. None: the recipe's own.",
    )
    seed: int = Field(1000, ge=0, lt=2**31, description="Of weights, draws and split; the first phantom's.")
    start_from: str | None = Field(
        None, max_length=4096, description="Checkpoint whose weights the training begins with; none: drawn ones."
    )
    save_every: int = Field(100, ge=1, description="Steps between two saved states: the most that a crash can cost.")
    log_every: int = Field(20, ge=1, description="Steps whose mean loss makes a row of log.csv.")
    deterministic: bool = Field(True, description="Same device, same bytes; a little slower on a GPU.")
    weights: Literal["float32", "float16"] = Field("float32", description="How the result stores its weights.")
    recipe: Recipe
    network: NetworkSettings = NetworkSettings()
    data: DataSettings = DataSettings()
    loss: LossSettings = LossSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    validation: ValidationSettings = ValidationSettings()

    @model_validator(mode="before")
    @classmethod
    def _with_labels(cls, values: Any) -> Any:
        """The recipe's labels, where other settings say what they are."""
        if not isinstance(values, dict) or not isinstance(values.get("recipe"), (dict, Recipe)):
            return values
        given = values["recipe"]
        recipe = given.model_dump() if isinstance(given, Recipe) else given
        word, data = values.get("regions"), values.get("data")
        if isinstance(word, str):
            regions = CONVENTIONS[_UNTIL_TOLD if word == ANY_BRATS else convention_named(word)]
            labels = {"labels": [r.name for r in regions], "label_values": [r.values for r in regions]}
            return values | {"recipe": recipe | labels}
        lesion = data.lesion_labels if isinstance(data, DataSettings) else (data or {}).get("lesion_labels")
        if lesion and len(recipe.get("labels", ("lesion",))) == 1:
            return values | {"recipe": recipe | {"label_values": [lesion]}}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_regions()
        if self.optimiser.batch_size % self.optimiser.accumulate:
            raise ValueError(
                f"batch_size {self.optimiser.batch_size} must be a multiple of accumulate {self.optimiser.accumulate}"
            )
        if (self.validation.timesteps or 0) > self.recipe.train_timesteps:
            raise ValueError(
                f"validation.timesteps {self.validation.timesteps} exceed the {self.recipe.train_timesteps} of training"
            )
        return self

    def _check_regions(self) -> None:
        labels, files, weights = self.recipe.labels, self.data.region_files or {}, self.loss.region_weights
        if strange := sorted(set(files) - set(labels)):
            raise ValueError(f"data.region_files name {strange[0]}, which is none of recipe.labels {labels}")
        undefined = [r.name for r in self.recipe.regions if not r.values and r.name not in files]
        if len(labels) > 1 and undefined:
            raise ValueError(
                f"recipe.labels name {len(labels)} regions, but nothing says what {undefined[0]} is: give "
                "recipe.label_values, the labels of the masks that each is made of, or regions = 'brats'"
            )
        if len(labels) > 1 and self.data.lesion_labels is not None:
            raise ValueError("data.lesion_labels is for one region: of several recipe.label_values say it")
        if weights is not None and (len(weights) != len(labels) or not any(weights)):
            raise ValueError(f"loss.region_weights are {weights}: give one for each of {labels}, one at least above 0")
