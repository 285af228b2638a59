"""Messages of the library, which speaks Python, are read in the words of the command."""

from __future__ import annotations

import numpy as np
import pytest

import lowerbound  # noqa: F401  what is imported can have written a message
from lowerbound.cli.words import in_words_of_command


@pytest.mark.parametrize(
    "python, command",
    [
        ("say kind='array'.", "say --kind array."),
        ("say kind='image:event_shape=[H,W]'.", 'say --kind "image:event_shape=[H,W]".'),
        ("make latent_dim or batch_size smaller.", "make --latent-dim or --batch-size smaller."),
        ("iaf got hidden='a' and width=2; say num_samples=8.", "iaf got hidden=a and width=2; say --num-samples 8."),
        ("name it by columns={'a': 'drop'} (--columns a=drop).", "name it by --columns a=drop."),
        ("use family='full' or elbo:rate='kl'.", "use family=full or elbo:rate=kl."),
        ("use IWAE(), or BetaELBO(2.0).", "use iwae, or BetaELBO(2.0)."),
        ("use Local(gradient=ScoreFunction(), num_samples=4).", "use local:gradient=score-function,num_samples=4."),
        ("take losses.WakeSleep or DiagonalNormal.", "take wake-sleep or diagonal-normal."),
        ("start_from and y='outcome'", "--from and y=outcome"),
        # what users name, and what is no option
        ("column 'latent_dim' of runs/batch_size/x.csv", "column 'latent_dim' of runs/batch_size/x.csv"),
        ("batch_size.csv and DiagonalNormal.npz hold no rows.", "batch_size.csv and DiagonalNormal.npz hold no rows."),
        ("column 'my latent_dim a' got 'of IWAE() lr=3 now'", "column 'my latent_dim a' got 'of IWAE() lr=3 now'"),
        ("'it's num_samples a' and ELBO(x=1).npy", "'it's num_samples a' and ELBO(x=1).npy"),
        ("label='latent_dim' was given.", "--label latent_dim was given."),
        ("array='my lr=3' was given.", '--array "my lr=3" was given.'),
        ("label='it's' was given.", '--label "it\'s" was given.'),
        ("'a b' is none; say kind='array'; 'a kind' is", "'a b' is none; say --kind array; 'a kind' is"),
        ("write it as vade:latent_dim=3,num_samples=2.", "write it as vade:latent_dim=3,num_samples=2."),
        ("Normal and Bernoulli take num_levels=3", "Normal and Bernoulli take num_levels=3"),
    ],
)
def test_a_message_is_in_the_words_of_the_command(python: str, command: str) -> None:
    assert in_words_of_command(python) == command


def test_refusals_and_diagnoses_are_in_these_words(cli, refused, tmp_path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 3))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "pixels.npy", 300 + np.zeros((9, 4, 4)))
    assert "or say --kind array." in refused("fit", tmp_path / "pixels.npy", "--kind", "image")
    solved = tmp_path / "solved"
    recipe = "mixture-of-factor-analysers:components=2,latent_dim=1"
    assert cli("fit", tmp_path / "x.npy", "--recipe", recipe, "--out", solved, "--no-evaluate").code == 0
    out = " ".join(cli("diagnose", solved).out.split())
    assert "Not examined: The family of q itself needs a posterior with a net, or a Gaussian, and got Chain." in out
    assert "family=" not in out
    assert "--objective" not in out
