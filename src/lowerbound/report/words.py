"""How to read each picture of a report: what good and bad results look like."""

from lowerbound.criterion import Criterion

__all__ = [
    "BINARIZED",
    "CONDITIONAL_RANKS",
    "KL",
    "MARGINALS",
    "NEAREST_WORDS",
    "PREDICTIVE",
    "RANKS",
    "RECONSTRUCTIONS",
    "SAMPLES",
    "SERIES_RECONSTRUCTIONS",
    "SERIES_SAMPLES",
    "SHOWS_DRAWS",
    "SHOWS_MEANS",
    "TEXT_PAIRS",
    "TEXT_SAMPLES",
    "TRAINING",
    "TRAINING_BY",
    "latent_map",
]

TRAINING = (
    "Good: both bounds rise and level off together. Bad: the held-out bound turns down while the training bound goes "
    "on rising (overfitting: the best weights, marked, were kept); a rate that stays near zero (the latents are "
    "ignored); a gradient norm with spikes (lower the learning rate or clip)."
)
_TRAINING_BY_ESTIMATE = (
    "The rate is estimated by a discriminator, so that the first curve is no bound of log p(x) and may lie above it: "
    "it compares no models and chose no weights; those of the last step were kept. Good: the curves level off, and the "
    "cross-entropy of the discriminator stays near log 2 = 0.69. Bad: a rate that swings or falls below zero for long "
    "(a discriminator that lags: raise its lr_factor)."
)
_TRAINING_BY_SCORE = (
    "This training has no bound of log p(x). The first curve is minus the energy distance between as many samples and "
    "rows, 0 where they are distributed alike; held-out rows chose the weights by it. Good: both curves rise and level "
    "off. Bad: they fall after a rise (the discriminator has won: lower its lr_factor, or the weight of its term)."
)
TRAINING_BY: dict[Criterion, str] = {
    "bound": TRAINING,
    "estimate": _TRAINING_BY_ESTIMATE,
    "sample_score": _TRAINING_BY_SCORE,
}
RECONSTRUCTIONS = (
    "Good: each right-hand image is its left-hand one, down to strokes and shading. Bad: blurred or averaged shapes, "
    "or the same image for different originals."
)
BINARIZED = {
    "dynamic": " The originals are binarized, as the model saw them: each pixel was drawn with its intensity as "
    "probability. Reconstructions are probabilities, hence smoother.",
    "threshold": " The originals are binarized, as the model saw them: by a threshold at one half. Reconstructions are "
    "probabilities, hence smoother.",
}
SAMPLES = (
    "Good: images that could be data, and as varied as the data. Bad: ghosts between two shapes (the prior puts mass "
    "where no latent lies) or few distinct images."
)
SERIES_RECONSTRUCTIONS = (
    "The dashed line is the model's mean given the latents of the series, so that noise is not in it. Good: it follows "
    "level, trend and turns of the series. Bad: one line for all series (the latents are ignored), or turns that come "
    "too late. A line that covers the series exactly says little: there are as many latents as numbers."
)
SERIES_SAMPLES = (
    "Draws, noise and all, on the scale of the test series. Good: lines that could be test series: as rough, as spread "
    "and as varied. Bad: smoother or rougher lines, or levels that no test series has."
)
SHOWS_MEANS = " Shown is the mean of p(x | z), not a draw, hence no pixel noise."
SHOWS_DRAWS = (
    " Each pixel is shown by its mean given a draw of those before it, since p(x | z) has no mean in closed form: two "
    "pictures of one z differ."
)
TEXT_PAIRS = (
    "On the right the most probable token given one z ~ q(z | x) and those before it, one after another. Good: the "
    "subject and the words of the text on the left. Bad: one sentence for all (z is not used)."
)
TEXT_SAMPLES = (
    "Draws from the model: z ~ p(z), and each token from its probability. Good: texts that could be data, on as many "
    "subjects. Bad: fragments of several sentences."
)
NEAREST_WORDS = (
    "Some of the 480 most frequent words, each with those whose embeddings point most nearly the same way (cosine). "
    "Good: words that could stand in the same place. Bad: words without any relation (too few steps or texts)."
)
MARGINALS = (
    "Good: the outline (samples) follows the filled shape (test rows), peaks and tails included. Bad: a smooth hill "
    "over separate peaks, or samples where no data are. Each column is compared by itself: how columns depend on each "
    "other does not show here."
)
STATES = (
    "The most probable path of states of each series (Viterbi), as bands and as the line below. Good: states last for "
    "many steps, and the series looks alike wherever a state returns. Bad: states that change at nearly every step, or "
    "that never occur: fit again with fewer states. Numbers of states have no order."
)
PREDICTIVE = (
    "Statistics of test rows (dots) in standard deviations of those of as many rows that the model makes; the "
    "farthest are shown, with the value in the data and 95 % of the model's. Good: dots within the shaded band. Bad: "
    "dots far outside: that is where data of the model would be told from yours."
)
RANKS = (
    "Each curve is a column: where its values in test rows lie among those that the model makes. Good: curves within "
    "the band. Bad: an arch or a dip (the model is off to one side), or an S (it spreads too much or too little)."
)
CONDITIONAL_RANKS = (
    "The same, where the model is told all other columns of the row (the leave-one-out PIT). A column that is right "
    "above and too narrow here follows the others less closely than the model says; too wide, more closely."
)
KL = (
    "Each bar is what one dimension says about the data. Good: many bars of some height. Bad: most near zero "
    "(posterior collapse): those dimensions repeat the prior, and the decoder ignores them."
)


def latent_map(latents_are: str, num_rows: int, *, projected: bool, coloured: bool) -> str:
    """What the points are, and how to read them.

    >>> latent_map("The mean of q(z | x)", 3, projected=False, coloured=False)[:40]
    'The mean of q(z | x) for 3 test rows. Go'
    """
    what = f"{latents_are} for {num_rows:,} test rows"
    if projected:
        what += ", projected on the two directions of largest variance (PCA)"
    if not coloured:
        return f"{what}. Good: a cloud, or clusters, that fill the prior. Bad: everything on one spot or line."
    caveat = " Classes that overlap here may still be apart in the other dimensions." if projected else ""
    return (
        f"{what}. Good: rows of one label lie together, although the model never saw a label. Bad: all labels in one "
        f"heap.{caveat}"
    )
