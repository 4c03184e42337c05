# %% [markdown] slideshow={"slide_type": "slide"}
# # 05 Embeddings: what the encoder learned, and what it threw away
#
# Before the number comes the look. This notebook opens the representation: which pictures lie together, which factors can
# still be read from it, and what it looks like when training fails silently.
#
# ![The method in one picture. Lit: the representation h, which the encoder makes](figures/method_05.svg)
#
# **You will be able to**
# - read a cosine similarity matrix sorted by class, before and after training;
# - draw a t-SNE map and list what it does not show;
# - measure, factor by factor and layer by layer, what is kept and what is lost;
# - recognise collapse, and say what prevents it.
#
# **Time**: 20 min to read, under 1 min to run on 2 cores, 15 min for the exercises.
# **Prerequisites**: notebooks 00 and 02.

# %% tags=["install"] slideshow={"slide_type": "skip"}
# Where the package is installed, as it is after `make lab`, this cell does nothing.
import importlib.util

if importlib.util.find_spec("simclr_edu") is None:
    print("The package simclr_edu is missing: run `pip install .` in the course's folder, then begin anew.")

# %% tags=["setup"] slideshow={"slide_type": "skip"}
import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from sklearn.manifold import TSNE

from simclr_edu import diagnostics, encoders, evaluate, simclr
from simclr_edu.augment import SimCLRAugment
from simclr_edu.course import exercises, explorers, figures, profiles, results
from simclr_edu.data import load_images
from simclr_edu.losses import NTXentLoss, nt_xent
from simclr_edu.pretrain import SHIPPED, course_run, learning_rate, load_run

SEED = 0
PROFILE = profiles.current_profile()
print(profiles.describe(seed=SEED))
run = course_run(verbose=False)
if run.config.data != "shapes" or run.epoch < 100:  # what is said here needs known factors and a long run
    run = load_run(SHIPPED)
source = "the encoder shipped with the package" if run.directory == SHIPPED else "your own run"
print(f"{source}: {run.config.encoder} on {run.config.data}, {run.epoch:.0f} epochs, seed {run.config.seed}")
data = load_images(run.config.data)
torch.manual_seed(SEED)
untrained = encoders.make_encoder(run.config.encoder, run.config.stem)
before = evaluate.embed(untrained, data.test_images)  # (M, D)
after = evaluate.embed(run.encoder, data.test_images)  # (M, D), h
z = evaluate.embed(run.model, data.test_images, level="z")  # (M, d)
factors = data.test_factors
light = factors["luma"] > (factors["background_luma_a"] + factors["background_luma_b"]) / 2  # (M,), on dark

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Cosine similarity, sorted by class
#
# The **cosine similarity** of two vectors is the cosine of the angle between them: 1 for the same direction, 0 for a right
# angle, -1 for opposite. NT-Xent knows nothing else of two embeddings. For $M$ pictures it is one matrix product of
# normalised rows.

# %% tags=["nbval-check-output"] slideshow={"slide_type": "-"}
u = F.normalize(after, dim=1)  # (M, D), every row of length 1
mine = u @ u.T  # (M, M)
torch.testing.assert_close(mine, diagnostics.similarity_matrix(after), atol=1e-5, rtol=0)
print("notebook = package: True; diagonal all 1:", bool((mine.diagonal() - 1).abs().max() < 1e-5))

# %% [markdown] slideshow={"slide_type": "subslide"}
# Sort pictures by class, and a good representation shows blocks along the diagonal. The mean over all pictures is
# subtracted first: it is common to all and would hide the differences. Within a class the pictures are sorted once more,
# by **polarity**: first the dark silhouettes on a light ground, then the light ones on a dark ground.
#
# *Before you run the next cell: what will the matrix of the random encoder look like?*

# %% tags=["slide-output"] slideshow={"slide_type": "subslide"}
groups = [((data.test_labels == k) & (light == p)).nonzero()[:10, 0] for k in range(10) for p in (0, 1)]
chosen = torch.cat(groups)  # (200,), sorted by class, then by polarity


def centred_similarity(h: torch.Tensor) -> torch.Tensor:
    return diagnostics.similarity_matrix((h - h.mean(0))[chosen])  # (200, 200)


