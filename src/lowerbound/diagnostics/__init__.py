"""Numbers about how a model trains and infers, each with its uncertainty."""

__all__: list[str] = []
