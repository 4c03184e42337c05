# %% [markdown] slideshow={"slide_type": "slide"}
# # 10 The interview
#
# Knowing SimCLR and explaining it to a stranger at a whiteboard are two things. This notebook rehearses the second: code
# against a clock, ten bugs to find, flash cards, a quiz, and mock interviews.
#
# ![The method in one picture. Random crops, flips and colours make two views of a photograph. The same encoder f makes a representation h of each view, the same projection head g an embedding z of each h. On the unit circle the z of the two views attract each other; those of the other pictures of the batch are repelled, the nearer ones harder, how much harder the temperature says. The gradient of this loss trains f and g. After training a linear classifier takes the place of g.](figures/method.svg)
#
# **You will be able to**
# - write NT-Xent from an empty cell in fifteen minutes, and test it aloud;
# - find ten classic bugs by their symptoms, and mend them;
# - answer at three depths: 30 seconds, 2 minutes, whiteboard;
# - mark your own answers by a rubric.
#
# **Time**: 10 min to read, under 1 min to run, 55 min for the exercises, 45 min for each mock interview. **Prerequisites**:
# notebooks 00 to 06. Any section can be run right after the set-up cell.

# %% tags=["install"] slideshow={"slide_type": "skip"}
# Where the package is installed, as it is after `make lab`, this cell does nothing.
import importlib.util

if importlib.util.find_spec("simclr_edu") is None:
    print("The package simclr_edu is missing: run `pip install .` in the course's folder, then begin anew.")

# %% tags=["setup"] slideshow={"slide_type": "skip"}
import torch
import torch.nn.functional as F
from IPython.display import display
from torch import nn

from simclr_edu.course import exercises, explorers, interview, profiles
from simclr_edu.encoders import make_encoder

SEED = 0
torch.manual_seed(SEED)
print(profiles.describe(seed=SEED))
clock = interview.Clock(minutes=15)  # section 1 starts it anew
print(f"{len(interview.questions())} questions on {len(interview.topics())} topics")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. NT-Xent on a whiteboard
#
# Close the other notebooks. Start the clock, write the loss from memory, and speak while you write: an interviewer hears how
# you think (difficulty 4 of 5, 15 min). Then run the check, read the clock and mark yourself by the rubric.

# %%
clock.restart()
display(explorers.countdown(minutes=15))
print("The clock runs. Run this cell again to start anew.")


# %% tags=["exercise"]
def whiteboard_nt_xent(z1, z2, temperature):
    """NT-Xent of two views (N, d) each: a scalar."""
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_nt_xent(whiteboard_nt_xent)
print(clock)

# %% [markdown] slideshow={"slide_type": "skip"}
# <details><summary>Hint</summary>
#
# Six steps: stack, normalise the rows, all similarities over the temperature, mask the diagonal, the column of each positive,
# cross-entropy.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def whiteboard_nt_xent(z1, z2, temperature):
#     n = len(z1)
#     z = F.normalize(torch.cat([z1, z2]), dim=1)  # (2N, d)
#     logits = z @ z.T / temperature  # (2N, 2N)
#     itself = torch.eye(2 * n, dtype=torch.bool, device=z.device)
#     logits = logits.masked_fill(itself, -torch.inf)
#     return F.cross_entropy(logits, torch.arange(2 * n, device=z.device).roll(n))
# ```
#
# </details>
#
# <details><summary>Rubric (one point each)</summary>
#
# - each row normalised
# - diagonal masked with minus infinity
# - targets shifted by N, for all 2N rows
# - cross-entropy on logits, no exp by hand
# - no fixed batch size, device of the input
# - a test with a known answer, said aloud
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. Bug hunt: ten short programs
#
# Each program below has one classic bug, most of them found in published code, and prints a symptom. Find it, then write the
# mended function in the stub under it. The check tells you which mistake is left; hand in the program unchanged, and it tells
# you which bug it is (difficulty 2 of 5, 4 min each).

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Bug 1: the perfect pairs
#
# Eight pictures, orthogonal to each other, both views identical, a low temperature: the loss should be nearly 0.


