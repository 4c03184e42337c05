# %% [markdown] slideshow={"slide_type": "slide"}
# # 02 The NT-Xent loss
#
# SimCLR learns by answering one question many times: *here is one view of a picture; which of these other
# views shows the same picture?* The loss that scores the answer is called **NT-Xent**: normalized temperature-scaled
# cross entropy. You will build it four times, each time a little closer to the code that trains.
#
# ![The method in one picture. Lit: the loss on z, by which views of one picture attract and others repel](figures/method_02.svg)
#
# **You will be able to**
# - compute the loss by hand for two pictures, and write it from memory as a matrix,
# - say how many candidates, positives and negatives an anchor has, and what a guess costs,
# - recognise the shifted-label bug and the overflow,
# - say in words what the gradient does.
#
# **Time:** 35 min to read, under 1 min to run, 28 min for the exercises.
#
# **Prerequisites:** PyTorch tensors, softmax and cross-entropy; notebook 01 for the two views. Every section
# can be run right after the set-up cell.

# %% tags=["install"] slideshow={"slide_type": "skip"}
# Where the package is installed, as it is after `make lab`, this cell does nothing.
import importlib.util

if importlib.util.find_spec("simclr_edu") is None:
    print("The package simclr_edu is missing: run `pip install .` in the course's folder, then begin anew.")

# %% tags=["setup"] slideshow={"slide_type": "skip"}
import math

import torch
import torch.nn.functional as F
from IPython.display import display

from simclr_edu import diagnostics, losses
from simclr_edu.course import exercises, explorers, figures, profiles, results
from simclr_edu.data import load_images
from simclr_edu.encoders import make_encoder
from simclr_edu.evaluate import embed, probe_scores
from simclr_edu.pretrain import PretrainConfig, pretrain
from simclr_edu.simclr import SimCLR

SEED = 0
torch.manual_seed(SEED)
print(profiles.describe(seed=SEED))
data = load_images("shapes").subset(4000, 2000, seed=SEED)
config = PretrainConfig(epochs=5, seed=SEED, device="cpu")  # a short run, for section 6
rng = torch.Generator().manual_seed(SEED)
augment = config.augmentation(data.image_size)
v1, v2 = augment.two_views(data.test_images[:256], generator=rng)  # (256, 3, 32, 32) each
hand1 = torch.tensor([[0.0, 90.0]]).T.deg2rad()  # angles of the first views in the example by hand, (2, 1)
hand2 = torch.tensor([[30.0, 130.0]]).T.deg2rad()  # of the second views
hand1, hand2 = (torch.cat([a.cos(), a.sin()], dim=1) for a in (hand1, hand2))  # (2, 2) each

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. Anchor, positive, negatives
#
# Take a batch of $N$ pictures and make two random **views** of each: $2N$ views. Encoder and projection head
# turn each view into a vector **z**, its **embedding**.
#
# Now let every view in turn be the **anchor**. The other view of the same picture is its **positive**. All
# views of the other pictures are its **negatives**. Positive and negatives together are the **candidates**.
#
# Labels are not used anywhere: two different discs in one batch are negatives of each other. (Notebook 01 shows pairs of
# views.)
#
# **Before you run the next cell:** with $N = 4$ pictures, how many candidates does one anchor have? How many
# of them are negatives?

# %% tags=["nbval-check-output"] slideshow={"slide_type": "-"}
for n in (2, 4, 256):
    views = range(2 * n)
    candidates = [j for j in views if j != 0]  # the anchor is view 0, and never its own candidate
    negatives = [j for j in candidates if j != n]  # view n shows the same picture as view 0
    print(
        f"N = {n:3}: {2 * n:3} views, {len(candidates):3} candidates = 1 positive + {len(negatives)} negatives"
    )
    assert len(candidates) == 1 + 2 * (n - 1) == 2 * n - 1

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. By hand, for two pictures
#
# Two pictures, four embeddings, drawn as arrows in the plane (`hand1` and `hand2` of the set-up cell). The **cosine
# similarity** of two arrows is the cosine of the angle between them: 1 for the same direction, 0 for a right angle, -1
# for opposite directions.

