# %% [markdown] slideshow={"slide_type": "slide"}
# # 05 Embeddings: what the encoder learned, and what it threw away
#
# Before the number comes the look. This notebook opens the representation: which pictures lie together, which factors can
# still be read from it, and what it looks like when training fails silently.
#
# **You will be able to**
# - read a cosine similarity matrix sorted by class, before and after training;
# - draw a t-SNE map and list what it does not show;
# - measure, factor by factor, what $h$ keeps and what $z$ loses;
# - recognise collapse, and say what prevents it.
#
# **Time**: 20 min to read, under 2 min to run on 2 cores. **Prerequisites**: notebooks 00 and 02.

# %% tags=["setup"]
import math

import torch
import torch.nn.functional as F
from sklearn.manifold import TSNE

from simclr_edu import diagnostics, evaluate, exercises, plots, profiles, results, widgets
from simclr_edu.data import load_images
from simclr_edu.models import make_encoder
from simclr_edu.pretrain import course_run

SEED = 0
PROFILE = profiles.current_profile()
print(profiles.describe(seed=SEED))
run = course_run()
data = load_images(run.config.data)
torch.manual_seed(SEED)
untrained = make_encoder(run.config.encoder, run.config.stem)
before = evaluate.embed(untrained, data.test_images)  # (M, D)
after = evaluate.embed(run.encoder, data.test_images)  # (M, D), h
z = evaluate.embed(run.model, data.test_images, level="z")  # (M, d)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Cosine similarity, sorted by class
#
# The **cosine similarity** of two vectors is the cosine of the angle between them: 1 for the same direction, 0 for a right
# angle, -1 for opposite. NT-Xent knows nothing else of two embeddings. For $M$ pictures it is one matrix product of
# normalised rows.

# %% tags=["nbval-check-output"]
u = F.normalize(after, dim=1)  # (M, D), every row of length 1
mine = u @ u.T  # (M, M)
torch.testing.assert_close(mine, diagnostics.similarity_matrix(after), atol=1e-5, rtol=0)
print("notebook = package: True; diagonal all 1:", bool((mine.diagonal() - 1).abs().max() < 1e-5))

# %% [markdown]
# Sort pictures by class, and a good representation shows blocks along the diagonal. The mean over all pictures is
# subtracted first: it is common to all and would hide the differences.
#
# *Before you run the next cell: what will the matrix of the random encoder look like?*

# %%
chosen = torch.cat([(data.test_labels == k).nonzero()[:20, 0] for k in range(10)])  # (200,), sorted by class


def centred_similarity(h: torch.Tensor) -> torch.Tensor:
    return diagnostics.similarity_matrix((h - h.mean(0))[chosen])  # (200, 200)


plots.show(
    plots.before_after_similarity(
        centred_similarity(before), centred_similarity(after), data.test_labels[chosen], data.class_names
    )
)


# %%
def gap(h: torch.Tensor) -> float:
    sim, same = centred_similarity(h), data.test_labels[chosen, None] == data.test_labels[None, chosen]
    return (sim[same & ~torch.eye(200, dtype=torch.bool)].mean() - sim[~same].mean()).item()


print(f"mean similarity within classes minus between: before {gap(before):.2f}, after {gap(after):.2f}")
assert gap(after) > gap(before) + 0.2

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Nearest neighbours
#
# The plainest test of all: take a picture and look at what lies closest. A cross marks a neighbour of another class.


# %%
def neighbours_figure(h: torch.Tensor, title: str):
    queries = chosen[::20]  # (10,): the first of each class
    gallery = torch.ones(len(h), dtype=torch.bool)
    gallery[queries] = False  # a picture is not its own neighbour
    rest = gallery.nonzero().squeeze(1)
    index, sim = diagnostics.nearest_neighbours(h[queries], h[rest], k=6)  # (10, 6)
    found = rest[index]
    same = data.test_labels[found] == data.test_labels[queries, None]
    return plots.nearest_neighbours(
        data.test_images[queries], data.test_images[found], sim, same, title=title
    )


plots.show(neighbours_figure(before, "Random encoder: neighbours share colours"))

# %%
plots.show(neighbours_figure(after, "SimCLR: neighbours share the silhouette"))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Positives and negatives
#
# The loss wants the two views of a picture close and all else far. On test pictures, which it never saw:

