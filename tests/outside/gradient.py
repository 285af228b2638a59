from dataclasses import dataclass

from lowerbound.gradients import Pathwise


@dataclass(frozen=True)
class PathwiseTwice(Pathwise):
    def estimate(self, objective, posterior, joint, num_samples):
        return super().estimate(objective, posterior, joint, 2 * num_samples)
