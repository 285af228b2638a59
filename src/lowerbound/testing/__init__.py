"""Conformance checks for a conditional, a likelihood, an objective or a gradient estimator of your own.

Each raises an `AssertionError` that names what is wrong, so that a test is one line:

    check_conditional(MyPosterior(net), x)
    check_likelihood(MyLikelihood(net), z)
    check_objective(MyObjective())
    check_cites(MyPosterior)
    check_gradient(MyEstimator(), ELBO(), model, x, num_samples=4)
    assert_unbiased(my_repetitions, exact)
"""

from lowerbound.testing.cites import check_cites
from lowerbound.testing.conditionals import check_conditional
from lowerbound.testing.gradients import check_gradient, flat_gradient
from lowerbound.testing.likelihoods import check_likelihood
from lowerbound.testing.objectives import check_objective
from lowerbound.testing.unbiased import assert_unbiased

__all__ = [
    "assert_unbiased",
    "check_cites",
    "check_conditional",
    "check_gradient",
    "check_likelihood",
    "check_objective",
    "flat_gradient",
]
