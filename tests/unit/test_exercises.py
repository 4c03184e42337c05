"""The exercises accept right answers, tell a stub from an attempt, and leave everything as it was."""

import inspect
import linecache
import math
import random
import sys
import textwrap
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from simclr_edu import augment, diagnostics, losses
from simclr_edu.course import exercises
from simclr_edu.course.exercises import augmentation, embeddings, kit, nt_xent, pretraining, temperature
from simclr_edu.course.exercises import linear_probe as probe

MODULES = (augmentation, nt_xent, temperature, pretraining, embeddings, probe)
SEEDS = (0, 1, 11)

DIAGNOSE = {
    name.removeprefix("diagnose_"): value
    for module in MODULES
    for name, value in vars(module).items()
    if name.startswith("diagnose_")
}

# --- right answers, in several styles -----------------------------------------------------------------------


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


def cosine_normalize(z):
    z = F.normalize(z, dim=1)
    return z @ z.T


def cosine_by_hand(z):
    length = (z**2).sum(dim=1).sqrt()
    return (z @ z.T) / (length[:, None] * length[None, :])


def cosine_pairs(z):
    return F.cosine_similarity(z[:, None], z[None], dim=-1)


def index_cat(n):
    return torch.cat([torch.arange(n, 2 * n), torch.arange(n)])


def index_modulo(n):
    return (torch.arange(2 * n) + n) % (2 * n)


def nt_xent_dense(z1, z2, temperature):
    n = len(z1)
    z = F.normalize(torch.cat([z1, z2]), dim=1)  # (2N, d)
    logits = z @ z.T / temperature
    logits.fill_diagonal_(-torch.inf)
    target = torch.arange(2 * n).roll(n)
    return F.cross_entropy(logits, target)


def nt_xent_lowest_mask(z1, z2, temperature):
    z = torch.cat([z1, z2])
    z = z / z.norm(dim=1, keepdim=True)
    count = len(z)
    logits = z @ z.T / temperature
    logits = logits.masked_fill(torch.eye(count, dtype=torch.bool), torch.finfo(z.dtype).min)
    log_probability = logits - torch.logsumexp(logits, dim=1, keepdim=True)
    return -log_probability[torch.arange(count), (torch.arange(count) + count // 2) % count].mean()


def nt_xent_deleted_diagonal(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    count = len(z)
    logits = (z @ z.T / temperature)[~torch.eye(count, dtype=torch.bool)].view(count, count - 1)
    n = count // 2
    return F.cross_entropy(logits, torch.cat([torch.arange(n) + n - 1, torch.arange(n)]))


def nt_xent_exponentials(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    power = torch.exp((z @ z.T - 1) / temperature)  # no cosine is above 1: nothing overflows
    denominator = power.sum(1) - power.diag()
    positive = torch.cat([power.diag(len(z1)), power.diag(-len(z1))])
    return -torch.log(positive / denominator).mean()


def nt_xent_python_loop(z1, z2, temperature):
    n = len(z1)
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    total = 0.0
    for i in range(2 * n):
        others = [z[i] @ z[j] / temperature for j in range(2 * n) if j != i]
        total = total - z[i] @ z[(i + n) % (2 * n)] / temperature + torch.stack(others).logsumexp(0)
    return total / (2 * n)


def logsumexp_shift(x):
    largest = x.max(dim=1, keepdim=True).values
    return largest.squeeze(1) + torch.log(torch.exp(x - largest).sum(dim=1))


def logsumexp_rows(x):
    rows = [row - row.max() for row in x]
    return torch.stack([row.exp().sum().log() for row in rows]) + x.max(1).values


def weights_by_hand(similarities, temperature):
    logits = similarities / temperature
    power = torch.exp(logits - logits.max())
    return power / power.sum()


def share_softmax(similarities, temperature):
    return torch.softmax(similarities[1:] / temperature, dim=0)


def share_renormalised(similarities, temperature):
    weights = torch.softmax(similarities.double() / temperature, dim=0)[1:]
    return (weights / weights.sum()).float()


def share_package(similarities, temperature):
    return diagnostics.softmax_weights(similarities[1:], temperature)


def share_autograd(similarities, temperature):
    s = similarities.clone().requires_grad_()
    (-torch.log_softmax(s / temperature, 0)[0]).backward()
    return s.grad[1:] / s.grad[1:].sum()


def uniformity_pdist(z, t=2):
    return torch.pdist(z).pow(2).mul(-t).exp().mean().log()


def uniformity_matrix(z, t=2):
    z = F.normalize(z, dim=1)
    squares = 2 - 2 * z @ z.T
    off = ~torch.eye(len(z), dtype=torch.bool)
    return torch.exp(-t * squares[off]).mean().log()


def rate_start(step, total_steps, warmup_steps, base_lr):
    if step < warmup_steps:
        return base_lr * step / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return base_lr * 0.5 * (1 + math.cos(math.pi * progress))


def rate_end(step, total_steps, warmup_steps, base_lr):
    step += 1
    if step <= warmup_steps:
        return base_lr * step / warmup_steps
    return base_lr * math.cos(0.5 * math.pi * (step - warmup_steps) / (total_steps - warmup_steps)) ** 2


def rate_mixed(step, total_steps, warmup_steps, base_lr):
    if step < warmup_steps:
        return np.float64(base_lr) * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps - 1)
    return base_lr * (1 + np.cos(np.pi * progress)) / 2


def head_sequential(in_dim, hidden_dim, out_dim):
    return nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim))


def head_batchnorm(in_dim, hidden_dim, out_dim):
    return nn.Sequential(
        nn.Linear(in_dim, hidden_dim, bias=False),
        nn.BatchNorm1d(hidden_dim),
        nn.ReLU(inplace=True),
        nn.Linear(hidden_dim, out_dim),
    )


class HeadClass(nn.Module):
    def __init__(self, in_dim, hidden_dim, out_dim):
        super().__init__()
        self.second = nn.Linear(hidden_dim, out_dim)
        self.first = nn.Linear(in_dim, hidden_dim)

    def forward(self, h):
        return self.second(F.relu(self.first(h)))


def step_chunk(model, views, optimizer, loss_fn):
    _, z = model(torch.cat(views))
    z1, z2 = z.chunk(2)
    loss = loss_fn(z1, z2)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def step_clear_last(model, views, optimizer, loss_fn):
    v1, v2 = views
    model.train()
    z = model(torch.cat([v1, v2], dim=0))[1]
    loss = loss_fn(z[: len(v1)], z[len(v1) :])
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())


