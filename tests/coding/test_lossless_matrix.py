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


def is_near(cell: CodingCell) -> bool:
    return abs(cell.bits - cell.elbo_bits) < 5 * cell.standard_error + 5e-3 * abs(cell.elbo_bits)


@pytest.mark.parametrize("likelihood, posterior, prior", CODED)
def test_rows_take_their_negative_elbo(likelihood, posterior, prior):
    cell = cell_of(likelihood, posterior, prior, rows=100)
    assert cell.status == "coded"
    assert is_near(cell)


def test_another_kind_of_latents_is_refused_with_what_to_do():
    cell = cell_of("bernoulli", "bernoulli", "standard-normal", rows=10)
    assert cell.status == "refused"
    assert "fit a prior and a posterior of the same latents" in cell.sentence


@pytest.mark.slow
def test_every_coded_cell_takes_its_negative_elbo_and_every_refusal_says_what_to_do():
    cells = {**pair_cells(200), **likelihood_cells(200)}
    assert not [key for key, cell in cells.items() if cell.status == "coded" and not is_near(cell)]
    assert not [key for key, cell in cells.items() if cell.status == "refused" and "fit " not in cell.sentence]


@pytest.mark.slow
def test_the_page_is_up_to_date():
    assert PAGE.read_text() == page(), "run: python -m lowerbound.testing.lossless_matrix > docs/lossless-matrix.md"