# %% tags=["exercise"]
def buggy_1(z1, z2, temperature):
    n = len(z1)
    z = F.normalize(torch.cat([z1, z2]), dim=1)  # (2N, d)
    itself = torch.eye(2 * n, dtype=torch.bool)
    logits = (z @ z.T / temperature)[~itself].view(2 * n, 2 * n - 1)  # the diagonal is deleted
    positive = torch.arange(2 * n).roll(n).clamp(max=2 * n - 2)
    return F.cross_entropy(logits, positive)


print(f"perfect pairs: loss {buggy_1(torch.eye(8), torch.eye(8), 0.1):.2f}")


def fixed_1(z1, z2, temperature):
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_bug_hunt(1, fixed_1)

# %% [markdown] slideshow={"slide_type": "skip"}
# <details><summary>Hint</summary>
#
# Deleting the diagonal moves some columns. Which? And what does the clamp hide?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def fixed_1(z1, z2, temperature):
#     n = len(z1)
#     z = F.normalize(torch.cat([z1, z2]), dim=1)
#     itself = torch.eye(2 * n, dtype=torch.bool)
#     logits = (z @ z.T / temperature)[~itself].view(2 * n, 2 * n - 1)
#     positive = torch.cat([torch.arange(n) + n - 1, torch.arange(n)])  # one to the left in the first N rows
#     return F.cross_entropy(logits, positive)
# ```
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Bug 2: never below ln 2
#
# The same perfect pairs, another program. It stops at a number that you should recognise.


# %% tags=["exercise"]
def buggy_2(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)  # (2N, d)
    positive = torch.arange(len(z)).roll(len(z1))
    return F.cross_entropy(z @ z.T / temperature, positive)


for tau in (0.5, 0.1, 0.02):
    print(f"perfect pairs, tau {tau}: loss {buggy_2(torch.eye(8), torch.eye(8), tau):.4f}")


def fixed_2(z1, z2, temperature):
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_bug_hunt(2, fixed_2)

# %% [markdown] slideshow={"slide_type": "skip"}
# <details><summary>Hint</summary>
#
# $\ln 2$ is the cost of choosing between two equals. Who is as similar to the anchor as its positive?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def fixed_2(z1, z2, temperature):
#     z = F.normalize(torch.cat([z1, z2]), dim=1)
#     logits = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
#     return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))
# ```
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Bug 3: more similar than itself
#
# Rows 0 and 1 point in the same direction, so their cosine similarity is 1, as is that of any row with itself.


# %% tags=["exercise"]
def buggy_3(z):
    z = F.normalize(z, dim=0)  # (M, d)
    return z @ z.T  # (M, M)


print(buggy_3(torch.tensor([[3.0, 4.0], [6.0, 8.0], [0.0, 1.0]])))


def fixed_3(z):
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_bug_hunt(3, fixed_3)

# %% [markdown] slideshow={"slide_type": "skip"}
# <details><summary>Hint</summary>
#
# What is one embedding: a row or a column?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def fixed_3(z):
#     z = F.normalize(z, dim=1)
#     return z @ z.T
# ```
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Bug 4: not a number
#
# The loss of one anchor from its similarities, the positive first. It worked, until somebody lowered the temperature.


# %% tags=["exercise"]
def buggy_4(similarities, temperature):
    powers = torch.exp(similarities / temperature)  # (2N-1,)
    return -torch.log(powers[0] / powers.sum())


for tau in (0.5, 0.05, 0.01):
    print(f"tau {tau}: loss {buggy_4(torch.tensor([0.98, 0.97, 0.2]), tau):.4f}")


def fixed_4(similarities, temperature):
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_bug_hunt(4, fixed_4)

# %% [markdown] slideshow={"slide_type": "skip"}
# <details><summary>Hint</summary>
#
# In float32 the exponential is infinite above 88.7. Stay with logarithms: the loss is a log-sum-exp minus the positive's logit.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def fixed_4(similarities, temperature):
#     logits = similarities / temperature
#     return torch.logsumexp(logits, dim=0) - logits[0]
# ```
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Bug 5: the last batch
#
# All goes well for hours, and at the end of the first epoch the run stops.

