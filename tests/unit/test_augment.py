"""The augmentation against torchvision's functions image by image, and its dice against their theory."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from simclr_edu import augment
from simclr_edu.augment import AugmentParameters, SimCLRAugment

F = pytest.importorskip("torchvision.transforms.v2.functional")

SEEDS = (0, 1, 2)
EXACT = {"atol": 1e-5, "rtol": 0}
# Statistics are checked to 5 standard errors: one false alarm in about a million checks.
SIGMAS = 5


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int, height: int, width: int, seed: int = 0, channels: int = 3) -> Tensor:
    """Random images with what colour code trips over: flat, gray, black, white and saturated pixels."""
    x = torch.randint(0, 256, (n, channels, height, width), dtype=torch.uint8, generator=rng(seed))
    x[:, :, 0, :2] = 0
    x[:, :, -1, -2:] = 255
    if channels == 3:
        x[:, 1:, 1 % height] = x[:, :1, 1 % height]  # a gray row
        x[:, :2, 2 % height] = 255  # two channels tie for the largest
        x[:, 1:, 3 % height] = 0  # and for the smallest
    return x


def by_torchvision(x: Tensor, p: AugmentParameters, size: int, kernel_size: int) -> Tensor:
    """Apply the parameters with torchvision's functions, one image and one operation at a time."""
    out = []
    for v in range(len(p)):
        top, left, height, width = p.boxes[v].tolist()
        y = F.resized_crop(
            x[v % len(x)].float() / 255, top, left, height, width, [size, size], antialias=True
        )
        if p.flip[v]:
            y = F.horizontal_flip(y)
        if p.jitter[v]:
            for operation in p.order[v].tolist():
                name = ("brightness", "contrast", "saturation", "hue")[operation]
                y = getattr(F, f"adjust_{name}")(y, getattr(p, name)[v].item())
        if p.grayscale[v]:
            y = F.rgb_to_grayscale(y, num_output_channels=3)
        if p.blur[v]:
            y = F.gaussian_blur(y, [kernel_size] * 2, [p.sigma[v].item()] * 2)
        out.append(y)
    return torch.stack(out)


def assert_share(hits: Tensor, expected: float) -> None:
    """Check that a share of independent coin flips is the expected one."""
    error = math.sqrt(expected * (1 - expected) / hits.numel())
    assert abs(hits.double().mean().item() - expected) < SIGMAS * error


def assert_uniform(values: Tensor, low: float, high: float, slack: float = 1e-6) -> None:
    """Check range and distribution by the Kolmogorov-Smirnov distance (critical at about 1e-6)."""
    u = ((values.double() - low) / (high - low)).sort().values
    assert u[0] >= -slack and u[-1] <= 1 + slack
    grid = torch.arange(1, len(u) + 1) / len(u)
    assert (u - grid).abs().max() < 2.7 / math.sqrt(len(u))


# --- each operation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "height, width, size",
    [
        *[(32, 32, 32), (17, 23, 32), (40, 31, 8), (90, 130, 33), (5, 7, 1), (96, 80, 96)],
        # Above 64 pixels: enlarged, shrunk, both at once, and a side that no band divides.
        *[(60, 50, 224), (500, 400, 224), (300, 90, 128), (90, 130, 67), (900, 1200, 96)],
    ],
)
def test_crop_and_resize_equals_torchvision(height: int, width: int, size: int, channels: int) -> None:
    x = images(6, height, width, channels=channels)
    boxes = SimCLRAugment(size).draw(6, height, width, rng(0)).boxes
    boxes[0] = torch.tensor([0, 0, height, width])
    boxes[1] = torch.tensor([height - 1, width - 1, 1, 1])
    flip = torch.tensor([False, True] * 3)
    got = augment.crop_and_resize(x, boxes, size, flip)
    for v, box in enumerate(boxes.tolist()):
        expected = F.resized_crop(x[v].float() / 255, *box, [size, size], antialias=True)
        torch.testing.assert_close(got[v], F.horizontal_flip(expected) if flip[v] else expected, **EXACT)


def test_crop_of_the_whole_image_at_its_own_size_changes_nothing() -> None:
    x = images(3, 32, 32).float() / 255
    boxes = torch.tensor([[0, 0, 32, 32]]).repeat(3, 1)
    assert torch.equal(augment.crop_and_resize(x, boxes, 32), x)