def step_clear_by_hand(model, views, optimizer, loss_fn):
    for p in model.parameters():
        p.grad = None
    z1, z2 = model(torch.cat(views))[1].split(len(views[0]))
    loss = loss_fn(z1, z2)
    loss.backward()
    optimizer.step()
    return loss.detach().item()


def neighbours_topk(queries, gallery, k):
    similarity = F.normalize(queries, dim=1) @ F.normalize(gallery, dim=1).T
    return similarity.topk(k, dim=1).indices


def neighbours_sort(queries, gallery, k):
    similarity = F.cosine_similarity(queries[:, None], gallery[None], dim=2)
    return similarity.argsort(dim=1, descending=True)[:, :k]


def neighbours_distance(queries, gallery, k):
    return torch.cdist(F.normalize(queries), F.normalize(gallery)).argsort(1)[:, :k]


def rank_entr(x):
    s = torch.linalg.svdvals(x)
    return torch.special.entr(s / s.sum()).sum().exp()


def rank_epsilon(x):
    s = torch.linalg.svd(x, full_matrices=False)[1]
    p = s / s.sum() + 1e-7
    return float(torch.exp(-(p * p.log()).sum()))


def rank_drop_zeros(x):
    s = torch.linalg.svdvals(x)
    p = s[s > 1e-6 * s.max()] / s.sum()
    return math.exp(-(p * p.log()).sum())


def order_argsort(labels):
    return torch.argsort(labels, stable=True)


def order_loop(labels):
    return torch.cat([torch.nonzero(labels == c).flatten() for c in labels.unique()])


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


SOLUTIONS = {
    "horizontal_flip": [flip_where, flip_clone, flip_loop],
    "grayscale": [gray_weights, gray_channels, gray_einsum],
    "two_views": [views_two_calls, views_one_call, views_per_image],
    "cosine_similarity_matrix": [cosine_normalize, cosine_by_hand, cosine_pairs],
    "positive_index": [index_cat, index_modulo, lambda n: torch.tensor([*range(n, 2 * n), *range(n)])],
    "nt_xent": [
        nt_xent_dense,
        nt_xent_lowest_mask,
        nt_xent_deleted_diagonal,
        nt_xent_exponentials,
        nt_xent_python_loop,
    ],
    "stable_logsumexp": [logsumexp_shift, logsumexp_rows],
    "softmax_weights": [weights_by_hand, lambda s, t: (s / t).softmax(-1)],
    "gradient_share": [share_softmax, share_autograd, share_renormalised],
    "uniformity": [uniformity_pdist, uniformity_matrix],
    "learning_rate": [rate_start, rate_end, rate_mixed],
    "projection_head": [head_sequential, head_batchnorm, HeadClass],
    "train_step": [step_chunk, step_clear_last, step_clear_by_hand],
    "nearest_neighbours": [neighbours_topk, neighbours_sort, neighbours_distance],
    "effective_rank": [rank_entr, rank_epsilon, rank_drop_zeros],
    "order_by_class": [order_argsort, order_loop],
    "freeze": [freeze_methods, freeze_loop],
    "extract_features": [extract_no_grad, extract_slices, extract_preallocated],
    "label_subset": [subset_round, subset_ceil, subset_noise],
}

