"""Names of other libraries, and where their references describe them: an inventory for each, written without a network.

Signatures name a class by the module that defines it, which its reference may not do; both lead to one place. So do
short names that stand in annotations.
"""

from __future__ import annotations

import zlib
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

__all__ = ["PLACES", "OwnNames", "write"]

_DISTRIBUTIONS = "torch.distributions"

PLACES: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "torch": (
        "https://docs.pytorch.org/docs/stable/",
        {
            "tensors.html#torch.Tensor": ("torch.Tensor", "Tensor"),
            "size.html#torch.Size": ("torch.Size",),
            "tensor_attributes.html#torch.device": ("torch.device",),
            "tensor_attributes.html#torch.dtype": ("torch.dtype",),
            "generated/torch.nn.Module.html#torch.nn.Module": ("torch.nn.modules.module.Module", "nn.Module"),
            "optim.html#torch.optim.Optimizer": ("torch.optim.optimizer.Optimizer",),
            "data.html#torch.utils.data.Dataset": ("torch.utils.data.dataset.Dataset",),
            **{
                f"distributions.html#{_DISTRIBUTIONS}.{name}": (f"{_DISTRIBUTIONS}.{name}",)
                for name in (
                    "constraints.Constraint",
                    "distribution.Distribution",
                    "independent.Independent",
                    "laplace.Laplace",
                    "multivariate_normal.MultivariateNormal",
                    "normal.Normal",
                    "one_hot_categorical.OneHotCategorical",
                )
            },
        },
    ),
    "numpy": (
        "https://numpy.org/doc/stable/",
        {
            "reference/generated/numpy.ndarray.html#numpy.ndarray": ("numpy.ndarray", "np.ndarray", "ndarray"),
            "reference/generated/numpy.dtype.html#numpy.dtype": ("numpy.dtype",),
        },
    ),
    "jaxtyping": (
        "https://docs.kidger.site/jaxtyping/",
        {"api/array/": tuple(f"jaxtyping.{name}" for name in ("Bool", "Float", "Float64", "Int", "Int64", "Shaped"))},
    ),
    "pandas": (
        "https://pandas.pydata.org/docs/",
        {"reference/api/pandas.DataFrame.html#pandas.DataFrame": ("pandas.DataFrame",)},
    ),
    "matplotlib": (
        "https://matplotlib.org/stable/",
        {"api/figure_api.html#matplotlib.figure.Figure": ("matplotlib.figure.Figure",)},
    ),
    "python": (
        "https://docs.python.org/3/",
        {
            "library/pathlib.html#pathlib.Path": ("pathlib.Path",),
            **{
                f"library/collections.abc.html#collections.abc.{name}": (f"collections.abc.{name}",)
                for name in ("Callable", "Collection", "Generator", "Iterable", "Iterator", "Mapping", "Sequence")
            },
        },
    ),
}
"""By library: the address of its reference, and the names that each place in it describes."""


def write(folder: Path) -> dict[str, tuple[str, str]]:
    """Write an inventory of each library into a folder.

    Returns:
        What `intersphinx_mapping` takes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for library, (address, places) in PLACES.items():
        lines = [f"{name} py:class 1 {place} -\n" for place, names in places.items() for name in names]
        head = f"# Sphinx inventory version 2\n# Project: {library}\n# Version: \n"
        note = "# The remainder of this file is compressed using zlib.\n"
        path = folder / f"{library}.inv"
        path.write_bytes((head + note).encode() + zlib.compress("".join(lines).encode()))
        mapping[library] = (address, str(path))
    return mapping


class OwnNames:
    """Finds the public path of a class that a page names without it, in the manner of the event "missing-reference".

    Arguments:
        names: public paths by name.
    """

    def __init__(self, names: dict[str, list[str]]):
        self.names = names

    def __call__(
        self, app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
    ) -> nodes.Element | None:
        """The link; None for a name that is none or several."""
        name = str(node.get("reftarget", ""))
        paths = self.names.get(name, []) if node.get("refdomain") == "py" and name[:1].isupper() else []
        if len(paths) != 1:
            return None
        python = env.domains["py"]
        return python.resolve_xref(env, node["refdoc"], app.builder, "obj", paths[0], node, content)