@pytest.mark.parametrize("side", [(9, 13), (70, 90)])
def test_dense_products_as_used_on_a_gpu_equal_the_cpu_path(
    side: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = images(4, *side)
    boxes = SimCLRAugment(20).draw(4, *side, rng(0)).boxes
    sigma = torch.tensor([0.1, 0.5, 1.0, 2.0])
    expected = augment.crop_and_resize(x, boxes, 20), augment.gaussian_blur(x, sigma, 7)
    monkeypatch.setattr(augment.resample, "_use_products", lambda x: True)
    monkeypatch.setattr(augment.operations, "block_for", lambda x, side: 0)
    torch.testing.assert_close(augment.crop_and_resize(x, boxes, 20), expected[0], **EXACT)
    torch.testing.assert_close(augment.gaussian_blur(x, sigma, 7), expected[1], **EXACT)


def test_horizontal_flip_mirrors_only_the_chosen() -> None:
    x = images(4, 6, 9)
    flip = torch.tensor([True, False, False, True])
    got = augment.horizontal_flip(x, flip)
    assert got.dtype == torch.uint8
    for v in range(4):
        assert torch.equal(got[v], F.horizontal_flip(x[v]) if flip[v] else x[v])


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_adjust_equals_torchvision(name: str) -> None:
    factor = torch.tensor([0.0, 0.2, 0.9, 1.0, 1.1, 1.8, 3.0])
    x = images(len(factor), 12, 15)
    got = getattr(augment, f"adjust_{name}")(x, factor)
    for v in range(len(factor)):
        expected = getattr(F, f"adjust_{name}")(x[v].float() / 255, factor[v].item())
        torch.testing.assert_close(got[v], expected, **EXACT)


@pytest.mark.parametrize("seed", SEEDS)
def test_adjust_hue_equals_torchvision_all_round_the_circle(seed: int) -> None:
    edges = torch.arange(-6, 7) / 12
    factor = torch.cat([edges.clamp(-0.5, 0.5), torch.rand(20, generator=rng(seed)) - 0.5])
    x = images(len(factor), 16, 16, seed).float() / 255
    got = augment.adjust_hue(x, factor)
    for v in range(len(factor)):
        torch.testing.assert_close(got[v], F.adjust_hue(x[v], factor[v].item()), **EXACT)


def test_adjust_hue_knows_its_colours() -> None:
    red = torch.tensor([1.0, 0.0, 0.0])[None, :, None, None].repeat(4, 1, 1, 1)
    got = augment.adjust_hue(red, torch.tensor([0.0, 1 / 3, -1 / 3, 1 / 6]))[:, :, 0, 0]
    expected = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])  # red, green, blue, yellow
    torch.testing.assert_close(got, expected, **EXACT)


def test_to_grayscale_equals_torchvision() -> None:
    x = images(4, 9, 11)
    expected = F.rgb_to_grayscale(x.float() / 255, num_output_channels=3)
    torch.testing.assert_close(augment.to_grayscale(x), expected, **EXACT)


@pytest.mark.parametrize(
    "height, width, kernel_size",
    [
        (8, 8, 3),
        (24, 33, 23),
        (12, 12, 23),
        (100, 70, 9),
        (4, 4, 1),
        (224, 224, 23),
        (96, 72, 9),
        (224, 67, 23),
    ],
)
def test_gaussian_blur_equals_torchvision(height: int, width: int, kernel_size: int) -> None:
    sigma = torch.tensor([0.1, 0.3, 0.8, 1.0, 2.0, 9.0])
    x = images(len(sigma), height, width)
    got = augment.gaussian_blur(x, sigma, kernel_size)
    for v in range(len(sigma)):
        expected = F.gaussian_blur(x[v].float() / 255, [kernel_size] * 2, [sigma[v].item()] * 2)
        torch.testing.assert_close(got[v], expected, **EXACT)


@pytest.mark.parametrize("size, kernel_size", [(224, 23), (96, 9), (32, 3), (10, 1), (1, 1), (256, 25)])
def test_blur_kernel_is_a_tenth_of_the_side_made_odd(size: int, kernel_size: int) -> None:
    assert augment.blur_kernel_size(size) == kernel_size == SimCLRAugment(size).kernel_size


