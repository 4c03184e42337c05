"""The data ladder: every loader on files made here, no network, no data from outside."""

import gzip
import hashlib
import io
import pickle
import socket
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import simclr_edu  # noqa: F401
from simclr_edu import _downloads, data
from simclr_edu.data import DataError, ImageSet, available_datasets, load_images, sample_photographs, shapes
from simclr_edu.home import home_folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path, refuse):
    """Any attempt to reach a network fails the way a machine without one does."""
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setenv("SIMCLR_EDU_HOME", str(tmp_path / "home"))


def make_set(n_train=30, n_test=12, classes=3, size=8, **changes) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    values = {
        "name": "made",
        "train_images": torch.randint(
            0, 256, (n_train, 3, size, size), dtype=torch.uint8, generator=generator
        ),
        "train_labels": torch.arange(n_train) % classes,
        "test_images": torch.randint(0, 256, (n_test, 3, size, size), dtype=torch.uint8, generator=generator),
        "test_labels": torch.arange(n_test) % classes,
        "class_names": tuple("abcdefghij"[:classes]),
        "source": "made here",
        "train_factors": {"hue": torch.arange(n_train, dtype=torch.float32)},
    }
    return ImageSet(**(values | changes))


def picture(path: Path, size=(8, 8), colour=(204, 51, 102), mode="RGB", **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path, **options)
    return path


def folder_of_classes(root: Path, classes=("cat", "dog"), n=5, **options) -> Path:
    blue = 9 if root.name in ("test", "val") else 7  # no copies of the training pictures
    for k, name in enumerate(classes):
        for i in range(n):
            picture(root / name / f"{i}.png", colour=(50 * k + 10, 20 * i, blue), **options)
    return root


# ImageSet


def test_image_set_properties():
    images = make_set()
    assert images.num_classes == 3
    assert images.image_size == 8
    assert images.pretrain_images is images.train_images
    assert repr(images) == "ImageSet('made': 30 train + 12 test images of 8 x 8 px, 3 classes)"
    with pytest.raises(AttributeError):
        images.name = "other"


def test_pretrain_images_hold_unlabeled_and_train():
    unlabeled = torch.zeros(5, 3, 8, 8, dtype=torch.uint8)
    images = make_set(unlabeled_images=unlabeled)
    assert images.pretrain_images.shape == (35, 3, 8, 8)
    assert torch.equal(images.pretrain_images[:5], unlabeled)
    assert torch.equal(images.pretrain_images[5:], images.train_images)
    assert "5 unlabeled" in repr(images)


def pixels(n, channels=3, height=8, width=8, dtype=torch.uint8):
    return torch.zeros(n, channels, height, width, dtype=dtype)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"train_images": np.zeros((30, 3, 8, 8), np.uint8)},
            TypeError,
            "train_images must be a torch.Tensor",
        ),
        ({"train_images": pixels(30, dtype=torch.float32)}, TypeError, "train_images must be uint8"),
        ({"train_images": pixels(30, channels=1)}, ValueError, "must have 3 channels"),
        ({"train_images": pixels(30, width=9)}, ValueError, "must be square"),
        ({"train_images": pixels(29)}, ValueError, "one label per row, got 30 labels for 29 rows"),
        ({"test_images": pixels(12, height=9, width=9)}, ValueError, "like train_images"),
        ({"test_images": pixels(0)}, ValueError, "must not be empty"),
        ({"unlabeled_images": pixels(3, height=9, width=9)}, ValueError, "unlabeled_images must be"),
        ({"unlabeled_images": pixels(3, dtype=torch.float32)}, TypeError, "unlabeled_images must be uint8"),
        ({"train_labels": torch.arange(30) % 4}, ValueError, "below 3"),
        ({"train_labels": torch.arange(30) % 3 - 1}, ValueError, "negative"),
        ({"test_labels": torch.zeros(12)}, TypeError, "must be integers"),
        ({"test_labels": torch.zeros(12, dtype=torch.int32)}, TypeError, "must be int64"),
        ({"class_names": ["a", "b", "c"]}, TypeError, "tuple of strings"),
        ({"class_names": ("a", "b", "b")}, ValueError, "all different"),
        ({"class_names": ()}, ValueError, "at least one"),
        ({"train_factors": {"hue": torch.zeros(7)}}, ValueError, "train_factors\\['hue'\\].*got 7 for 30"),
        ({"test_factors": {"hue": torch.zeros(7)}}, ValueError, "test_factors"),
    ],
)
def test_image_set_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        make_set(**changes)


