"""SimCLR on one screen: the projection head, encoder and head together, and one step of Algorithm 1.

An encoder f maps an image to its representation h, which downstream tasks use; the projection head g maps h
to z, which only the contrastive loss sees and which is thrown away after pretraining (Chen et al. 2020,
sections 2.1 and 4.2). A step: two views of a batch, one pass through encoder and head, NT-Xent, one step of
the optimizer.
"""

import contextlib

import torch
from torch import Tensor, nn

from simclr_edu import distributed
from simclr_edu._checks import (
    check_callable,
    check_int,
    check_kind,
    check_matrix,
    check_module,
    check_same_dtype,
    check_unit_images,
    enough_memory,
)
from simclr_edu._randomness import drawing_from
from simclr_edu.augment import SimCLRAugment
from simclr_edu.encoders import feature_dim


class ProjectionHead(nn.Module):
    """The projection head g: a two-layer perceptron from h ``(B, in_dim)`` to z ``(B, out_dim)``.

    Chen et al. 2020, section 4.2: z = W2 ReLU(W1 h). BatchNorm after the first layer, as in the authors'
    published code, which has one after the last layer too (without an offset) where this head has a bias.
    z is not normalised here, the loss does that.

    Args:
        in_dim: width of h, at least 1.
        hidden_dim: width of the hidden layer; ``in_dim`` if not given.
        out_dim: width of z, at least 1.

    Raises:
        TypeError, ValueError: a width that is not a whole number of at least 1.
    """

    def __init__(self, in_dim: int, hidden_dim: int | None = None, out_dim: int = 128) -> None:
        super().__init__()
        in_dim, out_dim = check_int(in_dim, "in_dim", 1), check_int(out_dim, "out_dim", 1)
        hidden_dim = in_dim if hidden_dim is None else check_int(hidden_dim, "hidden_dim", 1)
        self.in_dim = in_dim
        with enough_memory(f"a projection head of widths {in_dim}, {hidden_dim} and {out_dim}"):
            self.layers = nn.Sequential(
                nn.Linear(in_dim, hidden_dim, bias=False),  # BatchNorm brings its own bias
                nn.BatchNorm1d(hidden_dim),
                nn.ReLU(),
                nn.Linear(hidden_dim, out_dim),
            )

    def forward(self, h: Tensor) -> Tensor:
        if check_matrix(h, "h").shape[1] != self.in_dim:
            raise ValueError(f"h must be of width {self.in_dim}, got shape {tuple(h.shape)}")
        if self.training and len(h) < 2:
            raise ValueError("h must have at least 2 rows in training mode: BatchNorm compares them")
        check_same_dtype(h, self, "h")
        z: Tensor = self.layers(h)  # (B, out_dim)
        return z


class SimCLR(nn.Module):
    """Encoder and projection head together: images ``(B, 3, H, W)`` to ``(h (B, D), z (B, projection_dim))``.

    Args:
        encoder: any module that maps images to ``(B, D)``; D is read from ``.feature_dim``, or else
            measured with one blank image of 32 pixels.
        projection_dim: width of z, at least 1.
        generator: source of the head's random weights, on a CPU; torch's global generator if not given.

    Raises:
        TypeError, ValueError: the encoder is not a module or does not return ``(B, D)``; a bad width.
    """

    def __init__(
        self, encoder: nn.Module, projection_dim: int = 128, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.encoder = check_module(encoder, "encoder")
        width = feature_dim(encoder)
        with drawing_from(generator):
            self.projection_head = ProjectionHead(width, out_dim=projection_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        check_same_dtype(check_unit_images(x), self, "images")
        h = self.encoder(x)  # (B, D)
        return h, self.projection_head(h)  # (B, D), (B, projection_dim)


def train_step(
    model: nn.Module,
    augment: SimCLRAugment,
    loss_function: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    generator: torch.Generator | None = None,
    precision: contextlib.AbstractContextManager[object] | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of SimCLR (Chen et al. 2020, Algorithm 1).

    With several processes each passes its own part of the global batch, in the order of the ranks.

    Args:
        model: images ``(2N, 3, H, W)`` to ``(h, z)``.
        augment: makes the two views.
        loss_function: ``(z1, z2)``, each ``(N, d)``, to a scalar.
        optimizer: of the model's parameters.
        images: ``(N, 3, H, W)``, uint8 or floats in [0, 1].
        generator: of the augmentation's random choices.
        precision: an autocast context for the forward pass; float32 if not given.

    Returns:
        The loss, a detached scalar, and the embeddings z, detached ``(2N, d)``.

    Raises:
        TypeError, ValueError: an argument of another kind, or images that do not fit.
    """
    check_module(model, "model")
    check_callable(getattr(augment, "two_views", None), "augment.two_views")
    check_callable(loss_function, "loss_function")
    check_kind(optimizer, "optimizer", torch.optim.Optimizer, "a torch.optim.Optimizer")
    if precision is not None:
        check_kind(precision, "precision", contextlib.AbstractContextManager, "an autocast context or None")
    v1, v2 = augment.two_views(images, generator=generator, part=distributed.share())  # (N, 3, H, W) each
    # One pass over both views: BatchNorm then sees 2N views, not N twice with different statistics.
    views = torch.cat([v1, v2])  # (2N, 3, H, W)
    with precision or contextlib.nullcontext():
        _, z = model(views)  # (2N, d)
    loss = loss_function(*z.chunk(2))  # z1, z2: (N, d) each; NT-Xent computes in float32
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    distributed.average_gradients(model)  # over the processes, if there are several
    optimizer.step()
    return loss.detach(), z.detach()