# The package's own, which must agree, and are not an answer.
OURS = {
    "horizontal_flip": [augment.horizontal_flip],
    "grayscale": [augment.to_grayscale],
    "cosine_similarity_matrix": [diagnostics.similarity_matrix],
    "nt_xent": [losses.nt_xent_loop, losses.nt_xent_dense, losses.nt_xent],
    "softmax_weights": [diagnostics.softmax_weights],
    "uniformity": [diagnostics.uniformity],
    "effective_rank": [diagnostics.effective_rank],
    "order_by_class": [diagnostics.order_by_class],
}

ANSWERS = [pytest.param(n, f, id=f"{n}-{i}") for n, fs in SOLUTIONS.items() for i, f in enumerate(fs)]


def parameters(name):
    """Names of the arguments that the learner's function of an exercise takes."""
    for module in MODULES:
        exercise = getattr(module, name.upper(), None)
        if exercise is not None:
            return exercise.parameters
    return tuple(inspect.signature(SOLUTIONS[name][0]).parameters)


def define(name, body, *, with_source=True):
    """Make a learner's function as a notebook does: from text, in a namespace of its own."""
    source = f"def attempt({', '.join(parameters(name))}):\n" + textwrap.indent(textwrap.dedent(body), "    ")
    filename = f"<cell {name} {abs(hash(source))}>"
    if with_source:
        linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    namespace = {"torch": torch, "F": F, "nn": nn}
    exec(compile(source, filename, "exec"), namespace)
    return namespace["attempt"]


# --- right answers ------------------------------------------------------------------------------------------


def test_every_check_has_a_solution_here_and_a_diagnosis():
    names = {name.removeprefix("check_") for name in exercises.__all__}
    names.remove("bug_hunt")  # ten in one, with tests of their own: test_bug_hunt.py
    assert names == set(SOLUTIONS) == set(DIAGNOSE)
    assert all(name.startswith("check_") for name in exercises.__all__)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "answer"), ANSWERS)
def test_a_right_answer_is_correct(name, answer, seed):
    verdict = DIAGNOSE[name](answer, seed)
    assert verdict.passed is True, verdict
    assert verdict.exercise == name and "correct" in repr(verdict)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "ours"), [(n, f) for n, fs in OURS.items() for f in fs])
def test_the_packages_own_agrees_but_is_no_answer(name, ours, seed):
    verdict = DIAGNOSE[name](ours, seed)
    done_by = f"{ours.__module__.split('.')[1]}.{ours.__name__}"  # losses.nt_xent, augment.to_grayscale
    said = f"The result is right, but the work was done by {done_by}. Write it yourself."
    assert verdict.passed is False and verdict.diagnosis == said


@pytest.mark.parametrize("seed", SEEDS)
def test_work_handed_to_the_package_is_no_answer(seed):
    verdict = DIAGNOSE["gradient_share"](share_package, seed)
    assert verdict.passed is False
    assert "the work was done by diagnostics.softmax_weights. Write it yourself." in verdict.diagnosis


def test_a_profiler_is_left_alone():
    calls = []
    before = sys.getprofile()
    sys.setprofile(lambda *event: calls.append(event))
    mine = sys.getprofile()
    try:
        DIAGNOSE["uniformity"](uniformity_pdist)
        assert sys.getprofile() is mine and calls
    finally:
        sys.setprofile(before)


@pytest.mark.parametrize("name", [*SOLUTIONS, "bug_hunt"])
def test_a_check_called_without_its_function_says_so(name, capsys):
    check = getattr(exercises, f"check_{name}")
    assert check() is None and check(1, 2, 3) is None and check(nonsense=1) is None
    out, err = capsys.readouterr()
    parameter = list(inspect.signature(check).parameters)[-1]
    assert err == "" and out.count("\n") == 3
    assert all(
        line.startswith(f"check_{name}: not yet. Pass your function") and line.endswith(f"{parameter}).")
        for line in out.splitlines()
    )