def test_operations_leave_their_input_alone() -> None:
    x = images(3, 8, 8).float() / 255
    before = x.clone()
    factor = torch.tensor([0.3, 0.4, 0.5])
    for name in ("brightness", "contrast", "saturation", "hue"):
        getattr(augment, f"adjust_{name}")(x, factor)
    augment.to_grayscale(x)
    augment.gaussian_blur(x, factor, 3)
    SimCLRAugment(8, blur=True).two_views(x)
    assert torch.equal(x, before)


# --- the whole chain ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "height, width, size",
    [(32, 32, 32), (37, 50, 24), (20, 16, 40), (80, 70, 72), (256, 300, 224), (40, 60, 96)],
)
def test_chain_equals_torchvision(height: int, width: int, size: int, seed: int) -> None:
    x = images(10, height, width, seed)
    augmentation = SimCLRAugment(size, strength=1.0, blur=True)
    p = augmentation.draw(20, height, width, rng(seed))
    got = augmentation.apply(x, p)
    torch.testing.assert_close(got, by_torchvision(x, p, size, augmentation.kernel_size), **EXACT)


def test_chain_equals_torchvision_in_every_order() -> None:
    orders = torch.cartesian_prod(*[torch.arange(4)] * 4)
    orders = orders[(orders.sort(dim=1).values == torch.arange(4)).all(dim=1)]
    assert len(orders) == 24
    augmentation = SimCLRAugment(16, strength=1.0)
    x = images(24, 16, 16)
    p = augmentation.draw(24, 16, 16, rng(0))
    p.order, p.jitter = orders, torch.ones(24, dtype=torch.bool)
    torch.testing.assert_close(augmentation.apply(x, p), by_torchvision(x, p, 16, 3), **EXACT)