@settings(deadline=None, max_examples=25)
@given(
    n_train=st.integers(1, 60),
    n_test=st.integers(1, 24),
    seed=st.integers(0, 2**31),
    classes=st.integers(1, 6),
)
def test_subset_is_stratified(n_train, n_test, seed, classes):
    images = make_set(60, 24, classes)
    part = images.subset(n_train, n_test, seed)
    assert len(part.train_images) == len(part.train_labels) == n_train
    assert len(part.test_images) == len(part.test_labels) == n_test
    counts = torch.bincount(part.train_labels, minlength=classes)
    assert counts.max() - counts.min() <= 1  # the classes of the whole set are balanced
    # the factor numbers the images, so it says which were taken: each once, with its own pixels and label
    taken = part.train_factors["hue"].long()
    assert len(set(taken.tolist())) == n_train
    assert torch.equal(images.train_images[taken], part.train_images)
    assert torch.equal(images.train_labels[taken], part.train_labels)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_subset_keeps_proportions_and_rare_classes(seed):
    labels = torch.tensor([0] * 90 + [1] * 9 + [2])
    images = make_set(100, 12, 3, train_labels=labels, train_factors=None)
    assert torch.bincount(images.subset(50, 3, seed).train_labels).tolist() in ([45, 4, 1], [44, 5, 1])
    assert torch.bincount(images.subset(3, 3, seed).train_labels).tolist() == [1, 1, 1]