@pytest.mark.parametrize("name", SOLUTIONS)
def test_a_check_prints_one_verdict_and_returns_nothing(name, capsys):
    check = getattr(exercises, f"check_{name}")
    assert check(SOLUTIONS[name][0]) is None
    out, err = capsys.readouterr()
    assert out.startswith(f"{name}: correct.") and out.count("\n") == 1 and err == ""


@pytest.mark.parametrize("name", SOLUTIONS)
def test_a_check_takes_the_function_only_and_says_how_hard_it_is(name):
    check = getattr(exercises, f"check_{name}")
    assert len(inspect.signature(check).parameters) == 1
    assert "Difficulty " in check.__doc__ and " of 5, " in check.__doc__ and " minutes" in check.__doc__


# --- stubs --------------------------------------------------------------------------------------------------

STUBS = {
    "dots": "...",
    "pass": "pass",
    "documented": '"""What to do."""\n...',
    "commented": '"""What to do."""\n# your code here\npass',
    "raises": "raise NotImplementedError",
    "says": "raise NotImplementedError('write me')",
    "returns dots": "return ...",
}


@pytest.mark.parametrize("with_source", [True, False], ids=["source", "no-source"])
@pytest.mark.parametrize("body", STUBS.values(), ids=STUBS.keys())
@pytest.mark.parametrize("name", SOLUTIONS)
def test_a_stub_is_not_attempted(name, body, with_source, capsys):
    stub = define(name, body, with_source=with_source)
    assert DIAGNOSE[name](stub).passed is None
    getattr(exercises, f"check_{name}")(stub)
    assert capsys.readouterr().out == f"{name}: not attempted yet.\n"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("nt_xent", "z = torch.cat([z1, z2])  # (2N, d)\n..."),
        ("nt_xent", "z = torch.cat([z1, z2])\nlogits = ...\nreturn F.cross_entropy(logits, logits)"),
        ("nt_xent", "similarity = ...\nlogits = similarity / temperature\nreturn logits"),
        ("train_step", "h, z = model(torch.cat(views))\n..."),
        ("train_step", "h, z = model(torch.cat(views))\nraise NotImplementedError"),
        ("freeze", "for p in encoder.parameters():\n    ..."),
        ("extract_features", "features = []\n...\nreturn torch.cat(...)"),
        ("projection_head", "first = nn.Linear(in_dim, hidden_dim)\n..."),
        ("two_views", "v1 = ...\nv2 = ...\nreturn v1, v2"),
    ],
)
def test_a_stub_with_given_lines_is_not_attempted(name, body):
    verdict = DIAGNOSE[name](define(name, body))
    assert verdict.passed is None, verdict


def test_a_class_with_an_empty_forward_is_not_attempted():
    class Head(nn.Module):
        def __init__(self, in_dim, hidden_dim, out_dim):
            super().__init__()

        def forward(self, h):
            """To be written."""
            ...

    assert DIAGNOSE["projection_head"](Head).passed is None


@pytest.mark.parametrize(
    "line", ["raise NotImplementedError", "raise NotImplementedError('write me')", "return ..."]
)
@pytest.mark.parametrize("name", SOLUTIONS)
def test_code_below_the_stubs_last_line_is_no_stub(name, line):
    first = parameters(name)[0]
    verdict = DIAGNOSE[name](define(name, f"value = 1\n{line}\nreturn {first}"))
    assert verdict.passed is False
    assert f"below the stub's `{line}`" in verdict.diagnosis and "remove that line" in verdict.diagnosis
    in_branch = define(name, f"if True:\n    {line}\n    {first} = 2\nreturn {first}")
    assert DIAGNOSE[name](in_branch).passed is False


@pytest.mark.parametrize("name", [n for n in SOLUTIONS if n != "freeze"])
def test_dots_above_the_code_make_no_stub(name):
    verdict = DIAGNOSE[name](define(name, "...\nvalue = 1"))
    assert verdict.passed is False and "returned nothing" in verdict.diagnosis


def test_an_answer_that_kept_the_dots_above_is_correct():
    assert DIAGNOSE["positive_index"](
        define("positive_index", "...\nreturn (torch.arange(2 * n) + n) % (2 * n)")
    ).passed


def test_a_wrong_attempt_that_kept_the_dots_is_still_diagnosed():
    wrong = define("cosine_similarity_matrix", "return z @ z.T\n...")
    assert "dot products" in DIAGNOSE["cosine_similarity_matrix"](wrong).diagnosis


def test_an_ellipsis_in_an_index_is_no_blank():
    wrong = define("cosine_similarity_matrix", "z = z[..., :]")
    verdict = DIAGNOSE["cosine_similarity_matrix"](wrong)
    assert verdict.passed is False and "returned nothing" in verdict.diagnosis


