"""The questions are complete and their figures true; cards, quiz and mock interview do what they promise."""

import ast
import itertools
import math
import re

import nbtools
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from nbconvert.filters.strings import add_anchor

from simclr_edu import losses
from simclr_edu.course import interview
from simclr_edu.course.exercises import augmentation, nt_xent, pretraining
from simclr_edu.course.exercises import linear_probe as probe
from simclr_edu.course.exercises.bug_hunt import diagnose_bug_hunt
from simclr_edu.course.interview import CORE_TOPICS, DEPTHS, PARTS, InterviewError
from simclr_edu.encoders import make_encoder

QUESTIONS = interview.questions()
TOPICS = (
    "learning without labels",
    "pretext tasks",
    "positive and negative pairs",
    "NT-Xent",
    "temperature",
    "projection head",
    "batch size",
    "augmentation",
    "collapse",
    "false negatives",
    "evaluation",
    "t-SNE",
    "mixed precision",
    "torch.compile",
    "data pipeline",
    "learning-rate schedule",
    "checkpoints",
    "inference modes",
    "BatchNorm across devices",
    "device-agnostic code",
    "DDP gather",
    "MoCo",
    "BYOL",
    "SimSiam",
    "SupCon",
    "CLIP",
    "MAE",
    "DINO",
    "mutual information",
    "transfer",
    "gradient clipping",
    "BatchNorm and LayerNorm",
    "deployment",
)
# Read from the papers a second time, independently of the questions.
PUBLISHED = {
    "Chen et al. 2020, Table 1": {59.6, 61.0, 62.6, 63.2, 64.5, 77.0, 75.4},
    "Chen et al. 2020, Table 3": {67.6, 25.6, 25, 99.5, 59.6, 96.6, 56.3, 50, 99.3, 97.4, 80},
    "Chen et al. 2020, Table 5": {59.7, 64.4, 60.7, 58.0, 90.5, 87.8, 68.2, 59.1, 57.2, 91.7, 57.0},
    "Chen et al. 2020, Table 6": {69.3},
    "Chen et al. 2020, Table B.1": {57.5, 62.8, 66.6, 66.5, 64.6, 64.5, 68.9, 69.1, 4096},
    "Chen et al. 2020, appendix A": {8},
    "dkobak/simclr-cifar10": {91.7, 1000},
    "He et al. 2020, arXiv 1911.05722": {65536, 0.999},
    "He et al. 2022, arXiv 2111.06377": {75},
    "IEEE 754 half precision": {65504},
    "torchvision, ResNet-50": {25.6},
}
NOT_MEASURED = {"definition", "an example", "the question"}  # sources of numbers that claim nothing
DEPTH_WORDS = {"30 s": (20, 110), "2 min": (70, 240), "whiteboard": (60, 330)}
NO_FIGURE = re.compile(r"```.*?```|`[^`]*`|section [\d.]+", re.DOTALL)  # code, and places in a paper
NUMBER = re.compile(r"(?<![\w.,])-?\d{1,3}(?:,\d{3})+|(?<![\w.])-?\d+\.\d+%?|\d+%")
DIAGNOSE = {
    name.removeprefix("diagnose_"): value
    for module in (augmentation, nt_xent, pretraining, probe)
    for name, value in vars(module).items()
    if name.startswith("diagnose_")
}
each = pytest.mark.parametrize("q", QUESTIONS, ids=lambda q: q.id)


def texts(q):
    """Every text of a question, without code and places in a paper."""
    parts = [q.question, q.stem, q.answer, *q.rubric, *itertools.chain(*q.follow_ups)]
    parts += [text for choice in q.choices for text in (choice.text, choice.why)]
    return NO_FIGURE.sub(" ", "\n".join(parts))


def number(text):
    return float(re.search(r"-?[\d,]*\.?\d+", text)[0].replace(",", ""))


# --- the data -----------------------------------------------------------------------------------------------


def test_there_are_enough_questions_balanced_over_the_depths():
    counts = [len(interview.questions(depth=depth)) for depth in DEPTHS]
    assert sum(counts) == len(QUESTIONS) >= 60
    assert max(counts) - min(counts) <= 3, dict(zip(DEPTHS, counts, strict=True))
    assert all(interview.questions(part=part) for part in PARTS)


def test_ids_and_questions_are_unique():
    assert len({q.id for q in QUESTIONS}) == len({q.question for q in QUESTIONS}) == len(QUESTIONS)