def test_subset_depends_on_the_seed_alone():
    images = make_set(60, 24)
    first, again, other = (images.subset(20, 12, seed).train_factors["hue"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_validation_is_taken_out_of_the_train_images_alone():
    images = make_set(60, 24)
    part = images.with_validation(18, seed=3)
    train, validation = (f["hue"].long() for f in (part.train_factors, part.test_factors))
    # the factor numbers the train images: each is on one side, with its own pixels and label
    assert sorted(torch.cat([train, validation]).tolist()) == sorted(
        images.train_factors["hue"].long().tolist()
    )
    assert len(validation) == 18
    assert torch.equal(part.test_images, images.train_images[validation])
    assert torch.equal(part.test_labels, images.train_labels[validation])
    assert torch.equal(part.train_images, images.train_images[train])
    assert torch.equal(part.train_labels, images.train_labels[train])
    counts = torch.bincount(part.test_labels)
    assert counts.max() - counts.min() <= 1
    assert torch.equal(images.with_validation(18, seed=3).test_factors["hue"], part.test_factors["hue"])
    assert not torch.equal(images.with_validation(18, seed=4).test_factors["hue"], part.test_factors["hue"])


@pytest.mark.parametrize("n", [0, 30])
def test_validation_leaves_something_to_train_on(n):
    with pytest.raises(ValueError, match="must be from 1 to 29"):
        make_set(30, 24).with_validation(n)


@pytest.mark.parametrize(("n_train", "n_test"), [(0, 5), (31, 5), (5, 13)])
def test_subset_refuses_impossible_sizes(n_train, n_test):
    with pytest.raises(ValueError, match="must be from 1 to"):
        make_set().subset(n_train, n_test)


# names


def test_unknown_name_suggests_the_close_one():
    with pytest.raises(DataError, match="did you mean 'cifar10'.*folder:PATH"):
        load_images("CIFAR-10")
    with pytest.raises(DataError, match="choose one of shapes, shapes_easy, digits"):
        load_images("imagenet21k")
    with pytest.raises(TypeError, match="name must be a string"):
        load_images(3)


def test_image_size_is_checked():
    with pytest.raises(ValueError, match="image_size must be at least 8"):
        load_images("digits", image_size=4)


# shapes


def fake_make_shapes(n, size=32, seed=0, texture=False, easy=False):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=generator)
    return images, torch.arange(n) % 10, {"hue": torch.rand(n, generator=generator)}


@pytest.mark.parametrize("image_size", [None, 16])
def test_shapes(monkeypatch, image_size):
    monkeypatch.setattr(shapes, "make_shapes", fake_make_shapes)
    images = load_images("shapes", image_size=image_size)
    size = image_size or 32
    assert images.train_images.shape == (10_000, 3, size, size)
    assert images.test_images.shape == (2_000, 3, size, size)
    assert images.class_names == tuple(shapes.CLASS_NAMES)
    assert len(images.train_factors["hue"]) == 10_000
    assert not torch.equal(images.train_factors["hue"][:2_000], images.test_factors["hue"])


def test_shapes_train_and_test_share_no_image(monkeypatch):
    monkeypatch.setattr(data.load, "_N_SHAPES_TRAIN", 400)
    monkeypatch.setattr(data.load, "_N_SHAPES_TEST", 200)
    images = load_images("shapes")
    train = {image.numpy().tobytes() for image in images.train_images}
    test = {image.numpy().tobytes() for image in images.test_images}
    assert len(train) == 400 and len(test) == 200 and not train & test
    assert torch.equal(images.train_images, load_images("shapes").train_images)


def test_shapes_easy_is_another_set_with_the_same_labels(monkeypatch):
    monkeypatch.setattr(data.load, "_N_SHAPES_TRAIN", 400)
    monkeypatch.setattr(data.load, "_N_SHAPES_TEST", 200)
    hard, easy = load_images("shapes"), load_images("shapes_easy")
    assert easy.name == "shapes_easy" and easy.class_names == hard.class_names
    for split in ("train", "test"):
        harder, easier = getattr(hard, f"{split}_images"), getattr(easy, f"{split}_images")
        assert harder.shape == easier.shape and not torch.equal(harder, easier)
        assert torch.equal(getattr(hard, f"{split}_labels"), getattr(easy, f"{split}_labels"))
        assert getattr(easy, f"{split}_factors")["scale"].min() >= 0.28
    train = {image.numpy().tobytes() for image in easy.train_images}
    assert not train & {image.numpy().tobytes() for image in easy.test_images}


# digits


def test_digits():
    images = load_images("digits")
    again = load_images("digits")
    assert len(images.train_images) + len(images.test_images) == 1797
    assert images.train_images.shape[1:] == (3, 32, 32)
    assert images.class_names == tuple("0123456789")
    assert torch.equal(images.train_images, again.train_images)
    assert torch.equal(images.test_labels, again.test_labels)
    share = torch.bincount(images.test_labels) / torch.bincount(
        torch.cat([images.train_labels, images.test_labels])
    )
    assert (share - 0.2).abs().max() < 0.01


def test_digits_at_their_own_size_are_scikit_learns_pixels():
    from sklearn.datasets import load_digits

    images = load_images("digits", image_size=8)
    bundle = load_digits()
    wanted = {(round_half(i).tobytes(), int(y)) for i, y in zip(bundle.images, bundle.target, strict=True)}
    for part, labels in (
        (images.train_images, images.train_labels),
        (images.test_images, images.test_labels),
    ):
        assert torch.equal(part[:, 0], part[:, 1]) and torch.equal(part[:, 0], part[:, 2])
        got = {(i.numpy().tobytes(), int(y)) for i, y in zip(part[:, 0], labels, strict=True)}
        assert got <= wanted
    assert images.train_images.max() == 255


def round_half(values):
    return np.round(values * 255 / 16).astype(np.uint8)


# torchvision's sets, on tiny files in the real formats


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def fake_cifar(monkeypatch, class_name: str, n=4) -> tuple[bytes, np.ndarray, list[int]]:
    """Give torchvision's class the checksums of a tiny set; return its archive, train pixels and labels."""
    from torchvision import datasets

    dataset = getattr(datasets, class_name)
    rng = np.random.default_rng(0)
    label_key, classes = ("labels", 10) if class_name == "CIFAR10" else ("fine_labels", 100)
    files, train_pixels, train_labels, lists = {}, [], [], {}
    for which in ("train_list", "test_list"):
        lists[which] = []
        for file, _ in getattr(dataset, which):
            values = rng.integers(0, 256, (n, 3072), dtype=np.uint8)
            labels = rng.integers(0, classes, n).tolist()
            files[file] = pickle.dumps({"data": values, label_key: labels})
            lists[which].append([file, md5(files[file])])
            if which == "train_list":
                train_pixels.append(values.reshape(n, 3, 32, 32))
                train_labels += labels
    meta = dataset.meta
    files[meta["filename"]] = pickle.dumps({meta["key"]: [f"class {i}" for i in range(classes)]})
    monkeypatch.setattr(dataset, "meta", meta | {"md5": md5(files[meta["filename"]])})
    for which, value in lists.items():
        monkeypatch.setattr(dataset, which, value)
    archive = tar_of({f"{dataset.base_folder}/{file}": content for file, content in files.items()})
    monkeypatch.setattr(dataset, "tgz_md5", md5(archive))
    return archive, np.concatenate(train_pixels), train_labels


@pytest.mark.parametrize(
    ("name", "class_name", "archive_name", "n_train", "classes"),
    [
        ("cifar10", "CIFAR10", "cifar-10-python.tar.gz", 20, 10),
        ("cifar100", "CIFAR100", "cifar-100-python.tar.gz", 4, 100),
    ],
)
def test_cifar_from_an_archive_put_there_by_hand(
    monkeypatch, tmp_path, name, class_name, archive_name, n_train, classes
):
    archive, values, labels = fake_cifar(monkeypatch, class_name)
    (tmp_path / archive_name).write_bytes(archive)
    assert "unpacked" in available_datasets(tmp_path)[name]
    images = load_images(name, root=tmp_path, download=False)
    assert np.array_equal(images.train_images.numpy(), values)
    assert images.train_images.is_contiguous()
    assert images.train_labels.tolist() == labels
    assert len(images.train_images) == n_train and len(images.test_images) == 4
    assert images.num_classes == classes
    (tmp_path / archive_name).unlink()  # what is unpacked is enough
    assert str(tmp_path) in available_datasets(tmp_path)[name]
    assert load_images(name, root=tmp_path, download=True, image_size=16).image_size == 16


def test_default_root_is_the_home_folder(monkeypatch, tmp_path):
    archive, _, _ = fake_cifar(monkeypatch, "CIFAR10")
    folder = tmp_path / "home" / "data"
    folder.mkdir(parents=True)
    (folder / "cifar-10-python.tar.gz").write_bytes(archive)
    assert load_images("cifar10", download=False).num_classes == 10
    monkeypatch.delenv("SIMCLR_EDU_HOME")
    assert home_folder() == Path("~/.cache/simclr_edu").expanduser()


def test_stl10(monkeypatch, tmp_path):
    from torchvision.datasets import STL10

    rng = np.random.default_rng(0)
    counts = {"train_X.bin": 6, "test_X.bin": 4, "unlabeled_X.bin": 5}
    values = {file: rng.integers(0, 256, (n, 3, 96, 96), dtype=np.uint8) for file, n in counts.items()}
    files = {file: v.transpose(0, 1, 3, 2).tobytes() for file, v in values.items()}  # stored column by column
    files["train_y.bin"] = bytes([1, 2, 3, 10, 5, 6])  # stored from 1
    files["test_y.bin"] = bytes([1, 2, 3, 4])
    for which in ("train_list", "test_list"):
        monkeypatch.setattr(STL10, which, [[file, md5(files[file])] for file, _ in getattr(STL10, which)])
    files["class_names.txt"] = "\n".join(f"class {i}" for i in range(10)).encode()
    archive = tar_of({f"stl10_binary/{file}": content for file, content in files.items()})
    monkeypatch.setattr(STL10, "tgz_md5", md5(archive))
    (tmp_path / "stl10_binary.tar.gz").write_bytes(archive)

    images = load_images("stl10", root=tmp_path)
    assert np.array_equal(images.train_images.numpy(), values["train_X.bin"])
    assert np.array_equal(images.test_images.numpy(), values["test_X.bin"])
    assert np.array_equal(images.unlabeled_images.numpy(), values["unlabeled_X.bin"])
    assert images.train_labels.tolist() == [0, 1, 2, 9, 4, 5]
    assert images.test_labels.tolist() == [0, 1, 2, 3]
    assert images.pretrain_images.shape == (11, 3, 96, 96)
    small = load_images("stl10", root=tmp_path, image_size=32)
    assert small.train_images.shape == (6, 3, 32, 32) and small.unlabeled_images.shape == (5, 3, 32, 32)
    monkeypatch.setattr(data.pixels, "_free_memory", lambda: 100_000)
    with pytest.raises(DataError, match="memory"):
        load_images("stl10", root=tmp_path)


def fake_fashion(monkeypatch, root: Path) -> np.ndarray:
    """Write tiny files in the MNIST format; return the train pixels."""
    from torchvision.datasets import FashionMNIST

    rng = np.random.default_rng(0)
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    resources, train = [], None
    for prefix, n in (("train", 6), ("t10k", 4)):
        values = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        train = values if prefix == "train" else train
        contents = {
            f"{prefix}-images-idx3-ubyte.gz": struct.pack(">iiii", 2051, n, 28, 28) + values.tobytes(),
            f"{prefix}-labels-idx1-ubyte.gz": struct.pack(">ii", 2049, n) + bytes(range(n)),
        }
        for file, content in contents.items():
            (raw / file).write_bytes(gzip.compress(content))
            resources.append((file, md5((raw / file).read_bytes())))
    monkeypatch.setattr(FashionMNIST, "resources", resources)
    return train


def test_fashion_mnist_is_padded_and_grey(monkeypatch, tmp_path):
    values = fake_fashion(monkeypatch, tmp_path)
    images = load_images("fashion_mnist", root=tmp_path)
    assert images.train_images.shape == (6, 3, 32, 32) and images.test_images.shape == (4, 3, 32, 32)
    for channel in range(3):
        assert np.array_equal(images.train_images[:, channel, 2:30, 2:30].numpy(), values)
    assert images.train_images.sum() == 3 * values.sum(dtype=np.int64)  # the border is black
    assert images.train_labels.tolist() == list(range(6))
    assert images.class_names[9] == "Ankle boot"


def test_fashion_mnist_damaged_after_unpacking(monkeypatch, tmp_path):
    fake_fashion(monkeypatch, tmp_path)
    load_images("fashion_mnist", root=tmp_path)
    file = tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match="raw is damaged.*delete that folder"):
        load_images("fashion_mnist", root=tmp_path)


