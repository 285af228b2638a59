"""Molecules of known entropy: what a latent has to tell before it gives one back, and a property that is asked for.

The family is planted: six rings, each with two of eleven groups, all of them equally probable. So no model has a mean
log p above −log(size of the family), and a model that has learned the family is at it. Seven tenths are fitted, the
others are scored.

free bits     molecule-vae with so many nats of the rate free of cost: L_20, rate, distortion −E log p(x | z), and the
              share of molecules that come back exactly, written greedily at one z ~ q(z | x)
encoders      the same with 8 free nats: an encoder of the atoms, and z_T of the tree with z_G of the graph, half of the
              numbers each, the tree read by an LSTM or by messages between atoms
asked         molecule-vae given logP: mean, standard deviation and share within the family of draws for each value
search        shifts of z along the direction of logP: its mean at each distance, in the model of the most free bits

python benchmarks/planted_molecules.py
python benchmarks/planted_molecules.py --encoders      these alone, beside what is saved
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from timing import RESULTS, machine

import lowerbound as lb
from lowerbound.data.smiles import read_molecules
from lowerbound.evaluate.molecule_properties import properties_of

RINGS = (
    "c1ccc({a})cc1{b}",
    "c1cc({a})ncc1{b}",
    "C1CC({a})CCC1{b}",
    "c1sc({a})cc1{b}",
    "C1CN({a})CCC1{b}",
    "c1ccc2cc({a})ccc2c1{b}",
)
GROUPS = ("C", "O", "N", "F", "Cl", "OC", "C(=O)O", "C(N)=O", "CC", "C#N", "NC(C)=O")
FREE, ASKED, SAMPLES = (0.0, 2.0, 4.0, 6.0, 8.0), (0.0, 1.5, 3.0), 20
NETS = {"latent_dim": 8, "embedding_dim": 16, "width": 48, "dropout": 0.0}
HALVES = {"latent_dim": 4, "graph_latent_dim": 4}
ENCODERS: dict[str, dict[str, Any]] = {
    "atoms": {"encoder": "message-passing"},
    "tree and graph": HALVES,
    "tree and graph, both by atoms": {**HALVES, "encoder": "message-passing"},
}


def main() -> None:
    """Fit, score and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--encoders", action="store_true", help="only these, added to what is saved")
    parser.add_argument("--out", type=Path, default=RESULTS / "planted_molecules.json")
    given = parser.parse_args()
    training = {"steps": given.steps, "lr": 5e-3, "batch_size": 64, "seed": given.seed}
    whole, family = sorted(members()), members()
    order = np.random.default_rng(given.seed).permutation(len(whole))
    cut = round(0.7 * len(whole))
    train, test = [whole[i] for i in order[:cut]], [whole[i] for i in order[cut:]]
    if given.encoders:
        saved = json.loads(given.out.read_text())
        encoders(saved, train, test, training, given.out)
        return
    found: dict[str, Any] = {
        "protocol": __doc__,
        "machine": machine(),
        "options": {**training, **NETS, "draws": given.draws},
        "family": len(family),
        "best_log_p": -math.log(len(family)),
    }
    alone = lb.fit(train, "language-model", kind="molecules", **without_latent(NETS), **training)
    found["language model"] = {
        "log_p": float(alone.score(test).mean()),
        "within": share(alone.sample(given.draws), family),
    }
    found["free bits"], last = {}, None
    for nats in FREE:
        begun = time.process_time()
        objective = f"free-bits:nats={nats},per=group" if nats else "elbo:rate=kl"
        last = lb.fit(train, "molecule-vae", kind="molecules", objective=objective, **NETS, **training)
        found["free bits"][f"{nats:g}"] = {**told(last, test, family), "cpu_seconds": time.process_time() - begun}
        print(nats, found["free bits"][f"{nats:g}"], flush=True)
    found["asked"] = asked(train, family, training, given.draws)
    assert last is not None
    search = last.search("logp", num_draws=given.draws)
    found["search"] = {
        "r_squared": search.r_squared,
        "shifts": search.shifts.tolist(),
        "means": search.means.tolist(),
        "standard_errors": search.standard_errors.tolist(),
    }
    print(found["asked"], found["search"], flush=True)
    encoders(found, train, test, training, given.out)


def encoders(found: dict[str, Any], train: list[str], test: list[str], training: dict[str, Any], out: Path) -> None:
    """Fit and score models with other encoders, and save all that is found."""
    found |= {"protocol": __doc__, "encoders": {}}
    for name, options in ENCODERS.items():
        begun = time.process_time()
        objective = f"free-bits:nats={FREE[-1]},per=group"
        model = lb.fit(train, "molecule-vae", kind="molecules", objective=objective, **NETS | options, **training)
        found["encoders"][name] = {**told(model, test, members()), "cpu_seconds": time.process_time() - begun}
        print(name, found["encoders"][name], flush=True)
        out.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def members() -> set[str]:
    """The canonical SMILES of the family."""
    lines = [ring.format(a=a, b=b) for ring in RINGS for a, b in itertools.product(GROUPS, GROUPS)]
    return {one for one in read_molecules(lines).smiles if one}


def without_latent(nets: dict[str, Any]) -> dict[str, Any]:
    """The options of the same net alone."""
    return {name: value for name, value in nets.items() if name != "latent_dim"}


def share(drawn: list[str], family: set[str]) -> float:
    """Of draws that are members."""
    return float(np.mean([one in family for one in drawn]))


def told(fitted: lb.Fitted, test: list[str], family: set[str]) -> dict[str, float]:
    """The bound and its parts, and what comes back."""
    scores = fitted.evaluate(test, num_samples=SAMPLES)
    again = fitted.reconstruct(test, seed=0)
    return {
        "log_evidence": scores["log_evidence"],
        "elbo": scores["elbo"],
        "rate": scores["rate"],
        **{f"rate_{name}": rate for name, rate in scores.get("rate_of_parts", {}).items()},
        "distortion": scores["distortion"],
        "reconstruction": float(np.mean([a == b for a, b in zip(test, again, strict=True)])),
        "within": share(fitted.sample(len(test)), family),
    }


def asked(train: list[str], family: set[str], training: dict[str, Any], draws: int) -> dict[str, Any]:
    """Draws of a model that is given logP, for each value that is asked."""
    table = pd.DataFrame({"smiles": train, "logp": properties_of(train, "logp")})
    fitted = lb.fit(table, "molecule-vae", columns={"smiles": "molecule"}, covariates=["logp"], **NETS, **training)
    found: dict[str, Any] = {"mean": float(table.logp.mean()), "standard_deviation": float(table.logp.std())}
    for value in ASKED:
        drawn = fitted.sample(draws, given={"logp": value})["smiles"].tolist()
        got = properties_of(drawn, "logp")
        found[f"{value:g}"] = {
            "mean": float(got.mean()),
            "standard_deviation": float(got.std(ddof=1)),
            "within": share(drawn, family),
        }
    return found


if __name__ == "__main__":
    main()
