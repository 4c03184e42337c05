# %% [markdown] slideshow={"slide_type": "slide"}
# # 01 Augmentation: what two views of one picture should share
#
# In contrastive learning nobody says what a picture shows. The only teacher is the **augmentation**: the random change
# that turns one picture into two **views**. Whatever survives it, the encoder may use; whatever it destroys
# cannot help to find the other view, so there is no reason to keep it.
#
# ![The method in one picture. Lit: the augmentation, which makes two views of one picture](figures/method_01.svg)
#
# **You will be able to**
# - build the five operations of SimCLR's augmentation on batches, and the function that returns two views;
# - spot the bug of drawing one set of random numbers for a whole batch;
# - explain, with a histogram, why crops alone are a trap, and show it in an experiment.
#
# **Time**: 25 min to read, about 1 min to run on 2 cores, 11 min for the exercises.
# **Prerequisites**: notebook 00, tensor indexing.

# %% tags=["install"] slideshow={"slide_type": "skip"}
# Where the package is installed, as it is after `make lab`, this cell does nothing.
import importlib.util

if importlib.util.find_spec("simclr_edu") is None:
    print("The package simclr_edu is missing: run `pip install .` in the course's folder, then begin anew.")

# %% tags=["setup"] slideshow={"slide_type": "skip"}
import statistics

import torch
import torch.nn.functional as F

from simclr_edu import augment, evaluate
from simclr_edu.augment import SimCLRAugment
from simclr_edu.course import exercises, explorers, figures, profiles, results
from simclr_edu.course.evidence import arms
from simclr_edu.data import load_images, sample_photographs
from simclr_edu.encoders import make_encoder
from simclr_edu.pretrain import PretrainConfig, pretrain

SEED = 0
PROFILE = profiles.current_profile()
print(profiles.describe(seed=SEED))
photo = sample_photographs(224)[1]  # (3, 224, 224), uint8
data = load_images("shapes")
recipe = PretrainConfig().augmentation(32)  # the one that notebook 04 trains with

# %% [markdown] slideshow={"slide_type": "slide"}
# ## One photograph, five operations
#
# The recipe of the paper (Chen et al. 2020, section 3 and appendix A): **random resized crop**, **horizontal flip**,
# **colour jitter**, **grayscale**, **Gaussian blur**. We build each on a batch `x` of shape `(B, 3, H, W)` with
# values in [0, 1]. The random numbers come as arguments: what an operation does, and how its numbers are drawn, are
# two different questions.

