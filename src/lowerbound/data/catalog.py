"""The data sets known by name: what each is, where its file comes from, and how to load it.

Every file is an .npz archive known by its sha256, found or downloaded by `lowerbound.data.download`;
two need none: scikit-learn's digits (part of a dependency) and the shapes, which are drawn. Listing
reads no data: this module imports neither numpy nor torch.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lowerbound.data.errors import DataError, nearest

if TYPE_CHECKING:
    import lowerbound.data.dataset

__all__ = ["CATALOG", "Entry", "Row", "describe", "entry", "load", "names"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One data set known by name.

    Attributes:
        name: how it is asked for.
        kind: whether its rows are images or rows of a table.
        event_shape: the shape of one row.
        num_train: how many training rows it has.
        num_test: how many test rows it has.
        file: the file it is read from, or None if it needs none.
        sha256: the file's checksum, 64 hexadecimal digits.
        label: the stem of the label arrays in the file, or None.
        description: what it is, in a sentence, with what to beware of.
        origin: who made it.
        licence: what is known of its licence.
    """

    name: str
    kind: Literal["image", "table"] = "image"
    event_shape: tuple[int, ...]
    num_train: int
    num_test: int
    file: str | None
    sha256: str = ""
    label: str | None = None
    description: str
    origin: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the listing: `size` in words, `present` whether `load` needs no download."""

    name: str
    kind: str
    size: str
    origin: str
    licence: str
    description: str
    present: bool


CATALOG: tuple[Entry, ...] = (
    Entry(
        name="digits",
        event_shape=(8, 8),
        num_train=1437,
        num_test=360,
        file=None,
        description="Handwritten digits with 17 grey levels, divided by 16; fixed random split.",
        origin="Alpaydin and Kaynak (1998), in scikit-learn",
        licence="CC BY 4.0",
    ),
    Entry(
        name="mnist",
        event_shape=(28, 28),
        num_train=60_000,
        num_test=10_000,
        file="mnist.npz",
        sha256="06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64",
        label="y",
        description="Handwritten digits in the official order and split.",
        origin="LeCun, Cortes and Burges (1998)",
        licence="not stated with the original files",
    ),
    Entry(
        name="fashion-mnist",
        event_shape=(28, 28),
        num_train=60_000,
        num_test=10_000,
        file="fashion_mnist.npz",
        sha256="5b6d2c4c694a91887af8ab7d039c04f80af3c29378d731c93a538d2e831aa469",
        label="y",
        description="Pictures of clothing in the official order and split.",
        origin="Xiao, Rasul and Vollgraf (2017)",
        licence="MIT",
    ),
    Entry(
        name="omniglot",
        event_shape=(28, 28),
        num_train=24_345,
        num_test=8_115,
        file="omniglot_28.npz",
        sha256="522572f02399b0091c1900f81643296899bb16c8613bc30e0ecb5ad2aa8bfb35",
        label="alphabet",
        description="Characters of 50 alphabets, averaged from 105 x 105 to 28 x 28, labelled by "
        "alphabet; not the pixels of the IWAE paper, whose scores must not be set beside these.",
        origin="Lake, Salakhutdinov and Tenenbaum (2015)",
        licence="MIT",
    ),
    Entry(
        name="frey-faces",
        event_shape=(28, 20),
        num_train=1_765,
        num_test=200,
        file="frey_faces.npz",
        sha256="b31ddb973f41a99244168000379cc79c3f1e4402c3604814fe3699002931659b",
        description="Frames of one face from a video; fixed random split, 1565 + 200 to train on.",
        origin="Frey and Roweis, through the VampPrior's repository",
        licence="not stated",
    ),
    Entry(
        name="shapes",
        event_shape=(32, 32),
        num_train=6_000,
        num_test=1_200,
        file=None,
        description="Squares, ellipses and hearts in every size, rotation and place of a grid, labelled by "
        "shape; `lowerbound.data.shapes` has the other factors; fixed random split.",
        origin="drawn here, after dSprites (Matthey et al. 2017)",
        licence="Apache-2.0",
    ),
)


def names() -> tuple[str, ...]:
    """The names that `load` knows.

    >>> names()
    ('digits', 'mnist', 'fashion-mnist', 'omniglot', 'frey-faces', 'shapes')
    """
    return tuple(known.name for known in CATALOG)


def entry(name: str) -> Entry:
    """What is known of a data set.

    Raises:
        DataError: if no data set has this name.
    """
    for known in CATALOG:
        if known.name == name:
            return known
    raise DataError(
        f"there is no data set '{name}'; did you mean '{nearest(name, names(), most=1)[0]}'? "
        f"The known ones are {', '.join(names())}."
    )


def describe() -> tuple[Row, ...]:
    """One row for each known data set; whether its file is present is looked up, not verified.

    Raises:
        DataError: if ``$LOWERBOUND_DATA`` is set to something that is not a folder.
    """
    return tuple(_row(known) for known in CATALOG)


def _row(known: Entry) -> Row:
    from lowerbound.data.download import find

    shape = " x ".join(str(n) for n in known.event_shape)
    return Row(
        name=known.name,
        kind=known.kind,
        size=f"{known.num_train:,} + {known.num_test:,} of {shape}",
        origin=known.origin,
        licence=known.licence,
        description=known.description,
        present=known.file is None or find(known.file) is not None,
    )


def load(name: str, *, download: bool = True) -> "lowerbound.data.dataset.Dataset":
    """Load a data set by name.

    >>> load("digits").x_train.shape
    (1437, 8, 8)

    Arguments:
        name: one of `names()`.
        download: whether its file may be downloaded where it is not on this machine.

    Raises:
        DataError: if the name is unknown, or the file is altered or cannot be had.
    """
    from lowerbound.data.named import load_digits, load_file
    from lowerbound.data.shapes import load_shapes

    known = entry(name)
    if known.name == "shapes":
        return load_shapes(known)
    return load_digits(known) if known.file is None else load_file(known, download=download)
