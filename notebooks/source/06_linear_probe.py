# %% [markdown] slideshow={"slide_type": "slide"}
# # 06 The linear probe: one number that can be trusted
#
# The encoder never saw a label. How good is it? Freeze it, put a linear classifier on top, and measure, beside every
# baseline that could have done as well.
#
# **You will be able to**
# - freeze an encoder properly, and prove that it stayed frozen;
# - extract features and fit a linear probe by hand, with its one setting chosen on a validation split;
# - draw the label-budget curve, and say when pretraining pays most;
# - name the ways in which a probe lies.
#
# **Time**: 20 min to read, 2 to 3 min to run on 2 cores. **Prerequisites**: notebooks 00 and 04.

# %% tags=["setup"] slideshow={"slide_type": "skip"}
import torch
import torch.nn.functional as F

from simclr_edu import evaluate, exercises, plots, profiles, results, widgets
from simclr_edu.data import load_images
from simclr_edu.evaluate import state_hash
from simclr_edu.models import make_encoder
from simclr_edu.pretrain import course_run

SEED = 0
PROFILE = profiles.current_profile()
print(profiles.describe(seed=SEED))
run = course_run()
data = load_images(run.config.data)
encoder = run.encoder
torch.manual_seed(SEED)
untrained = make_encoder(run.config.encoder, run.config.stem)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Freeze, and prove it
#
# To **freeze** an encoder takes two things, and people forget the second. A hash of everything it has learned, parameters
# and buffers, taken before and after, is the proof.
#
# *Before you run the next cells: the loop below never calls an optimizer, and no parameter asks for a gradient. Can the
# hash change all the same: in training mode, in evaluation mode?*


# %% tags=["nbval-check-output"] slideshow={"slide_type": "subslide"}
def forward_only(module: torch.nn.Module, images: torch.Tensor) -> None:
    with torch.no_grad():
        for batch in images.split(256):
            module(batch.float() / 255)  # (256, D), thrown away


def changed(training: bool) -> bool:
    torch.manual_seed(SEED)
    module = make_encoder("tiny").requires_grad_(False).train(training)
    before = state_hash(module)
    forward_only(module, data.test_images[:1024])
    return state_hash(module) != before


print("requires_grad_(False), train mode: changed", changed(training=True))
print("requires_grad_(False), eval mode:  changed", changed(training=False))

# %% [markdown] slideshow={"slide_type": "subslide"}
# So two things are needed:
#
# 1. No gradient: `requires_grad_(False)`, so that no optimizer can move a weight.
# 2. Evaluation mode: `eval()`. In training mode BatchNorm normalises by the statistics of the batch, so an embedding
#    depends on its neighbours in the batch, **and** it moves its running statistics with every forward pass. These are
#    buffers, not parameters: no gradient is needed to change them.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Extract and fit
#
# Since the encoder is frozen, each picture needs one pass, once. What remains is a matrix of features. First by hand,
# then the package's `embed`, which restores every module's mode afterwards.


# %% slideshow={"slide_type": "-"}
def my_features(module: torch.nn.Module, images: torch.Tensor, batch_size: int = 512) -> torch.Tensor:
    module.eval()
    with torch.inference_mode():
        return torch.cat([module(batch.float() / 255) for batch in images.split(batch_size)])  # (N, D)


# %% tags=["nbval-check-output"] slideshow={"slide_type": "-"}
before = state_hash(encoder)
train_h = evaluate.embed(encoder, data.train_images)  # (N, D)
test_h = evaluate.embed(encoder, data.test_images)
torch.testing.assert_close(my_features(encoder, data.test_images).clone(), test_h)
print("notebook = package: True")
print("encoder unchanged by extraction:", state_hash(encoder) == before)

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Fit
#
# A **linear probe** is multinomial logistic regression: class scores $W h + b$, cross-entropy, a little weight decay. The
# problem is convex, so there is one answer, and an optimizer such as **L-BFGS**, which uses the curvature and the whole data
# set at once, finds it in seconds.
#
# Features are standardised first, with the mean and deviation **of the training set**.

