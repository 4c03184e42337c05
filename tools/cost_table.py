"""Print the tables of docs/distributed.md, computed by simclr_edu.distributed.cost.

python tools/cost_table.py
"""

from simclr_edu.distributed import StepCost, batch_where_loss_equals_encoder, cost

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