# --- a missing return, wrong types, shapes, dtypes, arguments -----------------------------------------------


A_STEP = """
z1, z2 = model(torch.cat(views))[1].chunk(2)
optimizer.zero_grad()
loss_fn(z1, z2).backward()
optimizer.step()
"""


@pytest.mark.parametrize("name", [n for n in SOLUTIONS if n != "freeze"])
def test_a_missing_return_is_said(name):
    verdict = DIAGNOSE[name](define(name, "value = 1 + 1"))
    assert verdict.passed is False and "returned nothing (None)" in verdict.diagnosis


@pytest.mark.parametrize("name", [n for n in SOLUTIONS if n != "freeze"])
def test_a_print_in_place_of_a_return_is_said_and_capped(name, capsys):
    printing = define(name, "for k in range(300):\n    print('tensor', k)")
    verdict = DIAGNOSE[name](printing)
    assert capsys.readouterr().out == ""
    assert verdict.passed is False and "It prints instead: return the result." in verdict.diagnosis
    getattr(exercises, f"check_{name}")(printing)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == repr(verdict) and " lines, the first 6:" in lines[1]
    assert lines[2:] == [f"    tensor {k}" for k in range(6)]


def test_a_few_printed_lines_stand_below_the_verdict(capsys):
    exercises.check_freeze(define("freeze", "encoder.requires_grad_(False)\nprint('frozen')\nencoder.eval()"))
    out = capsys.readouterr().out
    assert out.startswith("freeze: correct.")
    assert out.endswith("Your function printed this:\n    frozen\n    frozen\n")


@pytest.mark.parametrize("name", SOLUTIONS)
def test_a_warning_of_the_learners_code_does_not_spill(name, capsys):
    warned = define(name, "import warnings\nwarnings.warn('spilt')\ntorch.ones(2, 2, 2).T")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        getattr(exercises, f"check_{name}")(warned)
    assert not caught and capsys.readouterr().err == ""


@pytest.mark.parametrize("name", SOLUTIONS)
@pytest.mark.parametrize("thing", [None, 3.5, torch.ones(3)], ids=["None", "number", "tensor"])
def test_a_result_in_place_of_the_function_is_said(name, thing):
    verdict = DIAGNOSE[name](thing)
    assert verdict.passed is False and "Pass the function itself" in verdict.diagnosis


@pytest.mark.parametrize("name", SOLUTIONS)
def test_wrong_arguments_are_said(name):
    verdict = DIAGNOSE[name](lambda: 1)
    assert verdict.passed is False
    assert all(p in verdict.diagnosis for p in parameters(name))


@pytest.mark.parametrize("name", [n for n in SOLUTIONS if n != "freeze"])
def test_a_wrong_type_is_a_sentence(name):
    verdict = DIAGNOSE[name](define(name, "return 'text'"))
    assert verdict.passed is False
    assert "must return" in verdict.diagnosis and "a str" in verdict.diagnosis


@pytest.mark.parametrize(
    ("name", "body", "phrase"),
    [
        ("cosine_similarity_matrix", "return z[:1] @ z.T", "shape should be (2, 2), but is (1, 2)"),
        ("cosine_similarity_matrix", "return (z @ z.T).long()", "dtype should be floating point"),
        ("cosine_similarity_matrix", "return z @ z.T * torch.nan", "holds NaN"),
        ("positive_index", "return torch.arange(2 * n).roll(n).float()", "dtype should be torch.int64"),
        ("positive_index", "return torch.arange(2 * n).roll(n).int()", "dtype should be torch.int64"),
        ("positive_index", "return [0] * 2 * n", "must return one torch.Tensor, but it returned a list"),
        ("nt_xent", "return torch.zeros(3)", "shape should be (), but is (3,)"),
        (
            "nearest_neighbours",
            "return (queries @ gallery.T).topk(k)",
            "topk and sort give values and indices",
        ),
        ("learning_rate", "return torch.tensor(0.1)", "must return a plain float"),
        ("two_views", "return augment(x)", "must return two tensors, (v1, v2)"),
        ("two_views", "return augment(x), augment(x), augment(x)", "of length 3 whose entries are tensors"),
        ("two_views", "return []", "it returned a list of length 0."),
        ("label_subset", "return labels.tolist()", "list of"),
        ("learning_rate", "return float('nan')", "got nan"),
        ("train_step", f"{A_STEP}\nreturn float('nan')", "got nan"),
        ("train_step", "model(torch.cat(views))\nreturn 1j", "must return a plain float"),
        ("two_views", "return augment(x).int(), augment(x).int()", "not what augment returned"),
        ("two_views", "return augment(x), augment(x) * torch.nan", "not what augment returned"),
        ("nearest_neighbours", "return torch.empty(0)", "shape should be"),
        ("extract_features", "encoder.eval()\nreturn torch.full((len(images), 4), torch.nan)", "got [nan"),
        ("label_subset", "return torch.empty(0).long()", "subset is empty"),
        ("label_subset", "return torch.arange(len(labels)) + 5", "beyond the"),
        ("effective_rank", "return 1j", "must return one torch.Tensor, but it returned a complex"),
    ],
)
def test_a_wrong_result_is_described(name, body, phrase):
    verdict = DIAGNOSE[name](define(name, body))
    assert verdict.passed is False and phrase in verdict.diagnosis, verdict