@pytest.mark.parametrize("piece", [1, 3000, 10**9])
@pytest.mark.parametrize("size", [16, 80])
def test_the_size_of_the_pieces_changes_nothing(
    size: int, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, augmentation = images(13, size, size), SimCLRAugment(size, strength=1.0, blur=True)
    expected = augmentation(x, rng(0))
    for name in ("_SMALL_PIECE", "_LARGE_PIECE"):
        monkeypatch.setattr(augment.pieces, name, piece)
    torch.testing.assert_close(augmentation(x, rng(0)), expected, **EXACT)


@pytest.mark.parametrize("size", [72, 96, 130, 224])
def test_windows_fit_in_the_memory_between_the_passes(size: int) -> None:
    block = augment.bands.block_for(torch.empty(0), size)
    assert 8 <= block <= 16 and size % block == 0
    lengths = torch.arange(1, 700)
    bands = augment.bands._resize_bands(lengths, 699, size, block, lengths % 2 == 0)
    numbers = augment.bands.resize_numbers(torch.empty(1, 1, 699, 699), size)
    assert max(bands.sides) ** 2 <= numbers and bands.shares.shape[:3] == (699, size // block, block)
    torch.testing.assert_close(bands.shares.sum(3), torch.ones(699, size // block, block))


@pytest.mark.parametrize("sigma", [0.3, 2.0, 9.0])
@pytest.mark.parametrize("size", [320, 352, 512])
def test_a_kernel_wider_than_a_block(size: int, sigma: float) -> None:
    x, augmentation = images(3, 60, 70), SimCLRAugment(size, blur=True)
    p = augmentation.draw(3, 60, 70, rng(size))
    p.blur[:], p.sigma[:] = True, sigma
    expected = by_torchvision(x, p, size, augmentation.kernel_size)
    torch.testing.assert_close(augmentation.apply(x, p), expected, **EXACT)


@pytest.mark.filterwarnings("error")  # an output of the wrong size is resized, with a warning
@pytest.mark.parametrize("views", [1, 2, 5, 7])
def test_a_last_piece_that_is_smaller(views: int) -> None:
    x, augmentation = images(views, 80, 80), SimCLRAugment(80, strength=1.0, blur=True)
    p = augmentation.draw(views, 80, 80, rng(views))
    p.jitter[:] = True
    got = augmentation.apply(x, p)
    torch.testing.assert_close(got, by_torchvision(x, p, 80, augmentation.kernel_size), **EXACT)


def test_large_images_are_not_changed_by_what_lay_in_memory_before() -> None:
    x, augmentation = images(6, 90, 100), SimCLRAugment(96, strength=1.0, blur=True)
    p = augmentation.draw(6, 90, 100, rng(3))
    together = augmentation.apply(x, p)
    alone = [augmentation.apply(x[v : v + 1], p[v : v + 1]) for v in range(6)]
    torch.testing.assert_close(torch.cat(alone), together, **EXACT)


@pytest.mark.parametrize("switch", ["crop", "color", "flip"])
def test_switches(switch: str) -> None:
    augmentation = SimCLRAugment(24, **{switch: False})
    p = augmentation.draw(200, 24, 24, rng(0))
    moved = {
        "crop": bool((p.boxes != torch.tensor([0, 0, 24, 24])).any()),
        "color": bool(p.jitter.any() or p.grayscale.any()),
        "flip": bool(p.flip.any()),
    }
    assert moved == {name: name != switch for name in moved}


def test_everything_off_is_a_resize() -> None:
    off = SimCLRAugment(20, crop=False, color=False, flip=False)
    x = images(4, 33, 27)
    torch.testing.assert_close(off(x), F.resize(x.float() / 255, [20, 20], antialias=True), **EXACT)
    same = images(4, 20, 20).float() / 255
    assert torch.equal(off(same), same)


def test_strength_zero_changes_no_colour() -> None:
    x = images(16, 12, 12).float() / 255
    got = SimCLRAugment(12, strength=0, crop=False, flip=False, grayscale=0)(x)
    torch.testing.assert_close(got, x, **EXACT)


def test_mean_and_std_normalise() -> None:
    x = images(5, 16, 16)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    plain = SimCLRAugment(16)(x, rng(0))
    expected = F.normalize(plain, mean, std)
    torch.testing.assert_close(SimCLRAugment(16, mean=mean, std=std)(x, rng(0)), expected, **EXACT)
    torch.testing.assert_close(
        SimCLRAugment(16, mean=0.5, std=0.25)(x, rng(0)), (plain - 0.5) / 0.25, **EXACT
    )


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 5),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    size=st.integers(1, 40),
    blur=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_shape_gives_finite_views_in_range(
    batch: int, height: int, width: int, size: int, blur: bool, seed: int
) -> None:
    x = torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=rng(seed))
    views = SimCLRAugment(size, strength=1.0, blur=blur)(x, rng(seed))
    assert views.shape == (batch, 3, size, size) and views.dtype == torch.float32
    assert views.is_contiguous() and not views.requires_grad
    assert views.min() >= 0 and views.max() <= 1  # NaN fails both


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_float_inputs_agree_with_uint8(dtype: torch.dtype) -> None:
    x = images(8, 20, 20)
    tolerance = {torch.float16: 2e-2, torch.bfloat16: 1e-1}.get(dtype, 1e-5)
    augmentation = SimCLRAugment(16, blur=True)
    got = augmentation((x.double() / 255).to(dtype), rng(0))
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, augmentation(x, rng(0)), atol=tolerance, rtol=0)


def test_memory_layout_and_autocast_change_nothing() -> None:
    x, augmentation = images(6, 32, 32), SimCLRAugment(32, blur=True)
    expected = augmentation(x, rng(0))
    for same in (x, x.float() / 255):
        channels_last = same.to(memory_format=torch.channels_last)
        sliced = torch.cat([same, same], dim=3)[..., :32]
        for layout in (channels_last, sliced):
            got = augmentation(layout, rng(0))
            torch.testing.assert_close(got, expected, **EXACT)
            assert got.is_contiguous()
        factor = torch.full((6,), 0.3)
        torch.testing.assert_close(
            augment.adjust_hue(channels_last, factor), augment.adjust_hue(same, factor), **EXACT
        )
        torch.testing.assert_close(augment.to_grayscale(sliced), augment.to_grayscale(same), **EXACT)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(augmentation(x, rng(0)), expected)


def test_one_channel_without_colour() -> None:
    x = images(5, 14, 14, channels=1)
    plain = SimCLRAugment(12, color=False, blur=True)
    assert plain(x).shape == (5, 1, 12, 12)
    with pytest.raises(ValueError, match="channels"):
        SimCLRAugment(12)(x)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu() -> None:  # pragma: no cover
    x, augmentation = images(9, 40, 40), SimCLRAugment(32, strength=1.0, blur=True)
    got = augmentation(x.cuda(), rng(0))
    assert got.is_cuda
    torch.testing.assert_close(got.cpu(), augmentation(x, rng(0)), **EXACT)


# --- the dice ----------------------------------------------------------------------------------------

V = 20_000


@pytest.fixture(scope="module", params=SEEDS)
def drawn(request: pytest.FixtureRequest) -> AugmentParameters:
    return SimCLRAugment(32, strength=0.5, blur=True).draw(V, 1000, 1000, rng(request.param))


def test_rates(drawn: AugmentParameters) -> None:
    assert_share(drawn.flip, 0.5)
    assert_share(drawn.jitter, 0.8)
    assert_share(drawn.grayscale, 0.2)
    assert_share(drawn.blur, 0.5)
    # and one does not depend on another
    assert_share(drawn.flip & drawn.jitter, 0.4)
    assert_share(drawn.jitter & drawn.grayscale, 0.16)


def test_factors_are_uniform(drawn: AugmentParameters) -> None:
    for name in ("brightness", "contrast", "saturation"):
        assert_uniform(getattr(drawn, name), 0.6, 1.4)
    assert_uniform(drawn.hue, -0.1, 0.1)
    assert_uniform(drawn.sigma, 0.1, 2.0)
    together = torch.stack([drawn.brightness, drawn.contrast, drawn.saturation, drawn.hue, drawn.sigma])
    correlations = torch.corrcoef(together) - torch.eye(5)
    assert correlations.abs().max() < SIGMAS / math.sqrt(V)


def test_strong_jitter_does_not_go_negative() -> None:
    p = SimCLRAugment(32, strength=2.0).draw(2000, 32, 32, rng(0))
    assert_uniform(p.brightness, 0.0, 2.6)
    assert_uniform(p.hue, -0.4, 0.4)


def test_all_orders_equally_likely(drawn: AugmentParameters) -> None:
    assert torch.equal(drawn.order.sort(dim=1).values, torch.arange(4).expand(V, 4))
    codes = (drawn.order * torch.tensor([64, 16, 4, 1])).sum(dim=1)
    counts = codes.unique(return_counts=True)[1]
    assert len(counts) == 24
    chi_square = ((counts - V / 24) ** 2 / (V / 24)).sum().item()
    assert chi_square < 70  # 23 degrees of freedom: about 1e-6


def test_crops_inside_and_of_the_right_size(drawn: AugmentParameters) -> None:
    top, left, height, width = drawn.boxes.unbind(1)
    assert (top >= 0).all() and (left >= 0).all()
    assert (height >= 1).all() and (width >= 1).all()
    assert (top + height <= 1000).all() and (left + width <= 1000).all()
    ratio = width / height
    assert ratio.min() > 0.74 and ratio.max() < 1.35
    area = height * width / 1e6
    assert area.min() > 0.079 and area.max() <= 1.0
    # Below 3/4 of the image every ratio fits at the first attempt: there both are as first drawn, up to
    # the rounding to whole pixels.
    small = area < 0.74
    assert_uniform(area[small], 0.08, 0.74, slack=0.01)
    assert_uniform(ratio[small].log(), math.log(0.75), math.log(4 / 3), slack=0.01)
    # The place is uniform over what the size allows.
    assert_uniform((top + 0.5)[small] / (1000 - height + 1)[small], 0.0, 1.0)
    assert_uniform((left + 0.5)[small] / (1000 - width + 1)[small], 0.0, 1.0)


@pytest.mark.parametrize("height, width", [(40, 40), (30, 50)])
def test_crops_are_distributed_as_torchvision_draws_them(height: int, width: int) -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2")
    n = 3000
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draw = v2.RandomResizedCrop(8, antialias=True).make_params
        theirs = [draw([torch.empty(3, height, width)]) for _ in range(n)]
    ours = SimCLRAugment(8).draw(n, height, width, rng(0)).boxes
    for column, name in enumerate(("top", "left", "height", "width")):
        a, b = ours[:, column], torch.tensor([t[name] for t in theirs])
        steps = torch.arange(max(height, width) + 1)
        gap = (a[:, None] <= steps).double().mean(0) - (b[:, None] <= steps).double().mean(0)
        assert gap.abs().max() < 2.7 * math.sqrt(2 / n)


@pytest.mark.parametrize(
    "height, width, box", [(10, 200, [0, 93, 10, 13]), (200, 10, [93, 0, 13, 10]), (90, 100, [0, 0, 90, 100])]
)
def test_fallback_is_the_largest_central_crop(height: int, width: int, box: list[int]) -> None:
    # Nothing below the whole area is allowed, and that never fits but for a ratio that is not drawn.
    boxes = SimCLRAugment(8, crop_scale=(1.0, 1.0)).draw(50, height, width, rng(0)).boxes
    fallback = (boxes == torch.tensor(box)).all(dim=1)
    assert fallback.all() if max(height, width) == 200 else fallback.any()


def test_crop_scale_is_obeyed() -> None:
    boxes = SimCLRAugment(8, crop_scale=(0.2, 0.3)).draw(2000, 500, 500, rng(0)).boxes
    area = boxes[:, 2] * boxes[:, 3] / 500**2
    assert_uniform(area, 0.2, 0.3, slack=0.05)


# --- per image, two views, reproducible --------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "only", [{"crop": False, "flip": False}, {"color": False, "flip": False}, {"crop": False, "color": False}]
)
def test_every_image_gets_its_own_draw(only: dict[str, bool], seed: int) -> None:
    one = images(1, 24, 24, seed)
    views = SimCLRAugment(24, **only)(one.repeat(64, 1, 1, 1), rng(seed))
    distinct = len(views.flatten(1).unique(dim=0))
    # Flip alone has two outcomes; colour alone leaves 16% of the views as they are.
    expected = 2 if only == {"crop": False, "color": False} else 35
    assert distinct >= expected


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_the_parts_of_a_batch_get_the_views_of_the_whole(parts: int) -> None:
    """So that several processes see what one would: the same choices for each image, the same pixels."""
    augmentation = SimCLRAugment(16, blur=True)
    x = torch.rand(12, 3, 20, 20, generator=rng(0))
    whole = augmentation.two_views(x, rng(1))
    each = [augmentation.two_views(part, rng(1), (k, parts)) for k, part in enumerate(x.chunk(parts))]
    for wanted, got in zip(whole, zip(*each, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(got), wanted, rtol=0, atol=1e-6)
    after = [rng(1), rng(1)]
    augmentation.two_views(x, after[0])
    augmentation.two_views(x[:2], after[1], (5, 6))
    assert torch.equal(after[0].get_state(), after[1].get_state()), "the next batch would differ"
    with pytest.raises(ValueError, match=r"k from 0 to K - 1, got \(2, 2\)"):
        augmentation.two_views(x, rng(1), (2, 2))


@pytest.mark.parametrize("seed", SEEDS)
def test_two_views_are_two_draws_of_the_same_images(seed: int) -> None:
    x, augmentation = images(7, 24, 24, seed), SimCLRAugment(24)
    first, second = augmentation.two_views(x, rng(seed))
    assert first.shape == second.shape == (7, 3, 24, 24)
    assert ((first - second).abs().amax(dim=(1, 2, 3)) > 1e-3).all()
    # Row i of both comes from image i: flat images of their own gray stay so without colour changes.
    flat = (torch.arange(7, dtype=torch.uint8) * 30)[:, None, None, None].expand(7, 3, 24, 24)
    for view in SimCLRAugment(24, color=False).two_views(flat, rng(seed)):
        torch.testing.assert_close(view, flat.float() / 255, **EXACT)


def test_apply_makes_view_v_from_image_v_mod_b() -> None:
    x, augmentation = images(3, 16, 16), SimCLRAugment(16)
    p = augmentation.draw(9, 16, 16, rng(0))
    torch.testing.assert_close(augmentation.apply(x, p), augmentation.apply(x.repeat(3, 1, 1, 1), p), **EXACT)


def test_a_view_does_not_depend_on_its_neighbours() -> None:
    x, augmentation = images(8, 20, 20), SimCLRAugment(20, blur=True)
    p = augmentation.draw(8, 20, 20, rng(0))
    together = augmentation.apply(x, p)
    for v in range(8):
        alone = augmentation.apply(x[v : v + 1], p[v : v + 1])
        torch.testing.assert_close(alone[0], together[v], **EXACT)


def test_reproducible_and_the_global_generator_untouched() -> None:
    x, augmentation = images(6, 20, 20), SimCLRAugment(16, blur=True)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    generator = rng(3)
    a, b = augmentation(x, generator), augmentation(x, generator)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(augmentation(x, rng(3)), a)
    assert not torch.equal(a, b)
    first, second = augmentation.two_views(x, rng(3))
    again = augmentation.two_views(x, rng(3))
    assert torch.equal(first, again[0]) and torch.equal(second, again[1])


def test_the_global_generator_is_the_default() -> None:
    x, augmentation = images(6, 20, 20), SimCLRAugment(16)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        a, b = augmentation(x), augmentation(x)
        torch.manual_seed(1)
        again = augmentation(x)
    assert torch.equal(a, again) and not torch.equal(a, b)


# --- module, textbook pipeline, errors ---------------------------------------------------------------


def test_works_as_a_module_among_modules() -> None:
    model = torch.nn.Sequential(SimCLRAugment(8), torch.nn.Flatten())
    seen: list[str] = []
    model.apply(lambda m: seen.append(type(m).__name__))  # containers call apply(fn) on their children
    assert "SimCLRAugment" in seen
    assert model(images(2, 8, 8)).shape == (2, 192)
    model.to(device="cpu", dtype=torch.float64).train().eval()  # nn.Module's own methods still work
    assert "size=8" in repr(model) and not list(model.parameters()) and not model.state_dict()


@pytest.mark.parametrize("blur", [False, True])
def test_textbook_pipeline(blur: bool) -> None:
    pipeline = augment.torchvision_pipeline(16, strength=1.0, blur=blur)
    x = images(1, 40, 30)[0]
    with torch.random.fork_rng():
        for seed in SEEDS:
            for image in (x, F.to_pil_image(x)):
                torch.manual_seed(seed)
                view = pipeline(image)
                assert view.shape == (3, 16, 16) and view.dtype == torch.float32
                assert view.min() >= 0 and view.max() <= 1
                assert not torch.equal(view, pipeline(image))


@pytest.mark.parametrize("seed", SEEDS)
def test_views_look_like_the_textbook_pipelines(seed: int) -> None:
    """Mean and spread of a pixel's value over many views agree between the two pipelines."""
    n = 400
    x = images(1, 24, 24, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pipeline = augment.torchvision_pipeline(6)
        theirs = torch.stack([pipeline(x[0]) for _ in range(n)])
    ours = SimCLRAugment(6)(x.expand(n, -1, -1, -1), rng(seed))
    for statistic in (
        lambda v: v.mean(dim=(1, 2, 3)),
        lambda v: v.std(dim=(1, 2, 3)),
        lambda v: v[:, 0].mean((1, 2)),
    ):
        a, b = statistic(ours), statistic(theirs)
        error = math.sqrt((a.var() + b.var()).item() / n)
        # uint8 rounding in the textbook pipeline adds up to half a gray level
        assert abs((a.mean() - b.mean()).item()) < SIGMAS * error + 0.003


BAD_SETTINGS: list[tuple[dict[str, object], type[Exception], str]] = [
    ({"size": 0}, ValueError, "size"),
    ({"size": 3.5}, TypeError, "size"),
    ({"strength": -1}, ValueError, "strength"),
    ({"strength": 2.6}, ValueError, "strength"),
    ({"strength": "strong"}, TypeError, "strength"),
    ({"strength": math.nan}, ValueError, "strength"),
    ({"crop_scale": (0.0, 1.0)}, ValueError, "crop_scale"),
    ({"crop_scale": (0.9, 0.1)}, ValueError, "crop_scale"),
    ({"crop_scale": 0.5}, TypeError, "crop_scale"),
    ({"grayscale": 1.5}, ValueError, "grayscale"),
    ({"mean": (0.5, 0.5, 0.5)}, ValueError, "go together"),
    ({"mean": (0.5, 0.5), "std": 1.0}, ValueError, "mean"),
    ({"mean": 0.5, "std": 0.0}, ValueError, "std"),
    ({"mean": "half", "std": 1.0}, TypeError, "mean"),
]


@pytest.mark.parametrize("settings_, error, word", BAD_SETTINGS)
def test_bad_settings_are_named(settings_: dict[str, object], error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        SimCLRAugment(**{"size": 8, **settings_})  # type: ignore[arg-type]


GOOD = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
BAD_IMAGES: list[tuple[object, type[Exception], str]] = [
    ("cat.jpg", TypeError, "torch.Tensor"),
    (GOOD[0], ValueError, "shape"),
    (GOOD[:0], ValueError, "empty"),
    (GOOD[:, :2], ValueError, "channels"),
    (GOOD.long(), TypeError, "uint8"),
    (GOOD * 255, ValueError, r"\[0, 1\]"),
    (GOOD - 0.5, ValueError, r"\[0, 1\]"),
    (GOOD.where(GOOD > 0.5, torch.nan), ValueError, r"\[0, 1\]"),
]


@pytest.mark.parametrize("bad, error, word", BAD_IMAGES)
def test_bad_images_are_named(bad: object, error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        SimCLRAugment(8)(bad)  # type: ignore[arg-type]
    with pytest.raises(error, match=word):
        SimCLRAugment(8).two_views(bad)  # type: ignore[arg-type]


ONES = torch.ones(2)
BAD_CALLS: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: augment.adjust_brightness(GOOD, torch.ones(3)), ValueError, "factor"),
    (lambda: augment.adjust_contrast(GOOD, -ONES), ValueError, "factor"),
    (lambda: augment.adjust_saturation(GOOD, ONES * math.nan), ValueError, "factor"),
    (lambda: augment.adjust_hue(GOOD, ONES), ValueError, "factor"),
    (lambda: augment.adjust_hue(GOOD, torch.tensor([1, 2])), TypeError, "factor"),
    (lambda: augment.adjust_brightness(GOOD, 1.0), TypeError, "factor"),  # type: ignore[arg-type]
    (lambda: augment.to_grayscale(GOOD[:, :1]), ValueError, "channels"),
    (lambda: augment.gaussian_blur(GOOD, ONES, 4), ValueError, "odd"),
    (lambda: augment.gaussian_blur(GOOD, ONES, 17), ValueError, "too large"),
    (lambda: augment.gaussian_blur(GOOD, 0 * ONES, 3), ValueError, "sigma"),
    (lambda: augment.horizontal_flip(GOOD, ONES), TypeError, "flip"),
    (lambda: augment.crop_and_resize(GOOD, torch.tensor([[0, 0, 8, 8]]), 8), ValueError, "boxes"),
    (lambda: augment.crop_and_resize(GOOD, torch.tensor([[0, 0, 9, 8]] * 2), 8), ValueError, "inside"),
    (lambda: augment.crop_and_resize(GOOD, torch.tensor([[0, 0, 0, 8]] * 2), 8), ValueError, "inside"),
    (lambda: augment.crop_and_resize(GOOD, torch.ones(2, 4), 8), TypeError, "boxes"),
    (lambda: SimCLRAugment(8).apply(GOOD, SimCLRAugment(8).draw(3, 8, 8)), ValueError, "multiple"),
    (lambda: SimCLRAugment(8).apply(GOOD, SimCLRAugment(8).draw(2, 64, 64)), ValueError, "inside"),
    (lambda: SimCLRAugment(8).apply(GOOD, None), TypeError, "parameters"),  # type: ignore[arg-type]
    (lambda: SimCLRAugment(8).draw(0, 8, 8), ValueError, "batch"),
    (lambda: augment.torchvision_pipeline(0), ValueError, "size"),
]


@pytest.mark.parametrize("call, error, word", BAD_CALLS)
def test_bad_calls_are_named(call: Callable[[], object], error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        call()