# %% tags=["slide-output"] slideshow={"slide_type": "-"}
names = ["1a", "2a", "1b", "2b"]  # picture 1 and 2, view a and b: first views on top, as the loss wants them
z = F.normalize(torch.cat([hand1, hand2]), dim=1)  # (4, 2), length 1
figures.show(figures.arrows(z, names))

# %% tags=["slide-output"] slideshow={"slide_type": "subslide"}
sim = z @ z.T  # (4, 4)
figures.show(figures.similarity_matrix(sim))

# %% [markdown] slideshow={"slide_type": "subslide"}
# Read the first row. The anchor is 1a, its positive is 1b, its negatives are 2a and 2b. The loss of one anchor
# $i$ with its positive $p$ is
#
# $$\ell_i = -\ln \frac{\exp(s_{ip} / \tau)}{\sum_{j \ne i} \exp(s_{ij} / \tau)}$$
#
# $s_{ij}$ is the cosine similarity, and the **temperature** $\tau$ decides how much differences count
# (notebook 03). The fraction is a **softmax**: the probability that the positive is picked out of the
# candidates.
#
# **Before you run the next cell:** 1a and 1b are 30° apart, the negatives 90° and 130° away. Will the positive's
# probability at $\tau = 0.5$ be nearer to 50%, 80% or 99%?

# %% tags=["nbval-check-output"] slideshow={"slide_type": "subslide"}
tau = 0.5
scores = {name: math.exp(sim[0, j].item() / tau) for j, name in enumerate(names) if j != 0}
for name, score in scores.items():
    print(f"exp(s / tau) of candidate {name}: {score:.3f}")
