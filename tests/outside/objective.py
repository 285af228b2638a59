from dataclasses import dataclass

from lowerbound.objectives import ELBO


@dataclass(frozen=True)
class MedianBound(ELBO):
    def reduce(self, signal):
        return signal.median(0).values