def test_damaged_archive_is_named_and_never_replaced(monkeypatch, tmp_path):
    archive, _, _ = fake_cifar(monkeypatch, "CIFAR10")
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(archive[:-10])
    with pytest.raises(DataError, match="cifar-10-python.tar.gz is damaged"):
        load_images("cifar10", root=tmp_path, download=True)
    assert path.read_bytes() == archive[:-10]


def test_damaged_unpacked_files_come_back_from_the_archive(monkeypatch, tmp_path):
    archive, values, _ = fake_cifar(monkeypatch, "CIFAR10")
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(archive)
    load_images("cifar10", root=tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"half")
    assert np.array_equal(load_images("cifar10", root=tmp_path).train_images.numpy(), values)
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"half")
    (tmp_path / "cifar-10-python.tar.gz").unlink()
    with pytest.raises(DataError, match="incomplete or damaged"):
        load_images("cifar10", root=tmp_path, download=False)


@pytest.mark.parametrize(
    ("name", "files", "folder"),
    [
        ("cifar10", ["cifar-10-python.tar.gz"], "."),
        ("cifar100", ["cifar-100-python.tar.gz"], "."),
        ("stl10", ["stl10_binary.tar.gz"], "."),
        ("fashion_mnist", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"], "FashionMNIST/raw"),
    ],
)
@pytest.mark.parametrize("download", [True, False])
def test_no_network_is_one_sentence_that_names_the_ways_on(tmp_path, name, files, folder, download):
    with pytest.raises(DataError) as caught:
        load_images(name, root=tmp_path, download=download)
    message = str(caught.value)
    for part in [name, "'shapes'", "'digits'", "folder:PATH", f"into {tmp_path / folder} by hand", *files]:
        assert part in message
    assert ("name resolution" if download else "switched off") in message
    assert "\n" not in message
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]  # nothing half-made is left behind


