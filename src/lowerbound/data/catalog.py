"""The data sets known by name: what each is, where its files come from, and how to load it.

The files are those in which a data set was published, identified by checksums and found or downloaded by
`lowerbound.data.download`, or an .npz archive with the same arrays, which is preferred if present. Two data sets need
no file: scikit-learn's digits (part of a dependency) and the shapes, which are generated. Listing reads no data: this
module imports neither numpy nor torch.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from lowerbound.data.errors import DataError, nearest
from lowerbound.data.originals import (
    BINARIZED_MNIST,
    CIFAR_10,
    FASHION_MNIST,
    FREY_FACES,
    MNIST,
    OMNIGLOT_28,
    Original,
)

if TYPE_CHECKING:
    import lowerbound.data.dataset

__all__ = ["CATALOG", "Entry", "Form", "Row", "describe", "entry", "load", "names"]

Form: TypeAlias = Literal["idx", "amat", "cifar", "omniglot", "frey"]
"""How the published files of a data set hold its rows; `lowerbound.data.named` reads each."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One data set known by name.

    Attributes:
        name: the name by which it is loaded.
        kind: whether its rows are images, clips, or rows of a table.
        event_shape: the shape of one row.
        num_train: how many training rows it has.
        num_test: how many test rows it has.
        file: an .npz archive with its arrays, or None if there is none.
        sha256: the archive's checksum, 64 hexadecimal digits.
        label: the stem of the label arrays in the archive, or None.
        originals: the files in which it was published; none if they cannot be downloaded or none is needed.
        form: how these files hold its rows.
        made_of: the data set of which it is made when loaded, or None.
        description: a sentence that describes it, with warnings.
        origin: who made it.
        citation: what to cite.
        cites: the same, as keys of `references.bib`.
        licence: what is known of its licence.
    """

    name: str
    kind: Literal["image", "table", "video"] = "image"
    event_shape: tuple[int, ...]
    num_train: int
    num_test: int
    file: str | None = None
    sha256: str = ""
    label: str | None = None
    originals: tuple[Original, ...] = ()
    form: Form | None = None
    made_of: str | None = None
    description: str
    origin: str
    citation: str
    cites: tuple[str, ...]
    licence: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the listing: `size` in words, `present` whether `load` needs no download."""

    name: str
    kind: str
    size: str
    origin: str
    citation: str
    licence: str
    description: str
    present: bool


