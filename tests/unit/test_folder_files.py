"""What lies in a folder beside pictures: copies of training files, pipes, devices, links to nowhere."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from simclr_edu.data import DataError, load_images


@pytest.fixture
def folder(tmp_path):
    """Four classes of noise, two pictures each in train and in test: no two are alike."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in "abcd":
            place = tmp_path / split / name
            place.mkdir(parents=True)
            for i in range(2):
                Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(place / f"{i}.png")
    return tmp_path


def test_a_copy_of_a_training_file_in_the_test_folder_is_refused(folder):
    assert len(load_images(f"folder:{folder}").test_images) == 8
    shutil.copy(folder / "train" / "b" / "1.png", folder / "test" / "c" / "other_name.png")
    with pytest.raises(DataError) as error:
        load_images(f"folder:{folder}")
    for words in ("c/other_name.png is a copy of", "b/1.png", "trained on"):
        assert words in str(error.value)


def test_copies_on_one_side_are_nobodys_business(folder):
    shutil.copy(folder / "train" / "b" / "1.png", folder / "train" / "b" / "again.png")
    assert len(load_images(f"folder:{folder}").train_images) == 9


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices of POSIX")
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_cannot_be_read_to_its_end_is_refused_unread(folder, kind):
    strange = folder / "train" / "a" / "z.png"
    os.mkfifo(strange) if kind == "pipe" else strange.symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"z\.png is no file .* pipe, socket or device"):
        load_images(f"folder:{folder}")


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
@pytest.mark.parametrize("target", ["/does/not/exist.png", "z.png"])
def test_a_link_to_nowhere_is_named(folder, target):
    (folder / "train" / "a" / "z.png").symlink_to(target)
    with pytest.raises(DataError, match=r"z\.png"):
        load_images(f"folder:{folder}")