# %% tags=["exercise"]
BATCH = 8
ITSELF = torch.eye(2 * BATCH, dtype=torch.bool)  # made once, for speed
POSITIVE = torch.arange(2 * BATCH).roll(BATCH)


def buggy_5(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)  # (2N, d)
    return F.cross_entropy((z @ z.T / temperature).masked_fill(ITSELF, -torch.inf), POSITIVE)


for n in (8, 8, 3):
    try:
        print(f"batch of {n}: loss {buggy_5(torch.eye(n), torch.eye(n), 0.5):.3f}")
    except RuntimeError as error:
        print(f"batch of {n}: {str(error)[:70]}")


def fixed_5(z1, z2, temperature):
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_bug_hunt(5, fixed_5)

# %% [markdown] slideshow={"slide_type": "skip"}
# <details><summary>Hint</summary>
#
# Where does the function learn how many pictures there are?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def fixed_5(z1, z2, temperature):
#     n = len(z1)
#     z = F.normalize(torch.cat([z1, z2]), dim=1)
#     itself = torch.eye(2 * n, dtype=torch.bool)
#     logits = (z @ z.T / temperature).masked_fill(itself, -torch.inf)
#     return F.cross_entropy(logits, torch.arange(2 * n).roll(n))
# ```
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Bug 6: frozen in name
#
# A linear probe is trained on a frozen encoder. One step of the optimizer later the frozen weights have moved.


# %% tags=["exercise"]
def buggy_6(encoder):
    encoder.eval()
    encoder.requires_grad = False  # frozen


torch.manual_seed(SEED)
encoder, probe = make_encoder("tiny"), nn.Linear(128, 10)
buggy_6(encoder)
weights = [p.detach().clone() for p in encoder.parameters()]
optimizer = torch.optim.SGD([*encoder.parameters(), *probe.parameters()], lr=0.1)
F.cross_entropy(probe(encoder(torch.rand(8, 3, 32, 32))), torch.arange(8)).backward()
optimizer.step()
moved = max((p - w).abs().max() for p, w in zip(encoder.parameters(), weights, strict=True))
print(f"largest change of the frozen weights: {moved:.4f}")


def fixed_6(encoder):
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_bug_hunt(6, fixed_6)

# %% [markdown] slideshow={"slide_type": "skip"}
# <details><summary>Hint</summary>
#
# Any Python object takes a new attribute without complaint. Who reads this one? (The line above it is right.)
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def fixed_6(encoder):
#     encoder.eval()
#     encoder.requires_grad_(False)
# ```
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Bug 7: right on rank 0
#
# Several ranks gather their embeddings: all first views, rank by rank, then all second views. Each rank scores its own 2n anchors
# and needs the columns of their positives.


# %% tags=["exercise"]
def buggy_7(n, rank, world_size):
    own = torch.arange(n)
    return torch.cat([own + n * world_size, own])  # (2n,)


pictures = torch.eye(6)  # six pictures on two ranks, both views alike
for rank in range(2):
    anchors = pictures[3 * rank : 3 * rank + 3].repeat(2, 1)  # (2n, d)
    similarity = anchors @ pictures.repeat(2, 1).T  # (2n, 2n * world_size)
    positive = similarity.gather(1, buggy_7(3, rank, 2)[:, None])
    print(f"rank {rank}: similarity of the anchors to their positives {positive.mean():.0f}")


def fixed_7(n, rank, world_size):
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_bug_hunt(7, fixed_7)

# %% [markdown] slideshow={"slide_type": "skip"}
# <details><summary>Hint</summary>
#
# How many pictures of other ranks stand before those of rank r?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def fixed_7(n, rank, world_size):
#     own = rank * n + torch.arange(n)
#     return torch.cat([own + n * world_size, own])
# ```
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Bug 8: all or none
#
# A random mirror image, each picture with probability one half. Ten calls on eight pictures, and the number that came out
# mirrored:


