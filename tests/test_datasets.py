from __future__ import annotations

import io
import struct
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from relevance import datasets


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits", device="cpu")


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


def test_balanced_test_gives_every_class_its_share(digits):
    images, labels = digits.balanced_test(500, seed=0)
    assert images.shape == (500, 1, 28, 28)
    assert torch.bincount(labels).tolist() == [50] * 10
    assert len(images.flatten(1).unique(dim=0)) == 500  # without replacement
    assert sorted(torch.bincount(digits.balanced_test(23)[1]).tolist()) == [2] * 7 + [3] * 3


def test_balanced_test_depends_on_the_seed_alone(digits):
    first, again, other = (digits.balanced_test(40, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    labels = digits.balanced_test(200, seed=0)[1]
    assert not torch.equal(labels, labels.sort().values)  # the order is random


def test_balanced_test_images_have_their_own_labels(digits):
    images, labels = digits.balanced_test(30, seed=3)
    for image, label in zip(images, labels, strict=True):
        same = (digits.test_images == image).flatten(1).all(1)
        assert label in digits.test_labels[same]


@pytest.mark.parametrize("n_images", [0, -1, 598, 2.5, True])
def test_balanced_test_refuses_what_it_cannot_give(digits, n_images):
    with pytest.raises(ValueError, match="n_images is .*; "):
        digits.balanced_test(n_images)


def test_balanced_test_says_how_many_there_can_be(digits):
    with pytest.raises(
        ValueError, match="n_images is 590; .* need 59 of class 8, which has 55, so it may be at most 550"
    ):
        digits.balanced_test(590)
    with pytest.raises(
        ValueError, match="n_images is 598; the data set has 597 test images, so it may be at most that"
    ):
        digits.balanced_test(598)


def test_smaller_is_balanced_and_said(digits):
    small = digits.smaller(100)
    assert torch.bincount(small.train_labels).tolist() == [10] * 10
    assert "a balanced subset of 100 training images" in small.source
    assert torch.equal(small.test_images, digits.test_images)
    assert digits.smaller(None) is digits
    assert digits.smaller(10_000) is digits


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"dataset is 'imagenet'; it may be one of: cifar10, digits, fashion_mnist"):
        datasets.load("imagenet")


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
    data = datasets.load("mnist")
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
        datasets.load("mnist", root=tmp_path)
    for part in ("'mnist'", "MNIST/raw", "no network here", "RELEVANCE_DATA", "'digits'"):
        assert part in str(error.value)


def test_damaged_data_gets_a_sentence(mnist_root):
    (mnist_root / "MNIST/raw/train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0")
    with pytest.raises(FileNotFoundError, match="missing or damaged"):
        datasets.load("mnist", root=mnist_root)


def png(value, size=(6, 5), mode="L"):
    stream = io.BytesIO()
    Image.new(mode, size, value).save(stream, "PNG")
    return stream.getvalue()


def write_folder(root, parts=("train", "test")):
    for part in parts:
        for index, name in enumerate(("ant", "bee")):
            for number in range(5):
                path = root / part / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(png(50 * index + number))


def test_a_folder_of_class_folders(tmp_path):
    write_folder(tmp_path)
    data = datasets.load(str(tmp_path))
    assert data.train_images.shape == (10, 1, 5, 6)
    assert data.classes == ("ant", "bee")
    assert data.train_labels.tolist() == [0] * 5 + [1] * 5
    assert data.test_images[6, 0, 0, 0].item() == pytest.approx(51 / 255)


def test_a_folder_without_a_split_is_split_by_name(tmp_path):
    write_folder(tmp_path, parts=("",))
    data = datasets.load(str(tmp_path))
    assert len(data.train_labels) == 8
    assert data.test_images[:, 0, 0, 0].mul(255).round().tolist() == [4, 54]
    assert "every 5th image of each class is for testing" in data.source


def test_a_folder_of_mixed_sizes_or_classes_gets_a_sentence(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "train/ant/9.png").write_bytes(png(0, size=(7, 5)))
    with pytest.raises(ValueError, match="6x5, 7x5; all images must have one size"):
        datasets.load(str(tmp_path))
    (tmp_path / "train/ant/9.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"9\.png cannot be read"):
        datasets.load(str(tmp_path))
    with pytest.raises(ValueError, match="has no folders with images in it"):
        datasets.load(str(tmp_path / "train" / "ant"))
    (tmp_path / "test/bee").rename(tmp_path / "test/cat")
    (tmp_path / "train/ant/9.png").unlink()
    with pytest.raises(ValueError, match="two or more class folders"):
        datasets.load(str(tmp_path))


def test_cifar10_as_an_archive_of_class_folders(tmp_path):
    with tarfile.open(tmp_path / "cifar10-imagefolder.tar.xz", "w:xz") as tar:
        for part in ("test", "train"):
            for index, name in enumerate(("cat", "dog")):
                content = png((index, 2, 255), mode="RGB")
                member = tarfile.TarInfo(f"cifar/{part}/{name}/1.png")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    data = datasets.load("cifar10", root=tmp_path)
    assert data.train_images.shape == (2, 3, 5, 6)
    assert data.train_images[1, :, 0, 0].mul(255).round().tolist() == [1, 2, 255]
    assert data.source.startswith("CIFAR-10 (JPEG): 2 images to train")


def test_the_fingerprint_notices_a_changed_byte(mnist_root):
    before = datasets.fingerprint("mnist", mnist_root)
    assert before == datasets.fingerprint("mnist", mnist_root)
    path = mnist_root / "MNIST/raw/t10k-labels-idx1-ubyte"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert datasets.fingerprint("mnist", mnist_root) != before


def test_the_data_folder_is_the_project_s_also_from_a_chapter_s(tmp_path, monkeypatch):
    (tmp_path / "book/method").mkdir(parents=True)
    (tmp_path / "_toc.yml").touch()
    monkeypatch.delenv("RELEVANCE_DATA", raising=False)
    monkeypatch.chdir(tmp_path / "book/method")
    assert datasets.data_root() == tmp_path / "data"


def test_images_that_would_lose_something_are_refused(tmp_path):
    write_folder(tmp_path)
    Image.new("I;16", (6, 5), 32768).save(tmp_path / "train/ant/9.png")
    with pytest.raises(ValueError, match=r"9\.png has more than 8 bits a pixel"):
        datasets.load(str(tmp_path))


def test_a_class_without_test_images_is_named(tmp_path):
    write_folder(tmp_path, parts=("",))
    (tmp_path / "bee/4.png").unlink()
    with pytest.raises(ValueError, match="no images of class bee to test"):
        datasets.load(str(tmp_path))


def test_grey_and_colour_halves_go_together(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "test/ant/0.png").write_bytes(png((9, 8, 7), mode="RGB"))
    data = datasets.load(str(tmp_path))
    assert data.train_images.shape[1] == data.test_images.shape[1] == 3
    assert data.test_images[0, :, 0, 0].mul(255).round().tolist() == [9, 8, 7]


def test_digits_are_upright(digits):
    """A one has more ink in the middle column than a zero has; a seven more above than below."""
    means = torch.stack([digits.test_images[digits.test_labels == label].mean(0)[0] for label in range(10)])
    assert means[7, :9].sum() > 1.2 * means[7, 19:].sum()
    left, right = means[7, 14:, :14].sum(), means[7, 14:, 14:].sum()
    assert left > right  # the foot of a seven leans to the left


def test_data_sets_at_hand_are_those_with_files(tmp_path):
    assert datasets.at_hand(tmp_path) == ["digits"]
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    assert datasets.at_hand(tmp_path) == ["digits", "mnist"]
