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
# To **freeze** an encoder takes two things, and people forget the second.
#
# 1. No gradient: `requires_grad_(False)`, so that no optimizer can move a weight.
# 2. Evaluation mode: `eval()`. In training mode BatchNorm normalises by the statistics of the batch, so an embedding
#    depends on its neighbours in the batch, **and** it moves its running statistics with every forward pass.
#
# The running statistics are buffers, not parameters: no gradient is needed to change them. A proof of freezing hashes
# both, before and after.
#
# *Before you run the next cell: the loop below never calls an optimizer. In which mode does the hash change?*


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

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Extract
#
# Since the encoder is frozen, each picture needs one pass, once. What remains is a matrix of features. In view first, then
# the package's `embed`, which restores every module's mode afterwards.


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
# ## Fit
#
# A **linear probe** is multinomial logistic regression: class scores $W h + b$, cross-entropy, a little weight decay. The
# problem is convex, so there is one answer, and a full-batch optimizer such as L-BFGS finds it in seconds.
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

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Beside all baselines
#
# *Before you run the next cell: write down what raw pixels and the random encoder reached in notebook 00.*

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

# %% [markdown] slideshow={"slide_type": "subslide"}
# `SimCLR z` is the same network probed **after** the projection head, on $z$. It saw the loss directly, and keeps less of
# what the loss asked it to forget. The paper reports that $h$ beats $z$ by more than 10 points on ImageNet (section 4.2);
# ours is a far easier task, so the gap may be smaller. The code below checks only the direction.

# %% tags=["slide-output"] slideshow={"slide_type": "-"}
assert scores["SimCLR"]["linear"] >= 0.85
assert scores["raw pixels"]["linear"] <= 0.35 and scores["random encoder"]["linear"] <= 0.35
assert scores["SimCLR"]["linear"] >= scores["SimCLR z"]["linear"]
plots.show(
    plots.bar_with_error(
        list(scores), [s["linear"] for s in scores.values()], chance=0.1, title="A linear probe on each"
    )
)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Which classes are mixed up?
#
# A **confusion matrix**: the row is the true class, the column the prediction.

# %% tags=["slide-output"] slideshow={"slide_type": "-"}
confusion = evaluate.confusion_matrix(data.test_labels, probe.predictions, data.num_classes)
plots.show(plots.confusion(confusion, data.class_names))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## How many labels does it take?
#
# This is what self-supervision is for. Give the probe 1%, 10% and 100% of the labels; give a network from scratch the
# same labels; and **fine-tune** the pretrained one, that is, let the labels move all its weights.
#
# *Before you run the next cell: with 100 labels, which is better, training from scratch or a line on top of SimCLR? With
# all 10,000?*

# %% slideshow={"slide_type": "subslide"}
FRACTIONS = (0.01, 0.1, 1.0)
budget = {}
for name, start in (("SimCLR", encoder), ("random encoder", untrained), ("raw pixels", None)):
    few = [evaluate.linear_probe(start, data, f, seed=SEED).accuracy for f in FRACTIONS[:2]]
    budget[f"{name} + linear"] = [*few, scores[name]["linear"]]  # all labels: measured above

# %% slideshow={"slide_type": "-"}
EPOCHS = {0.01: 40, 0.1: 10, 1.0: 2}  # passes over the labels: fewer where there are more
for name, start in (("SimCLR, fine-tuned", encoder), ("supervised from scratch", untrained)):
    tuned = [evaluate.fine_tune(start, data, f, epochs=EPOCHS[f], seed=SEED) for f in FRACTIONS]
    budget[name] = [result.accuracy for result in tuned]
for name, accuracies in budget.items():
    print(f"{name:24s}", "   ".join(f"{f:.0%}: {a:.1%}" for f, a in zip(FRACTIONS, accuracies, strict=True)))
print("encoder still frozen:", state_hash(encoder) == before)

# %% tags=["slide-output"] slideshow={"slide_type": "subslide"}
plots.show(plots.label_budget(FRACTIONS, budget, chance=0.1))
assert budget["SimCLR + linear"][0] > max(budget[k][0] for k in budget if k != "SimCLR + linear")

# %% slideshow={"slide_type": "-"}
widgets.label_budget_explorer(FRACTIONS, budget, chance=0.1)

# %% [markdown] slideshow={"slide_type": "subslide"}
# Few labels: a pretrained encoder with a line on top is far ahead of everything, fine-tuning included: a hundred labels
# cannot guide three hundred thousand weights, but they can place a line. Many labels: training from scratch catches up,
# and fine-tuning, which starts from the better place, comes out best.
#
# The paper, on ImageNet with a ResNet-50 (section 6): 1% of the labels give 48.3% top-1 and 10% give 65.6% after
# fine-tuning; the linear probe on all labels gives 69.3%. With four times the width: 63.0, 74.4 and 76.5%.

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

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The finished table

# %% tags=["slide-output"] slideshow={"slide_type": "-"}
few = budget["SimCLR + linear"][0]
results.record("SimCLR, 1% of labels", notebook="06", seed=SEED, profile=PROFILE.name, linear=few)
results.record("chance", notebook="06", seed=SEED, profile=PROFILE.name, linear=0.1, knn=0.1)
results.table(columns=("linear", "knn"))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Recap
#
# - Frozen means no gradient **and** eval mode, and a hash proves it.
# - The probe's setting is chosen on validation; the test set is looked at once.
# - Without a label SimCLR learned features from which a linear classifier reads the class that pixels and random features
#   hide.
# - The fewer the labels, the more it pays.

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
# - Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", arXiv 2002.05709: sections 4.2
#   and 6, appendix B.
# - Wu, Xiong, Yu, Lin, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", 2018: the kNN classifier.
