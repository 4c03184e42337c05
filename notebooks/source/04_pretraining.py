# %% [markdown] slideshow={"slide_type": "slide"}
# # 04 Pretraining: encoder, projection head, loop
#
# All parts are on the table: views (01), loss (02), temperature (03). This notebook puts them together and trains for
# real.
#
# ![The method in one picture. Lit: the training loop, in which the loss trains encoder f and projection head g](figures/method_04.svg)
#
# **You will be able to**
# - write the model, the training step and the learning-rate schedule of SimCLR from memory;
# - read a pretraining run: is the loss stuck, or is that what learning looks like?
# - stop a run, resume it, and prove that nothing changed;
# - say what the projection head and the length of the run buy, from runs that differ in nothing else;
# - say what each speed-up buys: batched augmentation, memory order, mixed precision, compilation.
#
# **Time**: 30 min to read, about 2 min to run on 2 cores, 23 min for the exercises.
# **Prerequisites**: notebooks 01 and 02.

# %% tags=["install"] slideshow={"slide_type": "skip"}
# Where the package is installed, as it is after `make lab`, this cell does nothing.
import importlib.util

if importlib.util.find_spec("simclr_edu") is None:
    print("The package simclr_edu is missing: run `pip install .` in the course's folder, then begin anew.")

# %% tags=["setup"] slideshow={"slide_type": "skip"}
import copy
import math
import tempfile
import time
from dataclasses import replace

import torch
from PIL import Image
from torch import nn

from simclr_edu import augment, evaluate
from simclr_edu.course import exercises, explorers, figures, profiles, results
from simclr_edu.data import load_images
from simclr_edu.encoders import make_encoder
from simclr_edu.home import home_folder
from simclr_edu.losses import NTXentLoss, nt_xent_dense
from simclr_edu.pretrain import SHIPPED, PretrainConfig, StopPretraining, learning_rate, load_run, pretrain
from simclr_edu.simclr import ProjectionHead, SimCLR, train_step

SEED = 0
PROFILE = profiles.current_profile()
print(profiles.describe(seed=SEED))
config, n = PROFILE.config, PROFILE.config.batch_size
data = load_images(config.data)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The model: f, then g
#
# The **encoder** $f$ maps a picture to its representation $h$. The **projection head** $g$, a perceptron with one hidden
# layer, maps $h$ to $z$. The loss sees $z$; the downstream task gets $h$. Why the detour?
#
# Measured (Chen et al. 2020, section 4.2, ImageNet): a non-linear head is about 3 points better than a linear one and more
# than 10 better than none, and $h$ beats $z$ by more than 10. The authors' conjecture: the loss wants $z$ to forget whatever
# the augmentation changes, and the head does the forgetting in place of $h$. A section below trains with each of the three
# heads; notebook 05 looks at what is lost on the way from $h$ to $z$.
#
# Between its two linear layers stands **BatchNorm**, as in the authors' code: it centres and scales every hidden unit
# over the batch and then adds a bias of its own, so the layer before it needs none (`bias=False`).


