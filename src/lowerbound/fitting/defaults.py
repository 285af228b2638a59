"""The decisions about settings that the user left open, each with its reason. No other part of the library has defaults
for these settings.

In increasing precedence they are: the defaults of the recipe's function, those of every fit, those of the recipe, and
those that depend on the data and on earlier decisions. Values that the user gave are not decided here, but other
decisions may depend on them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from lowerbound import baselines, gradients, likelihoods, losses, objectives
from lowerbound.baselines.baseline import NeedsSamples
from lowerbound.data import Dataset
from lowerbound.data.blocks import row_blocks
from lowerbound.data.column_blocks import likelihoods_of_blocks
from lowerbound.data.kinds.table import columns_spelling
from lowerbound.data.log_columns import log_columns
from lowerbound.data.remembered import remembered
from lowerbound.data.sparse import Array
from lowerbound.data.split import num_for_selection
from lowerbound.fitting.colour import RECIPE as RECIPE_OF_COLOUR
from lowerbound.fitting.colour import fits_colour, settings_of_colour
from lowerbound.fitting.company import company
from lowerbound.fitting.low_precision import reason_for_bf16
from lowerbound.fitting.states_of_series import states_of
from lowerbound.models.parts import of_one_element, widths_of
from lowerbound.models.recipe import Recipe
from lowerbound.recipes import recipe_named
from lowerbound.spelling import build, find, parse, takes
from lowerbound.support import LikelihoodFacts
from lowerbound.training.loop import steps_for

__all__ = [
    "GENERAL",
    "Decision",
    "as_ordinal",
    "autoencoder_for",
    "decide",
    "decide_recipe",
    "facts_of",
    "training_rows",
]

GENERAL: dict[str, Any] = {
    "log_columns": (),
    "objective": "iwae",
    "loss": "variational",
    "penalty": None,
    "inference": None,
    "lr": 2e-3,
    "lr_schedule": "cosine",
    "optimizer": "adam",
    "accumulate": 1,
    "ema": None,
    "clip_norm": None,
    "skip_above": None,
    "patience": None,
    "labelled": None,
    "freeze": (),
    "seed": 0,
    "device": "auto",
    "precision": "fp32",
    "devices": 1,
    "strategy": "ddp",
    "compile": "auto",
}
_LARGEST_BATCH, _FEWEST_EPOCHS, _FEWEST_STEPS, _IWAE_SAMPLES, _IWAE_SAMPLES_CONVOLVED = 128, 100, 8000, 8, 3
_FEWEST_FOR_MIXTURE, _MOST_NAMED = 10, 8
_MOST_NUMBERS = 300  # of a row that is no table, for which fits of all candidates take minutes
_ARRAYS = ("array", "series")
_OF_REALS = ("reals", "columns")  # domains whose default likelihood gives way to that of a recipe
_OF_LOSS = ("objective", "gradient", "num_samples")
_OF_NO_MODEL = {"seed", "device", "precision", "devices", "strategy", "log_columns"}


@dataclass(frozen=True)
class Decision:
    """A value and its reason; there is no reason for the defaults of every fit."""

    value: Any
    reason: str = ""


def decide_recipe(dataset: Dataset, given: Mapping[str, Any]) -> Decision:
    """The recipe for data if the user gave nothing but settings of the machine and of columns, else an autoencoder.

    The mixture of factor analysers and latent classes are ahead of, or level with, what a user would have tried first
    on nearly every table of `benchmarks/defaults.py`. The autoencoder of counts is for the few rows that they refuse,
    and for counts where steps or widths are said.
    """
    if dataset.schema.is_written:  # no other recipe fits, whatever else is said
        return _suits(dataset) or Decision("vae")
    if dataset.schema.covariates:
        return Decision("cells", "covariates were given")
    if given.get("blocks") is not None:
        return Decision("multimodal", "blocks were given")
    said = sorted({name for name, value in given.items() if value is not None} - _OF_NO_MODEL)
    suits = _suits(dataset)
    if suits is None:
        return Decision("vae")
    if not said:
        return suits
    trained = autoencoder_for(dataset, said)
    if trained == suits.value:
        return suits
    return Decision(trained, f"{', '.join(said)} was given; with nothing said it is {suits.value}, as {suits.reason}")


def autoencoder_for(dataset: Dataset, said: Collection[str]) -> str:
    """The recipe of an autoencoder for the data: text, molecules and counts have one of their own, counts unless parts
    are said that it does not let one choose.
    """
    suits = _suits(dataset)
    if dataset.schema.is_written or (dataset.schema.kind in _ARRAYS and _has_gaps(dataset.x_train)):
        return "vae" if suits is None else suits.value
    if fits_colour(dataset):  # a likelihood that is said is that of a pixel given z alone
        return "vae" if {"likelihood", "missingness"} & set(said) else RECIPE_OF_COLOUR
    columns = dataset.schema.columns or ()
    if not columns or any(column.kind != "count" or column.missing for column in columns):
        return "vae"
    fixed = recipe_named("vae").option_defaults.keys() - recipe_named("counts").option_defaults.keys()
    return "vae" if fixed & set(said) else "counts"


def _suits(dataset: Dataset) -> Decision | None:
    """The recipe that suits the columns better than an autoencoder with defaults, and the reason; None if there is
    none.
    """
    if dataset.schema.text is not None:
        return Decision("sentence-vae", "the data are text")
    if dataset.schema.molecules is not None:
        return Decision("molecule-vae", "the data are molecules")
    if dataset.schema.kind in _ARRAYS:
        return _of_an_array(dataset)
    if fits_colour(dataset):
        return Decision(RECIPE_OF_COLOUR, "the data are images in colour, whose pixels are told by those around them")
    columns = dataset.schema.columns
    if columns is None or dataset.schema.kind not in ("table", "counts"):
        return None
    kinds, gaps = {column.kind for column in columns}, any(column.missing for column in columns)
    enough, few = training_rows(dataset) >= _FEWEST_FOR_MIXTURE, _on_few_values(dataset)
    if kinds == {"count"} and not gaps:
        return Decision("latent-classes" if enough else "counts", "every column holds counts")
    if kinds == {"continuous"} and not gaps and enough:
        return Decision("mixture-of-factor-analysers", f"every column is continuous and complete{few}")
    if enough and (gaps or len(kinds) > 1 or kinds <= {"categorical", "ordinal", "positive", "date"}):
        reason = "there are gaps" if gaps else f"columns are {' and '.join(sorted(kinds))}"
        return Decision("latent-classes", f"{reason}{few}")
    return None


def _of_an_array(dataset: Dataset) -> Decision | None:
    """What suits series and other arrays of numbers that are no columns."""
    shape = dataset.schema.event_shape
    if _has_gaps(dataset.x_train):
        return Decision("hidden-markov", "steps of the series are missing") if len(shape) == 2 else None
    states = states_of(dataset.x_train) if len(shape) == 2 else None
    if states is not None and states.are_better:
        ahead = f"{states.number} hidden states are {states.ahead:.3g} nats a series ahead of one law for all steps"
        return Decision("hidden-markov", f"{ahead}, on series held out")
    if math.prod(shape) > _MOST_NUMBERS or training_rows(dataset) < _FEWEST_FOR_MIXTURE:
        return None
    what = f"series of {shape[0]} steps are" if len(shape) == 2 else "rows are"
    return Decision("mixture-of-factor-analysers", f"{what} complete and of no more than {_MOST_NUMBERS} numbers")


def _has_gaps(x: Array) -> bool:
    return remembered(x, "gaps", lambda: any(bool(np.isnan(block).any()) for _, block in row_blocks(x)))


def as_ordinal(dataset: Dataset) -> dict[str, str]:
    """What `columns` takes so that continuous columns with few values have probabilities; empty if there are none."""
    few = [column.name for column in dataset.schema.columns or () if column.distinct is not None]
    return {name: "ordinal" for name in few if not {",", "="} & set(name)}  # no option could spell others


def _on_few_values(dataset: Dataset) -> str:
    words = [f"{name}={kind}" for name, kind in as_ordinal(dataset).items()]
    if not words:
        return ""
    listed = ",".join(words[:_MOST_NAMED]) + (",…" if len(words) > _MOST_NAMED else "")
    return f", some on few values, to which --columns '{listed}' gives probabilities"


def next_to_try(dataset: Dataset, recipe: str) -> str | None:
    """The recipe to try where a fit is below a baseline; None if it is the same, trained longer, as for text
    and molecules.
    """
    if dataset.schema.is_written:
        return None
    suits = _suits(dataset)
    best = "vae" if suits is None else suits.value
    return best if recipe != best else None


def decide(dataset: Dataset, recipe: Recipe, given: Mapping[str, Any]) -> dict[str, Decision]:
    """A decision about every setting and every option of the recipe.

    Arguments:
        dataset: the data.
        recipe: the recipe.
        given: what the user gave, by name.
    """
    decisions = {name: Decision(value) for name, value in {**recipe.option_defaults, **GENERAL}.items()}
    decisions |= {name: Decision(value) for name, value in recipe.defaults.items()}  # the recipe says why
    decisions |= _of_the_data(dataset, recipe, given)
    of_colour = {}
    if recipe.name == RECIPE_OF_COLOUR and fits_colour(dataset):
        of_colour = settings_of_colour(dataset, training_rows(dataset), given)
    decisions |= {name: Decision(*decided) for name, decided in of_colour.items()}
    own = _company(recipe, given, decisions)
    known = {**{name: decision.value for name, decision in (decisions | own).items()}, **given}
    decisions |= _of_the_objective(recipe, known) | own
    if "experts" in recipe.options:
        decisions |= _of_the_experts(known["experts"], given)
    if "steps" not in {**recipe.defaults, **of_colour} or "epochs" in given:
        decisions["steps"] = _steps(dataset, known)
    if recipe.finish is not None and recipe.finish.epochs not in given and {"steps", "epochs"} & given.keys():
        own, steps = recipe.option_defaults[recipe.finish.epochs], known.get("steps") or decisions["steps"].value
        passes = min(own, math.ceil(steps * known["batch_size"] / training_rows(dataset)))
        decisions[recipe.finish.epochs] = Decision(passes, "no more passes than the first stage, whose length was said")
    settings = {**{name: decision.value for name, decision in decisions.items()}, **given}
    why_low = reason_for_bf16(recipe.name, dataset.event_shape, settings)
    if why_low is not None:
        decisions["precision"] = Decision("bf16", why_low)
    return decisions


def facts_of(likelihood: Any) -> LikelihoodFacts:
    """The facts of a likelihood, given in words, as a class or as an instance. A foreign one without facts counts as a
    density of reals.
    """
    cls = find(likelihoods, parse(of_one_element(likelihood))[0]) if isinstance(likelihood, str) else likelihood
    facts = getattr(cls, "facts", None)
    return facts if isinstance(facts, LikelihoodFacts) else LikelihoodFacts(domain="reals", discrete=False)


def _of_the_data(dataset: Dataset, recipe: Recipe, given: Mapping[str, Any]) -> dict[str, Decision]:
    schema, decisions = dataset.schema, {}
    likelihood: Any = given.get("likelihood")
    if "likelihood" not in recipe.options:
        likelihood = recipe.likelihood
    elif likelihood is None:
        likelihood, own = dataset.default_likelihood, recipe.defaults.get("likelihood")
        if own is not None and _is_of_numbers(dataset, likelihood, own):
            likelihood = own
        reason = f"that of {recipe.name} for numbers" if likelihood == own else f"the data are of kind {schema.kind}"
        decisions["likelihood"] = Decision(likelihood, reason)
    if "blocks" in recipe.options:
        reason = "blocks of 0 and 1, or by the kinds of the columns"
        decisions["likelihoods"] = Decision(likelihoods_of_blocks(dataset, given["blocks"]), reason)
    if "columns" in recipe.options and schema.columns is not None:
        spelling = columns_spelling(schema.columns, tabled=recipe.tables_counts)
        reason = "the kinds of the columns"
        if recipe.name == "hidden-markov":
            reason += ", each of which is a step of one number; of a table with a row for each step, name the series"
        decisions["columns"] = Decision(spelling, reason)
    if "states" in recipe.options and len(schema.event_shape) == 2:
        states = states_of(dataset.x_train)
        if states is not None:
            decisions["states"] = Decision(
                states.number, "of 2, 3, 5 and 8 the fewest that are level with the best on series held out"
            )
    facts = facts_of(likelihood)
    is_picture = len(schema.event_shape) > 1
    decisions["standardize"] = Decision(facts.standardized and schema.kind not in ("image", "video"))
    if "log_columns" in recipe.defaults:
        found = log_columns(dataset, recipe.defaults["log_columns"])
        reason = "they are above 0 with a tail to the right, and their logarithms less so" if found else ""
        decisions["log_columns"] = Decision(found, reason)
    decisions["binarization"] = Decision("none")
    if is_picture and facts.domain == "unit interval" and facts.discrete and schema.pixel_levels != 2:
        decisions["binarization"] = Decision(
            "dynamic", "a Bernoulli likelihood takes 0 and 1, drawn from the grey values"
        )
    if "binarization" in recipe.defaults:
        decisions["binarization"] = Decision(recipe.defaults["binarization"])
    decisions |= _of_the_net(dataset, recipe, given)
    largest = recipe.defaults.get("batch_size", _LARGEST_BATCH)
    decisions["batch_size"] = Decision(min(largest, training_rows(dataset)))
    return decisions


def _is_of_numbers(dataset: Dataset, default: str, own: str) -> bool:
    """Whether the likelihood of a recipe takes the place of the data's: where theirs is of reals, or where the data are
    grey values, which are real numbers too.
    """
    is_grey = dataset.schema.kind == "image" and dataset.schema.pixel_levels != 2
    return facts_of(own if is_grey else default).domain in _OF_REALS


def _of_the_net(dataset: Dataset, recipe: Recipe, given: Mapping[str, Any]) -> dict[str, Decision]:
    """The network and its widths."""
    shape, decisions = dataset.schema.event_shape, {}
    network = given.get("network", recipe.option_defaults.get("network"))
    if "network" not in given and network == "convolution" and len(shape) < 2:
        network = "mlp"
        decisions["network"] = Decision(network, "rows are no pictures")
    if recipe.widths is not None:
        decisions["hidden"] = Decision(*recipe.widths(shape))
    elif recipe.option_defaults.get("hidden", ()) is None:
        reason = "channels of the stages of a convolution" if network == "convolution" else ""
        decisions["hidden"] = Decision(widths_of(network, shape), reason)
    return decisions


def _company(recipe: Recipe, given: Mapping[str, Any], decisions: Mapping[str, Decision]) -> dict[str, Decision]:
    """What goes with the prior and the posterior that were given, as far as the recipe and the loss leave it open."""
    open_to = {*recipe.options, *GENERAL, *_OF_LOSS} - recipe.defaults.keys()
    found = {name: Decision(*decided) for name, decided in company(given).items() if name in open_to}
    loss = given.get("loss") or found.get("loss", decisions["loss"]).value
    found = {name: d for name, d in found.items() if name not in _OF_LOSS or takes(losses, loss, name)}
    if "gradient" not in found:  # the number of samples is that of the gradient that goes with them
        found.pop("num_samples", None)
    return found


def _of_the_objective(recipe: Recipe, known: Mapping[str, Any]) -> dict[str, Decision]:
    """The number of samples that an objective needs, and its estimator."""
    weighted = find(objectives, parse(known["objective"])[0]) is objectives.IWAE
    decisions = {}
    if "num_samples" not in recipe.defaults:
        decisions["num_samples"] = _samples_of_iwae(known) if weighted else _fewest_samples(known)
    if "gradient" not in recipe.defaults:
        lower_noise = weighted and takes(losses, known["loss"], "gradient")
        decisions["gradient"] = Decision(
            "dreg" if lower_noise else "pathwise", "what iwae takes" if lower_noise else ""
        )
    return decisions


def _samples_of_iwae(known: Mapping[str, Any]) -> Decision:
    """Fewer where a decoder is dear: on Fashion-MNIST 3 samples of a convolution are better than 8 of a perceptron."""
    if known.get("network") == "convolution":
        return Decision(_IWAE_SAMPLES_CONVOLVED, "what iwae takes where each sample is decoded by a convolution")
    return Decision(_IWAE_SAMPLES, "what iwae takes")


def _of_the_experts(experts: str, given: Mapping[str, Any]) -> dict[str, Decision]:
    """How a product or a mixture of experts is trained."""
    if experts != "product":
        return {"gradient": Decision("stratified", "q is a mixture, each of whose components is drawn from")}
    decisions = {"loss": Decision("subsets", "each expert of a product must also answer alone")}
    if "objective" not in given:
        decisions["objective"] = Decision("elbo:rate=kl", "KL(q ‖ p) has a closed form")
    return decisions


def _fewest_samples(known: Mapping[str, Any]) -> Decision:
    """One sample, or as many as an objective or an estimator cannot do without."""
    fewest = Decision(1)
    for package, word in ((objectives, known["objective"]), (gradients, known.get("gradient"))):
        choice = _stating_samples(package, word) if isinstance(word, str) else word
        if isinstance(choice, NeedsSamples) and choice.fewest_samples > fewest.value:
            fewest = Decision(choice.fewest_samples, f"the fewest that {type(choice).__name__} works with")
    return fewest


def _stating_samples(package: ModuleType, words: str) -> Any:
    """The choice, or its baseline where it names one, as far as these state how few samples they work with."""
    name, options = parse(words)
    if isinstance(options.get("baseline"), str):
        package, (name, options) = baselines, parse(options["baseline"])
    return build(package, name, options) if hasattr(find(package, name), "fewest_samples") else None


def _steps(dataset: Dataset, known: Mapping[str, Any]) -> Decision:
    """A hundred passes, and more for small data, so that there are at least 8,000 steps."""
    num_rows, batch_size = training_rows(dataset), known["batch_size"]
    epochs = known.get("epochs")
    reason = ""
    if epochs is None:
        epochs = max(_FEWEST_EPOCHS, -(-_FEWEST_STEPS * batch_size // num_rows))
        reason = f"{epochs:,} passes over {num_rows:,} rows"
    return Decision(steps_for(epochs, num_rows, batch_size), reason)


def training_rows(dataset: Dataset) -> int:
    """The number of training rows without those held out to choose the weights."""
    return dataset.num_train - num_for_selection(dataset.num_train)