def test_download_goes_to_stderr_and_happens_once(monkeypatch, tmp_path, capsys):
    archive, values, _ = fake_cifar(monkeypatch, "CIFAR10")
    calls = []

    def download_url(url, folder, filename, md5):
        calls.append(url)
        print("Downloading", url)
        assert socket.getdefaulttimeout() == _downloads.TIMEOUT
        (Path(folder) / filename).write_bytes(archive)

    monkeypatch.setattr("torchvision.datasets.utils.download_url", download_url)
    first = load_images("cifar10", root=tmp_path)
    second = load_images("cifar10", root=tmp_path)
    assert np.array_equal(first.train_images.numpy(), values)
    assert torch.equal(first.train_images, second.train_images)
    assert len(calls) == 1
    assert socket.getdefaulttimeout() is None
    captured = capsys.readouterr()
    assert captured.out == "" and "Downloading" in captured.err
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "home") == [
        "cifar-10-batches-py",
        "cifar-10-python.tar.gz",
    ]


def test_interrupted_download_leaves_nothing(monkeypatch, tmp_path):
    def download_url(url, folder, filename, md5):
        (Path(folder) / filename).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("torchvision.datasets.utils.download_url", download_url)
    with pytest.raises(KeyboardInterrupt):
        load_images("cifar10", root=tmp_path)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_available_datasets_without_files(tmp_path):
    assert set(available_datasets(tmp_path)) == {"shapes", "shapes_easy", "digits"}


