"""Encoders and the projection head: shapes, stems, weights, and what they promise about their input."""

import copy
import email.message
import hashlib
import io
import shutil
import socket
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from simclr_edu import _downloads
from simclr_edu.encoders import WeightsError, feature_dim, make_encoder
from simclr_edu.evaluate import embed, state_hash
from simclr_edu.simclr import ProjectionHead, SimCLR


@pytest.mark.parametrize(
    ("name", "dim"), [("tiny", 128), ("small", 512), ("resnet18", 512), ("resnet34", 512), ("resnet50", 2048)]
)
def test_each_encoder_returns_its_feature_dim(name, dim):
    encoder = make_encoder(name).eval()
    with torch.inference_mode():
        assert encoder(torch.rand(2, 3, 32, 32)).shape == (2, dim)
    assert encoder.feature_dim == dim == feature_dim(encoder)


@settings(deadline=None, max_examples=15)
@given(batch=st.integers(1, 5), height=st.integers(16, 70), width=st.integers(16, 70))
def test_tiny_takes_any_size(batch, height, width):
    encoder = make_encoder("tiny").eval()
    with torch.inference_mode():
        assert encoder(torch.rand(batch, 3, height, width)).shape == (batch, 128)


def test_the_cifar_stem_keeps_the_picture_and_the_imagenet_stem_shrinks_it_four_times():
    x = torch.rand(1, 3, 32, 32)
    sizes = {}
    for stem in ("cifar", "imagenet"):
        backbone = make_encoder("resnet18", stem).backbone
        with torch.inference_mode():
            sizes[stem] = backbone.maxpool(backbone.relu(backbone.bn1(backbone.conv1(x)))).shape[-1]
    assert sizes == {"cifar": 32, "imagenet": 8}


def test_the_resnets_have_the_weights_of_torchvision_but_for_stem_and_classifier():
    from torchvision.models import resnet18

    reference = sum(p.numel() for p in resnet18().parameters())
    classifier = 512 * 1000 + 1000
    assert sum(p.numel() for p in make_encoder("resnet18", "imagenet").parameters()) == reference - classifier
    smaller_stem = 64 * 3 * (7 * 7 - 3 * 3)
    assert (
        sum(p.numel() for p in make_encoder("resnet18").parameters()) == reference - classifier - smaller_stem
    )


def test_every_encoder_centres_its_own_input():
    encoder = make_encoder("tiny")
    seen = []
    encoder.layers[1].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    encoder(torch.stack([torch.zeros(3, 32, 32), torch.ones(3, 32, 32)]))
    assert seen[0][0].unique().tolist() == [-2.0] and seen[0][1].unique().tolist() == [2.0]


def test_a_projection_head_is_two_linear_layers_with_a_relu_between():
    head = ProjectionHead(20, hidden_dim=30, out_dim=10).eval()
    x = torch.randn(4, 20)
    first, norm, _, second = head.layers
    by_hand = (norm(x @ first.weight.T)).clamp(min=0) @ second.weight.T + second.bias
    assert torch.allclose(head(x), by_hand, atol=1e-6)
    assert ProjectionHead(20).layers[0].out_features == 20


def test_simclr_returns_h_and_z_and_every_weight_gets_a_gradient():
    model = SimCLR(make_encoder("tiny"), projection_dim=16)
    h, z = model(torch.rand(4, 3, 32, 32))
    assert h.shape == (4, 128) and z.shape == (4, 16)
    z.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_an_encoder_of_your_own_is_measured_and_left_as_it_was():
    own = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    before = {k: v.clone() for k, v in own.state_dict().items()}
    model = SimCLR(own, projection_dim=7)
    assert own.training and all(torch.equal(v, before[k]) for k, v in own.state_dict().items())
    h, z = model(torch.rand(3, 3, 32, 32))
    assert h.shape == (3, 20) and z.shape == (3, 7)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: make_encoder("vgg"),
            "encoder must be one of tiny, small, resnet18, resnet34, resnet50, got 'vgg'",
        ),
        (
            lambda: make_encoder("resnet18", stem="imgnet"),
            "stem must be one of cifar, imagenet, got 'imgnet'",
        ),
        (lambda: ProjectionHead(0), "in_dim must be at least 1, got 0"),
        (lambda: SimCLR("tiny"), "encoder must be a torch.nn.Module, got str"),
        (lambda: SimCLR(nn.Conv2d(3, 5, 3)), r"must return a matrix of shape \(B, D\), got \(1, 5, 30, 30\)"),
        (
            lambda: SimCLR(make_encoder("tiny"))(torch.rand(3, 32, 32)),
            r"batch of shape \(B, C, H, W\), got shape \(3, 32, 32\)",
        ),
    ],
)
def test_mistakes_are_sentences(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()


# published weights


@pytest.fixture(autouse=True)
def hub(monkeypatch, tmp_path, refuse):
    """An empty folder where torch.hub keeps weights, on a machine without a network."""
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path / "hub"))
    yield tmp_path / "hub" / "checkpoints"
    shutil.rmtree(tmp_path / "hub", ignore_errors=True)  # pytest would keep gigabytes


