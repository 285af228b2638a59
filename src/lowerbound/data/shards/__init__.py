"""Files whose rows stay on disk: .npy, .npz, .parquet, .tar and matrices in compressed rows."""

__all__: list[str] = []