# a folder


def test_folder_with_split(tmp_path):
    folder_of_classes(tmp_path / "train", n=5)
    folder_of_classes(tmp_path / "test", n=2)
    images = load_images(f"folder:{tmp_path}")
    assert images.class_names == ("cat", "dog")
    assert images.train_labels.tolist() == [0] * 5 + [1] * 5
    assert images.test_labels.tolist() == [0] * 2 + [1] * 2
    assert images.image_size == 8
    assert images.train_images[7, :, 3, 3].tolist() == [60, 40, 7]  # dog number 2, pixel for pixel
    assert images.name == f"folder:{tmp_path}"


@pytest.mark.parametrize("others", [("val",), ("val", "test")])
def test_folder_with_val(tmp_path, others):
    folder_of_classes(tmp_path / "train", n=3)
    folder_of_classes(tmp_path / "val", n=1)
    if "test" in others:
        folder_of_classes(tmp_path / "test", n=2)
    images = load_images(f"folder:{tmp_path}")
    assert len(images.test_images) == (4 if "test" in others else 2)


def test_folder_without_split_is_split_with_a_fixed_seed(tmp_path):
    folder_of_classes(tmp_path, classes=("a", "b", "train"), n=10)  # "train" may be a class
    first, second = load_images(f"folder:{tmp_path}"), load_images(f"folder:{tmp_path}")
    assert first.class_names == ("a", "b", "train")
    assert torch.bincount(first.train_labels).tolist() == [8, 8, 8]
    assert torch.bincount(first.test_labels).tolist() == [2, 2, 2]
    assert torch.equal(first.test_images, second.test_images)
    everything = torch.cat([first.train_images, first.test_images])
    assert len({i.numpy().tobytes() for i in everything}) == 30


def test_folder_with_one_class_loads(tmp_path):
    images = load_images(f"folder:{folder_of_classes(tmp_path, classes=('all',), n=4)}")
    assert images.num_classes == 1 and len(images.train_images) == 3


def test_folder_ignores_what_is_not_an_image(tmp_path):
    folder_of_classes(tmp_path, n=3)
    (tmp_path / "README.txt").write_text("not an image")
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "cat" / "._0.png").write_bytes(b"macOS leaves such files")
    (tmp_path / "cat" / "deeper").mkdir()
    (tmp_path / ".ipynb_checkpoints").mkdir()
    picture(tmp_path / "cat" / "UPPER.JPG")
    images = load_images(f"folder:{tmp_path}")
    assert len(images.train_images) + len(images.test_images) == 7


def test_folder_sizes(tmp_path):
    folder_of_classes(tmp_path / "same", size=(20, 12), n=2)
    assert load_images(f"folder:{tmp_path / 'same'}").image_size == 12
    picture(tmp_path / "same" / "cat" / "upright.png", size=(12, 20))
    assert load_images(f"folder:{tmp_path / 'same'}").image_size == 12
    picture(tmp_path / "same" / "cat" / "other.png", size=(30, 30))
    assert load_images(f"folder:{tmp_path / 'same'}").image_size == 224
    assert load_images(f"folder:{tmp_path / 'same'}", image_size=16).image_size == 16
    folder_of_classes(tmp_path / "large", size=(300, 300), n=2)
    assert load_images(f"folder:{tmp_path / 'large'}").image_size == 224


def only_image(tmp_path: Path, size=None) -> torch.Tensor:
    """The one image in tmp_path/train/x, as loaded."""
    folder = tmp_path / "test" / "x"
    if not folder.exists():
        picture(folder / "0.png", colour=(1, 2, 3))
    return load_images(f"folder:{tmp_path}", image_size=size or 8).train_images[0]


@pytest.mark.parametrize("shape", [(40, 16), (16, 40), (17, 40)])
def test_centre_crop_of_the_shorter_side(tmp_path, shape):
    """A white centre square between black margins: the square is kept, exactly so where nothing is scaled."""
    width, height = shape
    side = min(shape)
    pixels = np.zeros((height, width, 3), np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    pixels[top : top + side, left : left + side] = 255
    (tmp_path / "train" / "x").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "train" / "x" / "0.png")
    assert (only_image(tmp_path, size=side) == 255).all()
    scaled = only_image(tmp_path, size=8)
    assert (
        scaled[:, 1:-1, 1:-1] == 255
    ).all() and scaled.min() > 127  # the margin reaches half an edge pixel


