"""Encoders and the projection head: shapes, stems, and what they promise about their input."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from simclr_edu.models import ProjectionHead, SimCLR, feature_dim, make_encoder


@pytest.mark.parametrize(
    ("name", "dim"), [("tiny", 128), ("resnet18", 512), ("resnet34", 512), ("resnet50", 2048)]
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
        (lambda: make_encoder("vgg"), "encoder must be one of tiny, resnet18, resnet34, resnet50, got 'vgg'"),
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