figures.show(
    figures.before_after_similarity(
        centred_similarity(before), centred_similarity(after), data.test_labels[chosen], data.class_names
    )
)


# %% tags=["slide-output"] slideshow={"slide_type": "subslide"}
labels, polarity, self_pair = data.test_labels[chosen], light[chosen], torch.eye(200, dtype=torch.bool)
same = (labels[:, None] == labels) & ~self_pair  # (200, 200)
other = labels[:, None] != labels
agree = polarity[:, None] == polarity
parts = {"same class, same polarity": same & agree, "same class, opposite polarity": same & ~agree}
parts |= {"other class, same polarity": other & agree, "other class, opposite polarity": other & ~agree}
sims = {"before": centred_similarity(before), "after": centred_similarity(after)}
for name, part in parts.items():
    print(f"{name:31s}", "   ".join(f"{when} {sim[part].mean():5.2f}" for when, sim in sims.items()))
gap = {when: (sim[same & agree].mean() - sim[other & agree].mean()).item() for when, sim in sims.items()}
assert gap["after"] > gap["before"] + 0.2

# %% tags=["slide-output"] slideshow={"slide_type": "-"}
alike = {}
for a in range(10):
    for b in range(a):
        block = (labels[:, None] == a) & (labels == b) & agree
        alike[f"{data.class_names[b]} and {data.class_names[a]}"] = sims["after"][block].mean().item()
