"""Answers to the exercises of notebook 01: wrong ones with words of their diagnosis, and right ones."""

import torch
import torch.nn.functional as F

from simclr_edu import augment as augmentations


def flip_where(x, coin):
    return torch.where(coin.view(-1, 1, 1, 1), x.flip(-1), x)


def flip_clone(x, coin):
    x = x.clone()
    x[coin] = x[coin].flip(3)
    return x


def flip_loop(x, coin):
    return torch.stack([image.flip(2) if flip else image for image, flip in zip(x, coin, strict=True)])


def gray_weights(x):
    weights = x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (x * weights).sum(1, keepdim=True).expand_as(x)


def gray_channels(x):
    red, green, blue = x.unbind(1)
    gray = 0.2989 * red + 0.587 * green + 0.114 * blue  # the rounding that torchvision uses
    return torch.stack([gray] * 3, 1)


def gray_einsum(x):
    return torch.einsum("bchw,c->bhw", x, torch.tensor([0.299, 0.587, 0.114]))[:, None].repeat(1, 3, 1, 1)


def views_two_calls(augment, x):
    return augment(x), augment(x)


def views_one_call(augment, x):
    v1, v2 = augment(torch.cat([x, x])).chunk(2)
    return v1, v2


def views_per_image(augment, x):
    views = [torch.cat([augment(image[None]) for image in x]) for _ in range(2)]
    return views


RIGHT = {
    "horizontal_flip": [
        flip_where,
        flip_clone,
        flip_loop,
    ],
    "grayscale": [
        gray_weights,
        gray_channels,
        lambda x: F.conv2d(x, x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).repeat(1, 3, 1, 1),
        lambda x: (x.permute(0, 2, 3, 1) @ x.new_tensor([0.299, 0.587, 0.114]))[:, None].expand_as(x),
    ],
    "two_views": [
        views_two_calls,
        views_one_call,
        views_per_image,
    ],
}


def flip_in_place(x, coin):
    x[coin] = x[coin].flip(3)
    return x


def returns_the_first(x, coin):
    for image, flip in zip(x, coin, strict=True):
        return torch.stack([image.flip(2) if flip else image])


def returns_one_picture(x, coin):
    for i in range(len(x)):
        picture = x[i].flip(-1) if coin[i] else x[i]
    return picture


def luma(x, weights=(0.299, 0.587, 0.114)):
    return (x * torch.tensor(weights).view(1, 3, 1, 1)).sum(1)  # (B, H, W)


def one_call(augment, x):
    v = augment(x)
    return v, v


def seeded(augment, x):
    torch.manual_seed(0)
    v1 = augment(x)
    torch.manual_seed(0)
    return v1, augment(x)


def chained(augment, x):
    v1 = augment(x)
    return v1, augment(v1)


def seed_per_view(augment, x):
    views = []
    for seed in (1, 2):
        rows = []
        for image in x:
            torch.manual_seed(seed)
            rows.append(augment(image[None]))
        views.append(torch.cat(rows))
    return tuple(views)


def one_row_twice(augment, x):
    v = augment(x)
    return v, torch.cat([augment(x)[:1], v[1:]])


def gray_on_the_cpu(x):
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=x.dtype).view(1, 3, 1, 1)
    return (x * weights).sum(1, keepdim=True).expand_as(x)


def gray_einsum_on_the_cpu(x):
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=x.dtype)
    return torch.einsum("bchw,c->bhw", x, weights)[:, None].expand_as(x)