# %% tags=["exercise"]
def buggy_8(x, generator):
    if torch.rand((), generator=generator) < 0.5:
        return x.flip(-1)  # (B, C, H, W)
    return x


x = torch.rand(8, 3, 4, 4, generator=torch.Generator().manual_seed(SEED))
rng = torch.Generator().manual_seed(SEED)
counts = [(buggy_8(x, rng) != x).flatten(1).any(1).sum().item() for _ in range(10)]
print(counts)


def fixed_8(x, generator):
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_bug_hunt(8, fixed_8)

# %% [markdown] slideshow={"slide_type": "skip"}
# <details><summary>Hint</summary>
#
# How many coins are tossed, and how many are needed? `torch.where` picks picture by picture.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def fixed_8(x, generator):
#     coin = torch.rand(len(x), generator=generator) < 0.5
#     return torch.where(coin[:, None, None, None], x.flip(-1), x)
# ```
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Bug 9: features that depend on their neighbours
#
# Features for a linear probe. The same picture, extracted in batches of 4 and of 16, should give the same features.


# %% tags=["exercise"]
def buggy_9(encoder, images, batch_size):
    with torch.no_grad():
        return torch.cat([encoder(batch.float() / 255) for batch in images.split(batch_size)])  # (N, D)


images = torch.randint(
    0, 256, (16, 3, 32, 32), generator=torch.Generator().manual_seed(SEED), dtype=torch.uint8
)
encoder = make_encoder("tiny")
a, b = (buggy_9(encoder, images, size)[0] for size in (4, 16))
print(f"cosine of the first picture's features with themselves: {F.cosine_similarity(a, b, dim=0):.3f}")


def fixed_9(encoder, images, batch_size):
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_bug_hunt(9, fixed_9)

# %% [markdown] slideshow={"slide_type": "skip"}
# <details><summary>Hint</summary>
#
# No gradient is not the same as no change. In which mode does a new module come?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def fixed_9(encoder, images, batch_size):
#     encoder.eval()
#     with torch.no_grad():
#         return torch.cat([encoder(batch.float() / 255) for batch in images.split(batch_size)])
# ```
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Bug 10: a run that forgets
#
# Stopped at step 10, resumed to step 20, and not where a run without a stop would be.


# %% tags=["exercise"]
def buggy_10(checkpoint, model, optimizer, generator):
    model.load_state_dict(checkpoint["model"])


def train(steps, resume=None, checkpoint=None):
    model, rng = nn.Linear(4, 1, bias=False), torch.Generator().manual_seed(SEED)
    nn.init.ones_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    if resume:
        resume(checkpoint, model, optimizer, rng)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 4, generator=rng)).square().mean().backward()
        optimizer.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "generator": rng.get_state()}
    return state, model.weight.detach()


whole, resumed = train(20)[1], train(10, buggy_10, train(10)[0])[1]
print(f"largest difference of the weights: {(whole - resumed).abs().max():.3f}")


def fixed_10(checkpoint, model, optimizer, generator):
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_bug_hunt(10, fixed_10)

# %% [markdown] slideshow={"slide_type": "skip"}
# <details><summary>Hint</summary>
#
# Three things in the checkpoint, one of them is used. A generator has `set_state`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def fixed_10(checkpoint, model, optimizer, generator):
#     model.load_state_dict(checkpoint["model"])
#     optimizer.load_state_dict(checkpoint["optimizer"])
#     generator.set_state(checkpoint["generator"])
# ```
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. Flash cards
#
# Read a question, answer **aloud** at its depth, then unfold it: model answer, what a good answer holds, follow-ups, and a link to
# the place in the course that shows it ("Related" where none does). With a kernel the deck below comes first: it puts the cards that you did not know
# back at the end.

# %% tags=["slide-input"]
display(explorers.flash_cards())
interview.flash_cards()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. Quiz
#
# Ten questions, one right choice each. Unfold a choice to see whether it is right, and if not, why. With a kernel, click instead, and
# the score is kept: only the first answer counts. Another seed draws another quiz.