def test_downscaling_is_antialiased(tmp_path):
    """A one-pixel checkerboard has no detail left at a quarter of its size: grey, not black or white."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    (tmp_path / "train" / "x").mkdir(parents=True)
    Image.fromarray(board).save(tmp_path / "train" / "x" / "0.png")
    assert (only_image(tmp_path, size=16).int() - 127).abs().max() <= 3


@pytest.mark.parametrize(
    ("mode", "file", "tolerance"),
    [
        ("RGB", "a.png", 0),
        ("RGB", "a.bmp", 0),
        ("RGB", "a.tif", 0),
        ("RGB", "a.jpg", 4),
        ("RGB", "a.jpeg", 4),
        ("RGB", "a.webp", 6),
        ("RGBA", "a.png", 0),
        ("P", "a.png", 0),
        ("P", "a.gif", 0),
        ("CMYK", "a.jpg", 8),
        ("CMYK", "a.tif", 2),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, mode, file, tolerance):
    picture(tmp_path / "train" / "x" / file, mode=mode)
    image = only_image(tmp_path)
    assert image.shape == (3, 8, 8) and image.dtype == torch.uint8
    wanted = torch.tensor([204, 51, 102]).reshape(3, 1, 1)
    assert (image.int() - wanted).abs().max() <= tolerance


@pytest.mark.parametrize("file", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled(tmp_path, file):
    (tmp_path / "train" / "x").mkdir(parents=True)
    Image.fromarray(np.full((8, 8), 128 * 257, np.uint16)).save(tmp_path / "train" / "x" / file)
    assert (only_image(tmp_path) == 128).all()


def test_grey_and_bilevel(tmp_path):
    picture(tmp_path / "train" / "x" / "0.png", colour=(90, 90, 90), mode="L")
    picture(tmp_path / "train" / "x" / "1.png", colour=(255, 255, 255), mode="1")
    picture(tmp_path / "test" / "x" / "0.png")
    images = load_images(f"folder:{tmp_path}").train_images
    assert (images[0] == 90).all() and (images[1] == 255).all()


def test_transparent_becomes_white(tmp_path):
    (tmp_path / "train" / "x").mkdir(parents=True)
    Image.new("RGBA", (8, 8), (10, 20, 30, 0)).save(tmp_path / "train" / "x" / "0.png")
    assert (only_image(tmp_path) == 255).all()


def test_float_images_are_refused(tmp_path):
    (tmp_path / "train" / "x").mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "train" / "x" / "0.tif")
    with pytest.raises(DataError, match="0.tif cannot be read.*32-bit"):
        only_image(tmp_path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    """Pixels stored under an orientation come out as a viewer shows them; the table is EXIF's."""
    shown = np.zeros((16, 16, 3), np.uint8)
    shown[:8, :8, 0], shown[:8, 8:, 1], shown[8:, :8, 2] = 255, 255, 255
    store = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    (tmp_path / "train" / "x").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(store(shown))).save(
        tmp_path / "train" / "x" / "0.jpg", exif=exif, quality=100, subsampling=0
    )
    image = only_image(tmp_path, size=16).permute(1, 2, 0).numpy()
    assert np.abs(image.astype(int) - shown).max() < 20


@pytest.mark.parametrize("image_size", [None, 8])
@pytest.mark.parametrize("damage", ["truncated", "empty", "not an image", "dangling"])
def test_corrupt_image_is_named(tmp_path, damage, image_size):
    folder_of_classes(tmp_path, n=3)
    path = picture(tmp_path / "dog" / "broken.jpg", size=(64, 64))
    content = path.read_bytes()
    if damage == "dangling":
        path.unlink()
        path.symlink_to(tmp_path / "nowhere.jpg")
    else:
        path.write_bytes({"truncated": content[:-200], "empty": b"", "not an image": b"hello"}[damage])
    with pytest.raises(DataError, match="broken.jpg cannot be read as an image"):
        load_images(f"folder:{tmp_path}", image_size=image_size)


def test_several_corrupt_images_are_counted(tmp_path):
    folder_of_classes(tmp_path, n=3)
    for name in ("0.png", "1.png"):
        (tmp_path / "dog" / name).write_bytes(b"hello")
    with pytest.raises(DataError, match=r"0.png \(and 1 more\) cannot be read"):
        load_images(f"folder:{tmp_path}")


