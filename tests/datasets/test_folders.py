from __future__ import annotations

import hashlib
import io
import tarfile

import pytest
import torch
from PIL import Image

from relevance.base import environment
from relevance.datasets import folders, reading


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
    data = reading.load(str(tmp_path))
    assert data.train_images.shape == (10, 1, 5, 6)
    assert data.classes == ("ant", "bee")
    assert data.train_labels.tolist() == [0] * 5 + [1] * 5
    assert data.test_images[6, 0, 0, 0].item() == pytest.approx(51 / 255)


def test_a_folder_without_a_split_is_split_by_name(tmp_path):
    write_folder(tmp_path, parts=("",))
    data = reading.load(str(tmp_path))
    assert len(data.train_labels) == 8
    assert data.test_images[:, 0, 0, 0].mul(255).round().tolist() == [4, 54]
    assert "every 5th image of each class is for testing" in data.source


def test_a_folder_of_mixed_sizes_or_classes_gets_a_sentence(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "train/ant/9.png").write_bytes(png(0, size=(7, 5)))
    with pytest.raises(ValueError, match="6x5, 7x5; all images must have one size"):
        reading.load(str(tmp_path))
    (tmp_path / "train/ant/9.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"9\.png cannot be read"):
        reading.load(str(tmp_path))
    with pytest.raises(ValueError, match="has no folders with images in it"):
        reading.load(str(tmp_path / "train" / "ant"))
    (tmp_path / "test/bee").rename(tmp_path / "test/cat")
    (tmp_path / "train/ant/9.png").unlink()
    with pytest.raises(ValueError, match="two or more class folders"):
        reading.load(str(tmp_path))


def test_cifar10_as_an_archive_of_class_folders(tmp_path):
    with tarfile.open(tmp_path / "cifar10-imagefolder.tar.xz", "w:xz") as tar:
        for part in ("test", "train"):
            for index, name in enumerate(("cat", "dog")):
                content = png((index, 2, 255), mode="RGB")
                member = tarfile.TarInfo(f"cifar/{part}/{name}/1.png")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    data = reading.load("cifar10", root=tmp_path)
    assert data.train_images.shape == (2, 3, 5, 6)
    assert data.train_images[1, :, 0, 0].mul(255).round().tolist() == [1, 2, 255]
    assert data.source.startswith("CIFAR-10 (JPEG): 2 images to train")


def test_cifar10_as_a_folder_is_read_in_its_own_order(tmp_path, monkeypatch):
    for part in ("test", "train"):
        for label in ("cat", "dog"):
            (tmp_path / "cifar10" / part / label).mkdir(parents=True)
        for place, label in enumerate(("dog", "cat", "cat", "dog")):
            content = png((10 * place, 2, 255), mode="RGB")
            (tmp_path / "cifar10" / part / label / f"{place:05d}.png").write_bytes(content)
    (tmp_path / "cifar10/train/cat/notes.txt").write_text("no image")
    data = reading.load("cifar10", root=tmp_path)
    assert data.train_labels.tolist() == data.test_labels.tolist() == [1, 0, 0, 1]
    assert data.train_images[:, 0, 0, 0].mul(255).round().tolist() == [0, 10, 20, 30]
    # What is not the published set is not called by its name.
    assert data.source.startswith("CIFAR-10 (not as published): 4 images to train")
    assert "cifar10" in reading.at_hand(tmp_path)
    # Without one of its halves it is not there.
    (tmp_path / "cifar10/test").rename(tmp_path / "cifar10/tests")
    monkeypatch.setattr(reading, "_torchvision", lambda *_: lambda root: "torchvision's")
    assert reading._cifar10(tmp_path) == "torchvision's"


def test_cifar10_as_published_is_called_by_its_name():
    if not (environment.data_root() / "cifar10").is_dir():
        pytest.skip("CIFAR-10 is not on this machine as a folder")
    data = reading.load("cifar10", device="cpu")
    assert data.source == "CIFAR-10: 50,000 images to train, 10,000 to test"
    pixels = (data.test_images * 255).round().to(torch.uint8).flatten(1)
    batch = torch.cat([data.test_labels.to(torch.uint8)[:, None], pixels], 1)
    # Of the official file test_batch.bin.
    assert hashlib.md5(batch.numpy().tobytes()).hexdigest() == "803d5f7f4d78ea53de84dbe85f74fb6d"


def test_images_that_would_lose_something_are_refused(tmp_path):
    write_folder(tmp_path)
    Image.new("I;16", (6, 5), 32768).save(tmp_path / "train/ant/9.png")
    with pytest.raises(ValueError, match=r"9\.png has more than 8 bits a pixel"):
        reading.load(str(tmp_path))


def test_a_class_without_test_images_is_named(tmp_path):
    write_folder(tmp_path, parts=("",))
    (tmp_path / "bee/4.png").unlink()
    with pytest.raises(ValueError, match="no images of class bee to test"):
        reading.load(str(tmp_path))


def test_grey_and_colour_halves_go_together(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "test/ant/0.png").write_bytes(png((9, 8, 7), mode="RGB"))
    data = reading.load(str(tmp_path))
    assert data.train_images.shape[1] == data.test_images.shape[1] == 3
    assert data.test_images[0, :, 0, 0].mul(255).round().tolist() == [9, 8, 7]


@pytest.mark.parametrize(
    ("shape", "kept", "told"),
    [((1, 0, 8), 1.0, r"image_shape is \(1, 0, 8\); it must be \(C, H, W\), whole numbers of at least 1"),
     ((3, 8, -1), 1.0, r"image_shape is \(3, 8, -1\)"), ((1, 8, 8), 0, "kept is 0; it must be a finite number above 0"),
     ((1, 8, 8), 1.5, "kept is 1.5"), ((1, 8, 8), float("nan"), "kept is nan")],
)  # fmt: skip
def test_a_crop_of_nothing_is_refused(shape, kept, told, tmp_path):
    with pytest.raises(ValueError, match=told):
        folders.read_images(tmp_path, shape, kept=kept)


def test_an_image_bomb_is_named(tmp_path, monkeypatch):
    for part in ("train", "test"):
        for label in "ab":
            (tmp_path / part / label).mkdir(parents=True)
            Image.new("L", (8, 8)).save(tmp_path / part / label / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for read in (lambda: folders.read_folder(tmp_path), lambda: folders.read_images(tmp_path, (1, 8, 8))):
        with pytest.raises(ValueError, match=r"The image .*bomb.png cannot be read \(Image size"):
            read()