def test_every_topic_of_the_course_is_asked():
    assert set(interview.topics()) == set(TOPICS)


def test_at_least_thirty_have_choices_and_each_wrong_one_is_explained():
    with_choices = [q for q in QUESTIONS if q.choices]
    assert len(with_choices) >= 30
    for q in with_choices:
        assert len(q.choices) == 4 and [c.right for c in q.choices] == [True, False, False, False]
        assert len({c.text for c in q.choices}) == 4
        assert all(len(c.why.split()) >= 4 for c in q.choices[1:]), q.id


def test_length_and_wording_do_not_give_the_right_choice_away():
    quizzed = [q for q in QUESTIONS if q.choices]
    longest = sum(len(q.choices[0].text) > max(len(c.text) for c in q.choices[1:]) for q in quizzed)
    shortest = sum(len(q.choices[0].text) < min(len(c.text) for c in q.choices[1:]) for q in quizzed)
    ratio = sum(3 * len(q.choices[0].text) / sum(len(c.text) for c in q.choices[1:]) for q in quizzed)
    assert longest <= 0.3 * len(quizzed) and shortest <= 0.3 * len(quizzed)
    assert 0.9 <= ratio / len(quizzed) <= 1.1, "right choices are longer or shorter than wrong ones"
    for cue in (r"[:;]", r"\b(since|because|so that|which)\b", r"\b(only|always|never|every|all|no|none)\b"):
        right = sum(bool(re.search(cue, q.choices[0].text, re.I)) for q in quizzed)
        wrong = sum(bool(re.search(cue, c.text, re.I)) for q in quizzed for c in q.choices[1:]) / 3
        assert abs(right - wrong) <= 0.15 * len(quizzed), (cue, right, wrong)


@each
def test_answer_rubric_and_follow_ups_fit_the_depth(q):
    low, high = DEPTH_WORDS[q.depth]
    assert low <= len(q.answer.split()) <= high, len(q.answer.split())
    assert 3 <= len(q.rubric) <= 6
    assert 1 <= len(q.follow_ups) <= 2
    assert q.question.rstrip().endswith((".", "?", "`")), q.question