def missing_path(root):
    return root / "nowhere"


def a_file(root):
    return picture(root / "image.png")


def empty(root):
    return root


def loose_images(root):
    picture(root / "a.png")
    return root


def no_images_in_classes(root):
    (root / "cat").mkdir()
    return root


def empty_class(root):
    folder_of_classes(root, n=2)
    (root / "empty").mkdir()
    return root


def one_image_class(root):
    folder_of_classes(root, n=2)
    picture(root / "lonely" / "0.png")
    return root


def train_only(root):
    folder_of_classes(root / "train")
    return root


def class_missing_in_test(root):
    folder_of_classes(root / "train", classes=("cat", "dog"))
    folder_of_classes(root / "test", classes=("cat",))
    return root


def class_missing_in_train(root):
    folder_of_classes(root / "train", classes=("cat",))
    folder_of_classes(root / "test", classes=("cat", "dog"))
    return root


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (missing_path, "nowhere does not exist.*PATH/train/CLASS"),
        (a_file, "image.png is a file, not a folder.*PATH/train/CLASS"),
        (empty, "no images .* in class folders.*PATH/train/CLASS"),
        (loose_images, "images but no class folders.*PATH/train/CLASS"),
        (no_images_in_classes, "no images .* in class folders.*PATH/train/CLASS"),
        (empty_class, "empty holds no images.*PATH/train/CLASS"),
        (one_image_class, "class 'lonely' .* has one image"),
        (train_only, "neither test nor val.*PATH/train/CLASS"),
        (class_missing_in_test, "class 'dog' is missing from .*test"),
        (class_missing_in_train, "class 'dog' is missing from .*train"),
    ],
)
def test_folder_mistakes_are_one_sentence(tmp_path, make, message):
    with pytest.raises(DataError, match=message) as caught:
        load_images(f"folder:{make(tmp_path)}")
    assert "\n" not in str(caught.value)


def test_folder_without_a_path():
    with pytest.raises(DataError, match="needs a path"):
        load_images("folder:")


def test_folder_larger_than_memory_is_refused_before_decoding(monkeypatch, tmp_path):
    folder_of_classes(tmp_path, n=3)
    monkeypatch.setattr(data.pixels, "_free_memory", lambda: 5_000)
    monkeypatch.setattr(data.folder, "_decode_all", lambda *a: pytest.fail("decoded before the check"))
    with pytest.raises(DataError, match="GB of memory.*smaller image_size"):
        load_images(f"folder:{tmp_path}", image_size=64)


def test_free_memory_is_plausible_and_unknown_is_allowed(monkeypatch):
    free = data.pixels._free_memory()
    assert free is None or 10**7 < free < 10**14
    monkeypatch.setattr(data.pixels, "_free_memory", lambda: None)
    assert data.pixels.require_memory(10**18, "all") is None


# photographs


@pytest.mark.parametrize("size", [224, 64])
def test_sample_photographs(size):
    photos = sample_photographs(size)
    assert photos.shape == (2, 3, size, size) and photos.dtype == torch.uint8
    assert photos.float().std(dim=(1, 2, 3)).min() > 20  # pictures, not blanks
    assert not torch.equal(photos[0], photos[1])


def test_sample_photographs_match_torchvision():
    from sklearn.datasets import load_sample_images
    from torchvision.transforms import v2

    for ours, picture in zip(sample_photographs(96), load_sample_images().images, strict=True):
        side = min(picture.shape[:2])
        reference = v2.Compose([v2.CenterCrop(side), v2.Resize(96, antialias=True)])(
            torch.from_numpy(picture.copy()).permute(2, 0, 1)
        )
        assert (ours.int() - reference.int()).abs().float().mean() < 1


def test_sample_photographs_size_is_checked():
    with pytest.raises(ValueError, match="size must be at least 8"):
        sample_photographs(2)


@pytest.mark.parametrize("size", [8, 20, 48])
def test_resize_matches_torchvision(size):
    from torchvision.transforms import v2

    images = make_set(size=32).train_images
    reference = v2.functional.resize(images, [size, size], antialias=True)
    ours = data.pixels.resize_to(images, size, "made", chunk=7)
    assert ours.shape == reference.shape and ours.is_contiguous()
    assert (ours.int() - reference.int()).abs().max() <= 1