WRONG = {
    "horizontal_flip": [
        (lambda x, coin: x.clone(), "No image was flipped"),
        (lambda x, coin: torch.flip(x, [3]), "the second argument, coin,"),
        (
            lambda x, coin: torch.stack([i.flip(1) if f else i for i, f in zip(x, coin, strict=True)]),
            "upside down",
        ),
        (lambda x, coin: torch.where(coin.view(-1, 1, 1, 1), x.flip(2, 3), x), "turn by 180"),
        (lambda x, coin: torch.where(coin.view(-1, 1, 1, 1), x, x.flip(3)), "where coin is False"),
        (lambda x, coin: x.flip(3) if bool(coin[0]) else x.clone(), "One decision"),
        (lambda x, coin: x.flip(3) if coin.any() else x.clone(), "One decision"),
        (lambda x, coin: x.flip(1), "colour channels were reversed"),
        (lambda x, coin: x.flip(0), "Images changed places"),
        (lambda x, coin: x[coin].flip(3), "Only the flipped images"),
        (lambda x, coin: torch.where(coin, x.flip(3), x), "lines up with the batch"),
        (flip_in_place, "in place"),
        (returns_the_first, "A return stands inside a loop"),
        (returns_one_picture, "That is one picture, (3, "),
        (
            lambda x, coin: torch.where(coin.view(-1, 1, 1, 1), x.flip(-1), x).double(),
            "The dtype should be that of the input, torch.float32, but is torch.float64",
        ),
        (
            lambda x, coin: augmentations.horizontal_flip(x, coin),
            "the work was done by augment.horizontal_flip",
        ),
    ],
    "grayscale": [
        (gray_einsum, "The weights are float32, whatever x is"),
        (lambda x: augmentations.to_grayscale(x), "the work was done by augment.to_grayscale"),
        (lambda x: luma(x).expand_as(x), "lost their dimension"),
        (lambda x: luma(x).expand(-1, 3, -1, -1), "lost their dimension"),
        (lambda x: luma(x).repeat(1, 3, 1, 1), "lost their dimension"),
        (lambda x: torch.cat([luma(x)] * 3), "Channels are dimension 1"),
        (lambda x: luma(x)[:, None].repeat(3, 1, 1, 1), "Channels are dimension 1"),
        (lambda x: torch.stack([luma(x)] * 3), "Channels are dimension 1"),
        (
            lambda x: luma(x, (0.299, 0.578, 0.114))[:, None].expand(-1, 3, -1, -1),
            "The weights must add up to 1. Yours, 0.299, 0.578, 0.114, add up to 0.991.",
        ),
        (
            lambda x: luma(x, (0.3, 0.59, 0.11))[:, None].expand(-1, 3, -1, -1),
            "0.300, 0.590, 0.110, add up to 1, but",
        ),
        (
            lambda x: luma(x)[:, None].expand(-1, 3, -1, -1).half(),
            "The dtype should be that of the input, torch.float32, but is torch.float16",
        ),
        (lambda x: luma(x)[:1].expand(3, -1, -1), "That is one picture, (3, "),
        (lambda x: x.mean(1, keepdim=True).expand(-1, 3, -1, -1), "plain mean"),
        (
            lambda x: (0.114 * x[:, 0] + 0.587 * x[:, 1] + 0.299 * x[:, 2])[:, None].repeat(1, 3, 1, 1),
            "blue, green, red",
        ),
        (lambda x: (0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2])[:, None], "has one channel"),
        (lambda x: 0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2], "has one channel"),
        (
            lambda x: (0.2126 * x[:, 0] + 0.7152 * x[:, 1] + 0.0722 * x[:, 2])[:, None].repeat(1, 3, 1, 1),
            "709",
        ),
        (lambda x: x.sum(1, keepdim=True).repeat(1, 3, 1, 1), "summed without weights"),
        (lambda x: x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1), "still in colour"),
        (lambda x: x.max(1, keepdim=True).values.repeat(1, 3, 1, 1), "brightest channel"),
        (lambda x: x[:, [1, 1, 1]], "keeps one channel only"),
        (
            lambda x: (
                (x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1))
                .mean(1, keepdim=True)
                .repeat(1, 3, 1, 1)
            ),
            "divided by 3 once more",
        ),
        (gray_on_the_cpu, "a tensor that your function makes is always on the CPU"),
        (gray_einsum_on_the_cpu, "a tensor that your function makes is always on the CPU"),
        (lambda x: gray_weights(x.float()), "The dtype should be that of the input, torch.float64"),
    ],
    "two_views": [
        (lambda augment, x: (x, x), "Neither view is augmented"),
        (lambda augment, x: (x, augment(x)), "v1 is the original"),
        (lambda augment, x: (augment(x), x), "v2 is the original"),
        (lambda augment, x: augment(x).chunk(2) if len(x) % 2 == 0 else (x[:2], x[2:]), "cut in halves"),
        (lambda augment, x: torch.stack([augment(x), augment(x)]), "two tensors"),
        (
            lambda augment, x: [tuple(augment(i.expand(2, -1, -1, -1))) for i in x],
            "a list of length 4 whose entries are tuples. v1 and v2 are whole batches",
        ),
        (
            lambda augment, x: (list(augment(x)), list(augment(x))),
            "a tuple of length 2 whose entries are lists",
        ),
        (lambda augment, x: (augment(x), augment(x.flip(0))), "view of image"),
        (lambda augment, x: (x, x + 1), "Your function never uses its argument augment."),
        (
            lambda augment, x: augmentations.SimCLRAugment(x.shape[-1]).two_views(x),
            "The work was done by augment.SimCLRAugment",
        ),
        (
            lambda augment, x: augment(x.repeat_interleave(2, 0)).chunk(2),
            "side by side, as repeat_interleave",
        ),
        (lambda augment, x: (augment(x), augment(x) * 0.5), "not what augment returned"),
        (
            lambda augment, x: (augment(x[:1]).expand_as(x), augment(x[:1]).expand_as(x)),
            "one image was augmented for all",
        ),
        (one_call, "same view twice"),
        (seeded, "same view twice"),
        (chained, "a view of a view"),
        (seed_per_view, "One draw for the whole batch"),
        (lambda augment, x: augment(torch.cat([x, x], 1)).chunk(2, 1), "got (4, 6, "),
        (lambda augment, x: augment(torch.cat([x, x], 2)).chunk(2, 2), "joined along height or width"),
        (lambda augment, x: augment(torch.cat([x, x], 3)).chunk(2, 3), "joined along height or width"),
        (one_row_twice, "Row 1 is the same view in v1 and in v2"),
    ],
}