for pair in sorted(alike, key=alike.get, reverse=True)[:4]:
    print(f"{alike[pair]:5.2f}  {pair}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# The mean over a whole class is modest, and the chequered blocks say why: a class is **two** groups. Pictures of one class
# and one polarity are close; those of opposite polarity are not, though the class is the same. Off the diagonal some
# blocks are bright too: the pairs of classes listed above look alike, and the encoder finds so as well. Remember them;
# some return in the map below.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Nearest neighbours
#
# The plainest test of all: take a picture and look at what lies closest. A cross marks a neighbour of another class.
#
# *Before you run the next cells: what will the neighbours under the random encoder have in common?*


# %% slideshow={"slide_type": "-"}
asked = [(0, 0), (2, 1), (4, 0), (6, 1), (8, 0)]  # class and polarity of the pictures to ask about
queries = torch.stack([((data.test_labels == k) & (light == p)).nonzero()[0, 0] for k, p in asked])  # (5,)


def neighbours(h: torch.Tensor, k: int) -> torch.Tensor:
    return diagnostics.nearest_neighbours(h, h, k=k + 1)[0][:, 1:]  # (M, k), without the picture itself


def shares(x: torch.Tensor, found: torch.Tensor) -> float:
    return (x[found] == x[:, None]).float().mean().item()


near = {"random encoder": neighbours(before, 10), "SimCLR": neighbours(after, 10)}  # (M, 10) each
for name, found in near.items():
    same_class, same_polarity = shares(data.test_labels, found), shares(light, found)
    print(
        f"{name:15s} 10 neighbours share the class {same_class:.0%}, the polarity {same_polarity:.0%}",
        end="; ",
    )
    turn = (factors["hue"][found] - factors["hue"][:, None] + 180) % 360 - 180  # (M, 10), degrees
    print(f"hues are {turn.abs().mean():.0f} degrees apart (chance 90)")

# %% tags=["slide-output"] slideshow={"slide_type": "subslide"}
shown = [found[queries, :4] for found in near.values()]  # (5, 4) each
right = [data.test_labels[found] == data.test_labels[queries, None] for found in shown]
pictures = [data.test_images[found] for found in shown]
figures.show(figures.neighbours_before_after(data.test_images[queries], *pictures, *right))
assert shares(data.test_labels, near["SimCLR"]) > shares(data.test_labels, near["random encoder"]) + 0.3

# %% [markdown] slideshow={"slide_type": "subslide"}
# Before training, neighbours share the polarity and are somewhat alike in colour; after it they share the silhouette and still
# the polarity, while their hues are as far apart as by chance.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Positives and negatives
#
# The loss wants the two views of a picture close and all else far. From here to the map we look at $z$, not $h$: it is $z$
# that the loss compares. On test pictures, which it never saw:

# %% tags=["slide-output"] slideshow={"slide_type": "fragment"}
views = run.config.augmentation(data.image_size).two_views(
    data.test_images[:1000], generator=torch.Generator().manual_seed(SEED)
)
with torch.inference_mode():
    z1, z2 = (run.model(v)[1] for v in views)  # (1000, d) each
positive, negative = diagnostics.pair_similarities(z1, z2)
figures.show(figures.histogram_pair(positive, negative))
print(f"mean similarity: positives {positive.mean():.2f}, negatives {negative.mean():.2f}")
assert positive.mean() > negative.mean() + 0.3

# %% [markdown] slideshow={"slide_type": "subslide"}
# Most negatives lie near 0, few far to the right. Some pairs show the same class: they are **false negatives**. The
# loss has no labels and pushes them apart all the same. How hard? Among the negatives of an anchor, the softmax of the
# similarities over $\tau$ says which share of the push each one takes (notebook 03).
#
# *Before you run the next cell: of ten classes, one negative in ten is false. Which share of the push do they take?*

# %% slideshow={"slide_type": "-"}
N = 256  # pictures: 2N views, 2(N - 1) negatives for each of them
picture = torch.arange(N).repeat(2)  # (2N,), which picture a view is of
negative = picture[:, None] != picture  # (2N, 2N)
shape = data.test_labels[:N].repeat(2)  # (2N,)
false = (shape[:, None] == shape)[negative].view(2 * N, -1)  # (2N, 2N - 2)
sim = diagnostics.similarity_matrix(torch.cat([z1[:N], z2[:N]]))[negative].view(2 * N, -1)  # (2N, 2N - 2)
rare = false.float().mean().item()
print(f"of all negatives, false are {rare:4.0%}")
print(f"of each anchor's 10 hardest {false.gather(1, sim.topk(10).indices).float().mean():4.0%}")
push = {}
for tau in (0.05, 0.2, 0.5):
    push[tau] = (diagnostics.softmax_weights(sim, tau) * false).sum(1).mean().item()  # mean over anchors
    print(f"of the push at tau {tau:4}      {push[tau]:4.0%}")
assert push[0.05] > push[0.2] + 0.2 and push[0.2] > 3 * rare and push[0.5] > 1.4 * rare

# %% [markdown] slideshow={"slide_type": "subslide"}
# Few they are, harmless they are not: the softmax gives the largest weights to the largest similarities, and there the false
# ones crowd. At our $\tau = 0.2$ they take several times their share of the push; weighted by a lower one, in this same encoder, they
# would take nearly all.
# Why does it work nevertheless? The usual argument: the views of two pictures of one class overlap, and an encoder
# cannot push apart what the augmentation makes indistinguishable. (We did not test it.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## A map: t-SNE
#
# **t-SNE** places points in the plane such that neighbours stay neighbours. Its one important setting, the
# **perplexity**, is roughly how many neighbours each point tries to keep. It is a picture for people, not a measure.
#
# *Before you run the next cell: if you ran it again with another seed, what would stay and what would change?*

# %% slideshow={"slide_type": "-"}
M = 800
maps = {}
for perplexity in (5, 30, 100):
    for seed in (0, 1):
        tsne = TSNE(perplexity=perplexity, random_state=seed, init="random", max_iter=500)
        maps[perplexity, seed] = tsne.fit_transform(F.normalize(after[:M], dim=1).numpy())  # (M, 2)
explorers.tsne_explorer(maps, data.test_labels[:M], data.class_names)

# %% slideshow={"slide_type": "-"}
tsne = TSNE(perplexity=30, random_state=0, init="random", max_iter=500)
before_map = tsne.fit_transform(F.normalize(before[:M], dim=1).numpy())  # (M, 2)
three = {"random encoder": before_map, "SimCLR, seed 0": maps[30, 0], "SimCLR, seed 1": maps[30, 1]}
title = "After training every class has two islands; with another seed, in other places"
figures.show(figures.embedding_maps(three, data.test_labels[:M], data.class_names, title=title))

# %% [markdown] slideshow={"slide_type": "subslide"}
# Why twice? The same maps, coloured by polarity:

# %% slideshow={"slide_type": "-"}
two = {"random encoder": before_map, "SimCLR": maps[30, 0]}
title = "Light and dark lie apart, before training and after it"
words = ("dark on light", "light on dark")
figures.show(figures.embedding_maps(two, light[:M].long(), words, title=title))

# %% [markdown] slideshow={"slide_type": "skip"}
# Now point at a dot, with the mouse or with Tab and the arrow keys: its picture, and its five nearest neighbours **in the
# representation**, linked by dashed lines; those of another class have a dashed frame.
#
# *Before you try: will the neighbours of a dot always be the dots beside it?*

# %% slideshow={"slide_type": "skip"}
sim = diagnostics.similarity_matrix(after[:M])  # (M, M)
closest = sim.fill_diagonal_(-1).topk(5).indices  # (M, 5), a picture is not its own neighbour
title = "Point at a dot: its picture and its nearest neighbours in h"
mapped, classes = data.test_images[:M], data.test_labels[:M]
figures.embedding_map(maps[30, 0], mapped, classes, data.class_names, closest, title=title)

# %% [markdown] slideshow={"slide_type": "subslide"}
# What the map does **not** show:
# - **Sizes**: t-SNE evens out densities, so a wide island need not be a wide class.
# - **Distances between islands**: move the seed slider, and they change places.
# - **All neighbours**: a few dashed lines are long. Pictures that are close in $h$ may be torn apart in the plane.
# - **Whether there are clusters at all**: a low perplexity tears even noise into islands.
#
# One thing it does show here: every class has two islands, one for each polarity, and some look-alike classes touch. How
# far apart the two halves are drawn means nothing. That nearly all neighbours share the polarity, printed above,
# does, and it holds for the random encoder too: the split was there before training, and training did not close it. A likely
# reason: colour jitter hardly ever turns light into dark, so few positive pairs say that the two are the same. Inverting the
# brightness now and then would test it; we did not.
#
# So look at several, and let a measure decide: kNN or a linear probe on the representation itself, never on the map.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What did it keep?
#
# Now what only drawn data can answer. For each known factor, fit a linear probe that reads it from $h$, one that reads it
# from $z$, and one for the average that the encoder takes over the picture, two linear layers in front of $h$ (notebook 04). For the class the score is the accuracy, and chance is 0.1. For the others it is **$R^2$**, the share of the
# factor's variance that the probe explains: 1 is perfect, 0 no better than always guessing the mean. A hue is an
# angle; its score is the $R^2$ of sine and cosine.
#
# *Before you run the next cell: the augmentation changes place, size, hue and left-right. Which of the factors will be
# gone, and at which layer?*

# %% slideshow={"slide_type": "subslide"}
pooled = torch.nn.Sequential(*run.encoder.layers[:8])  # up to the average over the picture
train_h = evaluate.embed(run.encoder, data.train_images[:5000])
train_z = evaluate.embed(run.model, data.train_images[:5000], level="z")
train_p, test_p = (evaluate.embed(pooled, x) for x in (data.train_images[:5000], data.test_images))
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


p_scores, h_scores, z_scores = kept(train_p, test_p), kept(train_h, after), kept(train_z, z)
random_scores = kept(evaluate.embed(untrained, data.train_images[:5000]), before)

# %% tags=["slide-output"] slideshow={"slide_type": "subslide"}
for name in h_scores:
    stages = {"random h": random_scores, "average": p_scores, "h": h_scores, "z": z_scores}
    print(f"{name:18s}", "   ".join(f"{stage} {scores[name]:5.2f}" for stage, scores in stages.items()))
clip = [[max(0.0, v) for v in s.values()] for s in (h_scores, z_scores)]
title = "Hardly read from h: the hues and x. Read from h and z: class, y, scale, polarity"
figures.show(figures.factor_bars(list(h_scores), *clip, title=title))
assert h_scores["hue"] < random_scores["hue"] - 0.2 and h_scores["x"] < p_scores["x"] - 0.15
assert min(scores[name] for scores in (h_scores, z_scores) for name in ("class", "y", "scale", "luma")) > 0.6

# %% [markdown] slideshow={"slide_type": "subslide"}
# Read the rows from left to right. A random encoder passes colours on; after training a linear model reads neither **hue**, from
# the average already. `x` goes on the way from the average to $h$, in the two layers that SimCLRv2 would count to its head. `y`, `scale` and
# `luma`, the polarity of the contrast, are read better than before training. The head takes a little more of the scale and
# leaves the rest as it is.
#
# In the paper the head made the difference, on ImageNet (table 3): a probe tells the rotation that was applied with 67.6% from
# $h$ and 25.6% from $z$ (chance is 25%); whether the picture was corrupted with 99.5% and 59.6%, whether it was
# Sobel-filtered with 96.6% and 56.3% (chance is 50% in both); but whether it was turned gray with 99.3% and 97.4% (chance
# is 80%), hardly a loss. Its conjecture: the head takes the demand for invariance upon itself, so that $h$ need not. Our
# $h$ comes after two layers of such a head, and there `x` was lost.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Why x and not y?
#
# Crops move both, the flip swaps left and right, the jitter turns the hue by up to 72 degrees to either side. *How much does one
# view then say about the other?*

# %% slideshow={"slide_type": "-"}
recipe, places = run.config.augmentation(32), factors["y"][:1000]  # (1000,)
drawn = recipe.draw(2000, 32, 32, generator=torch.Generator().manual_seed(SEED))  # 1,000 pairs of views
top, _, height, _ = drawn.boxes.view(2, 1000, 4).unbind(2)  # (2, 1000) each, pixels
crops = (places * 32 - top) / height  # (2, 1000): where the silhouette's centre is in each of two crops
flipped = torch.where(drawn.flip.view(2, 1000), 1 - crops, crops)  # what the flip does to x
for name, pair in (("y, cropped twice", crops), ("x, cropped and flipped twice", flipped)):
    print(f"{name:29s} correlation of the two views {torch.corrcoef(pair)[0, 1]:5.2f}")
turns = torch.where(drawn.jitter, drawn.hue, 0).view(2, 1000) * 2 * math.pi  # (2, 1000) angles
most = math.radians(72)
one = 0.2 + 0.8 * math.sin(most) / most  # mean cosine of one turn; with probability 0.2 there is none
print(f"{'hue, turned twice':29s} mean cosine of the angle between {one**2:5.2f}")
assert abs((turns[0] - turns[1]).cos().mean() - one**2) < 0.07

# %% [markdown] slideshow={"slide_type": "subslide"}
# Crops move `y` gently: in one view it predicts `y` in the other, and so helps to find the positive. With `x` the flip breaks
# that. If this is the reason, then without the flip `x` must stay. The hue predicts too (1 would be no turn, 0 any turn at all;
# in one view in five there is no colour), and yet it is gone. Was that so from the start, and do turns all the way
# round take more of it? Three short runs, which differ in that alone:


# %% slideshow={"slide_type": "-"}
class AllHues(SimCLRAugment):
    """The hue turned by up to 180 degrees to either side, in place of 72."""

    def draw(self, *args, **kwargs):
        drawn = super().draw(*args, **kwargs)
        drawn.hue = drawn.hue * 2.5
        return drawn


def short_run(augmentation: SimCLRAugment, epochs: int = 3) -> simclr.SimCLR:
    torch.manual_seed(SEED)
    model, generator = simclr.SimCLR(encoders.make_encoder("tiny"), 64), torch.Generator().manual_seed(SEED)
    optimizer = torch.optim.AdamW(model.parameters())
    rows = [r for _ in range(epochs) for r in torch.randperm(4000, generator=generator).split(64)]
    for step, batch in enumerate(rows):
        optimizer.param_groups[0]["lr"] = learning_rate((step + 0.5) / len(rows), 3e-3)
        simclr.train_step(
            model, augmentation, NTXentLoss(0.2), optimizer, data.train_images[batch], generator
        )
    return model


# %% slideshow={"slide_type": "subslide"}
arms = {"as it is": recipe, "without the flip": replace(run.config, flip=False).augmentation(32)}
arms["hue all round"] = AllHues(
    32, strength=run.config.jitter_strength, crop_scale=(run.config.crop_scale, 1)
)
found = {}
for name, augmentation in arms.items():
    model, found[name] = short_run(augmentation), {}
    for level in ("h", "z"):
        train_x, test_x = (
            evaluate.embed(model, i, level=level) for i in (data.train_images[:5000], data.test_images)
        )
        for factor in ("x", "hue"):
            values = data.train_factors[factor][:5000], data.test_factors[factor]
            score = evaluate.probe_factor(train_x, values[0], test_x, values[1], kind=KIND[factor])
            found[name][f"{factor} in {level}"] = score
    print(f"{name:17s}", "   ".join(f"{what} {score:5.2f}" for what, score in found[name].items()))
assert found["without the flip"]["x in z"] > found["as it is"]["x in z"] + 0.15
assert found["hue all round"]["hue in h"] < found["as it is"]["hue in h"] - 0.05

# %% [markdown] slideshow={"slide_type": "subslide"}
# The flip it is: without it `x` is read even from $z$ (one run each). After three epochs hue is still there in part, in $h$ more
# than in $z$. It is lower where it was turned all the way round, but `x` in $h$, which that does not touch, moved as well: with
# one run each, do not build on that. The long run did without hue all the same. So an augmentation
# that changes a factor need not remove it; a factor that no longer helps to find the positive goes; and one that would
# help may go too. (Why the hue does, we did not test.)
#
# Rotation may be low for reasons of its own (untested): the flip hides its sign, a disc has none, and one linear probe must
# serve ten shapes.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Collapse
#
# Suppose the loss only pulled positives together. Mapping **every** picture to the same point would be perfect, and
# useless: that is **collapse**. A milder form is **dimensional collapse**, in which the embeddings fill few of their
# dimensions. Two figures tell: the standard deviation of each coordinate of the normalised embeddings (about
# $1/\sqrt d$ when they are spread out), and the **effective rank**, the exponential of the entropy of the singular
# values: with $d$ equal ones it is $d$, with a single one that is not zero it is 1.
#
# Here is one made on purpose: forty steps by the loss $-\cos(z_1, z_2)$, without negatives; beside it the same forty steps by
# NT-Xent, and the network before any step. All three are looked at as a training step sees them, with BatchNorm in training mode.


# %% slideshow={"slide_type": "-"}
def after(steps: int, objective) -> tuple[torch.Tensor, float]:
    torch.manual_seed(SEED)
    model = simclr.SimCLR(encoders.make_encoder("tiny"), 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    augmentation, generator = run.config.augmentation(data.image_size), torch.Generator().manual_seed(SEED)
    for step in range(steps):
        batch = data.train_images[step * 128 : step * 128 + 128]  # (128, 3, 32, 32)
        v1, v2 = augmentation.two_views(batch, generator=generator)
        loss = objective(*model(torch.cat([v1, v2]))[1].chunk(2))  # of z (256, 64)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return model(data.test_images[:1000].float() / 255)[1], loss.item() if steps else 0.0  # (1000, 64)


def pull_only(z1: torch.Tensor, z2: torch.Tensor) -> torch.Tensor:
    return -F.cosine_similarity(z1, z2).mean()


# %% slideshow={"slide_type": "subslide"}
untrained, _ = after(0, pull_only)
flat, loss = after(40, pull_only)
spread, _ = after(40, lambda z1, z2: nt_xent(z1, z2, run.config.temperature))
print(f"without negatives the loss is {loss:.3f}; the best that is possible is -1")
reports = {}
for name, x in (("before any step", untrained), ("40 steps, pull only", flat), ("40 steps, NT-Xent", spread)):
    reports[name] = report = diagnostics.collapse_report(x)
    numbers = f"std {report['std']:.3f} of {report['std_even']:.3f}, mean cosine {report['mean_cosine']:.2f}"
    print(f"{name:20s} {numbers}: {report['verdict'].split(':')[0]}")
assert reports["40 steps, pull only"]["mean_cosine"] > 0.95
assert max(reports[name]["mean_cosine"] for name in ("before any step", "40 steps, NT-Xent")) < 0.7

# %% [markdown] slideshow={"slide_type": "subslide"}
# Without negatives the loss is nearly perfect and everything points one way; with them, after as many steps, it does not. In
# SimCLR the **negatives** prevent it: a single point would make all $2N-1$ candidates equal, and the loss would be
# $\ln(2N-1)$, no better than guessing. (A mean cosine alone proves nothing: in **evaluation** mode the untrained network,
# whose BatchNorm has no statistics yet, points one way too. Look at the value before the first step.) Other methods use other means: a stop-gradient and a predictor (BYOL, SimSiam), or a penalty on correlated or constant dimensions (Barlow
# Twins, VICReg).
#
# That SimCLR does not fill all $d$ dimensions evenly is no alarm: pictures differ in a limited number of ways, in some
# more than in others. An effective rank near 1, or one that falls while training goes on, would be.

# %% tags=["nbval-check-output"] slideshow={"slide_type": "-"}
same_point = torch.ones(128, 64)
print(f"NT-Xent of a collapsed batch: {nt_xent(same_point, same_point):.4f}")
print(f"ln(2N - 1):                   {math.log(2 * 128 - 1):.4f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Exercise 1: sort by class
#
# Difficulty 1 of 5, 3 min, one line.


# %% tags=["exercise"] slideshow={"slide_type": "-"}
def my_order(labels):
    """Indices that put class 0 first, then class 1, and so on; within a class the order stays."""
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_order_by_class(my_order)

# %% [markdown] slideshow={"slide_type": "notes"}
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

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Exercise 2: nearest neighbours
#
# Difficulty 2 of 5, 6 min, two lines.


# %% tags=["exercise"] slideshow={"slide_type": "-"}
def my_neighbours(queries, gallery, k):
    """Indices (Q, k) of the k rows of gallery (G, d) nearest to each query (Q, d) by cosine, nearest first."""
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_nearest_neighbours(my_neighbours)

# %% [markdown] slideshow={"slide_type": "notes"}
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

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Exercise 3: effective rank
#
# Difficulty 2 of 5, 6 min, 4 lines.
#
# $\exp\left(-\sum_i p_i \ln p_i\right)$ with $p_i = \sigma_i / \sum_j \sigma_j$ and $\sigma$ the singular values.


# %% tags=["exercise"] slideshow={"slide_type": "-"}
def my_effective_rank(x):
    """Effective rank of x (N, D), a number from 1 to min(N, D)."""
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_effective_rank(my_effective_rank)

# %% [markdown] slideshow={"slide_type": "notes"}
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

# %% slideshow={"slide_type": "skip"}
results.table()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Recap
#
# - Sorted by class, the similarity matrix of a good representation shows blocks; that of a random one shows polarity, no class.
# - Neighbours share the silhouette, or one that looks alike, and still the polarity.
# - t-SNE shows neighbours; not sizes, not distances between islands.
# - From our long run's $h$ a linear model reads `y`, size and polarity; the hues and nearly all of `x` it does not. A task that
#   needs colour would have to look elsewhere.
# - The flip makes `x` useless for finding the positive; without it `x` stayed readable in $z$ (short runs, one each).
# - Without something that pushes apart, everything collapsed to one point within forty steps, and the loss looked perfect.

# %% [markdown] slideshow={"slide_type": "slide"}
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
# all negatives are false, but they crowd among the hardest, which the softmax pushes most: at $\tau = 0.2$ they took
# several times their share of the push here. The usual argument for why it works: views of two pictures of one class overlap, and the
# encoder cannot push apart what the augmentation makes indistinguishable.
#
# </details>

# %% [markdown] slideshow={"slide_type": "skip"}
# ## Sources
#
# - Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", arXiv 2002.05709: section 4.2, table 3.
# - L. van der Maaten, G. Hinton, "Visualizing Data using t-SNE", 2008.
# - O. Roy, M. Vetterli, "The effective rank", 2007. X. Chen, K. He, "Exploring Simple Siamese Representation Learning", 2021,
#   arXiv 2011.10566 (the standard deviation as a sign of collapse).