CATALOG: tuple[Entry, ...] = (
    Entry(
        name="digits",
        cites=("alpaydin1998optical",),
        event_shape=(8, 8),
        num_train=1437,
        num_test=360,
        description="Handwritten digits with 17 grey levels, divided by 16; fixed random split.",
        origin="Alpaydin and Kaynak (1998), in scikit-learn",
        citation="E. Alpaydin, C. Kaynak: Optical recognition of handwritten digits. UCI Machine Learning "
        "Repository, 1998.",
        licence="CC BY 4.0",
    ),
    Entry(
        name="mnist",
        cites=("lecun1998gradient",),
        event_shape=(28, 28),
        num_train=60_000,
        num_test=10_000,
        file="mnist.npz",
        sha256="06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64",
        label="y",
        originals=MNIST,
        form="idx",
        description="Handwritten digits in the official order and split.",
        origin="LeCun et al. (1998)",
        citation="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition. "
        "Proceedings of the IEEE 86(11), 1998.",
        licence="not stated",
    ),
    Entry(
        name="binarized-mnist",
        cites=("lecun1998gradient", "salakhutdinov2008quantitative", "larochelle2011neural"),
        event_shape=(28, 28),
        num_train=60_000,
        num_test=10_000,
        originals=BINARIZED_MNIST,
        form="amat",
        description="Static binarized MNIST: every pixel drawn once and for all, 50,000 + 10,000 for validation to "
        "train on, without labels.",
        origin="Larochelle, of LeCun et al. (1998)",
        citation="R. Salakhutdinov, I. Murray: On the quantitative analysis of deep belief networks. ICML 2008; "
        "H. Larochelle, I. Murray: The neural autoregressive distribution estimator. AISTATS 2011.",
        licence="not stated",
    ),
    Entry(
        name="fashion-mnist",
        cites=("xiao2017fashion",),
        event_shape=(28, 28),
        num_train=60_000,
        num_test=10_000,
        file="fashion_mnist.npz",
        sha256="5b6d2c4c694a91887af8ab7d039c04f80af3c29378d731c93a538d2e831aa469",
        label="y",
        originals=FASHION_MNIST,
        form="idx",
        description="Pictures of clothing in the official order and split.",
        origin="Xiao et al. (2017)",
        citation="H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST, a novel image dataset for benchmarking machine "
        "learning algorithms. arXiv:1708.07747, 2017.",
        licence="MIT",
    ),
    Entry(
        name="omniglot",
        cites=("lake2015human",),
        event_shape=(28, 28),
        num_train=24_345,
        num_test=8_115,
        file="omniglot_28.npz",
        sha256="522572f02399b0091c1900f81643296899bb16c8613bc30e0ecb5ad2aa8bfb35",
        label="alphabet",
        description="Characters of 50 alphabets, averaged from 105 x 105 to 28 x 28, labelled by "
        "alphabet; not the pixels of the IWAE paper (omniglot-28), whose scores are not comparable.",
        origin="Lake et al. (2015)",
        citation="B. M. Lake, R. Salakhutdinov, J. B. Tenenbaum: Human-level concept learning through probabilistic "
        "program induction. Science 350(6266), 2015.",
        licence="MIT",
    ),
    Entry(
        name="omniglot-28",
        cites=("burda2016importance", "lake2015human"),
        event_shape=(28, 28),
        num_train=24_345,
        num_test=8_070,
        originals=OMNIGLOT_28,
        form="omniglot",
        description="The grey pixels, order and split of the IWAE and VampPrior papers, labelled by alphabet; the "
        "papers hold out 1,345 of the training rows for validation.",
        origin="Burda et al. (2016), of Lake et al. (2015)",
        citation="Y. Burda, R. Grosse, R. Salakhutdinov: Importance weighted autoencoders. ICLR 2016, "
        "arXiv:1509.00519; B. M. Lake, R. Salakhutdinov, J. B. Tenenbaum: Human-level concept learning through "
        "probabilistic program induction. Science 350(6266), 2015.",
        licence="not stated",
    ),
    Entry(
        name="frey-faces",
        cites=("frey1998mixtures",),
        event_shape=(28, 20),
        num_train=1_765,
        num_test=200,
        file="frey_faces.npz",
        sha256="b31ddb973f41a99244168000379cc79c3f1e4402c3604814fe3699002931659b",
        originals=FREY_FACES,
        form="frey",
        description="Frames of one face from a video; fixed random split, 1565 + 200 to train on.",
        origin="Frey and Roweis (1998)",
        citation="B. J. Frey, A. Colmenarez, T. S. Huang: Mixtures of local linear subspaces for face recognition. "
        "CVPR 1998.",
        licence="not stated",
    ),
    Entry(
        name="cifar-10",
        cites=("krizhevsky2009learning",),
        event_shape=(3, 32, 32),
        num_train=50_000,
        num_test=10_000,
        originals=CIFAR_10,
        form="cifar",
        description="Colour photographs of ten classes in the official order and split, channels first.",
        origin="Krizhevsky (2009)",
        citation="A. Krizhevsky: Learning multiple layers of features from tiny images. Technical report, University "
        "of Toronto, 2009.",
        licence="not stated",
    ),
    Entry(
        name="shapes",
        cites=("matthey2017dsprites",),
        event_shape=(32, 32),
        num_train=6_000,
        num_test=1_200,
        description="Squares, ellipses and hearts in every size, rotation and place of a grid, labelled by "
        "shape; `lowerbound.data.shapes` has the other factors; fixed random split.",
        origin="drawn here, after dSprites (Matthey et al. 2017)",
        citation="L. Matthey, I. Higgins, D. Hassabis, A. Lerchner: dSprites, disentanglement testing sprites. 2017.",
        licence="Apache-2.0",
    ),
    Entry(
        name="moving-digits",
        cites=("srivastava2015unsupervised", "lecun1998gradient"),
        made_of="mnist",
        kind="video",
        event_shape=(10, 1, 32, 32),
        num_train=5000,
        num_test=500,
        description="Clips of two digits of MNIST, 14 x 14, that move and bounce in 32 x 32 pixels; made from one seed "
        "when loaded; test clips hold test digits.",
        origin="made here of MNIST, after Moving MNIST (Srivastava et al. 2015)",
        citation="N. Srivastava, E. Mansimov, R. Salakhutdinov: Unsupervised learning of video representations using "
        "LSTMs. ICML 2015.",
        licence="that of MNIST",
    ),
)


def names() -> tuple[str, ...]:
    """The names that `load` knows.

    >>> names()[:4]
    ('digits', 'mnist', 'binarized-mnist', 'fashion-mnist')
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
    """One row for each known data set; whether its files are present is looked up, not verified.

    Raises:
        DataError: if ``$LOWERBOUND_DATA`` is set to something that is not a folder.
    """
    return tuple(_row(known) for known in CATALOG)


def _is_present(known: Entry) -> bool:
    from lowerbound.data.download import find

    if known.made_of is not None:
        return _is_present(entry(known.made_of))
    if known.file is not None and find(known.file) is not None:
        return True
    if known.originals:
        return all(find(f"{known.name}/{original.file}") is not None for original in known.originals)
    return known.file is None


def _row(known: Entry) -> Row:
    shape = " x ".join(str(n) for n in known.event_shape)
    return Row(
        name=known.name,
        kind=known.kind,
        size=f"{known.num_train:,} + {known.num_test:,} of {shape}",
        origin=known.origin,
        citation=known.citation,
        licence=known.licence,
        description=known.description,
        present=_is_present(known),
    )


def load(name: str, *, download: bool = True) -> "lowerbound.data.dataset.Dataset":
    """Load a data set by name.

    >>> load("digits").x_train.shape
    (1437, 8, 8)

    Arguments:
        name: one of `names()`.
        download: whether its files may be downloaded if they are not on this machine.

    Raises:
        DataError: if the name is unknown, or a file is altered or not available.
    """
    from lowerbound.data.moving_digits import load_moving_digits
    from lowerbound.data.named import load_digits, load_file
    from lowerbound.data.shapes import load_shapes

    known = entry(name)
    if known.name == "shapes":
        return load_shapes(known)
    if known.name == "moving-digits":
        return load_moving_digits(known, download=download)
    return load_digits(known) if known.name == "digits" else load_file(known, download=download)