def test_an_unknown_mistake_gets_the_smallest_failing_case():
    wrong = define(
        "softmax_weights", "w = torch.softmax(similarities / temperature, 0)\nreturn w + 0.25 * w**2"
    )
    text = DIAGNOSE["softmax_weights"](wrong).diagnosis
    assert "The values differ." in text
    assert "Smallest failing case: similarities = [" in text and "temperature = " in text
    assert "expected [" in text and ", got [" in text and "(6 of 6 fail)" in text


def test_a_large_case_shows_the_first_entry_that_differs():
    wrong = define("grayscale", "return torch.zeros_like(x)")
    text = DIAGNOSE["grayscale"](wrong).diagnosis
    assert "x (1, 3, " in text and "at [0, 0, 0, 0] expected " in text and ", got 0 " in text


def test_a_number_too_small_for_float32_is_shown_as_0():
    assert kit.show(8.442e-82) == "0" and kit.show(torch.tensor([1.0, 1e-60]).double()) == "[1, 0]"


def test_an_argument_read_by_an_inner_function_is_used():
    body = "def inner():\n    return temperature\nreturn (2 * similarities / inner()).softmax(0)"
    assert "never uses" not in DIAGNOSE["softmax_weights"](define("softmax_weights", body)).diagnosis


BODIES_THAT_READ_NO_ARGUMENT = {
    "two_views": "return torch.full((2, 3, 2, 2), LEVEL), torch.full((2, 3, 2, 2), LEVEL)",
    "projection_head": "return nn.Linear(int(LEVEL), 2)",
    "learning_rate": "return LEVEL",
    "train_step": "return LEVEL",
    "extract_features": "return torch.full((3, 4), LEVEL)",
    "label_subset": "return torch.arange(int(LEVEL))",
}


@pytest.mark.parametrize("name", [n for n in SOLUTIONS if n != "freeze"])  # a stub of it returns nothing too
def test_an_argument_that_gave_way_to_a_global_is_said_without_source(name):
    body = BODIES_THAT_READ_NO_ARGUMENT.get(name, "return torch.full((3, 3, 3), LEVEL)")
    wrong = define(name, body, with_source=False)
    wrong.__globals__["LEVEL"] = 3.0
    verdict = DIAGNOSE[name](wrong)
    unused = f"{'s' if len(parameters(name)) > 1 else ''} {' and '.join(parameters(name))}"
    assert verdict.passed is False
    assert f"never uses its argument{unused}; it reads LEVEL from outside" in verdict.diagnosis, verdict


def test_randomness_in_a_deterministic_exercise_is_said():
    wrong = define("softmax_weights", "return torch.softmax(torch.randn(len(similarities)), 0)")
    assert "draw nothing random" in DIAGNOSE["softmax_weights"](wrong).diagnosis


def test_a_message_never_holds_the_word_that_means_success():
    wrong = define("softmax_weights", "return similarities")
    assert "correct" not in repr(DIAGNOSE["softmax_weights"](wrong))


def test_two_mistakes_at_once_are_both_named():
    body = """
        z = torch.cat([z1, z2])
        return F.cross_entropy(z @ z.T / temperature, torch.arange(len(z)).roll(len(z1)))
    """
    text = DIAGNOSE["nt_xent"](define("nt_xent", body)).diagnosis
    assert (
        "Two mistakes at once" in text and "diagonal is not masked" in text and "no l2-normalisation" in text
    )


# --- exceptions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOLUTIONS)
def test_an_exception_shows_the_learners_line(name):
    first = parameters(name)[0]
    wrong = define(name, f"value = 1\nboom = {first}.no_such_name(value)\nreturn boom")
    verdict = DIAGNOSE[name](wrong)
    assert verdict.passed is False
    assert "line 3 of attempt" in verdict.diagnosis
    assert f"boom = {first}.no_such_name(value)" in verdict.diagnosis
    assert "AttributeError" in verdict.diagnosis and "Traceback" not in verdict.diagnosis


