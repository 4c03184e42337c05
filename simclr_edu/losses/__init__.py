"""NT-Xent, the loss of SimCLR, three ways: by loops, as a matrix, and tiled.

Chen et al. 2020, section 2.1 and Algorithm 1. Two views of each of N images give 2N embeddings. For each of
them, the anchor, the other view of its image is the positive, and a softmax over cosine similarities divided
by the temperature has to pick it out of the 2N - 1 candidates (every embedding but the anchor itself):

    loss_i = -log  exp(sim(i, positive) / t)  /  sum over j != i of exp(sim(i, j) / t)

averaged over all 2N anchors. A random encoder scores about ln(2N - 1).

The three compute the same number. ``nt_xent_loop`` is the one to read, ``nt_xent_dense`` the one to write on
a whiteboard, ``nt_xent`` the one to train with.

What holds for all three:
- ``z1`` and ``z2`` are ``(N, d)``, row k of both made from image k. Half and bfloat16 are computed in
  float32.
- A zero vector has similarity 0 with everything: embeddings are divided by their norm, but by at least 1e-12
  (as in ``F.normalize``), so the gradient at a zero vector is 1e12 times the one at its direction.
- The length of a row must be a number of its dtype. On a CPU rows beyond are made shorter first; on a GPU,
  where looking would cost time, their similarity is 0.
- With N = 1 the positive is the only candidate: the loss is 0 and so is its gradient.
- NaN or infinity in an input makes the loss NaN. It is not an error here, because looking would make a GPU
  wait at every step; the training loop stops on a loss that is not finite.
"""

from simclr_edu.losses.contrastive import NTXentLoss, nt_xent, nt_xent_dense, nt_xent_loop

__all__ = [
    "NTXentLoss",
    "nt_xent",
    "nt_xent_dense",
    "nt_xent_loop",
]
