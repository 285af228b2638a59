"""The files in which data sets were published: their addresses, sizes and checksums.

Addresses are those of the publisher and of a second holder. The checksums are those of other libraries; the comment
above each names the library.
"""

from dataclasses import dataclass

__all__ = ["BINARIZED_MNIST", "CIFAR_10", "FASHION_MNIST", "FREY_FACES", "MNIST", "OMNIGLOT_28", "Original"]


@dataclass(frozen=True, kw_only=True)
class Original:
    """A published file.

    Attributes:
        file: its name.
        urls: its addresses, tried in this order.
        num_bytes: its size, or an upper limit if the size is not published. No more is read.
        checksum: "sha256:…" or "md5:…" of the file; or, where nobody published that, "pixels:…", the sha256 of the
            bytes of the images in it, in their order.
    """

    file: str
    urls: tuple[str, ...]
    num_bytes: int
    checksum: str


def _idx(bases: tuple[str, ...], *files: tuple[str, int, str]) -> tuple[Original, ...]:
    """Training images, training labels, test images and test labels, each of the same name in every folder."""
    return tuple(
        Original(file=file, urls=tuple(base + file for base in bases), num_bytes=size, checksum=f"sha256:{sha256}")
        for file, size, sha256 in files
    )


# tensorflow-datasets (url_checksums/mnist.txt) and torchvision-ruby (mnist.rb); torchvision has the md5 of each.
MNIST = _idx(
    ("https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/"),
    ("train-images-idx3-ubyte.gz", 9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    ("train-labels-idx1-ubyte.gz", 28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    ("t10k-images-idx3-ubyte.gz", 1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    ("t10k-labels-idx1-ubyte.gz", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
)

# tensorflow-datasets (url_checksums/fashion_mnist.txt) and torchvision (prototype, mnist.py). The publisher's own
# server has no https; its repository has the files. The second address is that of Keras.
FASHION_MNIST = _idx(
    (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
    ("train-images-idx3-ubyte.gz", 26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    ("train-labels-idx1-ubyte.gz", 29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    ("t10k-images-idx3-ubyte.gz", 4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    ("t10k-labels-idx1-ubyte.gz", 5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
)

# tensorflow-datasets (url_checksums/binarized_mnist.txt), the only source with sha256; sizes are 2 × 784 bytes a row.
BINARIZED_MNIST = _idx(
    (
        "https://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
    ("binarized_mnist_train.amat", 78_400_000, "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d"),
    ("binarized_mnist_valid.amat", 15_680_000, "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2"),
    ("binarized_mnist_test.amat", 15_680_000, "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c"),
)

# tensorflow-datasets (url_checksums/cifar10.txt) and torchvision-ruby (cifar10.rb).
CIFAR_10 = (
    Original(
        file="cifar-10-binary.tar.gz",
        urls=(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
        ),
        num_bytes=170_052_171,
        checksum="sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ),
)

# The md5 is that of a loader on tfsnippet (DATASET_MD5 in its omniglot.py), the only checksum found. No size is
# published; 100 MB is the most that its host keeps. Both addresses are of that host.
OMNIGLOT_28 = (
    Original(
        file="chardata.mat",
        urls=(
            "https://raw.githubusercontent.com/yburda/iwae/master/datasets/OMNIGLOT/chardata.mat",
            "https://github.com/yburda/iwae/raw/master/datasets/OMNIGLOT/chardata.mat",
        ),
        num_bytes=100_000_000,
        checksum="md5:21ecaf34373511aa7691cf2e0802aa3d",
    ),
)

# No checksum of the file is published. That of the pixels is of the copy in the VampPrior's repository. Without
# compression the file is 1965 × 560 bytes and a header.
FREY_FACES = (
    Original(
        file="frey_rawface.mat",
        urls=(
            "https://cs.nyu.edu/~roweis/data/frey_rawface.mat",
            "https://www.cs.nyu.edu/~roweis/data/frey_rawface.mat",
        ),
        num_bytes=1_200_000,
        checksum="pixels:2438ba4f0d2a6bd8bac43de756141eaa33c8d248dd613d464bdb1210d9b7af78",
    ),
)