def test_an_exception_inside_torch_still_shows_the_learners_line():
    wrong = define("cosine_similarity_matrix", "z = F.normalize(z, dim=1)\nreturn z @ z")
    text = DIAGNOSE["cosine_similarity_matrix"](wrong).diagnosis
    assert "line 3 of attempt" in text and "return z @ z" in text and "RuntimeError" in text


def test_an_exception_in_a_helper_of_the_learner_shows_the_helper():
    def helper(z):
        return z.undefined

    def attempt(z):
        return helper(z)

    text = DIAGNOSE["cosine_similarity_matrix"](attempt).diagnosis
    assert "line 2 of helper" in text and "return z.undefined" in text


def test_an_exception_without_source_still_gives_the_line_number():
    wrong = define("uniformity", "x = 1\nreturn 1 / 0", with_source=False)
    text = DIAGNOSE["uniformity"](wrong).diagnosis
    assert "line 3 of attempt" in text and "ZeroDivisionError" in text


def test_an_exception_in_the_model_given_shows_the_learners_call():
    wrong = define("train_step", "return model(views)")
    text = DIAGNOSE["train_step"](wrong).diagnosis
    assert "line 2 of attempt" in text and "return model(views)" in text


def test_not_implemented_by_torch_is_an_error_not_a_stub():
    wrong = define("projection_head", "class Head(nn.Module):\n    pass\nreturn Head()")
    verdict = DIAGNOSE["projection_head"](wrong)
    assert verdict.passed is False and "NotImplementedError" in verdict.diagnosis


def test_an_exception_only_for_some_sizes_is_found():
    body = """
        assert len(z1) == 2
        z = F.normalize(torch.cat([z1, z2]), dim=1)
        logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
        return F.cross_entropy(logits, torch.tensor([2, 3, 0, 1]))
    """
    text = DIAGNOSE["nt_xent"](define("nt_xent", body)).diagnosis
    assert "AssertionError" in text and "line 3 of attempt" in text and "(5 of 6 fail)" in text


def test_stopping_the_kernel_is_not_swallowed():
    def attempt(z):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DIAGNOSE["cosine_similarity_matrix"](attempt)


# --- nothing of the learner's is touched --------------------------------------------------------------------


@pytest.mark.parametrize("name", SOLUTIONS)
def test_random_states_and_modes_are_as_before(name, capsys):
    def noisy(*arguments):
        torch.manual_seed(7)
        torch.rand(3)
        np.random.seed(7)  # noqa: NPY002
        np.random.rand(2)  # noqa: NPY002
        random.seed(7)
        return SOLUTIONS[name][0](*arguments)

    torch.manual_seed(123)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    threads = torch.get_num_threads()
    check = getattr(exercises, f"check_{name}")
    with torch.no_grad():
        check(SOLUTIONS[name][0])
        check(noisy)
        check(define(name, "torch.rand(2)\nraise ValueError"))
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])  # noqa: NPY002
    assert torch.get_num_threads() == threads
    assert capsys.readouterr().out.startswith(f"{name}: correct")


@pytest.mark.parametrize("name", SOLUTIONS)
def test_the_same_seed_gives_the_same_verdict(name):
    wrong = define(name, "return torch.zeros(2)" if name != "freeze" else "encoder.eval()")
    assert repr(DIAGNOSE[name](wrong, 5)) == repr(DIAGNOSE[name](wrong, 5))