# %% slideshow={"slide_type": "-"}
batch = photo.expand(6, 3, 224, 224).float() / 255  # (6, 3, 224, 224): one picture, six times
generator = torch.Generator().manual_seed(SEED)
print(tuple(batch.shape), batch.dtype, f"values {batch.min():.2f} to {batch.max():.2f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### 1. Crop
#
# Choose a box with a random **area** (8% to 100% of the picture) and a random **aspect ratio** (3/4 to 4/3), cut it
# out, and resize it. Two crops of one picture may overlap, sit side by side, or lie one inside the other: "the part
# belongs to the whole" is a rich thing to learn.


# %% slideshow={"slide_type": "-"}
def draw_box(height: int, width: int, low: float = 0.08) -> tuple[int, int, int, int]:
    area = height * width * (low + (1 - low) * torch.rand((), generator=generator))
    ratio = torch.exp(torch.empty(()).uniform_(-1, 1, generator=generator) * torch.log(torch.tensor(4 / 3)))
    h, w = int((area / ratio).sqrt().round()), int((area * ratio).sqrt().round())
    h, w = min(h, height), min(w, width)
    top = int(torch.randint(height - h + 1, (), generator=generator))
    left = int(torch.randint(width - w + 1, (), generator=generator))
    return top, left, h, w


boxes = [draw_box(224, 224) for _ in range(6)]
crops = torch.stack(
    [
        F.interpolate(x[None, :, t : t + h, left : left + w], (224, 224), mode="bilinear", antialias=True)[0]
        for x, (t, left, h, w) in zip(batch, boxes, strict=True)
    ]
)  # (6, 3, 224, 224)
figures.show(
    figures.image_grid(crops, columns=6, title="Six crops of one photograph, resized to the same side")
)

# %% [markdown] slideshow={"slide_type": "subslide"}
# A loop over pictures is clear and slow. The package does the whole batch with two matrix products, one that mixes
# rows and one that mixes columns. Same boxes, same result:

# %% tags=["nbval-check-output"] slideshow={"slide_type": "-"}
ours = augment.crop_and_resize(batch, torch.tensor(boxes), 224)  # (6, 3, 224, 224)
torch.testing.assert_close(ours, crops, atol=1e-4, rtol=0)
print("crop by hand = crop of the package: True")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### 2. Flip
#
# Mirror left and right with probability one half, decided **for each picture**. A loop again; exercise 1 does without.

# %% slideshow={"slide_type": "-"}
coin = torch.rand(6, generator=generator) < 0.5  # (6,)
flipped = torch.stack([x.flip(-1) if c else x for x, c in zip(batch, coin, strict=True)])  # (6, 3, 224, 224)
torch.testing.assert_close(flipped, augment.horizontal_flip(batch, coin))
print("flipped:", coin.tolist())

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### 3. Colour jitter
#
# Four changes, each with a random factor, in random order: **brightness** (times a factor), **contrast** (away from
# the mean gray), **saturation** (away from gray, pixel by pixel) and **hue** (turn the colour circle). After each,
# values are clamped to [0, 1]. With **strength** $s$ the factors lie within $1 \pm 0.8s$, the hue shift within
# $\pm 0.2s$ of a turn, and the whole jitter is applied with probability 0.8.
#
# The first three are one formula: a blend of the picture with something duller (a factor above 1 moves away from it).


# %% slideshow={"slide_type": "-"}
def blend(x: torch.Tensor, dull: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    f = factor[:, None, None, None]  # (B, 1, 1, 1): one factor a picture
    return (f * x + (1 - f) * dull).clamp(0, 1)


def luma(x: torch.Tensor) -> torch.Tensor:
    return 0.299 * x[:, 0:1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:3]  # (B, 1, H, W)


factor = torch.linspace(0.3, 1.7, 6)  # (6,)
brighter = blend(batch, torch.zeros_like(batch), factor)
contrast = blend(batch, luma(batch).mean((1, 2, 3), keepdim=True), factor)
saturation = blend(batch, luma(batch), factor)
hue = augment.adjust_hue(batch, torch.linspace(-0.2, 0.2, 6))
steps = [("brightness", brighter), ("contrast", contrast), ("saturation", saturation), ("hue", hue)]
figures.show(
    figures.augmentation_steps(steps, title="Colour jitter: each row moves one factor", x_label="low to high")
)

# %% tags=["nbval-check-output"] slideshow={"slide_type": "skip"}
from torchvision.transforms.v2 import functional as tvf

for name, mine in steps[:3]:
    torch.testing.assert_close(mine, getattr(augment, f"adjust_{name}")(batch, factor), atol=1e-4, rtol=0)
    textbook = torch.stack(
        [getattr(tvf, f"adjust_{name}")(x, f.item()) for x, f in zip(batch, factor, strict=True)]
    )
    torch.testing.assert_close(mine, textbook, atol=1e-4, rtol=0)
    print(f"{name}: notebook = package = torchvision")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### 4. Grayscale, 5. blur
#
# With probability 0.2 the colour goes altogether: `luma` from above, in all three channels. At 224 pixels, a
# **Gaussian blur** follows with probability 0.5: standard deviation from 0.1 to 2 pixels, kernel a tenth of the side.
# At 32 pixels the paper leaves blur out (appendix B.9).

# %% slideshow={"slide_type": "-"}
gray = luma(batch[:1]).expand(1, 3, 224, 224)
torch.testing.assert_close(gray, augment.to_grayscale(batch[:1]), atol=1e-4, rtol=0)
sigmas = torch.tensor([0.1, 1.0, 2.0])
blurred = augment.gaussian_blur(batch[:3], sigmas, kernel_size=23)  # (3, 3, 224, 224)
shown = torch.cat([batch[:1], gray, blurred])
captions = ["original", "grayscale", "sigma 0.1", "sigma 1", "sigma 2"]
figures.show(
    figures.image_grid(shown, captions, columns=5, title="Grayscale drops the colour, blur the fine detail")
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## All of it, and the sliders
#
# `SimCLRAugment` chains the five. Move a slider to see what a strength does: the random choices stay the same until you
# move `draw`.

# %% slideshow={"slide_type": "-"}
explorers.augmentation_explorer(photo, seed=SEED)

# %% tags=["slide-output"] slideshow={"slide_type": "subslide"}
paper = SimCLRAugment(224, strength=1.0, blur=True)
views = paper(photo.expand(10, 3, 224, 224), generator=torch.Generator().manual_seed(SEED))
title = "Ten views of one photograph, the paper's ImageNet recipe"
figures.show(figures.image_grid(views, columns=5, title=title))

# %% [markdown] slideshow={"slide_type": "subslide"}
# At 32 pixels on the course's data, with the settings that notebook 04 trains with, printed below. Its crops keep at
# least 60% of the area, where the paper goes down to 8%: a small piece of a silhouette on a plain ground shows hardly
# anything of it, and these silhouettes lie anywhere in the picture.

# %% slideshow={"slide_type": "-"}
explorers.augmentation_explorer(data.train_images[3], seed=SEED)

# %% slideshow={"slide_type": "-"}
print(
    f"jitter strength {recipe.strength:g}, grayscale {recipe.grayscale:g}, crops of {recipe.crop_scale} of the area"
)
v1, v2 = recipe.two_views(data.train_images[:8], generator=torch.Generator().manual_seed(SEED))
figures.show(figures.view_pairs(data.train_images[:8], v1, v2))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Drawn per picture, or once for the batch?
#
# Many tensor libraries draw **one** set of random numbers a call. Called on a batch, they give every picture the same
# crop and the same colours. The code runs, and the pictures look fine one by one. But a step then sees two draws in place
# of $2N$: one step in 25 compares gray pictures with gray ones throughout (0.2 times 0.2), one in 25 has no jitter in either
# view, and what a step teaches hangs on the luck of two draws.
#
# *Before you run the next cell: in one of the two rows every picture got the same draw. Can you tell which by eye?*

# %% slideshow={"slide_type": "-"}
pictures = data.train_images[:8]  # (8, 3, 32, 32)
drawn = recipe.draw(8, 32, 32, generator=torch.Generator().manual_seed(33))
first = torch.zeros(8, dtype=torch.long)  # index 0, eight times
draws = [drawn, drawn[first]]  # one draw for each picture; picture 0's draw for all
order = torch.randperm(2, generator=torch.Generator().manual_seed(1)).tolist()
rows = [(f"row {name}", recipe.apply(pictures, draws[i])) for name, i in zip("AB", order, strict=True)]
figures.show(figures.augmentation_steps(rows, title="Eight pictures, augmented: in which row is the bug?"))

# %% [markdown] slideshow={"slide_type": "subslide"}
# By eye it is guesswork, which is why this bug lives long. (The first column is the same in both rows by construction: the draw
# that the bug repeats is picture 0's.) A test is easy: give the same picture eight times, and look at the standard
# deviation over the eight views, averaged over the pixels. Where it is 0, there is the bug.

# %% tags=["slide-output"] slideshow={"slide_type": "-"}
same_picture = data.train_images[3].expand(8, 3, 32, 32)
for name, i in zip("AB", order, strict=True):
    print(f"row {name}: spread over the batch {recipe.apply(same_picture, draws[i]).std(0).mean():.3f}")
assert recipe(same_picture, generator=torch.Generator().manual_seed(SEED)).std(0).mean() > 0.05

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Exercise 1: flip where the coin says so
#
# Difficulty 1 of 5, 4 min, one line.
#
# The whole batch at once, without a loop.


# %% tags=["exercise"] slideshow={"slide_type": "-"}
def my_flip(x, coin):
    """x (B, 3, H, W), coin (B,) bool: mirror left and right where coin is True."""
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_horizontal_flip(my_flip)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary>Hint</summary>
#
# `x.flip(-1)` mirrors every picture. `torch.where` picks per picture once `coin` has shape `(B, 1, 1, 1)`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_flip(x, coin):
#     return torch.where(coin[:, None, None, None], x.flip(-1), x)
# ```
#
# All pictures are mirrored; the coin, broadcast over channels and pixels, picks for each which of the two is kept.
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Exercise 2: grayscale
#
# Difficulty 1 of 5, 4 min, three lines.
#
# `luma` above takes the channels one by one and returns one. Write it with the weights of the eye (0.299 red, 0.587 green,
# 0.114 blue) as one tensor, on the dtype and device of `x`, and return three channels.


# %% tags=["exercise"] slideshow={"slide_type": "-"}
def my_grayscale(x):
    """x (B, 3, H, W) in [0, 1] to the same shape, all three channels the luma."""
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_grayscale(my_grayscale)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary>Hint</summary>
#
# A weighted sum over dimension 1, kept as a dimension, then repeated three times.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_grayscale(x):
#     weights = torch.tensor([0.299, 0.587, 0.114], dtype=x.dtype, device=x.device)
#     luma = (x * weights[None, :, None, None]).sum(1, keepdim=True)  # (B, 1, H, W)
#     return luma.expand(-1, 3, -1, -1).clone()
# ```
#
# `keepdim` keeps the channel dimension, so that it can be repeated; `clone` gives each channel memory of its own.
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Exercise 3: two views
#
# Difficulty 2 of 5, 3 min, one line.
#
# `augment(x)` draws anew each time it is called and returns one view of each picture.


# %% tags=["exercise"] slideshow={"slide_type": "-"}
def my_two_views(augment, x):
    """Two independent views of each picture in x (B, 3, H, W): a pair of tensors."""
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_two_views(my_two_views)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary>Hint</summary>
#
# Both views start from the original. From how many draws?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_two_views(augment, x):
#     return augment(x), augment(x)
# ```
#
# Two calls, two independent draws. `v = augment(x); return v, v` would make the task trivial, and `augment(augment(x))`
# a second view that is changed twice.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The colour shortcut
#
# Take two crops of one photograph, and one crop of another. How can a network tell which two belong together without
# knowing what a flower is? By the colours: two crops of one picture share nearly the same **histogram** (Chen et al.
# 2020, figure 6). To show it clearly the crops here are smaller than those of the recipe: 20 to 50% of the area.

# %% slideshow={"slide_type": "-"}
TOP = 0.7  # one scale for the three figures
crop_only = SimCLRAugment(224, color=False, flip=False, crop_scale=(0.2, 0.5))
a, b = crop_only(photo.expand(2, 3, 224, 224), generator=torch.Generator().manual_seed(4))
other = crop_only(sample_photographs(224)[:1], generator=torch.Generator().manual_seed(4))[0]
title = "Two crops of one photograph: alike"
figures.show(figures.colour_histograms(a, b, names=("crop A", "crop B"), title=title, top=TOP))

# %% slideshow={"slide_type": "-"}
title = "Crops of two photographs: different"
figures.show(figures.colour_histograms(a, other, names=("crop A", "other picture"), title=title, top=TOP))

# %% [markdown] slideshow={"slide_type": "subslide"}
# A feature that wins the game without any understanding is a **shortcut**. Colour jitter makes it worth less. How much, the
# **overlap** of two histograms says, the share that they have in common: over 40 draws of the jitter, for two crops of one
# photograph and for crops of two.

# %% tags=["slide-output"] slideshow={"slide_type": "-"}
jitter = SimCLRAugment(224, strength=1.0, crop=False, flip=False, grayscale=0)
trio = torch.stack([a, b, other])  # (3, 3, 224, 224)
drawn = [jitter(trio, generator=torch.Generator().manual_seed(seed)) for seed in range(40)]


def overlap(x: torch.Tensor, y: torch.Tensor, bins: int = 16) -> float:
    counts = [torch.stack([torch.histc(c, bins, 0, 1) for c in image]) for image in (x, y)]  # (3, bins) each
    return torch.minimum(*counts).sum().item() / x.numel()


same = [overlap(x[0], x[1]) for x in drawn]
two = [overlap(x[0], x[2]) for x in drawn]
print(f"overlap before jitter: one photograph {overlap(a, b):.0%}, two {overlap(a, other):.0%}")
print(f"after, mean of 40: one photograph {statistics.mean(same):.0%}, two {statistics.mean(two):.0%}")
ja, jb, _ = drawn[sorted(range(40), key=same.__getitem__)[20]]  # a draw from the middle
title = f"The same two crops after jitter, a typical draw: {overlap(ja, jb):.0%} in common, not {overlap(a, b):.0%}"
assert statistics.mean(same) < overlap(a, b) - 0.2
figures.show(figures.colour_histograms(ja, jb, names=("crop A", "crop B"), title=title, top=TOP))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Experiment: crop only, colour only, both
#
# The question of the paper's Figure 5, on our pictures. Four arms, the same network, the same number of steps; only
# the augmentation differs:
#
# - **flips only**: the control, next to no augmentation;
# - **crop only**: random crops and flips, no colour jitter, no grayscale;
# - **colour only**: colour jitter, grayscale and flips, no crops;
# - **crop + colour**: all of them, the recipe above.
#
# The design is not the paper's. There both views are always cropped, and the pair under test is applied to one of
# them; here an arm is applied to both views, and two arms have no crops at all.
#
# The other settings are those that were chosen for crop + colour. Three runs of each arm, seeds 0 to 2, for 20 epochs like notebook 04 and, to see what the length does, for 5: longer than
# a notebook may take. They were run by `python -m simclr_edu evidence --what arms --out FOLDER`, and their results come with
# the package. Below we train one of the 24 networks ourselves and compare.

# %% [markdown] slideshow={"slide_type": "subslide"}
# Each encoder is judged by a **linear probe**, a linear classifier on its frozen features, on 2,000 test pictures: with
# all 10,000 labels, and with 10 a class. How the loss works is the subject of notebook 02; here it is a black box that
# pulls the two views of a picture together. The score in this pretext task is the **contrastive accuracy**: the share
# of views of 256 test pictures whose nearest other view, of all $2N-1 = 511$, is its positive. Chance is 0.2%.
#
# *Before you run the next cell: rank the four by linear probe. And which will have the best contrastive accuracy?*

# %% slideshow={"slide_type": "-"}
shipped = arms.shipped()
long, short = (arms.summary(shipped, epochs) for epochs in (20, 5))
print(
    f"run on {shipped['date']}, torch {shipped['machine']['torch']}, mean ± deviation of 3 seeds, in percent"
)
for epochs, rows in ((5, short), (20, long)):
    print(f"{epochs} epochs")
    for name, row in rows.items():
        cells = (row[key] for key in ("contrastive", "linear", "few_labels"))
        shown = (f"{100 * mean:5.1f} ± {100 * std:.1f}" for mean, std in cells)
        print("{:14s} contrastive accuracy {}   linear probe {}   10 labels a class {}".format(name, *shown))

# %% tags=["slide-output"] slideshow={"slide_type": "subslide"}
linear = {name: row["linear"] for name, row in long.items()}  # (mean, std) each
untrained = []
for seed in range(3):
    torch.manual_seed(seed)
    untrained.append(evaluate.linear_probe(make_encoder("tiny"), data, seed=seed).accuracy)
bars = {"random encoder": (statistics.mean(untrained), statistics.stdev(untrained)), **linear}
means, spreads = zip(*bars.values(), strict=True)
title = f"Crops alone: {means[2]:.0%}, no better than an untrained network. Crops and colour: {means[4]:.0%}"
figures.show(figures.bar_with_error(list(bars), means, spreads, chance=0.1, title=title))
assert linear["crop only"][0] <= 0.35 and linear["crop only"][0] < means[0]
assert linear["crop + colour"][0] > linear["colour only"][0] + 0.05 > linear["crop only"][0] + 0.3
for seed in shipped["config"]["seeds"]:
    pair, alone = (
        shipped["scores"][arms.key(a, 5, seed)]["linear"] for a in ("crop + colour", "colour only")
    )
    assert alone > pair, seed

# %% [markdown] slideshow={"slide_type": "fragment"}
# Read the printed columns together. Flips only and crop only solve the pretext task without a mistake and are the two
# worst representations in the figure, no better than the network that learned nothing. The pair loses most of its views to a
# negative and is the best. Each arm is scored on its own views, an easier or a harder task, so these accuracies do not rank
# them: **a solved pretext task says nothing of the representation.** What counts is by which cue it was solved.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### One of them, live
#
# Crop only for 5 epochs, the default recipe with the colours left alone, beside the mean and the deviation of the shipped
# runs. (Even with their seed a run differs a little: another processor rounds differently, and training amplifies it.)

# %% slideshow={"slide_type": "-"}
run = pretrain(PretrainConfig(color=False, epochs=5, seed=SEED, device="cpu"), data, progress=False)
live = arms.measure(run, data)
for score, (mean, std) in short["crop only"].items():
    print(f"{score:12s} here {live[score]:.3f}   shipped {mean:.3f} ± {std:.3f}")
assert all(
    abs(live[score] - short["crop only"][score][0]) < 0.05 + 2 * short["crop only"][score][1]
    for score in ("linear", "contrastive", "hue")
)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Then why crops?
#
# Colour only finds nearly every positive, and its probe is good. With all labels and after 5 epochs it is ahead of the pair,
# for each of the three seeds: stop there, and you would say that crops do harm. By 20 epochs the pair is ahead, by some ten
# points with all labels and by more than thirty with 10 a class, where colour only has hardly moved. **How long the arms are
# trained decides what such a comparison shows**, and so does the number of labels.
#
# That agrees with the paper on photographs: no single transformation suffices, and crop with colour distortion is the
# pair that stands out (section 3.1, figure 5). Which of the things that crops change makes the difference here, place,
# size or missing pieces, we did not test. And the shapes were designed for this course, by us.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What do the encoders know?
#
# How well can the hue of the silhouette, and how high up its centre lies, be read off the features by a linear model?
# The share of the variance that it explains, **R²**, is 1 for a perfect read-out and 0 for guessing the mean. (A hue is
# an angle and is read as its sine and cosine.) By hand for the encoder that we have just trained; the shipped results
# hold the same for all arms:

# %% slideshow={"slide_type": "-"}
train_h, test_h = (evaluate.embed(run.encoder, x) for x in (data.train_images, data.test_images))
hues = data.train_factors["hue"], data.test_factors["hue"]  # (10000,), (2000,)
by_hand = evaluate.probe_factor(train_h, hues[0], test_h, hues[1], kind="circular")
assert by_hand == live["hue"]
for name in long:
    cells = (f"{rows[name][key][0]:5.2f}" for key in ("hue", "y") for rows in (short, long))
    print("{:14s} R² of hue: 5 epochs {}, 20 epochs {}; of height: {}, {}".format(name, *cells))
assert all(
    long["crop only"]["hue"][0] > long[name]["hue"][0] + 0.1 for name in ("colour only", "crop + colour")
)

# %% [markdown] slideshow={"slide_type": "fragment"}
# Crop only knows the hue best and of the height nothing. Both arms with colour jitter have all
# but dropped the hue after 20 epochs, although a jitter that turns it by at most 72 degrees leaves the hues of two views
# somewhat alike. The pair drops it later than colour only. It knows the height best, although crops shift it: they
# shift it only a little, so the place may still help to find the other view. We did not test that.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### How strong?
#
# On ImageNet stronger jitter helps: top-1 of 59.6, 61.0, 62.6 and 63.2% at strengths 1/8, 1/4, 1/2 and 1, and 64.5% with
# blur (table 1), while a supervised network gets worse, from 77.0 to 75.4%. There, with all labels, what helped
# contrast did not help supervision; with few labels that need not hold.

# %% slideshow={"slide_type": "skip"}
for name in ("crop only", "colour only", "crop + colour"):  # at 20 epochs
    scores = {key: long[name][key][0] for key in ("linear", "knn")}
    results.record(name, notebook="01", profile="laptop", **scores)
results.table()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Recap
#
# - Two views of one picture are a positive pair; the augmentation decides what they share.
# - Every random choice is drawn per picture, and afresh for each view.
# - Two crops share a colour histogram. Without colour jitter the encoder kept the hue, and of class and height next to nothing.
# - Contrastive accuracy, the score in the pretext task, is no measure of the representation.
# - A comparison of arms can turn with the length of the training and the number of labels: say both.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Interview: three questions
#
# <details><summary>Why does SimCLR need colour distortion on top of crops?</summary>
#
# Two crops of one picture have nearly the same colour histogram, so colours alone tell positives from negatives. The
# encoder takes this shortcut and has no reason to learn anything else. Colour jitter and grayscale remove the cue. (And
# why crops on top of colour? Because no single transformation suffices, on photographs and on our shapes: colour alone
# does well there, but falls behind with longer training, most of all when labels are few.)
#
# </details>
#
# <details><summary>What goes wrong when one set of augmentation parameters is used for a whole batch?</summary>
#
# All pictures of a view get the same crop and the same colours, so a step sees two random draws in place of $2N$. Some steps
# are without any colour, some without any jitter, and what a step teaches hangs on the luck of two draws. It is hard
# to see: each picture looks plausible, and the loss falls. Augmenting one picture eight times shows it at once.
#
# </details>
#
# <details><summary>Can an augmentation be too strong?</summary>
#
# Yes. What it destroys the loss gives no reason to learn. If the task is to tell colours, colour jitter removes the answer; if crops are
# so small that the object is often missing, positives share nothing. The augmentation states which differences do
# not matter, and that depends on the task.
#
# </details>

# %% [markdown] slideshow={"slide_type": "skip"}
# ## Sources
#
# - Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", arXiv 2002.05709: section 3,
#   figures 5 and 6, table 1, appendix A (recipe), appendix B.9 (CIFAR-10).
# - The two photographs come with scikit-learn (`load_sample_images`): `china.jpg` by danielbuechele and `flower.jpg` by
#   vultilion, both on Flickr, [CC BY 2.0](https://creativecommons.org/licenses/by/2.0/); cut to their centre and resized here.
