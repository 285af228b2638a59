"""The page of what can be coded says what the code does, and every coded cell takes its −ELBO."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowerbound.testing.lossless_matrix import CodingCell, cell_of, likelihood_cells, page, pair_cells

PAGE = Path(__file__).parents[2] / "docs" / "lossless-matrix.md"
CODED = [
    ("bernoulli", "diagonal-normal", "flow-prior:hidden=4,transforms=2"),
    ("poisson", "iaf:transforms=2,hidden=4", "standard-normal"),
    ("mixed:columns=continuous+categorical-3+heteroscedastic-count", "planar:layers=2", "standard-normal"),
    ("tokens:num_symbols=4,embedding_dim=4,width=4,context_dim=4", "bernoulli", "bernoulli"),
    ("normal", "vector-quantized:num_codes=3,features=2", "categorical:categories=3"),
]


def is_exact(cell: CodingCell) -> bool:
    """Within 0.2 % at the very latents that coded the rows; these are draws of q; and the stack takes what it should.

    A symbol is rounded by some 0.06 bits of either sign: 20 symbols of each of 60 rows by 0.035 bits a row.
    """
    return (
        abs(cell.symbol_bits / cell.drawn_bits - 1) < 2e-3
        and abs(cell.drawn_bits - cell.elbo_bits) < 5 * cell.standard_error + 1e-9
        and abs(cell.bits - cell.symbol_bits) < 0.2
    )


@pytest.mark.parametrize("likelihood, posterior, prior", CODED)
def test_rows_take_their_negative_elbo(likelihood, posterior, prior):
    cell = cell_of(likelihood, posterior, prior, rows=60)
    assert cell.status == "coded"
    assert is_exact(cell), cell


def test_another_kind_of_latents_is_refused_with_what_to_do():
    cell = cell_of("bernoulli", "bernoulli", "standard-normal", rows=10)
    assert cell.status == "refused"
    assert "fit a prior and a posterior of the same latents" in cell.sentence


@pytest.mark.slow
def test_every_coded_cell_takes_its_negative_elbo_every_refusal_says_what_to_do_and_the_page_says_so():
    pairs, of_likelihoods = pair_cells(), likelihood_cells()
    cells = {**pairs, **of_likelihoods}
    assert not {key: cell for key, cell in cells.items() if cell.status == "coded" and not is_exact(cell)}
    assert not [key for key, cell in cells.items() if cell.status == "refused" and "fit " not in cell.sentence]
    new = "run: python -m lowerbound.testing.lossless_matrix > docs/lossless-matrix.md"
    assert PAGE.read_text() == page(pairs, of_likelihoods), new