@pytest.mark.parametrize(
    ("name", "body", "argument"),
    [
        ("horizontal_flip", "x[coin] = x[coin].flip(3)\nreturn x", "x"),
        (
            "horizontal_flip",
            "out = torch.where(coin[:, None, None, None], x.flip(3), x)\ncoin[:] = 0\nreturn out",
            "coin",
        ),
        ("grayscale", "x[:] = 0\nreturn x", "x"),
        ("two_views", "x += 1\nreturn augment(x), augment(x)", "x"),
        ("cosine_similarity_matrix", "z /= z.norm(dim=1, keepdim=True)\nreturn z @ z.T", "z"),
        ("nt_xent", "z1.div_(z1.norm(dim=1, keepdim=True))\nreturn z1.sum()", "z1"),
        ("stable_logsumexp", "x -= 1\nreturn torch.logsumexp(x, 1) + 1", "x"),
        ("softmax_weights", "similarities /= temperature\nreturn similarities.softmax(0)", "similarities"),
        ("gradient_share", "return similarities.div_(temperature).softmax(0)", "similarities"),
        ("uniformity", "z *= 1.5\nreturn torch.pdist(z / 1.5).pow(2).mul(-t).exp().mean().log()", "z"),
        ("train_step", "views[0].add_(1)\nreturn 0.5", "views"),
        (
            "nearest_neighbours",
            "gallery /= gallery.norm(dim=1, keepdim=True)\nreturn (queries @ gallery.T).topk(k).indices",
            "gallery",
        ),
        ("effective_rank", "x -= 1\nreturn x.sum()", "x"),
        (
            "order_by_class",
            "out = labels.argsort(stable=True)\nlabels.copy_(labels[out])\nreturn out",
            "labels",
        ),
        ("extract_features", "images //= 2\nencoder.eval()\nreturn encoder(images / 255).detach()", "images"),
        ("label_subset", "labels[:] = 0\nreturn labels", "labels"),
    ],
)
def test_an_input_modified_in_place_is_found(name, body, argument):
    verdict = DIAGNOSE[name](define(name, body))
    assert verdict.passed is False
    assert f"changed its input {argument} in place" in verdict.diagnosis, verdict


def test_the_gradient_of_the_loss_is_checked():
    detached = define("nt_xent", "return F.cross_entropy(torch.zeros(2, 2), torch.zeros(2).long())")
    assert DIAGNOSE["nt_xent"](detached).passed is False
    for wrong, phrase in [
        (lambda z1, z2, temperature: nt_xent_dense(z1, z2, temperature).detach(), "no gradient can flow"),
        (lambda z1, z2, temperature: nt_xent_dense(z1, z2, temperature).item(), "no gradient can flow"),
        (lambda z1, z2, temperature: nt_xent_dense(z1, z2.detach(), temperature), "does not reach z2"),
        (lambda z1, z2, temperature: nt_xent_dense(z1.detach(), z2, temperature), "does not reach z1"),
    ]:
        assert phrase in DIAGNOSE["nt_xent"](wrong).diagnosis


@pytest.mark.parametrize("seed", SEEDS)
def test_an_overflow_is_looked_for_only_when_all_else_agrees(seed):
    def power(z1, z2, temperature):
        z = F.normalize(torch.cat([z1, z2]), dim=1)
        return torch.exp(z @ z.T / temperature)

    def attempt(z1, z2, temperature):
        p, n = power(z1, z2, temperature), len(z1)
        return -torch.log(torch.cat([p.diag(n), p.diag(-n)]) / (p.sum(1) - p.diag())).mean()

    text = DIAGNOSE["nt_xent"](attempt, seed).diagnosis
    assert (
        "small ones count too: at temperature 0.01 expected " in text
        and ", got nan" in text
        and "overflows" in text
    )
    both = DIAGNOSE["nt_xent"](lambda z1, z2, temperature: attempt(z1, z2, 1.0), seed).diagnosis
    assert "temperature is ignored" in both and "overflows" not in both


def test_equal_numbers_of_another_dtype_are_not_shown_side_by_side():
    text = DIAGNOSE["positive_index"](lambda n: torch.arange(2.0 * n).roll(n)).diagnosis
    assert text.startswith("The dtype is the problem, not the numbers: the dtype should be torch.int64")
    assert "expected" not in text and "\n" not in text
    text = DIAGNOSE["positive_index"](lambda n: torch.arange(2.0 * n)).diagnosis
    assert "dtype should be torch.int64" in text and "expected [2, 3, 0, 1], got [0, 1, 2, 3]" in text


def test_half_detached_negatives_have_a_wrong_gradient():
    def attempt(z1, z2, temperature):
        z = F.normalize(torch.cat([z1, z2]), dim=1)
        logits = (z @ z.detach().T / temperature).fill_diagonal_(-torch.inf)
        return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))

    assert "gradient is wrong for z1" in DIAGNOSE["nt_xent"](attempt).diagnosis


# --- the harness itself -------------------------------------------------------------------------------------


def test_a_verdict_reads_as_its_message():
    assert repr(kit.Verdict("e", None, "not attempted yet")) == "e: not attempted yet."
    assert repr(kit.Verdict("e", True, "Fine.")) == "e: correct. Fine."
    assert repr(kit.Verdict("e", False, "Wrong.")) == "e: not yet. Wrong."


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("module", MODULES)
def test_cases_differ_between_seeds_and_are_reproducible(module, seed):
    listed = [e for e in vars(module).values() if isinstance(e, kit.Exercise)]
    assert listed
    for exercise in listed:
        once, again, other = (repr(exercise.cases(s)) for s in (seed, seed, seed + 1))
        assert once == again and once != other
