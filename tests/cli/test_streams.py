"""Outputs that nobody takes, and names that lead nowhere."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("where, code", [("full", 2), ("closed", 0)])
def test_a_full_stdout_is_one_sentence_and_a_closed_one_is_none(where, code):
    with open("/dev/full" if where == "full" else os.devnull, "w") as stdout:
        answer = subprocess.run(
            [sys.executable, "-m", "lowerbound", "choices"],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=(lambda: os.close(1)) if where == "closed" else None,
        )
    assert answer.returncode == code
    said = "Could not write the output (No space left on device); free some space, or send it elsewhere.\n"
    assert answer.stderr == ("" if code == 0 else said)


def test_a_loop_of_links_is_one_sentence(refused, tmp_path, digits_run):
    (tmp_path / "a.csv").symlink_to(tmp_path / "b.csv")
    (tmp_path / "b.csv").symlink_to(tmp_path / "a.csv")
    assert "cannot be read (too many levels of symbolic links)" in refused("fit", tmp_path / "a.csv")
    assert "is there already" in refused("sample", digits_run, "--out", tmp_path / "a.csv")


@pytest.mark.parametrize(
    "options, part",
    [
        (["--optimizer", "sgd:nesterov=True"], "nesterov=True without momentum"),
        (["--optimizer", "adam:beta1=2"], "takes beta1 and beta2 from 0 to below 1"),
        (["--loss", "semi-supervised"], "takes a model of labels"),
        (["--recipe", "counts:dropout=2"], "got dropout=2, a fraction"),
        (["--prior", "autoregressive-categorical:categories=0"], "asks its net for numbers of the shape (2, 0)"),
        (["--inference", "hmc"], "needs a q(z | x) with a density and HMC gives draws"),
        (
            ["--prior", "relaxed-bernoulli", "--posterior", "diagonal-normal"],
            "q(z | x) is over all real numbers and p(z) is not",
        ),
        (
            ["--prior", "relaxed-bernoulli", "--posterior", "diagonal-normal", "--inference", "local"],
            "is over all real numbers and p(z) is not",
        ),
        (
            ["--prior", "relaxed-bernoulli", "--posterior", "diagonal-normal", "--inference", "iterative-amortised"],
            "and p(z) is not, so that log p(z)",
        ),
        (["--inference", "semi-amortised:lr=1e3,num_steps=50"], "latents of the first rows that are not finite"),
        (["--posterior", "planar:layers=x"], "planar got layers=x and expected a whole number"),
        (["--likelihood", "categorical:num_classes=-inf"], "got num_classes=-inf and expected a whole number"),
        (["--posterior", "planar:layers=-9"], "asks its net for numbers of the shape"),
        (["--prior", "relaxed-bernoulli", "--posterior", "relaxed-categorical"], "over latents of shape"),
    ],
)
def test_choices_that_torch_would_refuse(refused, table, tmp_path, options, part, as_users_run):
    words = ["--steps", "1", "--latent-dim", "2", "--hidden", "4", "--out", tmp_path / "run", "--label", "species"]
    assert part in refused("fit", table, "--recipe", "vae", *words, *options)
