"""Hidden Markov models against the enumeration of all paths, and EM against hmmlearn."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from lowerbound.exact import CategoricalStates, ChainPosterior, HiddenChain, HiddenMarkov, NormalStates, baum_welch

K, T, B = 3, 4, 2
PATHS = torch.tensor(list(itertools.product(range(K), repeat=T)))


def some_chain() -> HiddenChain:
    torch.manual_seed(0)
    initial, transition = torch.randn(K).double(), torch.randn(K, K).double()
    emission = (3 * torch.randn(B, T, K)).double()
    return HiddenChain(initial.log_softmax(0), transition.log_softmax(1), emission)


def joints(chain: HiddenChain) -> Tensor:
    """log p(x, c) of every path (path, batch), number by number."""
    rows = []
    for path in PATHS.tolist():
        terms = chain.log_initial[path[0]] + chain.log_emission[:, 0, path[0]]
        for t in range(1, T):
            terms = terms + chain.log_transition[path[t - 1], path[t]] + chain.log_emission[:, t, path[t]]
        rows.append(terms)
    return torch.stack(rows)


def test_the_recursions_are_sums_over_every_path() -> None:
    chain = some_chain()
    log_p = joints(chain)
    posterior = log_p.softmax(0)
    torch.testing.assert_close(chain.log_evidence, log_p.logsumexp(0))
    hot = torch.nn.functional.one_hot(PATHS, K).double()
    torch.testing.assert_close(chain.smoothed, torch.einsum("pb,ptk->btk", posterior, hot))
    xi = torch.stack(list(chain.pairs()), 1)
    torch.testing.assert_close(xi, torch.einsum("pb,ptj,ptk->btjk", posterior, hot[:, :-1], hot[:, 1:]))
    path, best = chain.most_probable()
    torch.testing.assert_close(path, PATHS[log_p.argmax(0)])
    torch.testing.assert_close(best, log_p.max(0).values)


def test_the_posterior_has_the_probability_of_every_path_and_draws_with_it() -> None:
    chain = some_chain()
    q, size = ChainPosterior(chain), 40_000
    hot = torch.nn.functional.one_hot(PATHS, K).double()[:, None].expand(-1, B, -1, -1)
    exact = joints(chain).log_softmax(0)
    torch.testing.assert_close(q.log_prob(hot), exact)
    z = q.sample((size,))
    assert z.shape == (size, B, T, K)
    code = (z.argmax(-1) * K ** torch.arange(T - 1, -1, -1)).sum(-1)
    for b in range(B):
        counts, expected = torch.bincount(code[:, b], minlength=K**T), size * exact[:, b].exp()
        many = expected > 20
        assert int(many.sum()) > 5
        statistic = ((counts - expected).square() / expected)[many].sum()
        assert statistic < int(many.sum()) + 6 * (2 * int(many.sum())) ** 0.5


def test_the_gradient_of_log_p_is_that_of_fisher() -> None:
    """∇ log p(x) = E[∇ log p(x, c) | x]: γ along log-emissions, ξ along log-transitions."""
    chain = some_chain()
    parts = [part.clone().requires_grad_() for part in (chain.log_initial, chain.log_transition, chain.log_emission)]
    initial, transition, emission = torch.autograd.grad(HiddenChain(*parts).log_evidence.sum(), parts)
    torch.testing.assert_close(emission, chain.smoothed)
    torch.testing.assert_close(initial, chain.smoothed[:, 0].sum(0))
    torch.testing.assert_close(transition, torch.stack([pair.sum(0) for pair in chain.pairs()]).sum(0))


def planted(states: int = 2, series: int = 20, length: int = 30) -> tuple[Tensor, Tensor]:
    """Series of two sticky states, and the states."""
    torch.manual_seed(1)
    stay = torch.rand(series, length) < 0.9
    c = (~stay).long().cumsum(1) % states
    return (4.0 * c[..., None] + torch.randn(series, length, 2)).double(), c


def gaussian_start() -> HiddenMarkov:
    loc = torch.tensor([[0.5, 1.0], [2.0, 2.5]]).double()
    half = torch.full((2, 2), 0.5).double()
    return HiddenMarkov(half[0], half, NormalStates(loc, torch.full_like(loc, 2.0)))


def test_em_rises_and_recovers_planted_states_with_gaps() -> None:
    x, c = planted()
    x[:, 1::3] = float("nan")
    fits = list(baum_welch(gaussian_start(), x))
    values = torch.tensor([fit.log_likelihood for fit in fits])
    assert len(fits) > 3
    assert bool((values.diff() >= -1e-9).all())
    model = fits[-1].model
    assert isinstance(model.emissions, NormalStates)
    torch.testing.assert_close(model.emissions.loc[:, 0], torch.tensor([0.0, 4.0]).double(), atol=0.2, rtol=0)
    torch.testing.assert_close(model.transition.diag(), torch.tensor([0.9, 0.9]).double(), atol=0.05, rtol=0)
    path, _ = model.chain(x).most_probable()
    assert (path == c).double().mean() > 0.9


def test_a_gap_is_a_sum_over_the_values_of_its_step() -> None:
    log_p = torch.randn(2, 1, 3, generator=torch.Generator().manual_seed(2)).double().log_softmax(-1)
    model = HiddenMarkov(
        torch.tensor([0.3, 0.7]).double(), torch.tensor([[0.8, 0.2], [0.4, 0.6]]).double(), CategoricalStates(log_p)
    )
    every = torch.tensor([[2.0, value, 0.0] for value in range(3)]).double()[..., None]
    gap = torch.tensor([[[2.0], [float("nan")], [0.0]]]).double()
    torch.testing.assert_close(model.chain(gap).log_evidence, model.chain(every).log_evidence.logsumexp(0)[None])


def test_gaussian_em_is_that_of_hmmlearn() -> None:
    hmm = pytest.importorskip("hmmlearn.hmm", reason="hmmlearn is in the extra 'bench'")
    x, _ = planted()
    start = gaussian_start()
    assert isinstance(start.emissions, NormalStates)
    theirs = hmm.GaussianHMM(2, "diag", min_covar=0, covars_prior=0, covars_weight=1, n_iter=7, tol=-1, init_params="")
    theirs.startprob_, theirs.transmat_ = start.initial.numpy(), start.transition.numpy()
    theirs.means_, theirs.covars_ = start.emissions.loc.numpy(), start.emissions.scale.square().numpy()
    flat, lengths = x.flatten(0, 1).numpy(), [x.shape[1]] * len(x)
    theirs.fit(flat, lengths)
    *_, last = baum_welch(start, x, max_iterations=7, tolerance=-1)
    ours = last.model
    assert isinstance(ours.emissions, NormalStates)
    assert last.log_likelihood * len(x) == pytest.approx(theirs.score(flat, lengths), rel=1e-9)
    pairs = (
        (ours.initial, theirs.startprob_),
        (ours.transition, theirs.transmat_),
        (ours.emissions.loc, theirs.means_),
    )
    for mine, other in pairs:
        torch.testing.assert_close(mine, torch.as_tensor(other), atol=1e-6, rtol=1e-6)
    variance = torch.as_tensor(theirs.covars_).diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(ours.emissions.scale.square(), variance, atol=1e-6, rtol=1e-6)
    chain = ours.chain(x)
    torch.testing.assert_close(chain.smoothed.flatten(0, 1), torch.as_tensor(theirs.predict_proba(flat, lengths)))
    assert chain.most_probable()[0].flatten().tolist() == theirs.predict(flat, lengths).tolist()


def test_categorical_em_is_that_of_hmmlearn() -> None:
    hmm = pytest.importorskip("hmmlearn.hmm", reason="hmmlearn is in the extra 'bench'")
    g = torch.Generator().manual_seed(3)
    x = (planted()[1] + torch.randint(2, (20, 30), generator=g))[..., None].double()
    log_p = torch.randn(2, 1, 3, generator=g).double().log_softmax(-1)
    half = torch.tensor([[0.6, 0.4], [0.3, 0.7]]).double()
    theirs = hmm.CategoricalHMM(2, n_iter=7, tol=-1, init_params="")
    theirs.startprob_, theirs.transmat_, theirs.emissionprob_ = (
        half[0].numpy(),
        half.numpy(),
        log_p[:, 0].exp().numpy(),
    )
    flat, lengths = x.flatten(0, 1).long().numpy(), [30] * 20
    theirs.fit(flat, lengths)
    *_, last = baum_welch(HiddenMarkov(half[0], half, CategoricalStates(log_p)), x, max_iterations=7, tolerance=-1)
    assert isinstance(last.model.emissions, CategoricalStates)
    found = last.model.emissions.log_p[:, 0].exp()
    torch.testing.assert_close(found, torch.as_tensor(theirs.emissionprob_), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(last.model.transition, torch.as_tensor(theirs.transmat_), atol=1e-6, rtol=1e-6)


def test_mistakes_are_named() -> None:
    start = gaussian_start()
    with pytest.raises(ValueError, match="series of 1 step"):
        next(baum_welch(start, torch.zeros(3, 1, 2).double()))
    torn = torch.tensor([[[0.0, float("nan")], [1.0, 1.0]]]).double()
    with pytest.raises(ValueError, match="some numbers are NaN and some are not"):
        start.chain(torn)
    classes = CategoricalStates(torch.zeros(2, 1, 3))
    for wrong in (3.0, -1.0, 0.5):
        with pytest.raises(ValueError, match="none of the classes 0, …, 2"):
            classes.log_prob(torch.full((1, 2, 1), wrong))