# %% slideshow={"slide_type": "subslide"}
mean, std = train_h.mean(0), train_h.std(0).clamp(min=1e-6)
X, X_test = (train_h - mean) / std, (test_h - mean) / std  # (N, D)
W = torch.zeros(X.shape[1], data.num_classes, requires_grad=True)
b = torch.zeros(data.num_classes, requires_grad=True)
solver = torch.optim.LBFGS([W, b], max_iter=100, line_search_fn="strong_wolfe")


def objective() -> torch.Tensor:
    solver.zero_grad()
    loss = F.cross_entropy(X @ W + b, data.train_labels) + 1e-4 * W.square().sum()
    loss.backward()
    return loss


solver.step(objective)
by_hand = ((X_test @ W + b).argmax(1) == data.test_labels).float().mean().item()
print(f"linear probe by hand: {by_hand:.1%}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# How strong should the weight decay be? The tempting way is to try five values and report the best test accuracy. Then
# the test set has chosen, and the number is no longer a test. The package chooses on a **validation split** of the
# training set, fits again on all of it, and looks at the test set once.

# %% slideshow={"slide_type": "-"}
probe = evaluate.linear_probe(encoder, data, seed=SEED)
print(f"package: test {probe.accuracy:.1%}, validation {probe.val_accuracy:.1%}, chosen l2 {probe.l2:g}")
assert abs(probe.accuracy - by_hand) < 0.02
assert probe.state_hash == state_hash(encoder)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Which classes are mixed up?
#
# A **confusion matrix**: the row is the true class, the column the prediction.

# %% tags=["slide-output"] slideshow={"slide_type": "-"}
confusion = evaluate.confusion_matrix(data.test_labels, probe.predictions, data.num_classes)
plots.show(plots.confusion(confusion, data.class_names))
both = (confusion + confusion.T).triu(1)  # (C, C): taken for one another, either way
for count, cell in zip(*both.flatten().topk(4), strict=True):
    i, j = divmod(cell.item(), data.num_classes)
    print(f"{count:4d} pictures: {data.class_names[i]} and {data.class_names[j]}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# The errors are not spread evenly. The pairs that are mixed up most are look-alikes, those that shared an island in
# notebook 05: star and plus, disc and square.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Beside all baselines
#
# Four rows: raw pixels, a random encoder, SimCLR's $h$, and its $z$ after the projection head.
#
# *Before you run the next cell: predict $h$ and $z$. Which wins, and by how much?*

# %% slideshow={"slide_type": "-"}
scores = {
    "raw pixels": evaluate.probe_scores(None, data, seed=SEED),
    "random encoder": evaluate.probe_scores(untrained, data, seed=SEED),
    "SimCLR": evaluate.probe_scores(encoder, data, seed=SEED),
    "SimCLR z": evaluate.probe_scores(run.model, data, seed=SEED, level="z"),
}
for name, score in scores.items():
    print(f"{name:15s} linear {score['linear']:6.1%}   kNN {score['knn']:6.1%}")
    results.record(name, notebook="06", seed=SEED, profile=PROFILE.name, **score)
h_linear, z_linear, M = scores["SimCLR"]["linear"], scores["SimCLR z"]["linear"], len(data.test_labels)
error = (h_linear * (1 - h_linear) / M) ** 0.5  # of a share measured on M pictures
print(f"h minus z: {100 * (h_linear - z_linear):.1f} points; standard error of either: {100 * error:.1f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# `SimCLR z` is the same network probed **after** the projection head. It saw the loss directly, and keeps less of what
# the loss asked it to forget. The paper reports that $h$ beats $z$ by more than 10 points on ImageNet (section 4.2). Here
# $z$ is a point ahead: for reading a silhouette nothing is missing from it, because the augmentation
# leaves silhouettes alone. What $z$ lost, `x` above all, this probe does not ask for (notebook 05). And this is **one**
# network: another seed may turn so small a difference round.

# %% slideshow={"slide_type": "-"}
if data.name == "shapes":
    assert h_linear >= 0.85 and h_linear > z_linear - 0.02
    assert scores["raw pixels"]["linear"] <= 0.35 and scores["random encoder"]["linear"] <= 0.35
linear = {name: score["linear"] for name, score in scores.items()}
title = f"Linear probe: SimCLR features {h_linear:.0%}, random features {linear['random encoder']:.0%}"
plots.show(
    plots.bar_with_error(list(linear), list(linear.values()), chance=1 / data.num_classes, title=title)
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## How many labels does it take?
#
# This is what self-supervision is for. Give the probe 1%, 10% and 100% of the labels; give a network from scratch the
# same labels; and **fine-tune** the pretrained one, that is, let the labels move all its weights.
#
# *Before you run the next cells: with 100 labels, which is better, training from scratch or a linear classifier on top of
# SimCLR? With all 10,000?*

# %% slideshow={"slide_type": "subslide"}
FRACTIONS = (0.01, 0.1, 1.0)
budget, before = {}, state_hash(encoder)
for name, start in (("SimCLR", encoder), ("random encoder", untrained), ("raw pixels", None)):
    probes = [evaluate.linear_probe(start, data, f, seed=SEED) for f in FRACTIONS]
    budget[f"{name} + linear"] = [probe.accuracy for probe in probes]

# %% slideshow={"slide_type": "-"}
# Ten passes over the labels, or as many as make 400 steps: the package's default.
for name, start in (("SimCLR, fine-tuned", encoder), ("supervised from scratch", untrained)):
    tuned = [evaluate.fine_tune(start, data, f, seed=SEED) for f in FRACTIONS]
    budget[name] = [result.accuracy for result in tuned]
for name, accuracies in budget.items():
    print(f"{name:24s}", "   ".join(f"{f:.0%}: {a:.1%}" for f, a in zip(FRACTIONS, accuracies, strict=True)))
print("encoder still frozen:", state_hash(encoder) == before)

# %% tags=["slide-output"] slideshow={"slide_type": "subslide"}
plots.show(plots.label_budget(FRACTIONS, budget, chance=1 / data.num_classes))
pretrained = ("SimCLR + linear", "SimCLR, fine-tuned")
rest = [name for name in budget if name not in pretrained]
for k, fraction in enumerate(FRACTIONS):
    lead = max(budget[name][k] for name in pretrained) - max(budget[name][k] for name in rest)
    apart = budget["SimCLR, fine-tuned"][k] - budget["SimCLR + linear"][k]
    print(
        f"{fraction:4.0%}: pretrained ahead by {100 * lead:4.1f}, fine-tuned minus linear {100 * apart:+5.1f}"
    )
assert min(budget[name][0] for name in pretrained) > max(budget[name][0] for name in rest)

# %% slideshow={"slide_type": "-"}
widgets.label_budget_explorer(FRACTIONS, budget, chance=1 / data.num_classes)

# %% [markdown] slideshow={"slide_type": "subslide"}
# Few labels: a linear classifier on the frozen encoder is far ahead of everything else. **Do not believe it yet.** The encoder
# was pretrained under crops, flips, colour jitter and grayscale; the two trained networks got crops and flips, 400 steps, and
# nine tenths of the labels. So the gap measures the augmentation and the steps as well. Give them the same, as
# `augment=run.config.augmentation(32)`, `steps=4000`, `val_fraction=0`: at ten labels a class the network from scratch then comes
# out ahead of the probe (README, "Results", with draws and spreads).
#
# With all labels fine-tuning is at least as good as the probe, and from scratch comes within a few points. Differences of a
# point mean nothing with one seed.
#
# The paper, on ImageNet with a ResNet-50 (Table B.4): 1% of the labels give 48.3% top-1 and 10% give 65.6% after
# fine-tuning; the linear probe on all labels gives 69.3%. With four times the width: 63.0, 74.4 and 76.5%.

# %% slideshow={"slide_type": "skip"}
common, chance = {"notebook": "06", "seed": SEED, "profile": PROFILE.name}, 1 / data.num_classes
results.record("chance", **common, linear=chance, knn=chance)
for k, share in enumerate(("1%", "10%", "100%")):
    for name in ("supervised from scratch", "SimCLR, fine-tuned"):
        results.record(f"{name}, {share} of labels", **common, accuracy=budget[name][k])
    if share != "100%":  # that row is SimCLR's own, above
        results.record(f"SimCLR, {share} of labels", **common, linear=budget["SimCLR + linear"][k])

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Exercise 1 (two lines, 3 min): freeze


# %% tags=["exercise"] slideshow={"slide_type": "-"}
def my_freeze(encoder):
    """Freeze the encoder in place: no gradients, and nothing that moves by itself."""
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_freeze(my_freeze)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary>Hint</summary>
#
# Parameters have `requires_grad`; BatchNorm's statistics do not care about it.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_freeze(encoder):
#     encoder.requires_grad_(False)
#     encoder.eval()
# ```
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Exercise 2 (5 lines, 8 min): extract features
#
# You may leave the encoder in evaluation mode; the package's `embed` is stricter and puts every mode back.


# %% tags=["exercise"] slideshow={"slide_type": "-"}
def my_extract(encoder, images, batch_size):
    """Features (N, D) of uint8 images (N, 3, H, W), in order; the encoder takes floats in [0, 1]."""
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_extract_features(my_extract)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary>Hint</summary>
#
# `images.split(batch_size)` keeps the last, smaller batch. Which mode, and what about gradients? The encoder may come in
# train mode.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_extract(encoder, images, batch_size):
#     encoder.eval()
#     with torch.no_grad():
#         return torch.cat([encoder(batch.float() / 255) for batch in images.split(batch_size)])
# ```
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Exercise 3 (6 lines, 8 min): a stratified label budget
#
# One per cent of the labels must mean one per cent of **each class**, and at least one picture of each.


# %% tags=["exercise"] slideshow={"slide_type": "-"}
def my_subset(labels, fraction, generator):
    """Indices of a random `fraction` of the labels, the same share of each class."""
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_label_subset(my_subset)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary>Hint</summary>
#
# For each class: its indices, shuffled with `torch.randperm(n, generator=generator)`, the first `max(1, round(...))`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_subset(labels, fraction, generator):
#     chosen = []
#     for k in labels.unique():
#         rows = (labels == k).nonzero().squeeze(1)
#         shuffled = rows[torch.randperm(len(rows), generator=generator)]
#         chosen.append(shuffled[: max(1, round(fraction * len(rows)))])
#     return torch.cat(chosen)
# ```
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## How a probe lies
#
# - **The backbone was not frozen.** Then it is fine-tuning, and the number is too good. The hash tells.
# - **Frozen, but left in train mode.** Predictions depend on the batch, and the statistics drift.
# - **The best epoch, or the best setting, was picked on the test set.** Pick on validation.
# - **No random-encoder control.** Part of the number is architecture, not learning.
# - **One seed.** Report the spread where the difference is small.

# %% [markdown] slideshow={"slide_type": "skip"}
# ## The finished table

# %% slideshow={"slide_type": "skip"}
results.table()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Recap
#
# - Frozen means no gradient **and** eval mode, and a hash proves it.
# - The probe's setting is chosen on validation; the test set is looked at once.
# - Without a label SimCLR learned features from which a linear classifier reads the class that pixels and random features
#   hide.
# - A baseline without the augmentation that the method got makes any method look good: ask for it first.
# - A gap of a point, from one seed, is not a result.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Interview: three questions
#
# <details><summary>Linear probe, kNN, fine-tuning: when do you use which?</summary>
#
# kNN has nothing to train and no setting that matters much: use it during training. The linear probe is the standard
# measure of a frozen representation. Fine-tuning measures what the encoder is worth as a starting point, and is what
# one ships when there are labels.
#
# </details>
#
# <details><summary>You set requires_grad to False everywhere. Why might the features still change?</summary>
#
# In train mode BatchNorm updates its running mean and variance on every forward pass, without any gradient. Dropout would
# make features random as well. `eval()` stops both.
#
# </details>
#
# <details><summary>Your probe reaches 95%. What do you ask before you believe it?</summary>
#
# What do raw pixels and a random encoder reach? Was the encoder frozen and in eval mode? Who chose the regularisation and
# the epoch, validation or test? Do train and test overlap? How large is the spread over seeds?
#
# </details>

# %% [markdown] slideshow={"slide_type": "skip"}
# ## Sources
#
# - Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", arXiv 2002.05709: section 4.2,
#   appendices B.6 and B.8.1 (linear evaluation), Table B.4 (few labels).
# - Wu, Xiong, Yu, Lin, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", 2018: the kNN classifier.
