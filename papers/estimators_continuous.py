"""Continuous latents on Fashion-MNIST: ways to learn q(z | x), at equal evaluations of the likelihood.

The first experiment that the founding report on the variance loss planned and left blank (its section 3.1). One
Gaussian autoencoder, 784-200-50 and back, tanh, pixels re-sampled as Bernoulli at every visit, Adam at 1e-3, batch 100;
every contender evaluates log p(x, z) at eight latents per datum and step.

python papers/estimators_continuous.py --steps 3000    # all of it; run it twice at once to use two cores
"""

from __future__ import annotations

from estimator_study import Contender, Study, arguments, main

SAMPLES = 8
STUDY = Study(
    name="estimators_continuous",
    contenders=[
        Contender(name=name, objective=objective, gradient=gradient, num_samples=SAMPLES, evaluations=SAMPLES)
        for name, objective, gradient in [
            ("pathwise", "elbo", "pathwise"),
            ("pathwise, closed-form KL", "elbo:rate=kl", "pathwise"),
            ("stick-the-landing", "elbo", "stick-the-landing"),
            ("score, no baseline", "elbo", "score-function:baseline=None"),
            ("score, constant", "elbo", "score-function:baseline=constant"),
            ("score, moving average", "elbo", "score-function:baseline=moving-average"),
            ("score, learned (NVIL)", "elbo", "score-function:baseline=learned"),
            ("score, leave-one-out", "elbo", "score-function"),
            ("log-variance (VarGrad)", "elbo", "var-grad"),
            ("variance loss, θ and φ", "log-variance:factor=1.0", "fixed-samples"),
            ("IWAE, pathwise", "iwae", "pathwise"),
            ("IWAE, DReG", "iwae", "dreg"),
        ]
    ],
    models={"gaussian": {"latent_dim": 50, "hidden": [200], "activation": "tanh"}},
    data={"fashion-mnist": "dynamic"},
    batch_size=100,
    lr=1e-3,
)

if __name__ == "__main__":
    main(STUDY, arguments(__doc__).parse_args())
