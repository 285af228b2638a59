"""Distributions that torch does not have, for priors, posteriors and likelihoods."""
