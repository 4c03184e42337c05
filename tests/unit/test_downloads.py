"""What a killed download left is deleted by the next one; one that still goes on is left alone."""

import os
import time
from pathlib import Path

import pytest
import torch

from simclr_edu import _downloads
from simclr_edu.data import DataError, load_images
from simclr_edu.encoders import WeightsError, make_encoder


def leave(path: Path, age: float, folder: bool) -> Path:
    """Half a file, as a killed download leaves it, last written ``age`` seconds ago."""
    file = path / "half" if folder else path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"half")
    for each in {file, path}:
        os.utime(each, (time.time() - age,) * 2)
    return path


@pytest.mark.parametrize("folder", [True, False])
@pytest.mark.parametrize(("age", "left"), [(10, True), (100 * _downloads.TIMEOUT, False)])
def test_only_what_nobody_writes_any_more_is_deleted(tmp_path, folder, age, left):
    half = leave(tmp_path / "x.partial", age, folder)
    other = leave(tmp_path / "x", age, folder)
    _downloads.remove_leftovers(tmp_path, "x.*")
    assert half.exists() == left and other.exists()
    _downloads.remove_leftovers(tmp_path / "missing", "*")


def test_a_folder_in_which_a_file_still_grows_is_left_alone(tmp_path):
    half = leave(tmp_path / "x", 100 * _downloads.TIMEOUT, folder=True)
    os.utime(half / "half")
    _downloads.remove_leftovers(tmp_path, "x")
    assert half.exists()


def test_the_next_download_of_a_data_set_cleans_up(monkeypatch, tmp_path):
    def dead(*args):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", dead)
    old = leave(tmp_path / ".download-cifar-10-python.tar.gz-abc", 100 * _downloads.TIMEOUT, folder=True)
    others = leave(tmp_path / ".download-stl10_binary.tar.gz-abc", 100 * _downloads.TIMEOUT, folder=True)
    with pytest.raises(DataError, match="no network"):
        load_images("cifar10", root=tmp_path)
    assert not old.exists() and others.exists()


def test_the_next_download_of_weights_cleans_up(monkeypatch, tmp_path, refuse):
    from torchvision.models import ResNet18_Weights

    monkeypatch.setattr("torch.hub.urlopen", refuse)
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path))
    assert torch.hub.get_dir() == str(tmp_path)
    file = ResNet18_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    old = leave(tmp_path / "checkpoints" / f"{file}.0123abcd.partial", 100 * _downloads.TIMEOUT, folder=False)
    with pytest.raises(WeightsError, match="name resolution"):
        make_encoder("resnet18", "imagenet", "imagenet")
    assert not old.exists()