p = scores["1b"] / sum(scores.values())
print(f"probability of the positive: {scores['1b']:.3f} / {sum(scores.values()):.3f} = {p:.3f}")
print(f"loss of anchor 1a: -ln({p:.3f}) = {-math.log(p):.3f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# The same for the other three anchors; the loss of the batch is the mean over all four. Every view is an anchor
# once, so each pair is scored from both sides.

# %% tags=["nbval-check-output"] slideshow={"slide_type": "-"}
by_hand = []
for i, positive in enumerate([2, 3, 0, 1]):  # 1a-1b, 2a-2b, 1b-1a, 2b-2a
    others = sum(math.exp(sim[i, j].item() / tau) for j in range(4) if j != i)
    by_hand.append(-math.log(math.exp(sim[i, positive].item() / tau) / others))
print("losses:", ", ".join(f"{name} {loss:.3f}" for name, loss in zip(names, by_hand, strict=True)))
print(f"NT-Xent: {sum(by_hand) / 4:.4f}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. As loops
#
# The same in code for any $N$: Algorithm 1 of the paper, with the views stacked. Slow, but easy to trust.


# %% tags=["nbval-check-output"] slideshow={"slide_type": "-"}
def nt_xent_loops(z1, z2, tau):
    z = F.normalize(torch.cat([z1, z2]), dim=1)  # (2N, d)
    n, total = len(z1), 0.0
    for i in range(2 * n):
        positive = i + n if i < n else i - n
        scores = {j: torch.exp(z[i] @ z[j] / tau) for j in range(2 * n) if j != i}  # 2N - 1 of them
        total = total - torch.log(scores[positive] / sum(scores.values()))
    return total / (2 * n)


print(f"the four arrows of section 2: {nt_xent_loops(hand1, hand2, 0.5):.4f}")
a, b = torch.randn(2, 20, 8, generator=torch.Generator().manual_seed(SEED))  # (20, 8) each
torch.testing.assert_close(nt_xent_loops(a, b, 0.2), losses.nt_xent_loop(a, b, 0.2))
print("notebook loops = package loops")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. As a matrix
#
# Three steps replace the loops:
#
# 1. all similarities at once, a $(2N, 2N)$ matrix,
# 2. the diagonal (each view with itself) set to $-\infty$, so that $\exp$ makes it 0,
# 3. cross-entropy, with the column of the positive as the label of each row.
#
# In step 3, view 1 of all pictures is stacked on view 2, so the positive of row $i$ lies $N$ rows further on, or
# $N$ rows back.
#
# **Exercise 1** (difficulty 2 of 5, 5 min, one line): write these labels.


# %% tags=["exercise"] slideshow={"slide_type": "-"}
def positive_index(n):
    """For each of the 2n rows of the full matrix the column of its positive: (2n,) int64."""
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_positive_index(positive_index)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary>Hint</summary>
#
# Take n = 3 and write the names of the rows below each other: 1a, 2a, 3a, 1b, 2b, 3b. Now write beside each the row
# of its other view. How does this list come out of 0, 1, 2, 3, 4, 5?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def positive_index(n):
#     return torch.arange(2 * n).roll(n)  # n, ..., 2n-1, 0, ..., n-1
# ```
#
# Rolling by $n$ swaps the halves: first views get the rows of the second views, and the other way round.
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# Put together, this is the version to know by heart. (What if the diagonal stays in? Then each anchor competes with
# itself at similarity 1. The positive can at best draw level, and the loss never falls below $\ln 2$.) The package has
# the same as `nt_xent_dense`, and as `nt_xent` a **tiled** one, which takes the matrix piece by piece (section 10).


# %% slideshow={"slide_type": "-"}
def nt_xent_matrix(z1, z2, tau):
    n = len(z1)
    z = F.normalize(torch.cat([z1, z2]), dim=1)  # (2N, d)
    logits = z @ z.T / tau  # (2N, 2N)
    itself = torch.eye(2 * n, dtype=torch.bool)
    logits = logits.masked_fill(itself, -torch.inf)
    positive = torch.arange(2 * n).roll(n)  # (2N,): N .. 2N-1, 0 .. N-1
    return F.cross_entropy(logits, positive)


# %% tags=["nbval-check-output"] slideshow={"slide_type": "-"}
print(f"the four arrows of section 2: {nt_xent_matrix(hand1, hand2, 0.5):.4f}")
a, b = torch.randn(2, 20, 8, generator=torch.Generator().manual_seed(SEED))  # (20, 8) each
for f in (losses.nt_xent_loop, losses.nt_xent_dense, losses.nt_xent):
    torch.testing.assert_close(nt_xent_matrix(a, b, 0.2), f(a, b, 0.2))
print("notebook matrix = package loops = package matrix = package tiled")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Why normalise?
#
# **Before you run the next cell:** the normalisation is left out, and all arrows are made longer. Does the loss change?
# Does it change which candidate wins?

# %% tags=["nbval-check-output"] slideshow={"slide_type": "-"}
for length in (1, 2, 10):
    z = length * F.normalize(torch.cat([hand1, hand2]), dim=1)  # (4, 2), all of this length
    logits = (z @ z.T / 0.5).fill_diagonal_(-torch.inf)  # not normalised
    loss, won = F.cross_entropy(logits, torch.arange(4).roll(2)), logits.argmax(1) == torch.arange(4).roll(2)
    print(f"length {length:2}: loss {loss:.4f}, positive wins in {won.sum()} of 4 rows")

# %% [markdown] slideshow={"slide_type": "fragment"}
# The loss falls and nothing is learned: same directions, same winners. A length common to all acts as a temperature that the
# network sets for itself.
#
# In the paper (Table 5, ResNet-50, ImageNet) training without normalisation reaches 91.7% **contrastive accuracy**, the
# share of anchors whose positive wins, at $\tau = 10$, but 57.2% with a linear classifier; with it, at $\tau = 0.1$,
# 87.8% and 64.4%. So the best setting without it solves the pretext task more often than the best with it, and its representation
# is worse. (With it, at $\tau = 0.05$, it is 90.5% and 59.7%.) Equal lengths cannot do
# that, as you just saw; lengths that differ from view to view can change who wins. Whether they are the reason, the table does not say.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. What a guess costs: $\ln(2N-1)$
#
# An encoder that knows nothing gives all $2N-1$ candidates the same probability, $1/(2N-1)$. Its loss is
# $-\ln\frac{1}{2N-1} = \ln(2N-1)$, in **nats**, the unit of natural logarithms. Draw this line into every loss curve: "is my loss stuck?"
# begins with it (and ends with the two curves that notebook 04 puts beside it).
#
# **Before you run the next cell:** random vectors at $\tau = 0.5$. Will the loss be at the line, above, or below? And
# if all embeddings are the *same* vector?

# %% slideshow={"slide_type": "-"}
for n in (8, 64, 512):
    a, b = torch.randn(2, n, 128, generator=torch.Generator().manual_seed(SEED))  # (N, d) each
    same = torch.ones(n, 128)  # every embedding the same vector
    guess, random, collapsed = math.log(2 * n - 1), losses.nt_xent(a, b), losses.nt_xent(same, same)
    print(f"N = {n:3}: ln(2N - 1) = {guess:.3f}, random {random:.3f}, all the same {collapsed:.3f}")
    assert abs(random - guess) < 0.1 and abs(collapsed - guess) < 1e-4

# %% [markdown] slideshow={"slide_type": "subslide"}
# Random vectors land close to the line, a little above it at $\tau = 0.5$ and further at a smaller one. **Collapse**, every picture on one
# point, lands exactly on it. A loss at $\ln(2N-1)$ says that all candidates get nearly the same probability; it does not say why.
#
# The line moves with the batch size, so losses of different batch sizes do not compare.

# %% slideshow={"slide_type": "-"}
display(explorers.loss_floor_explorer())
figures.show(figures.loss_floor())

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Which candidate wins?
#
# Now real views. One encoder has random weights, the other was trained with this very loss for five short epochs on 4,000
# pictures, at the course's default $\tau = 0.2$ (how is the subject of notebook 04). First the untrained one, on six
# pictures.

# %% tags=["slide-output"] slideshow={"slide_type": "-"}
untrained = SimCLR(make_encoder("tiny"), config.projection_dim)
before1, before2 = embed(untrained, v1, level="z"), embed(untrained, v2, level="z")  # (256, 64) each
sim_before = diagnostics.similarity_matrix(torch.cat([before1[:6], before2[:6]]))  # (12, 12)
title = f"Untrained: every similarity lies between {sim_before.min():.3f} and 1"
figures.show(figures.similarity_matrix(sim_before, title=title, decimals=3))

# %% [markdown] slideshow={"slide_type": "subslide"}
# Everything resembles everything: this random network sends all pictures into one narrow cone.
#
# **Before you run the next cell:** in which cells of the matrix do you expect the changes after training?

# %% tags=["slide-output"] slideshow={"slide_type": "fragment"}
run = pretrain(config, data, progress=False)
z1, z2 = embed(run.model, v1, level="z"), embed(run.model, v2, level="z")  # (256, 64) each
sim_after = diagnostics.similarity_matrix(torch.cat([z1[:6], z2[:6]]))  # (12, 12)
won = (sim_after.clone().fill_diagonal_(-1).argmax(1) == torch.arange(12).roll(6)).sum()
title = f"Trained: the positive (outlined) is the highest in {won} of 12 rows"
figures.show(figures.similarity_matrix(sim_after, title=title))

# %% [markdown] slideshow={"slide_type": "subslide"}
# The cone has opened. These pictures are from the test set: the network never saw them. The same for all 256 of them, beside **contrastive
# accuracy**, the share of anchors whose positive beats all negatives. Chance is $1/(2N-1)$.
#
# **Before you run the next cell:** the untrained loss is close to a guess. Is the contrastive accuracy close to chance?

# %% slideshow={"slide_type": "-"}
accuracy, loss, positive, guess = {}, {}, torch.arange(512).roll(256), math.log(511)
label = data.test_labels[:256].repeat(2)  # (512,)
for name, a, b in (("untrained", before1, before2), ("trained", z1, z2)):
    loss[name] = losses.nt_xent(a, b, config.temperature)
    accuracy[name] = diagnostics.contrastive_accuracy(a, b)
    sim = diagnostics.similarity_matrix(torch.cat([a, b])).fill_diagonal_(-1)  # (512, 512)
    rank = (sim > sim.gather(1, positive[:, None])).sum(1) + 1  # (512,): 1 when the positive wins
    hardest = sim.scatter(1, positive[:, None], -1).argmax(1)  # (512,): the most similar negative
    print(f"{name:>9}: loss {loss[name]:.2f} (guess {guess:.2f}), contrastive accuracy {accuracy[name]:.1%},")
    same_class = (label[hardest] == label).float().mean()  # share of the anchors
    print(f"{'':11}positive on place {rank.median()} of 511 (median),", end=" ")
    print(f"hardest negative of the anchor's class {same_class:.0%}")
assert loss["trained"] < loss["untrained"] - 1 and accuracy["trained"] > accuracy["untrained"]
assert same_class > 0.1 and rank.median() < 50  # of the trained one, which came last
scores = probe_scores(run.encoder, data, seed=SEED)  # notebook 06 explains these
print(f"linear probe of the trained encoder: {scores['linear']:.1%}")
profile = profiles.current_profile().name
results.record("SimCLR, short run", notebook="02", seed=SEED, profile=profile, **scores)

# %% [markdown] slideshow={"slide_type": "subslide"}
# The loss needs a gap between similarities, accuracy only an order. The narrow cone has no gap, but already some order:
# 3.3%, where chance is 0.2%.
#
# Is an encoder that finds fewer than one positive in ten of any use? It picks one of 511 views, and of the 510 negatives about
# 50 are of the anchor's class. Half of all positives now come in the first two dozen, not in the first 183, and the
# hardest negative is of the anchor's class more often than chance, 10%, would have it. The loss counts it as
# wrong; a classifier would not. (Five seeds of this short run: contrastive accuracy 5 to 10%, place 21 to 29, 13 to 20%.)

# %% [markdown] slideshow={"slide_type": "subslide"}
# And who wins where the positive does not? Four lost anchors; beside each its positive, then the three negatives
# that came out on top. Such negatives are **hard**: the network finds them alike.

# %% tags=["slide-output"] slideshow={"slide_type": "-"}
z, views = torch.cat([z1, z2]), torch.cat([v1, v2])  # (512, 64), (512, 3, 32, 32)
positive = torch.arange(512).roll(256)  # (512,)
sim = diagnostics.similarity_matrix(z).fill_diagonal_(-1)  # (512, 512)
lost = (sim.argmax(1) != positive).nonzero()[:4, 0]  # four anchors that a negative won
best = sim.scatter(1, positive[:, None], -1)[lost].topk(3).indices  # (4, 3), the positive left out
shown = torch.cat([positive[lost, None], best], dim=1)  # (4, 4)
title = (
    "Lost anchors (left): the positive, then three negatives (crossed) that look more alike to the network"
)
fig = figures.nearest_neighbours(
    views[lost], views[shown], sim[lost[:, None], shown], shown == shown[:, :1], title, query="anchor"
)
fig.alt_text = "Four anchors; beside each its positive, then three negatives, the first more similar than it."
figures.show(fig)

# %% [markdown] slideshow={"slide_type": "subslide"}
# Now choose an anchor and a temperature yourself, in a batch of eight pictures. The figure is for $\tau = 0.5$, as in
# section 2; the network was trained at 0.2.

# %% slideshow={"slide_type": "-"}
display(explorers.similarity_explorer(z1[:8], z2[:8]))
sim = diagnostics.similarity_matrix(torch.cat([z1[:8], z2[:8]]))  # (16, 16)
figures.show(figures.anchor_softmax(sim, anchor=0, temperature=0.5))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. The shifted-label bug
#
# Instead of masking the diagonal one can *delete* it: the matrix becomes $(2N, 2N-1)$. That is fine, if the labels move
# too. In row $i$ every column right of $i$ moves one to the left; in the first $N$ rows the positive
# is one of them.
#
# **Before you run the next cell:** $N = 4$, diagonal deleted, labels as before. In how many rows is the label wrong, and
# what happens in row 3?

# %% tags=["nbval-check-output"] slideshow={"slide_type": "-"}
n = 4
old = torch.arange(2 * n).roll(n)  # labels of the full matrix: 4 5 6 7 0 1 2 3
columns = torch.arange(2 * n).repeat(2 * n, 1)[~torch.eye(2 * n, dtype=torch.bool)].view(2 * n, 2 * n - 1)
for row in range(2 * n):
    there = f"view {columns[row, old[row]]}" if old[row] < 2 * n - 1 else "no column"
    verdict = "right" if there == f"view {old[row]}" else "WRONG"
    print(f"row {row}: positive is view {old[row]}, label {old[row]} now means {there}: {verdict}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Rows $0$ to $N-2$ would train towards a negative. Only row $N-1$ gives the bug away: its column $2N-1$ no longer exists,
# and cross-entropy raises. Who "repairs" that error with a clamp silences the only sign and keeps $N-1$ wrong rows. The right repair moves the labels too. (Code whose
# labels are all zero is a third layout: each positive is moved to column 0. That is right as well.)

# %% tags=["nbval-check-output"] slideshow={"slide_type": "-"}
a, b = torch.randn(2, n, 8, generator=torch.Generator().manual_seed(SEED))  # (4, 8) each
z = F.normalize(torch.cat([a, b]), dim=1)
logits = (z @ z.T / 0.5)[~torch.eye(2 * n, dtype=torch.bool)].view(2 * n, 2 * n - 1)  # diagonal deleted
try:
    F.cross_entropy(logits, old)
except IndexError as error:
    print("IndexError:", error)
shifted = old - (old > torch.arange(2 * n)).long()  # one to the left where the positive stood right of it
torch.testing.assert_close(F.cross_entropy(logits, shifted), losses.nt_xent_dense(a, b, 0.5))
print("labels", shifted.tolist(), "give the right loss")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. Stable: no overflow
#
# A cosine is at most 1, so the largest logit is $1/\tau$. In float32 $\exp(x)$ overflows above $x \approx 88.7$, in
# float16 above 11.1. (Mixed precision spares you the second: on CUDA, autocast runs `exp` in float32. A model cast with
# `.half()` meets it.)
#
# **Before you run the next cell:** below which temperature does `exp(s / tau)`, as in the loops of section 3, break in
# each? Which of the two could matter to you?

# %% tags=["nbval-check-output"] slideshow={"slide_type": "-"}
for dtype, taus in ((torch.float32, (0.012, 0.01)), (torch.float16, (0.1, 0.05))):
    limit = math.log(torch.finfo(dtype).max)
    print(f"{str(dtype)[6:]}: exp overflows at tau < {1 / limit:.4f}")
    s = torch.tensor([1.0, 0.99, 0.5, -0.5], dtype=dtype)  # the positive first
    for tau in taus:
        powers = torch.exp(s / tau)
        naive, stable = (
            -torch.log(powers[0] / powers.sum()),
            F.cross_entropy(s[None] / tau, torch.tensor([0])),
        )
        print(f"  tau {tau}: naive {naive:.2f}, F.cross_entropy {stable:.2f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Infinity over infinity is NaN, and that is what `nt_xent_loops` of section 3 gives. The paper's Table 5 ends at 0.05: far from
# float32's limit of 0.0113, but computed in float16 it breaks.
#
# `F.cross_entropy` is safe because it first subtracts the largest logit $m$ of each
# row, which changes nothing: $\ln\sum_j e^{x_j} = m + \ln\sum_j e^{x_j - m}$. Now every exponent is at most 0. The
# mask is $-\infty$ and not $-10^9$, which does not fit into float16: it ends at 65,504.
#
# **Exercise 2** (difficulty 3 of 5, 8 min, two lines): the same by hand.


# %% tags=["exercise"] slideshow={"slide_type": "-"}
def stable_logsumexp(x):
    """Log of the sum of exp over each row, for logits of any size: (M, K) to (M,)."""
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_stable_logsumexp(stable_logsumexp)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary>Hint</summary>
#
# `amax` with `keepdim=True` gives the largest of each row in a shape that can be subtracted. What you take off inside
# the exponential has to come back outside the logarithm.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def stable_logsumexp(x):
#     largest = x.amax(dim=1, keepdim=True)  # (M, 1)
#     return largest[:, 0] + (x - largest).exp().sum(dim=1).log()  # (M,)
# ```
#
# After the shift the largest exponent is 0, so the sum is at least 1 and at most $K$: no overflow, and no log of 0.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. The gradient in words
#
# The derivative of one anchor's loss by the similarity $s_j$ of candidate $j$ is
#
# $$\frac{\partial \ell}{\partial s_j} = \frac{1}{\tau}\,(p_j - y_j)$$
#
# with $p_j$ the softmax probability and $y_j$ = 1 for the positive, 0 otherwise. The positive is **pulled** in
# with $(1 - p)/\tau$; each negative is **pushed** away with its own $p_j/\tau$. Pull and pushes balance exactly. The softmax weighs the negatives by
# itself, so nobody has to search for hard ones. When the positive has nearly all the probability, the gradients fade.
#
# **Before you run the next cell:** one hard negative at 0.8, one easy one at -0.5. How many times stronger is the push
# on the hard one at $\tau = 0.5$?

# %% tags=["nbval-check-output"] slideshow={"slide_type": "subslide"}
s = torch.tensor([0.9, 0.8, 0.1, -0.5], requires_grad=True)  # the positive first
F.cross_entropy(s[None] / 0.5, torch.tensor([0])).backward()
p = (s.detach() / 0.5).softmax(0)
torch.testing.assert_close(s.grad, (p - torch.tensor([1.0, 0, 0, 0])) / 0.5)
for name, value, grad in zip(["positive", "hard", "middling", "easy"], s.tolist(), s.grad, strict=True):
    print(
        f"{name:>8} at {value:4.1f}: gradient {grad:+.3f}, so it is {'pulled in' if grad < 0 else 'pushed away'}"
    )
print(f"sum {abs(s.grad.sum()):.3f}; hard / easy = {s.grad[1] / s.grad[3]:.1f} = exp(1.3 / 0.5)")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. From notebook to package
#
# `losses.nt_xent` computes the same number without ever holding the matrix: it goes through it in tiles, square pieces,
# and adds up. Of the loss's own memory the matrix is nearly all:

# %% tags=["nbval-check-output"] slideshow={"slide_type": "-"}
for n in (256, 2048, 8192):
    matrix, z = 4 * (2 * n) ** 2 / 2**20, 4 * 2 * n * 128 / 2**20  # MiB in float32, d = 128
    print(f"N = {n:4}: one (2N, 2N) matrix {matrix:7,.0f} MiB, the embeddings {z:.2f} MiB")
a, b = torch.randn(2, 40, 16, generator=torch.Generator().manual_seed(SEED), dtype=torch.float64)  # (40, 16)
a.requires_grad_()
versions = [f(a, b, 0.2) for f in (losses.nt_xent_loop, losses.nt_xent_dense, losses.nt_xent)]
gradients = [torch.autograd.grad(loss, a)[0] for loss in versions]  # (40, 16) each
for loss, gradient in zip(versions[1:], gradients[1:], strict=True):
    torch.testing.assert_close(loss, versions[0])
    torch.testing.assert_close(gradient, gradients[0])
print("loops = matrix = tiled: losses and gradients agree")

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Exercise 3** (difficulty 4 of 5, 15 min, six lines) is the one an interviewer may ask for. Write the whole loss
# without looking up. It is tested at very small temperatures too: `nt_xent_loops` would fail, as section 8 showed.


# %% tags=["exercise"] slideshow={"slide_type": "-"}
def nt_xent(z1, z2, temperature):
    """NT-Xent of two views (N, d) each: a scalar."""
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_nt_xent(nt_xent)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary>Hint</summary>
#
# Which product of which matrix gives all similarities at once? Which candidate must never win? Which function of PyTorch
# takes logits and one label a row, and is stable?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def nt_xent(z1, z2, temperature):
#     n = len(z1)
#     z = F.normalize(torch.cat([z1, z2]), dim=1)  # (2N, d)
#     logits = z @ z.T / temperature  # (2N, 2N)
#     logits = logits.masked_fill(torch.eye(2 * n, dtype=torch.bool), -torch.inf)
#     return F.cross_entropy(logits, torch.arange(2 * n).roll(n))
# ```
#
# `cross_entropy` takes log-softmax and mean in one stable step; all that is left is to build logits and labels.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Recap
#
# - Every one of the $2N$ views is an anchor once: 1 positive, $2(N-1)$ negatives, $2N-1$ candidates.
# - NT-Xent is cross-entropy over cosine similarities divided by $\tau$, the anchor itself left out, averaged over
#   all $2N$ anchors.
# - Guessing costs $\ln(2N-1)$, and so does collapse.
# - Mask the diagonal with $-\infty$; if you delete it instead, shift the labels of the first $N$ rows.
# - The gradient pulls the positive with $(1-p)/\tau$ and pushes each negative with $p_j/\tau$: hard ones most.
#
# The results so far; notebook 06 explains the columns. The short run of section 6 saw 4,000 pictures, and so did its
# probe, where the other rows had 10,000; it is one run, and another number of threads moves it by points.

# %% tags=["slide-output"] slideshow={"slide_type": "subslide"}
results.table()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Three questions an interviewer would ask
#
# **1. How many terms stand in the denominator, and is the positive among them?**
#
# <details><summary>Answer</summary>
#
# $2N-1$: the positive and $2(N-1)$ negatives, all views but the anchor itself. The positive is among them, so the
# fraction is a probability and the loss cannot be negative. (Section 1)
#
# </details>
#
# **2. Your loss starts at 6.2 with a batch of 256 and does not move. What does that number tell you?**
#
# <details><summary>Answer</summary>
#
# $\ln(2 \cdot 256 - 1) = \ln 511 \approx 6.24$: all candidates are about equally likely. Either nothing is learned (learning
# rate, labels of the loss) or the embeddings have collapsed. Look at the contrastive accuracy and at the spread of
# the embeddings next. (Section 5)
#
# </details>
#
# **3. Why are the embeddings normalised before the product?**
#
# <details><summary>Answer</summary>
#
# Otherwise the loss can be lowered by making vectors longer, with no change of direction, and the temperature loses its
# meaning. In the paper's Table 5 training without it ($\tau = 10$) raises the contrastive accuracy to 91.7% and yet
# lowers the linear accuracy to 57.2%, against 87.8% and 64.4% with it at $\tau = 0.1$: more wins in the pretext task,
# a worse representation. (Section 4)
#
# </details>

# %% [markdown] slideshow={"slide_type": "skip"}
# ## Sources
#
# - Chen, Kornblith, Norouzi, Hinton: "A Simple Framework for Contrastive Learning of Visual Representations", 2020,
#   arXiv 2002.05709: section 2.1 and Algorithm 1 (the loss), Table 2 (gradients), Table 5 (normalisation and
#   temperature).
# - Sohn: "Improved Deep Metric Learning with Multi-class N-pair Loss Objective", NeurIPS 2016; van den Oord, Li,
#   Vinyals: "Representation Learning with Contrastive Predictive Coding", 2018, arXiv 1807.03748: the losses that
#   NT-Xent grew out of.
# - Next: notebook 03, what the temperature does.