def publish(monkeypatch, name: str, seed: int = 0) -> tuple[str, bytes, nn.Module]:
    """Let torchvision believe that it publishes a network drawn here: file name, content, the network."""
    from torchvision import models

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = getattr(models, name)(weights=None).eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):  # as after training: nothing at its initial value
                module.running_mean.normal_(std=0.2)
                module.running_var.uniform_(0.5, 2)
    # As in files of long ago, parameters are saved as such, and BatchNorm does not count its batches.
    state = {k: v for k, v in network.state_dict(keep_vars=True).items() if "num_batches" not in k}
    content = io.BytesIO()
    torch.save(state, content)
    file = f"{name}-{hashlib.sha256(content.getvalue()).hexdigest()[:8]}.pth"
    published = models.get_model_weights(name)["IMAGENET1K_V1"].value
    monkeypatch.setattr(published, "url", f"https://example.invalid/models/{file}")
    return file, content.getvalue(), network


def put(folder: Path, file: str, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(content)
    return folder / file


def serve(monkeypatch, content: bytes) -> list[str]:
    """A network that answers every request with ``content``; the list of what was asked for."""
    asked = []

    class Answer(io.BytesIO):
        def info(self):
            return email.message.Message()

    def urlopen(request):
        assert socket.getdefaulttimeout() == _downloads.TIMEOUT
        asked.append(request.full_url)
        return Answer(content)

    monkeypatch.setattr("torch.hub.urlopen", urlopen)
    return asked


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "size"), [("resnet18", (64, 64)), ("resnet34", (65, 97)), ("resnet50", (96, 70))]
)
def test_published_weights_give_the_features_of_torchvision_under_its_own_normalisation(
    monkeypatch, hub, name, size, seed
):
    file, content, network = publish(monkeypatch, name, seed)
    put(hub, file, content)
    encoder = make_encoder(name, stem="imagenet", weights="imagenet").eval()
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(seed))
    # torchvision's documentation of these weights: mean and deviation of ImageNet, after a resize and a crop.
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    before_the_classifier = []
    network.fc.register_forward_pre_hook(lambda _, args: before_the_classifier.append(args[0]))
    with torch.inference_mode():
        network((x - mean.view(3, 1, 1)) / std.view(3, 1, 1))
        h = encoder(x)
    torch.testing.assert_close(h, before_the_classifier[0], rtol=1e-4, atol=1e-4)
    assert h.shape[1] == encoder.feature_dim == network.fc.in_features
    pixels = (x * 255).round().to(torch.uint8)
    torch.testing.assert_close(embed(encoder, pixels), encoder(pixels / 255).detach(), rtol=1e-4, atol=1e-4)