@each
def test_the_link_leads_to_a_heading_of_the_course(q):
    source = nbtools.NOTEBOOKS / "source" / f"{q.notebook}.py"
    headings = re.findall(r"^# #{1,4} (.+)$", source.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings.count(q.heading) == 1, f"{q.heading!r} is not a heading of {source.name}"
    anchor = re.search(r'id="([^"]+)"', add_anchor(f"<h2>{q.heading}</h2>"))[1]
    from urllib.parse import unquote

    assert unquote(q.link) == f"{q.notebook}.ipynb#{anchor}"


@each
def test_every_number_has_a_source(q):
    known = {number(figure["text"]) for figure in q.figures}
    missing = [token for token in NUMBER.findall(texts(q)) if number(token) not in known]
    assert not missing, f"{q.id}: no source for {missing}"


FIGURES = [(q, figure) for q in QUESTIONS for figure in q.figures]
figure_cases = pytest.mark.parametrize(
    ("q", "figure"), FIGURES, ids=[f"{q.id}-{figure['text'].replace(' ', '')}" for q, figure in FIGURES]
)


@figure_cases
def test_every_figure_stands_in_the_text_and_has_one_origin(q, figure):
    origins = ({"source"}, {"formula"}, {"notebook", "pattern"}, {"results", "path"})
    assert set(figure) - {"text"} in origins, figure
    assert figure["text"] in texts(q), f"{figure['text']} is not in the text of {q.id}"
    if "source" in figure and figure["source"] not in NOT_MEASURED:
        assert number(figure["text"]) in PUBLISHED[figure["source"]], figure


@pytest.mark.parametrize(("q", "figure"), [(q, f) for q, f in FIGURES if "formula" in f])
def test_figures_that_are_computed_are_right(q, figure):
    value = eval(figure["formula"], {"__builtins__": {}, "round": round, **vars(math)})
    shown = re.search(r"-?[\d,]*\.?\d+", figure["text"])[0]
    decimals = len(shown.partition(".")[2])
    assert abs(value - number(shown)) <= 0.5001 * 10**-decimals, f"{q.id}: {figure} is {value}"


# Figures from notebooks and results files are compared in tests/notebooks/test_figures.py.


# --- code and derivations in the answers --------------------------------------------------------------------


def functions(q):
    """The functions that the answer defines, in order."""
    namespace, names = {"torch": torch, "F": F, "math": math}, []
    for block in re.findall(r"```\n(.*?)```", q.answer, re.DOTALL):
        if block.startswith("def "):
            exec(block, namespace)
            names += [node.name for node in ast.parse(block).body if isinstance(node, ast.FunctionDef)]
    return [namespace[name] for name in names]


def by_id(name):
    return next(q for q in QUESTIONS if q.id == name)


@pytest.mark.parametrize("q", [q for q in QUESTIONS if q.part == "coding" or q.check], ids=lambda q: q.id)
def test_code_in_an_answer_passes_its_check(q):
    found = functions(q)
    assert found, "the answer holds no code"
    if q.check:
        verdict = DIAGNOSE[q.check](found[-1])
        assert verdict.passed is True, verdict
    else:
        assert q.id in ("supcon", "clip")  # tested below


def test_the_flip_of_the_answer_passes_the_bug_hunt():
    assert diagnose_bug_hunt(8, functions(by_id("code-two-views"))[0]).passed


def test_the_supcon_of_the_answer_is_the_definition():
    (sup_con,) = functions(by_id("supcon"))
    z1, z2 = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(sup_con(z1, z2, torch.arange(6), 0.3), losses.nt_xent_dense(z1, z2, 0.3))
    labels = torch.tensor([0, 1, 0, 2, 1, 0])
    z, both = F.normalize(torch.cat([z1, z2]), dim=1), torch.cat([labels, labels])
    terms = []
    for i in range(12):
        others = [j for j in range(12) if j != i]
        below = sum(math.exp(z[i] @ z[j] / 0.3) for j in others)
        mates = [j for j in others if both[j] == both[i]]
        terms.append(-sum(math.log(math.exp(z[i] @ z[j] / 0.3) / below) for j in mates) / len(mates))
    assert sup_con(z1, z2, labels, 0.3).item() == pytest.approx(sum(terms) / 12)


def test_the_clip_loss_of_the_answer_is_the_definition():
    (clip_loss,) = functions(by_id("clip"))
    a, b = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, v = F.normalize(a, dim=1), F.normalize(b, dim=1)
    s = [[math.exp(7 * float(u[i] @ v[j])) for j in range(5)] for i in range(5)]
    rows = -sum(math.log(s[i][i] / sum(s[i])) for i in range(5)) / 5
    columns = -sum(math.log(s[i][i] / sum(s[k][i] for k in range(5))) for i in range(5)) / 5
    assert clip_loss(a, b, 7.0).item() == pytest.approx((rows + columns) / 2)
    same = torch.ones(5, 3)
    assert clip_loss(same, same, 7.0).item() == pytest.approx(math.log(5))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_gradient_of_the_answer_is_that_of_autograd(seed):
    n, d, tau = 4, 6, 0.3
    v = torch.randn(2 * n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    v.requires_grad_()
    (wanted,) = torch.autograd.grad(losses.nt_xent_dense(v[:n], v[n:], tau), v)
    z, length = F.normalize(v.detach(), dim=1), v.detach().norm(dim=1, keepdim=True)
    p = (z @ z.T / tau).fill_diagonal_(-torch.inf).softmax(1)
    y = torch.eye(2 * n, dtype=torch.float64).roll(n, 1)
    dz = (p + p.T - 2 * y) @ z / (2 * n * tau)
    dv = (dz - (dz * z).sum(1, keepdim=True) * z) / length
    torch.testing.assert_close(dv, wanted)
    assert (dv * v.detach()).sum(1).abs().max() < 1e-12


@pytest.mark.parametrize(("n", "tau"), [(3, 0.2), (5, 0.5), (8, 1.0)])
def test_the_bound_of_the_answer_is_reached_by_a_simplex_and_never_beaten(n, tau):
    bound = math.log(1 + 2 * (n - 1) * math.exp(-(1 + 1 / (n - 1)) / tau))
    corners = torch.eye(n, dtype=torch.float64) - 1 / n  # a regular simplex around 0
    assert losses.nt_xent_dense(corners, corners, tau).item() == pytest.approx(bound)
    for seed in range(5):
        z1, z2 = torch.randn(2, n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert losses.nt_xent_dense(z1, z2, tau) > bound


def test_collapse_is_a_stationary_point_and_a_saddle():
    n, tau = 5, 0.4
    u = torch.ones(n, 6, dtype=torch.float64)
    z1, z2 = u.clone().requires_grad_(), u.clone().requires_grad_()
    loss = losses.nt_xent_dense(z1, z2, tau)
    assert loss.item() == pytest.approx(math.log(2 * n - 1))
    assert all(g.abs().max() < 1e-12 for g in torch.autograd.grad(loss, (z1, z2)))
    step = 0.1 * torch.randn(n, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one = 0.1 * step[:1].expand(n, 6) / step[:1].norm()
    assert losses.nt_xent_dense(u + step, u + step, tau) < loss - 1e-4  # pictures apart, each pair together
    assert losses.nt_xent_dense(u + one, u - one, tau) > loss + 1e-6  # the two views of all pairs apart


def test_the_statistics_of_the_answer_are_those_of_the_global_batch():
    k, n = 4, 5
    scale = torch.arange(1.0, k + 1, dtype=torch.float64)[:, None]
    x = scale * torch.randn(k, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + scale
    means, squares = x.mean(1), x.var(1, correction=0) * n
    m = means.mean()
    var = (squares + n * (means - m) ** 2).sum() / (k * n)
    torch.testing.assert_close(torch.stack([var, m]), torch.stack(torch.var_mean(x, correction=0)))
    assert x.var(1, correction=0).mean() < 0.9 * var  # the mean of the variances is too small
    near = torch.tensor(1e6)
    assert torch.nextafter(near, near + 1) - near == 0.0625


def test_the_t_sne_gradient_of_the_answer_is_that_of_autograd():
    n, rng = 6, torch.Generator().manual_seed(0)
    other = ~torch.eye(n, dtype=torch.bool)
    x = F.normalize(torch.randn(n, 4, generator=rng, dtype=torch.float64), dim=1)
    s = torch.linspace(0.4, 0.9, n, dtype=torch.float64)[:, None]
    p = (-torch.cdist(x, x).square() / (2 * s**2)).masked_fill(~other, -torch.inf).softmax(1)
    nt_xent_softmax = (x @ x.T / s**2).masked_fill(~other, -torch.inf).softmax(1)
    torch.testing.assert_close(p, nt_xent_softmax)  # the follow-up: tau is the squared width
    p = (p + p.T) / (2 * n)
    y = torch.randn(n, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    apart = y[:, None] - y[None]  # (n, n, 2)
    w = other / (1 + apart.square().sum(2))
    q = w / w.sum()
    (wanted,) = torch.autograd.grad((p[other] * (p[other] / q[other]).log()).sum(), y)
    torch.testing.assert_close(4 * (((p - q) * w)[:, :, None] * apart).sum(1), wanted)


def test_the_limits_of_the_temperature():
    s = torch.tensor([0.5, 0.7, 0.2, -0.4], dtype=torch.float64, requires_grad=True)  # the positive first

    def loss(tau):
        return F.cross_entropy(s[None] / tau, torch.tensor([0]))

    assert loss(1e-3).item() * 1e-3 == pytest.approx(0.7 - 0.5, abs=1e-9)
    (gradient,) = torch.autograd.grad(loss(1e4), s)
    torch.testing.assert_close(
        1e4 * gradient, torch.tensor([-3 / 4, 1 / 4, 1 / 4, 1 / 4]).double(), rtol=1e-3, atol=0
    )
    first_order = math.log(4) - (0.5 - s.mean().item()) / 100
    assert loss(100.0).item() == pytest.approx(first_order, abs=1e-4)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_info_nce_bounds_the_mutual_information(seed):
    """Every case of a small joint distribution is counted out: no sampling, no estimate."""
    values, k = 3, 3
    rng = torch.Generator().manual_seed(seed)
    joint = torch.rand(values, values, generator=rng, dtype=torch.float64) ** 4
    joint /= joint.sum()
    ratio = joint / (joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True))
    information = (joint * ratio.log()).sum().item()

    def loss(critic):
        total = 0.0
        for x, y, *others in itertools.product(range(values), repeat=1 + k):
            chance = joint[x, y] * math.prod(joint[:, other].sum() for other in others)
            total += chance * F.cross_entropy(critic[x, [y, *others]][None], torch.tensor([0]))
        return float(total)

    best = loss(ratio.log())
    assert 0 < math.log(k) - best <= information
    for other in range(5):  # no critic gets past it
        critic = 3 * torch.randn(values, values, generator=torch.Generator().manual_seed(other)).double()
        assert best - 1e-12 <= loss(critic)
    assert math.log(k) - loss(1e3 * torch.eye(values).double()) <= math.log(k)


def test_what_the_answer_says_about_clipping():
    w = torch.ones(3, requires_grad=True)
    w.grad = torch.tensor([3.0, 4.0, 0.0])
    torch.nn.utils.clip_grad_norm_([w], 1.0)
    torch.testing.assert_close(w.grad, torch.tensor([0.6, 0.8, 0.0]))
    w.grad = torch.tensor([3.0, 4.0, 0.0])
    torch.nn.utils.clip_grad_value_([w], 1.0)
    torch.testing.assert_close(w.grad, torch.tensor([1.0, 1.0, 0.0]))
    w.grad = torch.tensor([3.0, math.nan, 0.0])
    torch.nn.utils.clip_grad_norm_([w], 1.0)
    assert w.grad.isnan().all()


def test_what_the_answer_says_about_the_distributed_sampler():
    shares = [
        torch.utils.data.DistributedSampler(range(10), num_replicas=3, rank=r, seed=4) for r in range(3)
    ]
    first = [list(s) for s in shares]
    assert first == [list(s) for s in shares], "without set_epoch an epoch is like the other"
    seen = [i for share in first for i in share]
    assert sorted(set(seen)) == list(range(10)) and len(seen) == 12, "two come twice"
    for s in shares:
        s.set_epoch(1)
    assert first != [list(s) for s in shares]


def test_what_the_answers_say_about_batch_norm_and_layer_norm():
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    layer, batch = torch.nn.LayerNorm(4), torch.nn.BatchNorm1d(4)
    torch.testing.assert_close(layer(x[:3]), layer(x)[:3])
    assert (batch(x[:3]) - batch(x)[:3]).abs().max() > 0.1
    assert not list(layer.buffers()) and len(list(batch.buffers())) == 3
    with pytest.raises(ValueError, match="more than 1 value"):
        batch(x[:1])


def test_the_rounding_error_of_the_answer_is_half_a_step():
    x = torch.linspace(-1.0, 2.0, 1001)
    scale, zero = 3.0 / 255, 85
    q = (x / scale + zero).round().clamp(0, 255)
    assert (scale * (q - zero) - x).abs().max() <= scale / 2 + 1e-6 and len(q.unique()) == 256


def test_the_distillation_of_the_answer_has_the_gradient_that_it_names():
    (distil,) = functions(by_id("distillation"))
    rng = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 4, 5, generator=rng, dtype=torch.float64)
    student.requires_grad_()
    for t in (1.0, 4.0, 1000.0):
        (gradient,) = torch.autograd.grad(distil(student, teacher, t), student)
        q, p = (student.detach() / t).softmax(1), (teacher / t).softmax(1)
        torch.testing.assert_close(4 * gradient, t * (q - p))  # the loss is a mean over four pictures
    flat = student.detach() - teacher  # at a high temperature it does not fade
    torch.testing.assert_close(4 * gradient, (flat - flat.mean(1, keepdim=True)) / 5, atol=1e-3, rtol=0)


def test_the_export_of_the_answer_takes_other_batch_sizes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```\n(.*?)```", by_id("export").answer, re.DOTALL)
    torch.manual_seed(0)
    namespace = {"torch": torch, "encoder": make_encoder("tiny")}
    exec(block, namespace)
    for program in (namespace["program"], torch.export.load("encoder.pt2")):
        for n in (1, 5):
            x = torch.rand(n, 3, 32, 32)
            torch.testing.assert_close(program.module()(x), namespace["encoder"](x))
    fixed = torch.export.export(namespace["encoder"], (torch.rand(2, 3, 32, 32),))
    # torch 2.6 and the newest say it differently.
    with pytest.raises((AssertionError, RuntimeError), match=r"Guard failed|Expected input at .*shape\[0\]"):
        fixed.module()(torch.rand(5, 3, 32, 32))


def test_what_the_answers_say_about_half_precision():
    eye = torch.eye(3, dtype=torch.bool)
    half = torch.zeros(3, 3, dtype=torch.float16)
    with pytest.raises(RuntimeError, match="overflow"):
        half.masked_fill(eye, -1e9)
    assert half.masked_fill(eye, -torch.inf).isinf().sum() == 3
    assert (half - eye.half() * torch.tensor(1e9).half()).isnan().sum() == 6
    spacing = torch.finfo(torch.bfloat16).eps
    assert 4 * spacing == 0.03125 and 16 * spacing == 0.125
    assert torch.finfo(torch.float16).max == 65504


# --- reading ------------------------------------------------------------------------------------------------

GOOD = """
topics = ["t"]
[[questions]]
id = "a"
topic = "t"
depth = "30 s"
part = "warm-up"
question = "Why?"
answer = "Because."
rubric = ["one", "two"]
follow_ups = [["And?", "So."]]
link = "00_start_here#Recap"
right = "yes"
wrong = [["no", "it is not"], ["maybe", "it is"], ["never", "it is"]]
"""


def test_a_good_file_is_read(tmp_path):
    path = tmp_path / "q.toml"
    path.write_text(GOOD, encoding="utf-8")
    (q,) = interview.load(path)
    assert (q.id, q.notebook, q.heading, q.stem) == ("a", "00_start_here", "Recap", "Why?")
    assert q.link == "00_start_here.ipynb#Recap" and q.choices[0].right
    assert q.shown and "Shown in <a" in interview.answer_html(q)


def test_a_place_that_does_not_show_the_answer_is_called_related(tmp_path):
    path = tmp_path / "q.toml"
    path.write_text(GOOD.replace("link =", "related ="), encoding="utf-8")
    (q,) = interview.load(path)
    assert q.link == "00_start_here.ipynb#Recap" and not q.shown
    page = interview.answer_html(q)
    assert "Related: <a" in page and "Shown" not in page


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('topics = ["t"]', "topics = []", "list of topics"),
        ('topics = ["t"]', 'topics = ["t", "u"]', "no question on u"),
        ('topics = ["t"]', "topics = [", "damaged"),
        ("[[questions]]", "[[others]]", "q.toml: contains unknown field `others`"),
        ('answer = "Because."', "", r"question 1 \(a\): missing required field `answer`"),
        ('answer = "Because."', 'answer = " "', "answer must be a text that is not empty, got ' '"),
        ('answer = "Because."', 'answer = "```x"', "code block"),
        ('depth = "30 s"', 'depth = "1 h"', "depth must be one of 30 s, 2 min, whiteboard, got '1 h'"),
        ('topic = "t"', 'topic = "x"', "topic must be one of t"),
        ('part = "warm-up"', 'part = "break"', "part must be one of"),
        ('id = "a"', 'id = "A b"', "id must be"),
        ('id = "a"', 'id = "a"\nmood = "good"', "contains unknown field `mood`"),
        (
            'rubric = ["one", "two"]',
            'rubric = ["one"]',
            r"rubric must be a list of at least 2 texts, got \['one'\]",
        ),
        (
            'rubric = ["one", "two"]',
            "rubric = [1, 2]",
            r"rubric must be a list of at least 2 texts, got \[1, 2\]",
        ),
        ('[["And?", "So."]]', "[]", "follow_ups must be a list of 1 to 2 pairs"),
        ('[["And?", "So."]]', '[["And?"]]', "follow_ups must be a list of 1 to 2 pairs"),
        ("00_start_here#Recap", "00_start_here", "link must be notebook#heading"),
        ('link = "00_start_here#Recap"', "", "either link or related must be given, got none"),
        ("link =", 'related = "x#y"\nlink =', "got link and related"),
        ('link = "00_start_here#Recap"', "related = 3", "related must be notebook#heading, got 3"),
        ('right = "yes"', "", "right and wrong must be given together"),
        ('right = "yes"', 'right = "no"', "two choices are the same"),
        (', ["never", "it is"]', "", "wrong must be a list of 3 pairs"),
        ('"it is not"', '""', "wrong must be a list of 3 pairs"),
        (GOOD, GOOD + GOOD.replace('topics = ["t"]', ""), "used twice"),
    ],
)
def test_a_damaged_file_is_one_clear_error(tmp_path, old, new, message):
    assert old in GOOD
    path = tmp_path / "q.toml"
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(InterviewError, match=message):
        interview.load(path)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(InterviewError, match="no file of questions"):
        interview.load(tmp_path / "none.toml")


# --- choosing, cards, quiz ----------------------------------------------------------------------------------


def test_questions_are_chosen_by_topic_depth_and_part():
    chosen = interview.questions(topic="NT-Xent", depth="whiteboard", part="coding")
    assert {q.id for q in chosen} == {"code-nt-xent", "code-logsumexp"}
    for bad in ({"topic": "cooking"}, {"depth": "1 h"}, {"part": "lunch"}):
        with pytest.raises(ValueError, match="must be one of"):
            interview.questions(**bad)


def pages():
    yield interview.flash_cards()._repr_html_()
    yield interview.quiz(count=100)._repr_html_()
    yield interview.quiz(3).score("abc")._repr_html_()
    yield from (interview.mock_interview(seed)._repr_html_() for seed in range(5))
    yield interview.mock_interview().score([1] * len(interview.mock_interview().items))._repr_html_()


@pytest.mark.parametrize("page", list(pages()))
def test_a_page_needs_no_network_and_no_script(page):
    for outside in ("http", "<script", "<link", "<style", "src=", "url(", "@import", "//", "<iframe"):
        assert outside not in page, outside
    targets = re.findall(r'href="([^"]+)"', page)
    assert all(re.fullmatch(r"\d\d_\w+\.ipynb#[\w%.~-]+", target) for target in targets)
    assert page.count("<details>") == page.count("</details>")
    assert "```" not in page and "`" not in page and "$" not in page


def test_cards_fold_every_answer_and_print_every_question():
    cards = interview.flash_cards()
    page, text = cards._repr_html_(), str(cards)
    assert page.count("<details>") == len(QUESTIONS) + sum(len(q.follow_ups) for q in QUESTIONS)
    assert all(q.question in text for q in QUESTIONS)
    assert len(interview.flash_cards(topic="t-SNE").cards) == 3


def test_text_becomes_html():
    assert interview.to_html("a `x < y`\n\n- one\n- **two**") == (
        "<p>a <code>x &lt; y</code></p><ul><li>one</li><li><b>two</b></li></ul>"
    )
    assert interview.to_html("see\n```\na\n  b\n```\nend") == (
        "<p>see</p><pre><code>a\n  b</code></pre><p>end</p>"
    )


def test_a_quiz_is_drawn_from_its_seed_and_shuffled():
    first, again, other = (interview.quiz(10, seed) for seed in (4, 4, 5))
    assert first == again != other and len(first.items) == 10
    assert len({item.question.id for item in first.items}) == 10
    rights = [item.right for item in interview.quiz(100).items]
    assert all(5 <= rights.count(letter) for letter in "abcd"), "the right choice favours a place"
    assert {item.question.topic for item in interview.quiz(5, topic="temperature").items} == {"temperature"}


def test_a_quiz_is_scored():
    quiz = interview.quiz(4, seed=1)
    rights = "".join(item.right for item in quiz.items)
    assert quiz.score(rights).points == 4 and "4 of 4 right" in str(quiz.score(rights))
    wrong = "b" if rights[0] == "a" else "a"
    score = quiz.score(wrong + "-" + rights[2:])
    assert (score.points, score.possible) == (2, 4)
    why = quiz.items[0].choices["abcd".index(wrong)].why
    assert why in score.rows[0][2] and f"Right is {rights[0]})" in score.rows[0][2]
    assert score.rows[1][2] == "Left out." and score.rows[2][2] == "Right."
    for item in quiz.items:
        assert [item.feedback(a) == "Right." for a in "abcd"].count(True) == 1
    for bad in ("ab", "abcx"):
        with pytest.raises(ValueError, match="must"):
            quiz.score(bad)


def test_quiz_arguments_are_checked():
    with pytest.raises(ValueError, match="count"):
        interview.quiz(0)
    with pytest.raises(TypeError, match="seed"):
        interview.quiz(seed=0.5)
    with pytest.raises(ValueError, match="multiple-choice"):
        interview.quiz(topic="SupCon")


# --- mock interview, clock ----------------------------------------------------------------------------------


@given(st.integers(min_value=0, max_value=2**32 - 1))
def test_a_mock_interview_takes_45_minutes_and_has_all_parts(seed):
    mock = interview.mock_interview(seed)
    assert mock == interview.mock_interview(seed)
    assert mock.minutes == sum(mock.parts.values()) == 45
    assert list(mock.parts) == list(PARTS) and all(minutes > 0 for minutes in mock.parts.values())
    assert len({item.question.id for item in mock.items}) == len(mock.items)
    starts = [item.start for item in mock.items]
    assert starts == [0, *itertools.accumulate(item.minutes for item in mock.items)][:-1]
    assert [PARTS.index(item.part) for item in mock.items] == sorted(
        PARTS.index(item.part) for item in mock.items
    )
    assert all(item.question.part == item.part for item in mock.items)
    assert all((item.question.depth == "30 s") == (item.part == "warm-up") for item in mock.items)


@given(st.integers(min_value=0, max_value=2**32 - 1))
def test_a_mock_interview_asks_every_core_topic_once(seed):
    asked = [item.question.topic for item in interview.mock_interview(seed).items]
    assert all(asked.count(topic) == 1 for topic in CORE_TOPICS), asked
    assert len(asked) > len(CORE_TOPICS), "nothing is asked beside the core"


def test_core_topics_move_through_the_parts_and_the_default_draw_has_them():
    assert {"NT-Xent", "temperature", "projection head"} <= set(CORE_TOPICS) <= set(TOPICS)
    assert set(CORE_TOPICS) <= {item.question.topic for item in interview.mock_interview().items}
    where = {(i.question.topic, i.part) for seed in range(300) for i in interview.mock_interview(seed).items}
    possible = {(q.topic, q.part) for q in QUESTIONS if q.topic in CORE_TOPICS}
    assert possible <= where


def test_every_agenda_has_room_for_the_core_topics():
    served = {(q.topic, q.part, q.depth) for q in QUESTIONS}
    for plans in itertools.product(*interview.AGENDA.values()):
        slots = [
            (part, depth) for part, plan in zip(interview.AGENDA, plans, strict=True) for depth, _ in plan
        ]
        draws = itertools.permutations(range(len(slots)), len(CORE_TOPICS))
        fits = sum(
            all((t, *slots[k]) in served for t, k in zip(CORE_TOPICS, ks, strict=True)) for ks in draws
        )
        assert fits > 0.1 * math.perm(len(slots), len(CORE_TOPICS)), "the draw would take long"


def test_seeds_give_different_interviews_and_reach_every_question():
    mocks = [interview.mock_interview(seed) for seed in range(300)]
    assert len({tuple(item.question.id for item in mock.items) for mock in mocks}) > 290
    assert {item.question.id for mock in mocks for item in mock.items} == {q.id for q in QUESTIONS}


def test_plans_of_a_part_take_equally_long():
    lengths = {part: {sum(m for _, m in plan) for plan in plans} for part, plans in interview.AGENDA.items()}
    assert all(len(length) == 1 for length in lengths.values())
    assert sum(length.pop() for length in lengths.values()) == 45


def test_the_sheet_shows_every_question_with_its_time_and_rubric():
    mock = interview.mock_interview(7)
    text, page = str(mock), mock._repr_html_()
    for item in mock.items:
        assert item.question.question in text and f"{item.start:02d}:00, {item.minutes} min" in text
        assert f"points: {len(item.question.rubric)}" in page
    assert page.count("&#9744;") == sum(len(item.question.rubric) for item in mock.items)


def test_points_are_added_up_by_part():
    mock = interview.mock_interview(2)
    most = [len(item.question.rubric) for item in mock.items]
    full = mock.score(most)
    assert full.points == full.possible == sum(most) and "100%" in str(full)
    assert [row[0] for row in full.rows] == list(PARTS)
    assert mock.score([0] * len(most)).points == 0
    for bad, error in (([1], ValueError), ([9] * len(most), ValueError), ([0.5] * len(most), TypeError)):
        with pytest.raises(error, match="points"):
            mock.score(bad)
    with pytest.raises(ValueError, match="seed"):
        interview.mock_interview(-1)


def test_the_clock_says_the_time_used_and_left(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(interview.clock.time, "monotonic", lambda: now[0])
    clock = interview.Clock(minutes=15)
    now[0] += 200
    assert str(clock) == "3 min 20 s used of 15 min 00 s, 11 min 40 s left"
    now[0] += 800
    assert str(clock) == "16 min 40 s used of 15 min 00 s, 1 min 40 s over time"
    clock.restart()
    assert clock.used == 0 and "0 min 00 s used" in clock._repr_html_()
    with pytest.raises(ValueError, match="minutes"):
        interview.Clock(0)
