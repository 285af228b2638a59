"""Two hundred Bernoulli latents: gradient estimators side by side, on MNIST and Omniglot.

The second experiment that the founding report on the variance loss planned and left blank (its section 3.2), with the
estimators of Dong, Mnih & Tucker (2020, arXiv:2006.10680) and Richter et al. (2020, arXiv:2010.10436) in one run. Two
networks: *linear*, 200 latents straight to and from 784 pixels, and *nonlinear*, two hidden layers of 200 each way. A
factorised Bernoulli prior, learned. MNIST re-sampled at every visit, Omniglot at threshold 0.5. Adam at 1e-3, batch 50.

Every contender evaluates the likelihood four times per datum and step: REBAR, RELAX and Concrete, which evaluate it at
a relaxed point beside every sample, draw two samples, the others four.

python papers/estimators_discrete.py --steps 2000      # all of it; run it twice at once to use two cores
"""

from __future__ import annotations

from estimator_study import Contender, Study, arguments, main

BERNOULLI = {"latent_dim": 200, "prior": "bernoulli", "posterior": "bernoulli", "activation": "tanh"}
FOUR = {"num_samples": 4, "evaluations": 4}
STUDY = Study(
    name="estimators_discrete",
    contenders=[
        Contender(name="REINFORCE", gradient="score-function:baseline=None", **FOUR),
        Contender(name="NVIL", gradient="score-function:baseline=learned", **FOUR),
        Contender(name="leave-one-out", gradient="score-function", **FOUR),
        Contender(name="VarGrad", gradient="var-grad", **FOUR),
        Contender(name="variance loss, θ and φ", objective="log-variance:factor=1.0", gradient="fixed-samples", **FOUR),
        Contender(name="VIMCO", objective="iwae", gradient="score-function", **FOUR),
        Contender(name="ARM", gradient="arm", **FOUR),
        Contender(name="DisARM", gradient="disarm", **FOUR),
        Contender(name="REBAR", gradient="rebar", num_samples=2, evaluations=4),
        Contender(name="RELAX", gradient="relax", num_samples=2, evaluations=4),
        Contender(name="Concrete", gradient="concrete", num_samples=2, evaluations=4),
        Contender(name="straight-through", gradient="straight-through", **FOUR),
        Contender(name="reweighted wake-sleep", objective="iwae", gradient="reweighted-wake-sleep", **FOUR),
    ],
    models={"linear": {**BERNOULLI, "hidden": []}, "nonlinear": {**BERNOULLI, "hidden": [200, 200]}},
    data={"mnist": "dynamic", "omniglot": "threshold"},
    batch_size=50,
    lr=1e-3,
)

if __name__ == "__main__":
    main(STUDY, arguments(__doc__).parse_args())
