"""k-means with the k-means++ start of Arthur & Vassilvitskii (2007)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["k_means"]


def k_means(
    points: Float[Tensor, "point dim"], num_clusters: int
) -> tuple[Float[Tensor, "cluster dim"], Int[Tensor, "point"]]:
    """Compute the centres of clusters and the cluster of each point. The seed comes from torch's own random state.

    Arguments:
        points: one row per point.
        num_clusters: how many centres.

    Raises:
        ValueError: fewer points than clusters.
    """
    if len(points) < num_clusters:
        raise ValueError(
            f"k_means got {len(points)} points for {num_clusters} clusters and needs "
            "at least one point per cluster; pass more rows or ask for fewer components."
        )
    from sklearn.cluster import KMeans  # here, because importing it takes a second

    seed = int(torch.randint(2**31 - 1, ()))
    fitted = KMeans(num_clusters, init="k-means++", n_init="auto", max_iter=50, random_state=seed).fit(
        points.detach().cpu().numpy()
    )
    centres = torch.as_tensor(fitted.cluster_centers_, dtype=points.dtype, device=points.device)
    return centres, torch.as_tensor(fitted.labels_, dtype=torch.long, device=points.device)