# %%
views = run.config.augmentation(data.image_size).two_views(
    data.test_images[:1000], generator=torch.Generator().manual_seed(SEED)
)
with torch.inference_mode():
    z1, z2 = (run.model(v)[1] for v in views)  # (1000, d) each
positive, negative = diagnostics.pair_similarities(z1, z2)
plots.show(plots.histogram_pair(positive, negative))
print(f"mean similarity: positives {positive.mean():.2f}, negatives {negative.mean():.2f}")
assert positive.mean() > negative.mean() + 0.3

# %% [markdown]
# The negatives have a long tail to the right. Many of those pairs show the same class: they are **false negatives**. The
# loss, which has no labels, pushes them apart all the same. It works because they are few among many.

# %%
same_class = data.test_labels[:1000, None] == data.test_labels[None, :1000]  # (1000, 1000)
cross = diagnostics.similarity_matrix(z1, z2)  # (1000, 1000): view 1 against view 2
off = ~torch.eye(1000, dtype=torch.bool)
hard = cross > cross[off].quantile(0.99) if cross[off].numel() < 16_000_000 else cross > 0.9
print(f"share of negatives that show the same class: {same_class[off].float().mean():.0%}")
print(f"among the 1% most similar negatives:         {same_class[off & hard].float().mean():.0%}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## A map: t-SNE
#
# **t-SNE** places points in the plane such that neighbours stay neighbours. It is a picture for people, not a measure.
#
# *Before you run the next cell: if you ran it again with another seed, what would stay and what would change?*

# %%
M = 800
maps = {}
for perplexity in (5, 30, 100):
    for seed in (0, 1):
        tsne = TSNE(perplexity=perplexity, random_state=seed, init="random", max_iter=500)
        maps[perplexity, seed] = tsne.fit_transform(F.normalize(after[:M], dim=1).numpy())  # (M, 2)
widgets.tsne_explorer(maps, data.test_labels[:M], data.class_names)

# %%
plots.show(
    plots.embedding_scatter(
        maps[30, 0], data.test_labels[:M], data.class_names, title="t-SNE of h: islands of one class each"
    )
)

# %% [markdown] slideshow={"slide_type": "subslide"}
# Now point at a dot, with the mouse or with Tab and the arrow keys: its picture, and its five nearest neighbours **in the
# representation**, linked by dashed lines; those of another class have a dashed frame.
#
# *Before you try: will the neighbours of a dot always be the dots beside it?*

# %%
sim = diagnostics.similarity_matrix(after[:M]).fill_diagonal_(
    -1
)  # (M, M), a picture is not its own neighbour
near = sim.topk(5).indices  # (M, 5)
title = "Point at a dot: its picture and its nearest neighbours in h"
pictures, classes = data.test_images[:M], data.test_labels[:M]
plots.embedding_map(maps[30, 0], pictures, classes, data.class_names, near, title=title)

# %%
random_map = TSNE(perplexity=30, random_state=0, init="random", max_iter=500).fit_transform(
    before[:M].numpy()
)
plots.show(
    plots.embedding_scatter(
        random_map, data.test_labels[:M], data.class_names, title="t-SNE of the random encoder"
    )
)

# %% [markdown] slideshow={"slide_type": "subslide"}
# What the map does **not** show:
# - **Sizes**: t-SNE evens out densities, so a wide island need not be a wide class.
# - **Distances between islands**: move the seed slider, and they change places.
# - **All neighbours**: a few dashed lines are long. Pictures that are close in $h$ may be torn apart in the plane.
# - **Whether there are clusters at all**: a low perplexity tears even noise into islands.
#
# One thing it does show here: most classes have **two** islands, far apart. One holds light silhouettes on a dark
# ground, the other dark ones on a light ground. Colour jitter changes hues and brightness but never turns light into
# dark, so no positive pair ever said that the two are the same.
#
# So look at several, and let a measure decide: kNN or a linear probe on the representation itself, never on the map.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What did it keep?
#
# Now what only drawn data can answer. For each known factor, fit a linear probe that reads it from $h$, and one that reads
# it from $z$. A score of 1 is perfect, 0 no better than guessing the mean ($R^2$; for the class, the accuracy).
#
# *Before you run the next cell: the augmentation changes place, size, hue and left-right. Which of the factors should be
# gone from $z$?*

# %%
train_h = evaluate.embed(run.encoder, data.train_images[:5000])
train_z = evaluate.embed(run.model, data.train_images[:5000], level="z")
KIND = {"hue": "circular", "background_hue_a": "circular", "x": "regression", "y": "regression"}
KIND |= {"scale": "regression", "rotation": "regression", "luma": "regression"}


def kept(train_x: torch.Tensor, test_x: torch.Tensor) -> dict[str, float]:
    scores = {
        "class": evaluate.fit_linear(train_x, data.train_labels[:5000], test_x, data.test_labels).accuracy
    }
    for name, kind in KIND.items():
        values = data.train_factors[name][:5000], data.test_factors[name]
        scores[name] = evaluate.probe_factor(train_x, values[0], test_x, values[1], kind=kind)
    return scores


h_scores, z_scores = kept(train_h, after), kept(train_z, z)

# %%
for name in h_scores:
    print(f"{name:18s} h {h_scores[name]:5.2f}   z {z_scores[name]:5.2f}")
clip = [[max(0.0, v) for v in s.values()] for s in (h_scores, z_scores)]
plots.show(
    plots.factor_bars(list(h_scores), clip[0], clip[1], title="What h keeps, z has partly thrown away")
)
nuisances = list(KIND)
assert sum(h_scores[n] for n in nuisances) > sum(z_scores[n] for n in nuisances)

# %% [markdown] slideshow={"slide_type": "subslide"}
# Read it against the augmentation. `x` is nearly gone from $z$: the flip swaps left and right, so both views of a
# picture agree only on what does not depend on it. `y` stays, since no flip swaps top and bottom. `luma`, the
# polarity of the contrast, stays too, for the reason seen in the map. What a representation ignores is what its
# augmentation told it to ignore, no less and no more.
#
# The projection head throws information away, and that is its use. The paper measured the same on ImageNet (table 3): a
# probe tells the rotation that was applied with 67.6% from $h$ and 25.6% from $z$; whether the picture was corrupted
# with 99.5% and 59.6%; whether it was Sobel-filtered with 96.6% and 56.3%. The head takes the loss's demand for
# invariance upon itself, so that $h$ need not.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Collapse
#
# Suppose the loss only pulled positives together. Mapping **every** picture to the same point would be perfect, and
# useless: that is **collapse**. A milder form is **dimensional collapse**, in which the embeddings fill few of their
# dimensions. Two figures tell: the standard deviation of normalised embeddings (about $1/\sqrt d$ when they are spread
# out), and the **effective rank**, the exponential of the entropy of the singular values.
#
# Here is one made on purpose: the same data, the loss $-\cos(z_1, z_2)$, no negatives.

# %%
torch.manual_seed(SEED)
from simclr_edu.models import SimCLR

collapsing = SimCLR(make_encoder("tiny"), 64)
optimizer = torch.optim.AdamW(collapsing.parameters(), lr=4e-3)
augmentation, generator = run.config.augmentation(data.image_size), torch.Generator().manual_seed(SEED)
for step in range(40):
    v1, v2 = augmentation.two_views(data.train_images[step * 128 : step * 128 + 128], generator=generator)
    z_both = collapsing(torch.cat([v1, v2]))[1]  # (256, 64)
    loss = -F.cosine_similarity(*z_both.chunk(2)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"loss {loss.item():.3f}; the best that is possible is -1")

# %%
collapsing.eval()
with torch.inference_mode():
    flat = collapsing(data.test_images[:1000].float() / 255)[1]  # (1000, 64)
for name, x in (("no negatives", flat), ("SimCLR", z[:1000])):
    report = diagnostics.collapse_report(x)
    print(
        f"{name:13s} std {report['std']:.3f} of {report['std_even']:.3f}, mean cosine {report['mean_cosine']:.2f}"
    )
    print(f"{'':13s} {report['verdict']}")
assert diagnostics.collapse_report(z[:1000])["mean_cosine"] < 0.3
assert diagnostics.collapse_report(flat)["mean_cosine"] > 0.8

# %% [markdown]
# The loss is nearly perfect and everything points one way. In SimCLR the **negatives** prevent it: a single point would
# make all $2N-1$ candidates equal, and the loss would be $\ln(2N-1)$, the worst one can do without trying. Other methods use other
# means: a stop-gradient and a predictor (BYOL, SimSiam), or a penalty on correlated or constant dimensions (Barlow
# Twins, VICReg).

# %% tags=["nbval-check-output"]
from simclr_edu.losses import nt_xent

same_point = torch.ones(128, 64)
print(f"NT-Xent of a collapsed batch: {nt_xent(same_point, same_point):.4f}")
print(f"ln(2N - 1):                   {math.log(2 * 128 - 1):.4f}")

# %% [markdown] slideshow={"slide_type": "skip"}
# ### Exercise 1 (one line, 3 min): sort by class


# %% tags=["exercise"]
def my_order(labels):
    """Indices that put class 0 first, then class 1, and so on; within a class the order stays."""
    raise NotImplementedError


# %%
exercises.check_order_by_class(my_order)

# %% [markdown] slideshow={"slide_type": "skip"}
# <details><summary>Hint</summary>
#
# `torch.argsort` has an option that keeps equal elements in order.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_order(labels):
#     return torch.argsort(labels, stable=True)
# ```
#
# </details>

# %% [markdown] slideshow={"slide_type": "skip"}
# ### Exercise 2 (two lines, 6 min): nearest neighbours


# %% tags=["exercise"]
def my_neighbours(queries, gallery, k):
    """Indices (Q, k) of the k rows of gallery (G, d) nearest to each query (Q, d) by cosine, nearest first."""
    raise NotImplementedError


# %%
exercises.check_nearest_neighbours(my_neighbours)

# %% [markdown] slideshow={"slide_type": "skip"}
# <details><summary>Hint</summary>
#
# Normalise the rows of both, multiply, then `topk`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_neighbours(queries, gallery, k):
#     similarity = F.normalize(queries, dim=1) @ F.normalize(gallery, dim=1).T  # (Q, G)
#     return similarity.topk(k, dim=1).indices
# ```
#
# </details>

# %% [markdown] slideshow={"slide_type": "skip"}
# ### Exercise 3 (4 lines, 6 min): effective rank
#
# $\exp\left(-\sum_i p_i \ln p_i\right)$ with $p_i = \sigma_i / \sum_j \sigma_j$ and $\sigma$ the singular values.


# %% tags=["exercise"]
def my_effective_rank(x):
    """Effective rank of x (N, D), a number from 1 to min(N, D)."""
    raise NotImplementedError


# %%
exercises.check_effective_rank(my_effective_rank)

# %% [markdown] slideshow={"slide_type": "skip"}
# <details><summary>Hint</summary>
#
# `torch.linalg.svdvals`. A singular value of 0 adds nothing; what does `0 * log(0)` give?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_effective_rank(x):
#     s = torch.linalg.svdvals(x)
#     p = s / s.sum()
#     p = p[p > 0]
#     return torch.exp(-(p * p.log()).sum())
# ```
#
# </details>

# %% [markdown] slideshow={"slide_type": "skip"}
# ## The results table so far

# %%
results.table()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Recap
#
# - Sorted by class, the similarity matrix of a good representation shows blocks; that of a random one does not.
# - Neighbours share the silhouette, no longer the colours.
# - t-SNE shows neighbours; not sizes, not distances between islands.
# - $h$ keeps more of the nuisance factors than $z$. That is why $h$ is kept.
# - Without something that pushes apart, everything collapses to one point, and the loss looks perfect.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ## Interview: three questions
#
# <details><summary>What can one read from a t-SNE plot, and what not?</summary>
#
# That points lie in each other's neighbourhood. Not cluster sizes, not distances between clusters, and, at a low
# perplexity, not even whether clusters exist. Several seeds and perplexities, and a quantitative measure beside it.
#
# </details>
#
# <details><summary>What is collapse, and what prevents it in SimCLR?</summary>
#
# All inputs map to the same embedding (or to few dimensions), which makes positives agree perfectly. The negatives in the
# denominator prevent it: a collapsed batch has a loss of $\ln(2N-1)$.
#
# </details>
#
# <details><summary>What is a false negative, and why does SimCLR work in spite of it?</summary>
#
# Another picture of the same class, treated as a negative because labels are unknown. With ten classes about a tenth of
# all negatives are false. Each is pushed only a little, while the views of a picture are pulled together every time;
# and the encoder cannot push apart what the augmentation makes indistinguishable.
#
# </details>

# %% [markdown]
# ## Sources
#
# - Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", arXiv 2002.05709: section 4.2, table 3.
# - L. van der Maaten, G. Hinton, "Visualizing Data using t-SNE", 2008.
# - O. Roy, M. Vetterli, "The effective rank", 2007. X. Chen, K. He, "Exploring Simple Siamese Representation Learning", 2021,
#   arXiv 2011.10566 (the standard deviation as a sign of collapse).
