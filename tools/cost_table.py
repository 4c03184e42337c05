"""What a training step costs on paper, over several processes: prints the tables of docs/distributed.md.

python tools/cost_table.py
"""

from dataclasses import dataclass

from simclr_edu._checks import check_int, check_positive

_FLOAT = 4  # bytes


@dataclass(frozen=True)
class StepCost:
    """One training step on paper, for each rank; bytes are those it receives, one MAC is multiply and add."""

    global_batch: int
    """Images N of all ranks together."""
    world_size: int
    """Ranks K."""
    embedding_bytes: float
    """The gathered embeddings (2N, d): all-gather forward, all-reduce of their gradient backward."""
    gradient_bytes: float
    """All-reduce of the parameters' gradients."""
    batch_norm_bytes: float
    """Every rank's statistics forward, all-reduce of two sums a channel backward."""
    encoder_macs: float
    """Forward, and twice that backward, for the rank's own 2N / K views."""
    loss_macs: float
    """The whole tiled loss with its gradient, which each rank computes."""
    dense_bytes: float
    """Memory of one (2N, 2N) matrix; the dense loss holds two or three."""
    tiled_bytes: float
    """Memory of the tiled loss at its peak: a few tiles and three (2N, d) matrices."""

    @property
    def loss_share(self) -> float:
        """Share of the loss in all multiply-adds, as it is: every rank computes the whole loss."""
        return self.loss_macs / (self.loss_macs + self.encoder_macs)

    @property
    def divided_loss_share(self) -> float:
        """The same if the tiles were dealt out among the ranks, each computing 1 / K of the loss."""
        own = self.loss_macs / self.world_size
        return own / (own + self.encoder_macs)


