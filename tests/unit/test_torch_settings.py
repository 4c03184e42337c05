"""torch's settings of the whole process or thread: what is computed stays the same, or is refused."""

import contextlib

import pytest
import torch

from simclr_edu.augment import SimCLRAugment
from simclr_edu.data.image_set import ImageSet
from simclr_edu.data.shapes import CLASS_NAMES, make_shapes
from simclr_edu.encoders import make_encoder
from simclr_edu.evaluate import embed, fine_tune, fit_linear, knn_predict, state_hash
from simclr_edu.pretrain import PretrainConfig, pretrain

IMAGES, LABELS, _ = make_shapes(48, size=16, seed=0)
SET = ImageSet("shapes", IMAGES[:32], LABELS[:32], IMAGES[32:], LABELS[32:], CLASS_NAMES, "drawn")
ENCODER = make_encoder("tiny", generator=torch.Generator().manual_seed(0))
FEATURES = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
CLASSES = torch.arange(60) % 3
CONFIG = PretrainConfig(epochs=1, batch_size=16, projection_dim=8, checkpoint_every=2, device="cpu")


@contextlib.contextmanager
def put_back(change, get, value):
    before = get()
    change(value)
    try:
        yield
    finally:
        change(before)


SETTINGS = {
    "float64": lambda: put_back(torch.set_default_dtype, torch.get_default_dtype, torch.float64),
    "bfloat16": lambda: put_back(torch.set_default_dtype, torch.get_default_dtype, torch.bfloat16),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "matmul medium": lambda: put_back(
        torch.set_float32_matmul_precision, torch.get_float32_matmul_precision, "medium"
    ),
    "matmul high": lambda: put_back(
        torch.set_float32_matmul_precision, torch.get_float32_matmul_precision, "high"
    ),
    "default device": lambda: torch.device("meta"),
    "deterministic": lambda: put_back(
        torch.use_deterministic_algorithms, torch.are_deterministic_algorithms_enabled, True
    ),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
}


def shapes():
    images, labels, factors = make_shapes(30, size=16, seed=4, texture=True)
    return torch.cat([images.flatten().double(), labels.double(), *(f.double() for f in factors.values())])


def views():
    augment = SimCLRAugment(16, strength=1.0, blur=True)
    return torch.cat(augment.two_views(IMAGES, generator=torch.Generator().manual_seed(1)))


def large_views():
    images = IMAGES[:4].repeat_interleave(8, 2).repeat_interleave(8, 3)
    return SimCLRAugment(96, blur=True)(images, generator=torch.Generator().manual_seed(1))


def pretrained():
    return state_hash(pretrain(CONFIG, IMAGES, progress=False).model)


def embedded():
    return embed(ENCODER, IMAGES)


def probed():
    result = fit_linear(FEATURES[:40], CLASSES[:40], FEATURES[40:], CLASSES[40:])
    return torch.cat([result.weight.flatten(), result.bias])


def neighbours():
    return knn_predict(FEATURES[:40], CLASSES[:40], FEATURES[40:], k=5)


def fine_tuned():
    result = fine_tune(ENCODER, SET, steps=3, val_fraction=0.0, batch_size=16)
    return [record["loss"] for record in result.history]


CALLS = [shapes, views, large_views, pretrained, embedded, probed, neighbours, fine_tuned]
REFUSED = ("torch.set_default_dtype", "torch.set_float32_matmul_precision")


@pytest.fixture(scope="module")
def usual():
    return {call.__name__: call() for call in CALLS}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_a_setting_changes_nothing_or_is_refused(usual, call, setting):
    expected = usual[call.__name__]
    with SETTINGS[setting]():
        try:
            found = call()
        except ValueError as error:
            assert any(way in str(error) for way in REFUSED) and "\n" not in str(error)
            assert setting.startswith(("float64", "bfloat16", "matmul"))
            return
    if not isinstance(expected, torch.Tensor):
        assert found == expected
    else:
        assert found.dtype == expected.dtype and found.device == expected.device
        assert torch.equal(found, expected)


def test_the_settings_are_as_before_afterwards():
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad(), torch.device("meta"):
        pretrained()
        assert torch.is_autocast_enabled("cpu") and not torch.is_grad_enabled()
        assert torch.get_default_device() == torch.device("meta")


def test_a_default_dtype_changed_in_the_middle_of_a_run_ends_it_in_a_sentence():
    with contextlib.ExitStack() as stack:
        config = PretrainConfig(**{**vars(CONFIG), "log_every": 1})
        with pytest.raises(ValueError, match="default dtype to be float32, got torch.float64"):
            pretrain(config, IMAGES, [lambda run: stack.enter_context(SETTINGS["float64"]())], progress=False)
