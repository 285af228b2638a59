"""Time, tokens a second and memory of training steps on text: an LSTM language model written by hand, and ours.

by hand          nn.Embedding, nn.LSTM, a tied nn.Linear and cross_entropy that ignores padding; each batch is cut to
                 its longest sentence; Adam
by hand, packed  the same, but the LSTM reads packed sequences, and scores are of tokens alone
language model   the recipe of the same sizes, by `lowerbound.train`, with its records and checks
adaptive softmax the same language model with softmax="adaptive"
sentence VAE     the recipe of the same sizes: an encoder besides
hybrid           the sentence VAE with decoder="hybrid"

All see the same batches of 64 sentences in the same order: embedding 128, LSTM 256, dropout 0.3, clipped gradients.
Sentences are those of the Penn Treebank, or, with --symbols K, words drawn with probabilities 1 / k. Memory is what the
resident memory of a process rises by, at most, in its first steps, above that with data and models.

LOWERBOUND_DATA=FOLDER python benchmarks/text_step.py [--steps 20] [--repeats 3] [--sentences 8000] [--symbols 30000]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch
from timing import CLOCKS, interleave, peak_mebibytes, report
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout
from torch.nn.utils.rnn import pack_padded_sequence

import lowerbound as lb
from lowerbound.data import InMemory, read_file
from lowerbound.data.download import find
from lowerbound.likelihoods.tokens import num_tokens
from lowerbound.models.sentence_autoencoder import language_model, sentence_vae

BATCH, EMBEDDING, WIDTH, DROPOUT, LR, CLIP = 64, 128, 256, 0.3, 3e-3, 5.0


class ByHand(nn.Module):
    """A language model in twenty lines."""

    def __init__(self, num_symbols: int, packed: bool):
        super().__init__()
        self.embedding, self.packed = nn.Embedding(num_symbols, EMBEDDING), packed
        self.lstm, self.down = nn.LSTM(EMBEDDING, WIDTH, batch_first=True), nn.Linear(WIDTH, EMBEDDING)
        self.out = nn.Linear(EMBEDDING, num_symbols)
        self.out.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        """The negative log-likelihood of a sentence, nats."""
        lengths = (x != 0).sum(1) + 1
        x = x[:, : int(lengths.max())]
        seen = dropout(self.embedding(nn.functional.pad(x, (1, -1))), DROPOUT, self.training)
        if self.packed:
            packing = {"lengths": lengths, "batch_first": True, "enforce_sorted": False}
            h = self.lstm(pack_padded_sequence(seen, **packing))[0].data
            target = pack_padded_sequence(x, **packing).data
            return cross_entropy(self.scores(h), target, reduction="sum") / len(x)
        target = x.masked_fill(torch.arange(x.shape[1]) >= lengths[:, None], -1)
        scores = self.scores(self.lstm(seen)[0])
        return cross_entropy(scores.flatten(0, 1), target.flatten(), ignore_index=-1, reduction="sum") / len(x)

    def scores(self, h: Tensor) -> Tensor:
        """Of every symbol."""
        return self.out(self.down(dropout(h, DROPOUT, self.training)))


def by_hand(x: Tensor, num_symbols: int, steps: int, packed: bool) -> Callable[[], None]:
    """Steps of the model written by hand."""
    torch.manual_seed(0)
    model = ByHand(num_symbols, packed)
    optimizer = torch.optim.Adam(model.parameters(), LR)

    def run() -> None:
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
        for rows in order.split(BATCH)[:steps]:
            optimizer.zero_grad()
            model(x[rows].long()).backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()

    return run


def ours(x: Tensor, model: lb.LatentVariableModel, steps: int) -> Callable[[], None]:
    """Steps of a model of the library."""
    loss = lb.VariationalLoss(model, lb.objectives.ELBO("kl"), lb.gradients.Pathwise())
    source = InMemory(x)

    def run() -> None:
        for _ in lb.train(loss, source, num_steps=steps, batch_size=BATCH, lr=LR, clip_norm=CLIP, compile=False):
            pass

    return run


def sentences(num: int) -> tuple[Tensor, int, str]:
    """Sentences of the Penn Treebank, how many symbols there are, and what they are."""
    path = find("ptb.train.txt.gz")
    if path is None:
        raise SystemExit("There is no ptb.train.txt.gz in the folder that LOWERBOUND_DATA names; put it there.")
    data = read_file(path)
    text = data.schema.text
    assert text is not None
    return torch.from_numpy(data.x_train[:num]).float(), len(text.symbols), "sentences of the Penn Treebank"


def drawn(num: int, num_symbols: int) -> tuple[Tensor, int, str]:
    """Sentences of 10 to 39 words, the k-th of which has a probability in proportion to 1 / k."""
    generator = torch.Generator().manual_seed(0)
    words = torch.multinomial(1 / torch.arange(1, num_symbols), num * 40, replacement=True, generator=generator)
    lengths = torch.randint(10, 40, (num, 1), generator=generator)
    x = torch.where(torch.arange(40) < lengths, 1 + words.view(num, 40), 0)
    return x.float(), num_symbols, "sentences of words drawn by 1 / rank"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sentences", type=int, default=8000)
    parser.add_argument("--symbols", type=int)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    given = parser.parse_args()
    torch.set_num_threads(1)
    x, num_symbols, of = drawn(given.sentences, given.symbols) if given.symbols else sentences(given.sentences)
    shape, words = (x.shape[1],), {"likelihood": f"tokens:num_symbols={num_symbols}", "dropout": DROPOUT}
    contenders = {
        "by hand": by_hand(x, num_symbols, given.steps, packed=False),
        "by hand, packed": by_hand(x, num_symbols, given.steps, packed=True),
        "language model": ours(x, language_model(shape, **words), given.steps),
        "adaptive softmax": ours(x, language_model(shape, softmax="adaptive", **words), given.steps),
        "sentence VAE": ours(x, sentence_vae(shape, **words), given.steps),
        "hybrid": ours(x, sentence_vae(shape, decoder="hybrid", **words), given.steps),
    }
    protocol = (
        f"{given.clock} seconds for {given.steps} steps of {BATCH} {of}, {num_symbols:,} symbols, "
        f"embedding {EMBEDDING}, LSTM {WIDTH}, dropout {DROPOUT}, one thread"
    )
    memory = {name: peak_mebibytes(call) for name, call in contenders.items()}
    seconds = interleave(contenders, given.repeats, warmup=0, clock=given.clock)
    tokens = float(num_tokens(x).float().mean()) * BATCH * given.steps
    more = {
        name: {"tokens_per_s": round(tokens / statistics.median(times)), "peak_mebibytes": memory[name]}
        for name, times in seconds.items()
    }
    name = f"text_step_{given.symbols}" if given.symbols else "text_step"
    report(name, protocol, seconds, 1.0, "s", "by hand, packed", more)


if __name__ == "__main__":
    main()