def cost(
    global_batch: int,
    world_size: int,
    *,
    dim: int = 128,
    encoder_macs: float = 4.1e9,
    parameters: int = 27_968_704,
    channels: int = 28_608,
    norms: int = 54,
    tile: int = 4096,
    kept: int = 3,
) -> StepCost:
    """What one step costs each rank; the defaults are ResNet-50 at 224 pixels with its projection head.

    Messages are counted as rings send them: over K ranks an all-gather of B bytes receives (K-1)/K B on each,
    an all-reduce twice that. The loss: 2N x 2N similarities of d numbers. Being symmetric it takes half of
    them in pass 1 and again, where tiles are not kept, in pass 2; the gradient takes as many as the whole.
    That is 2 (2N)^2 d multiply-adds at most.

    Args:
        global_batch: N, a multiple of ``world_size``.
        world_size: K, at least 1.
        dim: width d of the embeddings.
        encoder_macs: multiply-adds of encoder and projection head for one view, forward.
        parameters: of encoder and projection head.
        channels: of all BatchNorm layers together.
        norms: number of BatchNorm layers.
        tile: side of a tile of the loss (that of :mod:`simclr_edu.losses` on a GPU).
        kept: tiles kept between the two passes, at most.

    Raises:
        TypeError, ValueError: a number out of range, or a batch that is not a multiple of the ranks.
    """
    n, k = check_int(global_batch, "global_batch", 1), check_int(world_size, "world_size", 1)
    if n % k:
        raise ValueError(f"global_batch must be a multiple of world_size, got {n} and {k}")
    for name, number in (("dim", dim), ("parameters", parameters), ("tile", tile), ("kept", kept)):
        check_int(number, name, 1)
    check_int(channels, "channels", 0)
    check_int(norms, "norms", 0)
    encoder = check_positive(encoder_macs, "encoder_macs")
    m, away = 2 * n, (k - 1) / k  # views; the part of a whole that lies on other ranks
    side = min(tile, m)
    blocks = -(-m // side)
    tiles = blocks * (blocks + 1) // 2
    stored = (tiles if tiles <= kept else 1) + 1  # one more as scratch
    return StepCost(
        global_batch=n,
        world_size=k,
        embedding_bytes=3 * away * m * dim * _FLOAT,
        gradient_bytes=2 * away * parameters * _FLOAT,
        batch_norm_bytes=((k - 1) * (2 * channels + norms) + 2 * away * 2 * channels) * _FLOAT,
        encoder_macs=3 * encoder * m / k,
        loss_macs=2 * m**2 * dim,
        dense_bytes=m**2 * _FLOAT,
        tiled_bytes=(stored * side**2 + 3 * m * dim) * _FLOAT,
    )


def batch_where_loss_equals_encoder(
    images_per_rank: int, *, dim: int = 128, encoder_macs: float = 4.1e9, slowdown: float = 1.0
) -> float:
    """The global batch N at which the loss takes each rank as long as its encoder does.

    From 2 (2N)^2 d s = 3 F 2N/K with K = N / images_per_rank ranks: N = sqrt(3 F n / (4 d s)).

    Args:
        images_per_rank: n, kept as ranks are added.
        dim: width d of the embeddings.
        encoder_macs: F, multiply-adds for one view, forward.
        slowdown: s, how many times slower a multiply-add of the loss is than one of the encoder: 1 if both
            run alike, more where the encoder runs in bfloat16 and the loss in float32.

    Raises:
        TypeError, ValueError: a number out of range.
    """
    n, d = check_int(images_per_rank, "images_per_rank", 1), check_int(dim, "dim", 1)
    f, s = check_positive(encoder_macs, "encoder_macs"), check_positive(slowdown, "slowdown")
    return (3 * f * n / (4 * d * s)) ** 0.5


RANKS = {256: 1, 1024: 4, 4096: 16, 8192: 32, 16384: 64, 32768: 128, 65536: 256}  # 256 images a rank


def size(number: float) -> str:
    """Bytes in the unit that leaves one to three digits before the point."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            return f"{number:.0f} {unit}" if number >= 100 or not number else f"{number:.1f} {unit}"
        number /= 1000
    raise AssertionError


def share(fraction: float) -> str:
    """A percentage with two digits that count."""
    return f"{100 * fraction:.2g}%"


def traffic_row(c: StepCost) -> str:
    bytes_received = (c.embedding_bytes, c.gradient_bytes, c.batch_norm_bytes)
    return f"| {c.global_batch:,} | {c.world_size} | " + " | ".join(map(size, bytes_received)) + " |"


def work_row(c: StepCost) -> str:
    work = f"{c.encoder_macs / 1e9:,.0f} G | {c.loss_macs / 1e9:,.{0 if c.loss_macs > 1e10 else 2}f} G"
    shares = f"{share(c.loss_share)} | {share(c.divided_loss_share)}"
    memory = f"{size(c.dense_bytes)} | {size(c.tiled_bytes)}"
    return f"| {c.global_batch:,} | {c.world_size} | {work} | {shares} | {memory} |"


def crossing_row(images_per_rank: int) -> str:
    batches = [batch_where_loss_equals_encoder(images_per_rank, slowdown=s) for s in (1, 10)]
    cells = " | ".join(f"{round(n, -2):,.0f} on {n / images_per_rank:,.0f} ranks" for n in batches)
    return f"| {images_per_rank} | {cells} |"


def markdown() -> list[str]:
    """The three tables, headings included."""
    costs = [cost(n, k) for n, k in RANKS.items()]
    traffic = [
        "| global batch N | ranks K | embeddings | gradients | BatchNorm |",
        "| --- | --- | --- | --- | --- |",
    ]
    work = [
        "| global batch N | ranks K | encoder, multiply-adds | loss, multiply-adds | loss in all | "
        "if divided by K | dense: one matrix | tiled: in all |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    crossing = [
        "| images a rank | loss as fast as the encoder | loss 10 times slower |",
        "| --- | --- | --- |",
    ]
    return [
        "\n".join([*traffic, *map(traffic_row, costs)]),
        "\n".join([*work, *map(work_row, costs)]),
        "\n".join([*crossing, *map(crossing_row, (32, 64, 256))]),
    ]


if __name__ == "__main__":
    print("\n\n".join(markdown()))