def test_published_weights_move_nobodys_random_state(monkeypatch, hub):
    put(hub, *publish(monkeypatch, "resnet18")[:2])
    before = torch.get_rng_state()
    first, second = (make_encoder("resnet18", "imagenet", "imagenet") for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert state_hash(first) == state_hash(second)
    assert all(p.requires_grad for p in first.parameters()) and first.training


def test_a_checkpoint_of_published_weights_is_refused_where_pixels_are_normalised_otherwise(monkeypatch, hub):
    put(hub, *publish(monkeypatch, "resnet18")[:2])
    trained = make_encoder("resnet18", "imagenet", "imagenet")
    state = copy.deepcopy(trained.state_dict())
    with pytest.raises(RuntimeError, match="centre.mean"):
        make_encoder("resnet18", "imagenet").load_state_dict(state)
    trained.load_state_dict(state)


def test_weights_are_downloaded_once_and_nothing_is_printed_on_standard_output(monkeypatch, hub, capfd):
    file, content, network = publish(monkeypatch, "resnet18")
    asked = serve(monkeypatch, content)
    first, second = (make_encoder("resnet18", "imagenet", "imagenet") for _ in range(2))
    assert asked == [f"https://example.invalid/models/{file}"]
    assert [p.name for p in hub.iterdir()] == [file] and (hub / file).read_bytes() == content
    assert torch.equal(second.backbone.conv1.weight, network.conv1.weight)
    assert capfd.readouterr().out == "" and socket.getdefaulttimeout() is None


@pytest.mark.parametrize(
    ("served", "words"),
    [
        (None, "the download failed: <urlopen error Temporary failure in name resolution>"),
        (b"<html>please log in</html>", "the download failed: invalid hash value"),
    ],
)
def test_a_download_that_fails_is_one_sentence_with_the_ways_on_and_leaves_nothing(
    monkeypatch, hub, served, words
):
    file, _, _ = publish(monkeypatch, "resnet18")
    if served is not None:
        serve(monkeypatch, served)
    with pytest.raises(WeightsError) as caught:
        make_encoder("resnet18", "imagenet", "imagenet")
    message = str(caught.value)
    assert words in message and "\n" not in message
    for part in ("resnet18", f"put {file} (from https://example.invalid/models)", str(hub), "course_run()"):
        assert part in message
    assert list(hub.iterdir()) == []


@pytest.mark.parametrize("damage", [lambda c: c[: len(c) // 2], lambda c: c[:-1] + bytes([c[-1] ^ 1])])
def test_a_damaged_file_is_named_and_neither_used_nor_replaced(monkeypatch, hub, damage):
    file, content, _ = publish(monkeypatch, "resnet18")
    path = put(hub, file, damage(content))
    asked = serve(monkeypatch, content)
    with pytest.raises(WeightsError, match=f"{path} does not hold .*checksum is wrong.*; delete it"):
        make_encoder("resnet18", "imagenet", "imagenet")
    assert path.read_bytes() == damage(content) and asked == []


def test_a_file_that_would_run_code_is_refused(monkeypatch, hub, tmp_path):
    class Command:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    content = io.BytesIO()
    torch.save({"conv1.weight": Command()}, content)
    file = f"resnet18-{hashlib.sha256(content.getvalue()).hexdigest()[:8]}.pth"
    publish(monkeypatch, "resnet18")
    from torchvision.models import ResNet18_Weights

    monkeypatch.setattr(ResNet18_Weights.IMAGENET1K_V1.value, "url", f"https://example.invalid/{file}")
    put(hub, file, content.getvalue())
    with pytest.raises(WeightsError, match="does not hold the ImageNet weights"):
        make_encoder("resnet18", "imagenet", "imagenet")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tiny", "cifar", "imagenet"), "trained in resnet18, resnet34, resnet50 .* none for tiny$"),
        (("tiny", "imagenet", "imagenet"), "none for tiny$"),
        (("small", "imagenet", "imagenet"), "none for small$"),
        (
            ("resnet50", "cifar", "imagenet"),
            "with stem 'imagenet', there are none for resnet50 with stem 'cifar'",
        ),
        (("resnet50", "imagenet", "imagenet21k"), "weights must be one of imagenet, got 'imagenet21k'"),
        (("resnet50", "imagenet", True), "weights must be one of imagenet, got True"),
    ],
)
def test_weights_that_there_are_not_are_refused_before_any_download(monkeypatch, arguments, words):
    asked = serve(monkeypatch, b"")
    with pytest.raises(ValueError, match=words):
        make_encoder(*arguments)
    assert asked == []


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (
            torch.rand(2, 3, 63, 64),
            "images must have 64 pixels a side or more for ImageNet weights, got 63 x 64",
        ),
        (torch.rand(2, 3, 224, 32), "got 224 x 32"),
        (
            torch.zeros(2, 3, 64, 64, dtype=torch.uint8),
            r"floats in \[0, 1\], got torch.uint8: divide them by 255",
        ),
        (torch.rand(2, 1, 64, 64), "images must have 3 channels"),
    ],
)
def test_pictures_that_published_weights_do_not_fit_are_refused(monkeypatch, hub, images, words):
    put(hub, *publish(monkeypatch, "resnet18")[:2])
    encoder = make_encoder("resnet18", "imagenet", "imagenet").eval()
    with pytest.raises((TypeError, ValueError), match=words):
        encoder(images)


def test_the_imagenet_stem_with_random_weights_takes_small_pictures_too():
    encoder = make_encoder("resnet18", "imagenet").eval()
    with torch.inference_mode():
        assert encoder(torch.rand(2, 3, 32, 32)).shape == (2, 512)