# %% slideshow={"slide_type": "-"}
class SmallSimCLR(nn.Module):
    def __init__(self, encoder: nn.Module, width: int, out_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(
            nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, out_dim)
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.encoder(x)  # (2N, D)
        return h, self.head(h)  # (2N, D), (2N, d)


# %% tags=["nbval-check-output"] slideshow={"slide_type": "subslide"}
torch.manual_seed(SEED)
package = SimCLR(make_encoder("tiny"), projection_dim=64)
mine = SmallSimCLR(package.encoder, package.encoder.feature_dim, 64)
mine.head.load_state_dict(package.projection_head.layers.state_dict())
x = torch.rand(8, 3, 32, 32)  # (2N, 3, 32, 32)
torch.testing.assert_close(mine(x), package(x))
h, z = package(x)
print("h", tuple(h.shape), " z", tuple(z.shape), " notebook = package: True")

# %% [markdown] slideshow={"slide_type": "subslide"}
# The encoder that we train, `tiny`, is a small residual network: layer by layer the picture shrinks, the channels grow,
# and what is left of the picture is averaged. Two more linear layers make $h$ of the average. They are what SimCLRv2 does:
# its head is deeper, and after pretraining one cuts it in the middle and keeps the first part (Chen et al. 2020, arXiv
# 2006.10029, section 2). Here the part that is kept counts as the encoder.

# %% tags=["nbval-check-output"] slideshow={"slide_type": "-"}
encoder = make_encoder("tiny").eval()
x = torch.zeros(1, 3, 32, 32)  # (1, 3, H, W)
for layer in encoder.layers:
    x = layer(x)
    print(f"{type(layer).__name__:18s} ->", " x ".join(str(n) for n in x.shape[1:]))
print(f"{sum(p.numel() for p in encoder.parameters()):,} parameters, h has {encoder.feature_dim} numbers")

# %% [markdown] slideshow={"slide_type": "subslide"}
# A ResNet built for ImageNet is not built for 32-pixel pictures: its **stem** (a 7x7 convolution with stride 2, then
# max-pooling) shrinks the picture four times before the first block, to 8x8. On CIFAR-10 the paper takes a 3x3 stem with
# stride 1 and no pooling (appendix B.9). Whoever misses the paper's number there looks at the stem first. (`tiny` shrinks
# the picture early too, for speed.)

# %% tags=["nbval-check-output"] slideshow={"slide_type": "-"}
for stem in ("imagenet", "cifar"):
    backbone = make_encoder("resnet18", stem).backbone
    size = backbone.maxpool(backbone.conv1(torch.zeros(1, 3, 32, 32))).shape[-1]
    print(f"ResNet-18, {stem} stem: a 32 x 32 picture enters the first block as {size} x {size}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## One step
#
# Two views, **one** pass over both (so that BatchNorm sees all $2N$ views at once), the loss, one step of the optimizer.
# Many published codes make two passes, one a view: other statistics and other gradients, a difference to know and no error.


# %% slideshow={"slide_type": "-"}
def my_step(model, augmentation, loss_function, optimizer, images, generator):
    v1, v2 = augmentation.two_views(images, generator=generator)  # (N, 3, H, W) each
    _, z = model(torch.cat([v1, v2]))  # (2N, d): one pass
    loss = loss_function(*z.chunk(2))  # z1, z2: (N, d)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()


# %% tags=["nbval-check-output"] slideshow={"slide_type": "subslide"}
def one_step(step) -> torch.Tensor:
    torch.manual_seed(SEED)
    model = SimCLR(make_encoder("tiny"), 64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(SEED)
    step(model, augment.SimCLRAugment(32), NTXentLoss(0.5), optimizer, data.train_images[:64], generator)
    return torch.cat([p.detach().flatten() for p in model.parameters()])


torch.testing.assert_close(one_step(my_step), one_step(train_step))
print("weights after one step, notebook = package: True")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The schedule: warm-up, then cosine
#
# The learning rate climbs from 0 over the first tenth of the run, the **warm-up**. The usual reason: while the weights
# are random, a full step may go anywhere (not tested here). Then it follows half a cosine down to 0, without restarts (section 2.3).


# %% slideshow={"slide_type": "-"}
def my_learning_rate(progress: float, base: float, warmup: float = 0.1) -> float:
    if progress < warmup:
        return base * progress / warmup
    return base * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


rates = [my_learning_rate(k / 200, 0.004) for k in range(201)]
assert rates == [learning_rate(k / 200, 0.004) for k in range(201)]
figures.show(figures.learning_rate(rates))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The run
#
# ### What will the first loss be?
#
# *Before you run the next cell: a batch of N = 64, an encoder that knows nothing. Which loss do you expect, roughly?*

# %% slideshow={"slide_type": "-"}
torch.manual_seed(config.seed)
untrained = SimCLR(make_encoder(config.encoder, config.stem), config.projection_dim)
fingerprint = evaluate.state_hash(untrained)
views = config.augmentation(data.image_size).two_views(
    data.train_images[:n], generator=torch.Generator().manual_seed(SEED)
)
with torch.no_grad():
    _, z = copy.deepcopy(untrained)(
        torch.cat(views)
    )  # (2N, d); a copy, because a pass moves BatchNorm's averages
assert evaluate.state_hash(untrained) == fingerprint
first_loss = nt_xent_dense(*z.chunk(2), temperature=config.temperature).item()
print(f"N = {n}: one positive among 2N - 1 = {2 * n - 1} candidates, ln(2N - 1) = {math.log(2 * n - 1):.3f}")
print(f"NT-Xent of the untrained model: {first_loss:.3f}")
assert abs(first_loss - math.log(2 * n - 1)) < 0.5

# %% [markdown] slideshow={"slide_type": "fragment"}
# An encoder that cannot tell candidates apart scores about $\ln(2N-1)$. Draw that line into every loss curve: a run
# that sits on it has learned nothing, or has collapsed (notebook 05); one well under it solves part of the task, even
# when the loss hardly moves any more. Whether that is of any use, two more curves say: the **contrastive accuracy** (how often
# the positive is the nearest of the candidates) and **kNN** on labelled pictures, which costs seconds and trains nothing.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Train
#
# This is the real run. It uses the settings of the profile and keeps checkpoints in your course folder, where later notebooks
# will find it. Under the profile `gpu` the same cell trains a ResNet-18 on CIFAR-10.

# %% tags=["slide-output"] slideshow={"slide_type": "-"}
SHOWN = "data encoder batch_size temperature optimizer learning_rate crop_scale jitter_strength total_epochs"
for name in SHOWN.split():
    print(f"{name:15s} {getattr(config, name)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Where this differs from the paper, and why:
#
# - **Temperature**: the paper's best on CIFAR-10 is 0.5, once training is long (appendix B.9). The best value moves with
#   data, batch and length of training; notebook 03 compares several in short runs.
# - **Crops**: the paper takes down to 8% of the area. A photograph still shows something there; a small silhouette may be
#   cut out of sight, and then the two views share nothing but the ground.
# - **Optimizer**: the paper takes LARS, made for batches of thousands. At 64 we take AdamW, a common choice that
#   PyTorch brings along. We have not run LARS, so this is no comparison.
# - **Batch**: the paper takes 256 to 8,192 (section 2.2) and finds that large ones pay most when training is short (section
#   5.2). Ours of 64 makes four times as many steps an epoch as one of 256 would.
#
# A callback measures kNN once an epoch; its time is not counted. It reads labels, which never reach the training, and it
# reads them from two parts of the **training** set: to watch the test set while one trains is to tune on it (notebook
# 06).

# %% slideshow={"slide_type": "-"}
rows = torch.randperm(len(data.train_images), generator=torch.Generator().manual_seed(SEED))
bank, held_out = rows[:1000], rows[1000:1500]  # 1,000 labels vote, 500 pictures are asked


def knn(encoder: nn.Module) -> float:
    vote, ask = (evaluate.embed(encoder, data.train_images[r]) for r in (bank, held_out))
    return evaluate.knn_accuracy(vote, data.train_labels[bank], ask, data.train_labels[held_out])


def knn_callback(run) -> None:
    """Measure kNN once an epoch, into the record that the curve is drawn from."""
    record = run.history[-1]
    if int(record["epoch"]) > int(run.history[-2]["epoch"] if len(run.history) > 1 else 0):
        record["knn"] = knn(run.encoder)


# %% slideshow={"slide_type": "skip"}
live = explorers.LiveTraining(every=2.0)
live

# %% slideshow={"slide_type": "subslide"}
directory = home_folder() / "runs" / "simclr"
run = pretrain(config, data, callbacks=[knn_callback, live], directory=directory, resume=True, progress=False)
last = run.history[-1]
print(f"{run.epoch:.0f} epochs, {run.seconds:.0f} s, {run.pairs_per_s:,.0f} pairs a second")
print(f"loss {last['loss']:.3f} against ln(2N - 1) = {math.log(2 * n - 1):.3f}")
last_epoch = [r["contrastive_accuracy"] for r in run.history if r["epoch"] > run.epoch - 1]
accuracy = sum(last_epoch) / len(last_epoch)
print(
    f"contrastive accuracy {accuracy:.1%} (mean of {len(last_epoch)} batches), chance {1 / (2 * n - 1):.1%}"
)

# %% tags=["slide-output"] slideshow={"slide_type": "subslide"}
start = {"step": 0, "loss": first_loss, "knn": knn(untrained.encoder)}  # before the first step
curve = [start, *run.history]
figures.show(figures.loss_curve(curve, n, knn_title="kNN, 1,000 labels"))
assert run.finished and last["loss"] < math.log(2 * n - 1) - 1
assert accuracy > 10 / (2 * n - 1)

# %% [markdown] slideshow={"slide_type": "subslide"}
# The same in numbers. *Does kNN rise while the loss falls, or after it?*

# %% slideshow={"slide_type": "-"}
measured = [r for r in curve if "knn" in r]
for r in measured[:: max(1, len(measured) // 6)]:
    print(f"step {r['step']:5d}   loss {r['loss']:5.2f}   kNN {r['knn']:6.1%}")
assert measured[-1]["knn"] > measured[0]["knn"] + 0.2

# %% [markdown] slideshow={"slide_type": "subslide"}
# The loss leaves the $\ln(2N-1)$ line at once. kNN rises while it falls, and both level off together, as the learning rate
# goes to 0. (Is that why? Not tested here: a constant rate would show it.) Contrastive accuracy ends far above chance and far
# from 100%: the augmentation makes the task hard on purpose. While kNN rises, training works, whatever the loss looks like.
#
# Run the training cell again: it finds a finished run and trains no further. To train anew, delete the folder
# `runs/simclr` in your course folder (`print(directory)` shows where it is).
#
# Now that the run is over and nothing is left to choose, the test set, with all labels to vote:

# %% slideshow={"slide_type": "-"}
test_knn = evaluate.probe_scores(run.encoder, data, seed=SEED)["knn"]
results.record("SimCLR", notebook="04", seed=SEED, profile=PROFILE.name, knn=test_knn)
print(f"kNN on the test set, all {len(data.train_labels):,} labels: {test_knn:.1%}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Longer: what ten times the epochs buy
#
# The package ships an encoder that was trained for 200 epochs, the same in everything else. Which of the two would you
# rather have, when labels are few? A linear probe (notebook 06) on 1, 5 and 10 labels a class, five draws of the labels each.
#
# *Before you run the next cells: at which number of labels will the longer run be furthest ahead?*

# %% slideshow={"slide_type": "-"}
BUDGETS = (1, 5, 10)  # labels a class
shipped = load_run(SHIPPED)
longer = replace(config, epochs=shipped.config.epochs, device=shipped.config.device)
print(f"shipped: {shipped.epoch:.0f} epochs; all other settings as above: {shipped.config == longer}")
arms = {"untrained": untrained.encoder, f"{run.epoch:.0f} epochs": run.encoder}
if shipped.config.data == config.data:
    arms[f"{shipped.epoch:.0f} epochs"] = shipped.encoder
few = {}
for name, f in arms.items():
    train_x, test_x = (evaluate.embed(f, x) for x in (data.train_images, data.test_images))
    few[name] = evaluate.probe_budgets(
        train_x, data.train_labels, test_x, data.test_labels, BUDGETS
    )  # (5, 3)

# %% tags=["slide-output"] slideshow={"slide_type": "subslide"}
per_class = len(data.train_labels) // data.num_classes
title = "Ten times the epochs: little at 1 label a class, much at 5 and 10"
shares = [labels / per_class for labels in BUDGETS]
figures.show(figures.label_budget(shares, few, chance=1 / data.num_classes, title=title, per_class=per_class))
for name, accuracy in few.items():  # accuracy: (5 draws, 3 budgets)
    by_budget = zip(BUDGETS, accuracy.mean(0), strict=True)
    print(f"{name:10s}", "   ".join(f"{labels} a class {mean:.1%}" for labels, mean in by_budget))
no_epoch, this_run, *long_run = (accuracy.mean(0) for accuracy in few.values())  # (3,) each
assert (this_run > no_epoch + 0.05).all()
assert all((v[1:] > this_run[1:] + 0.1).all() for v in long_run)

# %% [markdown] slideshow={"slide_type": "subslide"}
# Nothing was changed but the length, and that costs no label: at 5 and 10 labels a class it gave over 20 points. (One run of each
# length; the bars are the spread over the draws of labels.) With one label a class it lifts hardly: both runs stay low. A reason may
# be what notebook 05 shows: to the encoder a class is two groups, dark on light and light on dark, and one label names one of
# them.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What is the head for?
#
# Short runs from scratch that differ in the head: none at all (the loss compares the representation itself), one linear
# layer, and the nonlinear head. Three seeds each, then a linear probe on $h$ and on $z$. Here $h$ is the average over the picture:
# the two linear layers that `tiny` has behind it are left out, for they are the first part of a head already.
#
# *Before you run the next cells: in the paper none is more than 10 points behind, linear about 3. And here?*

# %% slideshow={"slide_type": "-"}
recipe, few_images = profiles.LAPTOP.config, data.train_images[:4000]
HEADS = {
    "no head": nn.Identity,
    "linear head": lambda: nn.Linear(128, 64),
    "nonlinear head": lambda: ProjectionHead(128, out_dim=64),
}


def train_with(head: str, seed: int, epochs: int = 4) -> SimCLR:
    torch.manual_seed(seed)
    encoder = nn.Sequential(*make_encoder("tiny").layers[:8])  # pixels to the average, (B, 128)
    model, generator = SimCLR(encoder, 64), torch.Generator().manual_seed(seed)
    model.projection_head = HEADS[head]()
    optimizer, loss = torch.optim.AdamW(model.parameters()), NTXentLoss(recipe.temperature)
    batches = [b for _ in range(epochs) for b in torch.randperm(4000, generator=generator).split(64)]
    for step, rows in enumerate(batches):
        optimizer.param_groups[0]["lr"] = learning_rate((step + 0.5) / len(batches), recipe.learning_rate)
        train_step(model, recipe.augmentation(32), loss, optimizer, few_images[rows], generator)
    return model


# %% tags=["slide-output"] slideshow={"slide_type": "subslide"}
probed = torch.empty(3, 3, 2)  # (heads, seeds, h and z)
for row, head in enumerate(HEADS):
    for seed in range(3):
        model = train_with(head, seed)
        for k, level in enumerate(("h", "z")):  # 2,000 labels
            probed[row, seed, k] = evaluate.linear_probe(model, data, 0.2, level=level).accuracy
h, z = probed.unbind(2)  # (heads, seeds)
for row, head in enumerate(HEADS):
    print(
        f"{head:15s} h {h[row].mean():.1%} ± {h[row].std():.1%}   z {z[row].mean():.1%} ± {z[row].std():.1%}"
    )
title = f"No head: {100 * (h[2] - h[0]).mean():.0f} points behind the nonlinear one (h, three seeds)"
figures.show(figures.bar_with_error(list(HEADS), h.mean(1), h.std(1), chance=0.1, title=title))
assert h[2].mean() > h[0].mean() + 0.03 and h[2].mean() > z[2].mean() + 0.05

# %% [markdown] slideshow={"slide_type": "subslide"}
# No head is behind, as in the paper, and with the nonlinear one $h$ is ahead of $z$, which the loss compares. Linear and nonlinear
# lie within each other's spread over the seeds. Not only the head differs: without one the loss sees 128 numbers that are never
# negative, the average of a ReLU, where the others give it 64 of either sign; we did not separate the two. These are runs of 4 epochs on 4,000 pictures; what
# long training makes of the differences they cannot say, nor **why** a head helps: the conjecture above is not tested here.
#
# In another experiment, with the two linear layers of `tiny` counted as encoder and 6 epochs in place of 4, the order was
# reversed (three seeds, $h$: no head 57%, linear 46%, nonlinear 44%). Which of the two changes did it, we did not test.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Stop and resume
#
# A run must survive a closed laptop. Weights alone are not enough: the optimizer's moments, the place in the schedule, the
# order of the pictures and the state of the random generator belong to it too. The test is strict: interrupted and
# resumed, the weights are the same **to the last bit** as without interruption.

# %% slideshow={"slide_type": "-"}
short = PretrainConfig(epochs=2, batch_size=64, seed=SEED, log_every=2, checkpoint_every=5, device="cpu")
pictures = data.train_images[:512]


def stop_at_step_8(run) -> None:
    if run.step == 8:
        raise StopPretraining


# %% tags=["nbval-check-output"] slideshow={"slide_type": "subslide"}
with tempfile.TemporaryDirectory() as folder:
    whole = pretrain(short, pictures, progress=False)
    half = pretrain(short, pictures, callbacks=[stop_at_step_8], directory=folder, progress=False)
    resumed = pretrain(short, pictures, directory=folder, resume=True, progress=False)
    loaded = load_run(folder)
pairs = zip(whole.model.parameters(), loaded.model.parameters(), strict=True)
print("stopped at step", half.step, "- resumed to step", resumed.step)
print("same weights to the last bit:", all(torch.equal(a, b) for a, b in pairs))

# %% [markdown] slideshow={"slide_type": "subslide"}
# Try it by hand: Start, then Stop, then Resume. The curve goes on where it stopped. The training has a thread of its
# own here, so the notebook stays free. The figure below the buttons is what the cell above left behind.

# %% slideshow={"slide_type": "-"}
explorers.LiveTraining(config=replace(short, epochs=20), images=pictures)

# %% tags=["slide-output"] slideshow={"slide_type": "-"}
figures.show(figures.loss_curve(resumed.history, short.batch_size))

# %% [markdown] slideshow={"slide_type": "subslide"}
# Resuming under another temperature or augmentation would be another experiment under the old name. It is refused:

# %% tags=["nbval-check-output"] slideshow={"slide_type": "-"}
with tempfile.TemporaryDirectory() as folder:
    pretrain(short, pictures, callbacks=[stop_at_step_8], directory=folder, progress=False)
    try:
        pretrain(replace(short, temperature=0.7), pictures, directory=folder, resume=True, progress=False)
    except ValueError as error:
        print("refused:", str(error).split(": ")[-1])

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Why is my GPU idle? What each speed-up buys
#
# A step costs augmentation plus network. The textbook augments picture by picture on the CPU; a fast GPU then waits. Here
# the whole batch is augmented at once, on the device where the pictures already lie.
#
# *Before you run the next cell: how many times faster is a batch than one picture at a time, on this CPU?*


# %% slideshow={"slide_type": "subslide"}
def per_second(function, items: int, repeats: int = 3) -> float:
    function()  # warm up
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    return items * repeats / (time.perf_counter() - start)


textbook, batched = augment.torchvision_pipeline(32), augment.SimCLRAugment(32)
batch = data.train_images[:n]  # (N, 3, H, W), as many as in a step of the run
as_pil = [Image.fromarray(x.permute(1, 2, 0).numpy()) for x in batch]
speeds = {
    "one by one (PIL)": per_second(lambda: [textbook(p) for p in as_pil], n, repeats=10),
    "whole batch": per_second(lambda: batched(batch), n, repeats=40),
}
gain = speeds["whole batch"] / speeds["one by one (PIL)"]
title = f"Batched augmentation at 32 pixels: {gain:.0f} times as fast as one PIL process"
figures.show(figures.throughput_bars(list(speeds), list(speeds.values()), title=title))
assert speeds["whole batch"] > 3 * speeds["one by one (PIL)"]

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Channels last** stores the channels of a pixel side by side. Some convolution kernels want that order, others convert to it
# or from it: what it buys depends on the device, the type of the numbers and the size of the layers. The result is the same up
# to rounding. Measure rather than believe:


# %% slideshow={"slide_type": "-"}
def steps_per_second(layout: torch.memory_format) -> float:
    model = SimCLR(make_encoder("tiny"), 64).to(memory_format=layout)
    optimizer, loss = torch.optim.AdamW(model.parameters()), NTXentLoss(0.2)
    generator = torch.Generator().manual_seed(SEED)
    return per_second(lambda: train_step(model, batched, loss, optimizer, batch, generator), n, repeats=40)


layouts = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
whole_step = {name: steps_per_second(layout) for name, layout in layouts.items()}
change = whole_step["channels last"] / whole_step["contiguous"] - 1
title = f"A whole step, channels last: {abs(change):.0%} {'faster' if change > 0 else 'slower'} in this one measurement"
figures.show(
    figures.throughput_bars(list(whole_step), list(whole_step.values()), unit="pairs/s", title=title)
)

# %% [markdown] slideshow={"slide_type": "subslide"}
# What does a step spend its time on? A pair needs **two** views:

# %% slideshow={"slide_type": "-"}
for name, speed in speeds.items():
    print(f"two views, {name:17s} {2000 / speed:6.2f} ms a pair")
print(f"whole step, batched views    {1000 / max(whole_step.values()):6.2f} ms a pair")

# %% [markdown] slideshow={"slide_type": "subslide"}
# One by one, the augmentation alone would cost more than everything else together. In a batch it is the smaller part of the
# step.
#
# Two more are a matter of hardware, and only data in the configuration (`amp`, `compile`):
#
# - **Mixed precision** (`amp="bf16"`): convolutions and matrix products in bfloat16, the loss in float32. It is made for
#   hardware that multiplies bfloat16; where that is missing it is emulated and slower than float32, so the package
#   refuses it there.
# - **`torch.compile`**: fuses the small operations between convolutions. It compiles before the first step, which takes up to
#   minutes, so a short run may never earn it back.
#
# Neither is measured here: this notebook's saved outputs come from a CPU. What the machine you sit at has:

# %% slideshow={"slide_type": "-"}
from simclr_edu.device import bf16_is_fast, pick_device

device = pick_device("auto")
print(
    f"device {device.type}: bfloat16 in hardware {bf16_is_fast(device)}; profile amp={config.amp}, compile={config.compile}"
)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Exercise 1: the learning rate by step
#
# Difficulty 2 of 5, 8 min, 5 lines.


# %% tags=["exercise"] slideshow={"slide_type": "-"}
def my_schedule(step, total_steps, warmup_steps, base_lr):
    """Linear warm-up over warmup_steps, then a cosine to 0 at total_steps; a float."""
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_learning_rate(my_schedule)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary>Hint</summary>
#
# Two cases. In the second, measure progress from the end of the warm-up: 0 there, 1 at `total_steps`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_schedule(step, total_steps, warmup_steps, base_lr):
#     if step < warmup_steps:
#         return base_lr * step / warmup_steps
#     progress = (step - warmup_steps) / (total_steps - warmup_steps)
#     return base_lr * 0.5 * (1 + math.cos(math.pi * progress))
# ```
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Exercise 2: the projection head
#
# Difficulty 2 of 5, 5 min, 5 lines.
#
# Two linear layers and a ReLU are enough; BatchNorm after the first layer is allowed.


# %% tags=["exercise"] slideshow={"slide_type": "-"}
def make_head(in_dim, hidden_dim, out_dim):
    """Two linear layers and a ReLU between them: h (B, in_dim) to z (B, out_dim)."""
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_projection_head(make_head)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary>Hint</summary>
#
# `nn.Sequential` of three modules. What would a ReLU after the last layer do to cosine similarities?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def make_head(in_dim, hidden_dim, out_dim):
#     return nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim))
# ```
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Exercise 3: the training step
#
# Difficulty 3 of 5, 10 min, 6 lines.
#
# `views` is the pair `(v1, v2)`, `model(x)` returns `(h, z)`. Return the loss as a Python number.


# %% tags=["exercise"] slideshow={"slide_type": "-"}
def my_train_step(model, views, optimizer, loss_fn):
    """One step of SimCLR; the loss as a float."""
    raise NotImplementedError


# %% slideshow={"slide_type": "skip"}
exercises.check_train_step(my_train_step)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary>Hint</summary>
#
# Concatenate first, split after. What would BatchNorm see otherwise?
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_train_step(model, views, optimizer, loss_fn):
#     _, z = model(torch.cat(views))  # (2N, d)
#     loss = loss_fn(*z.chunk(2))
#     optimizer.zero_grad()
#     loss.backward()
#     optimizer.step()
#     return loss.item()
# ```
#
# </details>

# %% slideshow={"slide_type": "skip"}
results.table()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Recap
#
# - $f$ makes $h$, $g$ makes $z$; the loss sees $z$, you keep $h$.
# - One pass over both views, then split.
# - Watch three things: the loss against $\ln(2N-1)$, the contrastive accuracy, kNN.
# - A checkpoint is model, optimizer, schedule, random state and place in the data.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Interview: three questions
#
# <details><summary>Why is the projection head thrown away?</summary>
#
# Because $h$ is the better representation: in the paper a linear classifier on $h$ beats one on $z$ by more than 10 points
# on ImageNet. Its conjecture why: the loss asks $z$ to be invariant, so $z$ loses what the augmentation changes, such as colour or
# orientation, though a task may need it; $h$, one layer earlier, keeps more. It need not be so on every task: notebook 06
# measures both on ours.
#
# </details>
#
# <details><summary>Your contrastive loss has been flat for an hour. Is it stuck?</summary>
#
# Compare with $\ln(2N-1)$. On the line: nothing is learned; look at the learning rate, the temperature, the views, and
# whether the positives are where the loss expects them. Well below it: the loss cannot say; look at kNN or a linear probe.
#
# </details>
#
# <details><summary>Why one forward pass over both views and not two?</summary>
#
# With BatchNorm the statistics are those of the batch that goes through. Two passes normalise each set of views by its own
# mean and variance; one pass uses common ones. The gradients differ. Many published codes make two passes: it is no error,
# but results are compared only under the same choice.
#
# </details>

# %% [markdown] slideshow={"slide_type": "skip"}
# ## Sources
#
# - Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", arXiv 2002.05709: algorithm 1,
#   sections 2.2, 2.3, 4.2 and 5.2, appendix B.9.
# - Chen et al. 2020, "Big Self-Supervised Models are Strong Semi-Supervised Learners" (SimCLRv2), arXiv 2006.10029, section 2.
