"""Answers to the exercises of notebook 06: wrong ones with words of their diagnosis, and right ones."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from simclr_edu import evaluate


def freeze_methods(encoder):
    encoder.requires_grad_(False)
    encoder.eval()


def freeze_loop(encoder):
    for p in encoder.parameters():
        p.requires_grad = False
    return encoder.train(False)


def extract_no_grad(encoder, images, batch_size):
    encoder.eval()
    features = []
    with torch.no_grad():
        for batch in images.split(batch_size):
            features.append(encoder(batch.float() / 255))
    return torch.cat(features)


@torch.inference_mode()
def extract_slices(encoder, images, batch_size):
    was_training = encoder.training
    encoder.eval()
    out = [encoder(images[i : i + batch_size] / 255) for i in range(0, len(images), batch_size)]
    encoder.train(was_training)
    return torch.vstack(out)


def extract_preallocated(encoder, images, batch_size):
    encoder.eval()
    out = None
    for i in range(0, len(images), batch_size):
        h = encoder(images[i : i + batch_size].to(torch.float32).div(255)).detach()
        out = h.new_empty(len(images), h.shape[1]) if out is None else out
        out[i : i + len(h)] = h
    return out


def subset_round(labels, fraction, generator):
    chosen = []
    for c in labels.unique():
        members = (labels == c).nonzero().flatten()
        k = max(1, round(fraction * len(members)))
        chosen.append(members[torch.randperm(len(members), generator=generator)[:k]])
    return torch.cat(chosen)


def subset_ceil(labels, fraction, generator):
    order = torch.randperm(len(labels), generator=generator)
    chosen = []
    for c in range(int(labels.max()) + 1):
        members = order[labels[order] == c]
        chosen.append(members[: math.ceil(fraction * len(members))])
    return torch.cat(chosen).sort().values


def subset_noise(labels, fraction, generator):
    noise = torch.rand(len(labels), generator=generator)
    keep = torch.zeros(len(labels), dtype=torch.bool)
    for c in labels.unique():
        members = (labels == c).nonzero()[:, 0]
        keep[members[noise[members].argsort()[: max(1, int(fraction * len(members)))]]] = True
    return keep.nonzero()[:, 0]


RIGHT = {
    "freeze": [
        freeze_methods,
        freeze_loop,
    ],
    "extract_features": [
        extract_no_grad,
        extract_slices,
        extract_preallocated,
    ],
    "label_subset": [
        subset_round,
        subset_ceil,
        subset_noise,
    ],
}


def left_in_train(encoder):
    encoder.requires_grad_(False)


def only_eval(encoder):
    encoder.eval()


def attribute(encoder):
    encoder.requires_grad = False
    encoder.eval()


def on_a_copy(encoder):
    import copy

    return copy.deepcopy(encoder).requires_grad_(False).eval()


def no_grad_inside(encoder):
    with torch.no_grad():
        encoder.train()


def only_weights(encoder):
    encoder.eval()
    for name, p in encoder.named_parameters():
        if "weight" in name or name.endswith("scale"):
            p.requires_grad = False


def only_known_layers(encoder):
    encoder.eval()
    for m in encoder.modules():
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            m.requires_grad_(False)


def dropout_left(encoder):
    encoder.requires_grad_(False)
    for m in encoder.modules():
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
            m.eval()


def last_layer(encoder):
    encoder.eval()
    encoder[-1].requires_grad_(False)


def outermost(encoder):
    encoder.requires_grad_(False)
    encoder.training = False


def returns_early(encoder):
    encoder.eval()
    for p in encoder.parameters():
        p.requires_grad = False
        return encoder


def zeroed(encoder):
    encoder.eval()
    for p in encoder.parameters():
        p.requires_grad = False
        p.zero_()


def some_left(encoder):
    encoder.eval()
    for i, p in enumerate(encoder.parameters()):
        p.requires_grad = i == 4


def collect(encoder, images, batch_size, scale=lambda x: x.float() / 255):
    with torch.no_grad():
        return [encoder(scale(b)) for b in images.split(batch_size)]


def train_mode(encoder, images, batch_size):
    return torch.cat(collect(encoder, images, batch_size))


def in_half(encoder, images, batch_size):
    return extract_no_grad(encoder, images, batch_size).half()


def with_graph(encoder, images, batch_size):
    encoder.eval()
    return torch.cat([encoder(b / 255) for b in images.split(batch_size)])


def drop_last(encoder, images, batch_size):
    encoder.eval()
    full = max(1, len(images) // batch_size) * batch_size
    return torch.cat(collect(encoder, images[:full], batch_size))


def not_scaled(encoder, images, batch_size):
    encoder.eval()
    return torch.cat(collect(encoder, images, batch_size, scale=torch.Tensor.float))


def bytes_in(encoder, images, batch_size):
    encoder.eval()
    return torch.cat(collect(encoder, images, batch_size, scale=lambda x: x))


def by_256(encoder, images, batch_size):
    encoder.eval()
    return torch.cat(collect(encoder, images, batch_size, scale=lambda x: x / 256))


def normalised_input(encoder, images, batch_size):
    encoder.eval()
    return torch.cat(collect(encoder, images, batch_size, scale=lambda x: (x / 255 - 0.5) / 0.5))


def returns_in_the_first_turn(encoder, images, batch_size):
    encoder.eval()
    for batch in images.split(batch_size):
        with torch.no_grad():
            return encoder(batch / 255)


def embeds(encoder, images, batch_size):
    encoder.eval()
    return evaluate.embed(encoder, images, batch_size=batch_size)


def last_batch(encoder, images, batch_size):
    encoder.eval()
    return collect(encoder, images, batch_size)[-1]


def returns_in_the_loop(encoder, images, batch_size):
    encoder.eval()
    return collect(encoder, images, batch_size)[0]


def backwards(encoder, images, batch_size):
    encoder.eval()
    return torch.cat(collect(encoder, images, batch_size)).flip(0)


def shuffled(encoder, images, batch_size):
    encoder.eval()
    order = torch.arange(len(images)).roll(1)
    return torch.cat(collect(encoder, images[order], batch_size))


def all_at_once(encoder, images, batch_size):
    encoder.eval()
    return collect(encoder, images, len(images))[0]


def normalised_output(encoder, images, batch_size):
    encoder.eval()
    return F.normalize(torch.cat(collect(encoder, images, batch_size)), dim=1)


def a_list(encoder, images, batch_size):
    encoder.eval()
    return collect(encoder, images, batch_size)


def trained_first(encoder, images, batch_size):
    encoder.eval()
    features = torch.cat(collect(encoder, images, batch_size))
    encoder.train()
    encoder(images.float())
    encoder.batches.clear()
    return features


def members(labels, c):
    return (labels == c).nonzero().flatten()


def per_class(labels, generator, count, with_replacement=False):
    chosen = []
    for c in labels.unique():
        m = members(labels, c)
        draw = torch.randint(len(m), (count(len(m)),), generator=generator)
        chosen.append(
            m[draw if with_replacement else torch.randperm(len(m), generator=generator)[: count(len(m))]]
        )
    return torch.cat(chosen)


def unstratified(labels, fraction, generator):
    return torch.randperm(len(labels), generator=generator)[: round(fraction * len(labels))]


def first_of_all(labels, fraction, generator):
    return torch.arange(round(fraction * len(labels)))


def first_of_each(labels, fraction, generator):
    return torch.cat(
        [members(labels, c)[: max(1, round(fraction * (labels == c).sum().item()))] for c in labels.unique()]
    )


def own_seed(labels, fraction, generator):
    generator = torch.Generator().manual_seed(0)
    return per_class(labels, generator, lambda n: max(1, round(fraction * n)))


def global_draw(labels, fraction, generator):
    return per_class(labels, None, lambda n: max(1, round(fraction * n)))


def replacement(labels, fraction, generator):
    return per_class(labels, generator, lambda n: max(1, 2 * round(fraction * n)), with_replacement=True)


def rounds_to_zero(labels, fraction, generator):
    return per_class(labels, generator, lambda n: int(fraction * n))


def same_count(labels, fraction, generator):
    each = max(1, round(fraction * len(labels) / len(labels.unique())))
    return per_class(
        labels, generator, lambda n: min(each, int(labels.bincount().min())) if fraction < 1 else n
    )


def ours(labels, fraction, generator):
    return evaluate.label_subset(labels, fraction)


def without_the_generator(labels, fraction, generator):
    return torch.arange(len(labels))[: round(fraction * len(labels))]


def mask(labels, fraction, generator):
    keep = torch.zeros(len(labels), dtype=torch.bool)
    keep[per_class(labels, generator, lambda n: max(1, round(fraction * n)))] = True
    return keep


def the_labels(labels, fraction, generator):
    return labels[per_class(labels, generator, lambda n: max(1, round(fraction * n)))]


def the_rest(labels, fraction, generator):
    return per_class(labels, generator, lambda n: max(1, round((1 - fraction) * n)))


def within_class(labels, fraction, generator):
    counts = labels.bincount().tolist()
    chosen = torch.cat(
        [torch.randperm(n, generator=generator)[: max(1, round(fraction * n))] for n in counts]
    )
    return chosen.unique()


def floats(labels, fraction, generator):
    return per_class(labels, generator, lambda n: max(1, round(fraction * n))).float()


def chunked(encoder, images, batch_size):
    encoder.eval()
    with torch.no_grad():
        return torch.cat([encoder(b / 255) for b in images.chunk(batch_size)])


def leaves_the_encoder_frozen(encoder, images, batch_size):
    encoder.eval().requires_grad_(False)
    return torch.cat([encoder(b / 255) for b in images.split(batch_size)])


def squeezed(encoder, images, batch_size):
    encoder.eval()
    return torch.cat([h.squeeze() for h in collect(encoder, images, batch_size)])


def forgets_the_statistics(encoder):
    encoder.eval().requires_grad_(False)
    for m in encoder.modules():
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
            m.reset_running_stats()


def classes_by_number(classes):
    def subset(labels, fraction, generator):
        chosen = []
        for c in classes(labels):
            m = members(labels, c)
            chosen.append(m[torch.randperm(len(m), generator=generator)[: max(1, round(fraction * len(m)))]])
        return torch.cat(chosen)

    return subset


def same_state_for_each_class(labels, fraction, generator):
    state, chosen = generator.get_state(), []
    for c in labels.unique():
        m = members(labels, c)
        generator.set_state(state)
        chosen.append(m[torch.randperm(len(m), generator=generator)[: max(1, round(fraction * len(m)))]])
    return torch.cat(chosen)


def seeded_for_each_class(labels, fraction, generator):
    chosen = []
    for c in labels.unique():
        m = members(labels, c)
        own = torch.Generator().manual_seed(generator.initial_seed())
        chosen.append(m[torch.randperm(len(m), generator=own)[: max(1, round(fraction * len(m)))]])
    return torch.cat(chosen)


def within_class_with_repeats(labels, fraction, generator):
    counts = labels.bincount().tolist()
    return torch.cat(
        [torch.randperm(n, generator=generator)[: max(1, round(fraction * n))] for n in counts if n]
    )


def by_chance(labels, fraction, generator):
    return (torch.rand(len(labels), generator=generator) < fraction).nonzero()[:, 0]


WRONG = {
    "freeze": [
        (left_in_train, "still in train mode: BatchNorm"),
        (only_eval, "still require gradients"),
        (attribute, "attribute requires_grad"),
        (on_a_copy, "A copy was frozen"),
        (no_grad_inside, "Nothing happened"),
        (only_weights, "biases can still be trained"),
        (only_known_layers, "outside convolutions and linear layers"),
        (dropout_left, "Only BatchNorm is in evaluation mode"),
        (last_layer, "Only a part of the encoder"),
        (outermost, "outermost module"),
        (returns_early, "A return stands inside a loop"),
        (zeroed, "weights or statistics were changed"),
        (some_left, "parameters can still be trained"),
        (forgets_the_statistics, "weights or statistics were changed"),
    ],
    "extract_features": [
        (train_mode, "in train mode"),
        (in_half, "stay as the encoder makes them"),
        (with_graph, "hold the graph"),
        (drop_last, "last, smaller batch was dropped"),
        (not_scaled, "not divided by 255"),
        (bytes_in, "not divided by 255"),
        (by_256, "divided by 256"),
        (normalised_input, "normalised further"),
        (returns_in_the_first_turn, "A return stands inside a loop"),
        (embeds, "the work was done by evaluate.embed"),
        (last_batch, "Only the last batch"),
        (returns_in_the_loop, "Only the first batch"),
        (backwards, "back to front"),
        (shuffled, "order was lost"),
        (all_at_once, "batch_size is ignored"),
        (normalised_output, "features were normalised"),
        (a_list, "must return one torch.Tensor"),
        (trained_first, "weights or statistics were changed"),
        (chunked, "chunk(batch_size) makes batch_size batches"),
        (leaves_the_encoder_frozen, "the caller's encoder is frozen now"),
        (squeezed, "A last batch of one image lost a dimension"),
    ],
    "label_subset": [
        (unstratified, "not stratified"),
        (first_of_all, "neither stratified nor random"),
        (first_of_each, "always the first of each class"),
        (own_seed, "always the same ones"),
        (global_draw, "global random state"),
        (replacement, "drawn twice"),
        (rounds_to_zero, "has no label"),
        (same_count, "whatever its size"),
        (ours, "The work was done by evaluate.label_subset"),
        (without_the_generator, "never uses its argument generator."),
        (mask, "a mask"),
        (the_labels, "look like labels"),
        (the_rest, "1 - fraction"),
        (within_class, "positions within a class"),
        (floats, "dtype should be torch.int64"),
        (classes_by_number(lambda labels: range(10)), "Are the classes counted by a number in your code?"),
        (
            classes_by_number(lambda labels: range(len(labels.unique()))),
            "Are the classes counted by a number",
        ),
        (classes_by_number(lambda labels: range(int(labels.max()))), "Are the classes counted by a number"),
        (same_state_for_each_class, "drawn with the same random numbers"),
        (seeded_for_each_class, "drawn with the same random numbers"),
        (within_class_with_repeats, "positions within a class"),
        (
            lambda labels, fraction, generator: per_class(
                labels, generator, lambda n: min(n, max(1, round(fraction * n)) + 2)
            ),
            "The count is wrong, though drawn within each class: class 0 got 4 of 20, where 2.0 are due",
        ),
        (by_chance, "The draw is not stratified: per class"),
    ],
}