# %% tags=["slide-input"]
quiz = interview.quiz(count=10, seed=SEED)
display(explorers.quiz(quiz))
quiz

# %%
quiz.score("a---------")  # on paper? hand in the letters, "-" for a question left out

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. Mock interview
#
# Forty-five minutes: warm-up, concept, coding, debugging, design. Each interview asks once about the loss, the temperature, the head,
# the augmentation and the evaluation. The first column says when to begin a question. Find a partner, or
# record yourself. Do not unfold the score sheet before you have answered. The same seed gives the same interview, so two people can
# be compared.

# %% tags=["slide-input"]
mock = interview.mock_interview(seed=SEED)
clock = interview.Clock(minutes=mock.minutes)
print(", ".join(f"{part} {minutes} min" for part, minutes in mock.parts.items()))
mock

# %%
print(clock)
mock.score(
    [2] * len(mock.items)
)  # afterwards: a point for each entry of a rubric that you said without help; here two each

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Recap
#
# - Speak while you write, and end with a test whose answer is known: perfect pairs, one point for all, $N = 2$ by hand.
# - A symptom points at its likely bugs: a floor at $\ln 2$ at the diagonal, $\ln(2N-1)$ at a guess or collapse, NaN at an overflow, a
#   crash at the end of an epoch at a fixed size, a frozen hash that changes at gradients or at the mode.
# - Short first, deeper when asked: 30 seconds, 2 minutes, whiteboard.
# - Say what you measured, what you read, and what you only believe.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ## Interview: three questions about interviews
#
# <details><summary>You do not know the answer. What do you say?</summary>
#
# That you do not know, then what you would derive it from or how you would measure it, and start: how you get from a gap to an answer
# can be judged too. A confident invention seldom survives the follow-up.
#
# </details>
#
# <details><summary>Your code on the whiteboard has a bug, and you notice it. What now?</summary>
#
# Say so, name the symptom that it would show, and mend it. Then name the test that would have caught it.
#
# </details>
#
# <details><summary>Which figures should you know by heart?</summary>
#
# Few, with their conditions: $2N-1$ candidates; $\ln(2N-1)$ for a guess; 69.3% top-1 for a linear probe on ResNet-50 (ImageNet, the
# paper's Table 6); that non-linear head, crop with colour and long training matter. And the figures of your own runs, with
# baselines.
#
# </details>

# %% [markdown] slideshow={"slide_type": "skip"}
# ## Sources
#
# - Chen, Kornblith, Norouzi, Hinton: "A Simple Framework for Contrastive Learning of Visual Representations", 2020, arXiv 2002.05709.
# - The questions, with the sources of their figures, are in `simclr_edu/assets/interview.toml`. Methods named there: He et al. 2020
#   (MoCo), arXiv 1911.05722; Grill et al. 2020 (BYOL), 2006.07733; Chen, He 2021 (SimSiam), 2011.10566; Khosla et al. 2020 (SupCon),
#   2004.11362; Radford et al. 2021 (CLIP), 2103.00020; He et al. 2022 (MAE), 2111.06377; Caron et al. 2021 (DINO), 2104.14294;
#   Chuang et al. 2020 (debiased loss), 2007.00224; Yeh et al. 2021 (decoupled loss), 2110.06848; Tian, Chen, Ganguli 2021 (why BYOL
#   does not collapse), 2102.06810; Dwibedi et al. 2021 (NNCLR), 2104.14548; van der Maaten, Hinton 2008, "Visualizing Data using
#   t-SNE".
# - The wider field: van den Oord et al. 2018 (InfoNCE), 1807.03748; Tschannen et al. 2020 (mutual information), 1907.13625; Pascanu et
#   al. 2013 (clipping), 1211.5063; Richemond et al. 2020 (BYOL without batch statistics), 2010.10241; Hinton et al. 2015
#   (distillation), 1503.02531; Chen et al. 2020 (SimCLR v2), 2006.10029.
