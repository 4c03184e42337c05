"""Every public function against wrong arguments: each is refused in a sentence of ours, or taken rightly.

The functions are found by introspection, and what is wrong for an argument by its annotation: a new one
needs a line of valid arguments in ``valid()``, and its checks, or a test fails.
"""

import collections.abc
import functools
import importlib
import inspect
import math
import os
import sys
import traceback
import types
import typing
import warnings
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import simclr_edu
from simclr_edu import distributed
from simclr_edu.augment import AugmentParameters, SimCLRAugment
from simclr_edu.course import figures, interview
from simclr_edu.course.profiles import LAPTOP
from simclr_edu.data import ImageSet
from simclr_edu.data.shapes import make_shapes, sample_factors
from simclr_edu.encoders import Centre, Normalise
from simclr_edu.losses import NTXentLoss
from simclr_edu.simclr import SimCLR

PACKAGE = str(Path(simclr_edu.__file__).parent)
MODULES = (
    "augment", "losses", "encoders", "simclr", "diagnostics", "data", "data.shapes", "evaluate",
    "distributed", "device", "home", "course.results", "course.profiles", "course.figures",
    "course.explorers",
)  # fmt: skip
# What takes no argument from a caller, or only from this package: layers, results, what displays itself.
NOT_CALLED = {
    "course.explorers.Explorer", "course.explorers.LiveTraining.wait", "course.figures.EmbeddingMap",
    "course.figures.Picture", "course.figures.Picture.set", "course.results.ResultsTable", "encoders.Centre",
    "encoders.Normalise", "encoders.ResNetEncoder", "encoders.ResidualBlock", "encoders.SmallEncoder",
    "encoders.TinyEncoder", "encoders.ResidualBlock.forward", "encoders.SmallEncoder.forward",
    "encoders.TinyEncoder.forward", "encoders.ResNetEncoder.forward", "evaluate.FineTuneResult",
    "evaluate.ProbeResult", "distributed.SyncBatchNorm",
}  # fmt: skip


G = torch.Generator().manual_seed(0)


def normal(*shape):
    return torch.randn(*shape, generator=G)


class Mean(nn.Module):
    """An encoder that costs nothing."""

    feature_dim = 3

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return x.mean((2, 3)) * self.scale


def image_set():
    images, labels, factors = make_shapes(60, size=8)
    keep = labels < 3
    x, y = images[keep], labels[keep]
    return ImageSet("shapes", x[:12], y[:12], x[12:], y[12:], ("a", "b", "c"), "drawn")


@functools.cache
def valid():
    """Of each public function the arguments of a call that works; with its object in front, for a method."""
    tmp = Path(os.environ["SIMCLR_EDU_HOME"])
    images = torch.rand(4, 3, 16, 16, generator=G)
    pixels = (images * 255).to(torch.uint8)
    z1, z2 = normal(6, 5), normal(6, 5)
    unit = torch.nn.functional.normalize(torch.cat([z1, z2]), dim=1)
    sim = (unit @ unit.T).clamp(-1, 1)
    y = torch.tensor([0, 0, 1, 1, 2, 2] * 4)
    x = normal(24, 5) + 2 * y[:, None]
    test_y = torch.tensor([0, 1, 2] * 3)
    test_x = normal(9, 5) + 2 * test_y[:, None]
    four = torch.tensor([0.5, 1.0, 1.2, 0.9])
    boxes = torch.tensor([[0, 0, 16, 16], [1, 2, 8, 9], [4, 4, 4, 4], [0, 8, 16, 8]])
    flip = torch.tensor([True, False, True, False])
    augment = SimCLRAugment(8)
    parameters = augment.draw(4, 16, 16, torch.Generator().manual_seed(0))
    sets = image_set()
    model = SimCLR(Mean(), 4)
    names = ["a", "b", "c"]
    acc = [0.5, 0.7, 0.9]
    history = [
        {"step": s, "loss": 2.0 / s, "contrastive_accuracy": 0.1 * s, "learning_rate": 0.1} for s in (1, 2, 3)
    ]
    drawn = figures.bar_with_error(names, acc)
    per_image = dict(x=images, factor=four)
    views = dict(z1=z1, z2=z2)
    train = dict(train_x=x, train_y=y, test_x=test_x)
    picture = dict(title="What to see")
    neighbours = torch.rand(4, 2, 3, 16, 16, generator=G)
    same = torch.tensor([[True, False]] * 4)
    plane = normal(9, 2)
    labels9 = torch.tensor([0, 1, 2] * 3)
    near = torch.tensor([[(i + 1) % 9, (i + 2) % 9] for i in range(9)])
    aug = "augment.SimCLRAugment"
    return {
        "augment.AugmentParameters": {
            f: getattr(parameters, f) for f in AugmentParameters.__dataclass_fields__
        },
        "augment.AugmentParameters.check_values": (parameters, {}),
        "course.profiles.Profile": dict(name="laptop", config=LAPTOP.config, cost="a minute"),
        "course.profiles.gpu_note": {},
        "device.check_compiler": dict(device=torch.device("cpu")),
        "device.check_device": dict(value="cpu", name="device"),
        "device.seeded": dict(seed=0, device="cpu"),
        "encoders.Centre.forward": (Centre(), dict(x=images)),
        "encoders.Normalise.forward": (Normalise([0.5] * 3, [0.2] * 3), dict(x=images)),
        "home.check_path": dict(value=str(tmp), name="root"),
        "home.home_problem": {},
        "home.may_be_made": dict(folder=tmp),
        "home.writable_home": {},
        "augment.AugmentParameters.to": (parameters, dict(device="cpu")),
        aug: dict(
            size=8,
            strength=0.5,
            blur=False,
            crop_scale=(0.2, 1.0),
            crop=True,
            color=True,
            flip=True,
            grayscale=0.2,
            mean=(0.5, 0.5, 0.5),
            std=(0.2, 0.2, 0.2),
        ),
        aug + ".forward": (augment, dict(x=pixels, generator=torch.Generator().manual_seed(0))),
        aug + ".two_views": (
            augment,
            dict(x=images, generator=torch.Generator().manual_seed(0), part=(0, 1)),
        ),
        aug + ".draw": (
            augment,
            dict(batch=3, height=16, width=16, generator=torch.Generator().manual_seed(0), device="cpu"),
        ),
        aug + ".apply": (augment, dict(x=images, parameters=parameters)),
        aug + ".extra_repr": (augment, {}),
        "augment.adjust_brightness": per_image,
        "augment.adjust_contrast": per_image,
        "augment.adjust_saturation": per_image,
        "augment.adjust_hue": dict(x=images, factor=four - 1),
        "augment.blur_kernel_size": dict(size=32),
        "augment.crop_and_resize": dict(x=images, boxes=boxes, size=8, flip=flip),
        "augment.gaussian_blur": dict(x=images, sigma=four, kernel_size=3),
        "augment.horizontal_flip": dict(x=images, flip=flip),
        "augment.to_grayscale": dict(x=images),
        "augment.torchvision_pipeline": dict(size=8, strength=0.5, blur=True),
        "losses.NTXentLoss": dict(temperature=0.5),
        "losses.NTXentLoss.forward": (NTXentLoss(0.5), views),
        "losses.NTXentLoss.extra_repr": (NTXentLoss(0.5), {}),
        "losses.nt_xent": views | dict(temperature=0.5),
        "losses.nt_xent_dense": views | dict(temperature=0.5),
        "losses.nt_xent_loop": views | dict(temperature=0.5),
        "encoders.make_encoder": dict(name="tiny", stem="cifar", weights=None),
        "encoders.feature_dim": dict(encoder=Mean(), image_size=16),
        "encoders.evaluation_mode": dict(module=Mean()),
        "simclr.ProjectionHead": dict(in_dim=4, hidden_dim=5, out_dim=3),
        "simclr.ProjectionHead.forward": (SimCLR(Mean(), 4).projection_head, dict(h=normal(4, 3))),
        "simclr.SimCLR": dict(encoder=Mean(), projection_dim=4),
        "simclr.SimCLR.forward": (model, dict(x=images)),
        "simclr.train_step": dict(
            model=model,
            augment=augment,
            loss_function=NTXentLoss(0.5),
            optimizer=torch.optim.SGD(model.parameters(), 0.01),
            images=pixels,
            generator=torch.Generator().manual_seed(0),
            precision=None,
        ),
        "diagnostics.similarity_matrix": dict(x=z1, y=z2),
        "diagnostics.contrastive_accuracy": views,
        "diagnostics.alignment": views | dict(alpha=2.0),
        "diagnostics.uniformity": dict(z=z1, t=2.0),
        "diagnostics.effective_rank": dict(x=z1),
        "diagnostics.pair_similarities": views,
        "diagnostics.order_by_class": dict(labels=y),
        "diagnostics.softmax_weights": dict(similarities=sim, temperature=0.5),
        "diagnostics.nearest_neighbours": dict(queries=z1, gallery=z2, k=2),
        "diagnostics.collapse_report": dict(x=normal(40, 5)),
        "data.ImageSet": dict(
            name="n",
            train_images=sets.train_images,
            train_labels=sets.train_labels,
            test_images=sets.test_images,
            test_labels=sets.test_labels,
            class_names=("a", "b", "c"),
            source="s",
            train_factors={"hue": sets.train_labels.float()},
            test_factors={"hue": sets.test_labels.float()},
            unlabeled_images=sets.test_images,
        ),
        "data.ImageSet.subset": (sets, dict(n_train=6, n_test=3, seed=0)),
        "data.ImageSet.with_validation": (sets, dict(n=4, seed=0)),
        "data.load_images": dict(name="digits", root=str(tmp), download=False, image_size=8),
        "data.available_datasets": dict(root=str(tmp)),
        "data.sample_photographs": dict(size=16),
        "data.shapes.make_shapes": dict(n=4, size=8, seed=0, texture=False, easy=True),
        "data.shapes.render": dict(labels=torch.tensor([0, 1, 9]), factors=sample_factors(3), size=8, seed=0),
        "data.shapes.sample_factors": dict(n=4, seed=0, texture=True, easy=False),
        "evaluate.confusion_matrix": dict(labels=y, predictions=y, num_classes=3),
        "evaluate.embed": dict(encoder=Mean(), images=pixels, batch_size=2, device="cpu", level="h"),
        "evaluate.fine_tune": dict(
            encoder=Mean(),
            images=sets,
            fraction=1.0,
            epochs=1,
            lr=1e-3,
            seed=0,
            augment="light",
            batch_size=4,
            weight_decay=1e-4,
            val_fraction=0.1,
            device="cpu",
            steps=None,
            head="random",
            encoder_lr=1.0,
            batch_norm="batch",
        ),
        "evaluate.fit_linear": train | dict(test_y=test_y, l2=0.1, seed=0, val_fraction=0.2),
        "evaluate.knn_accuracy": train | dict(test_y=test_y, k=3, temperature=0.1),
        "evaluate.knn_predict": train | dict(k=3, temperature=0.1),
        "evaluate.label_subset": dict(labels=y, fraction=0.5, seed=0),
        "evaluate.linear_probe": dict(
            encoder=Mean(), images=sets, fraction=1.0, seed=0, level="h", l2=0.1, batch_size=4, device="cpu"
        ),
        "evaluate.probe_budgets": train | dict(test_y=test_y, budgets=(1, 0), draws=1),
        "evaluate.probe_factor": dict(
            train_x=x,
            train_values=normal(24),
            test_x=test_x,
            test_values=normal(9),
            kind="circular",
            period=360.0,
            seed=0,
        ),
        "evaluate.probe_scores": dict(
            encoder=Mean(), images=sets, fraction=1.0, seed=0, level="h", k=3, batch_size=4, device="cpu"
        ),
        "evaluate.state_hash": dict(module=Mean()),
        "distributed.SyncBatchNorm.forward": (distributed.SyncBatchNorm(3), dict(input=images)),
        "distributed.agreed": {},
        "distributed.average_gradients": dict(module=Mean()),
        "distributed.check_batch_size": dict(batch_size=4, name="batch_size"),
        "distributed.check_same": dict(settings={"a": 1}),
        "distributed.copy_from_rank0": dict(module=Mean()),
        "distributed.from_rank0": dict(value=1),
        "distributed.gather_with_grad": dict(x=z1),
        "distributed.in_turn": dict(function=lambda: 1),
        "distributed.is_distributed": {},
        "distributed.local_device": dict(device=torch.device("cpu")),
        "distributed.on_rank0": dict(function=lambda: 1),
        "distributed.own_part": dict(batch=z1),
        "distributed.process_group": {},
        "distributed.rank": {},
        "distributed.share": {},
        "distributed.synchronised_batch_norm": dict(model=Mean(), device=torch.device("cpu")),
        "distributed.world_size": {},
        "device.pick_device": dict(name="cpu"),
        "device.bf16_is_fast": dict(device=torch.device("cpu")),
        "device.hand_over": dict(small=z1, device=torch.device("cpu")),
        "device.keep_freed_memory": {},
        "home.home_folder": {},
        "home.data_folder": dict(root=str(tmp)),
        "course.results.record": dict(
            name="chance", notebook="01", seed=0, profile="laptop", linear=0.1, seconds=2.0
        ),
        "course.results.rows": {},
        "course.results.table": dict(columns=("linear", "knn")),
        "course.profiles.current_profile": {},
        "course.profiles.device_name": dict(device=torch.device("cpu")),
        "course.profiles.describe": dict(seed=0),
        "course.figures.anchor_softmax": dict(sim=sim, anchor=0, temperature=0.5) | picture,
        "course.figures.arrows": dict(vectors=normal(4, 2), names=["a", "b", "c", "d"]) | picture,
        "course.figures.augmentation_steps": dict(
            steps=[("crop", images), ("flip", images)], x_label="picture"
        )
        | picture,
        "course.figures.bar_with_error": dict(
            names=names, means=acc, stds=[0.1, 0.0, 0.1], chance=0.1, label="accuracy"
        )
        | picture,
        "course.figures.before_after_similarity": dict(
            sim_before=sim[:6, :6], sim_after=sim[6:, 6:], labels=[0, 0, 1, 1, 2, 2], class_names=names
        )
        | picture,
        "course.figures.budget_name": dict(fraction=0.1, per_class=50),
        "course.figures.colour_histograms": dict(
            crop_a=images[0], crop_b=images[1], names=("A", "B"), bins=8, top=0.9
        )
        | picture,
        "course.figures.confusion": dict(matrix=[[3, 1, 0], [0, 2, 1], [1, 1, 4]], class_names=names)
        | picture,
        "course.figures.embedding_map": dict(
            points=plane,
            images=torch.rand(9, 3, 8, 8, generator=G),
            labels=labels9,
            class_names=names,
            neighbours=near,
            method="t-SNE",
        )
        | picture,
        "course.figures.embedding_maps": dict(
            maps={"h": plane, "z": plane}, labels=labels9, class_names=names, method="t-SNE"
        )
        | picture,
        "course.figures.embedding_scatter": dict(
            points=plane, labels=labels9, class_names=names, method="t-SNE"
        )
        | picture,
        "course.figures.factor_bars": dict(names=names, h_values=acc, z_values=acc, label="score") | picture,
        "course.figures.gradient_share": dict(similarities=sim[0, 1:], temperatures=(0.1, 1.0)) | picture,
        "course.figures.histogram_pair": dict(positive=sim[0], negative=sim[1], bins=10) | picture,
        "course.figures.image_grid": dict(
            images=images, titles=["a", "b", "c", "d"], columns=2, row_names=["r", "s"]
        )
        | picture,
        "course.figures.label_budget": dict(
            fractions=[0.1, 0.5, 1.0], results={"probe": acc}, chance=0.1, at=0.5, per_class=50
        )
        | picture,
        "course.figures.learning_rate": dict(lrs=[0.0, 0.1, 0.05], steps_per_epoch=1) | picture,
        "course.figures.loss_curve": dict(history=history, num_pairs=4, knn_title="kNN") | picture,
        "course.figures.loss_floor": dict(num_pairs=8, max_pairs=64) | picture,
        "course.figures.nearest_neighbours": dict(
            queries=images, neighbours=neighbours, similarities=sim[:4, :2], same_class=same, query="query"
        )
        | picture,
        "course.figures.neighbours_before_after": dict(
            queries=images,
            before=neighbours,
            after=neighbours,
            same_before=same,
            same_after=same,
            names=("a", "b"),
        )
        | picture,
        "course.figures.show": dict(fig=drawn),
        "course.figures.similarity_matrix": dict(
            sim=sim, kind="pairs", labels=[str(i) for i in range(12)], decimals=2
        )
        | picture,
        "course.figures.softmax_row": dict(similarities=sim[0, 1:], positive_index=2, temperatures=(0.1, 1.0))
        | picture,
        "course.figures.temperature_effect": dict(similarities=sim[0, 1:], positive_index=2, temperature=0.5)
        | picture,
        "course.figures.temperature_results": dict(
            taus=[0.1, 0.5, 1.0],
            probe_mean=acc,
            probe_std=[0.1, 0.1, 0.1],
            contrastive_mean=acc,
            contrastive_std=[0.1, 0.1, 0.1],
            paper_probe={0.1: 0.5},
            paper_contrastive={0.1: 0.5},
        )
        | picture,
        "course.figures.throughput_bars": dict(names=names, values=[1.0, 2.0, 3.0], unit="views/s") | picture,
        "course.figures.to_html": dict(fig=drawn),
        "course.figures.to_png": dict(fig=drawn, small=True),
        "course.figures.uniformity_alignment": dict(
            names=names, alignment=[0.1, 0.2, 0.3], uniformity=[-1.0, -2.0, -3.0]
        )
        | picture,
        "course.figures.view_pairs": dict(originals=images, views1=images, views2=images) | picture,
        "course.explorers.augmentation_explorer": dict(
            image=pixels[0], seed=0, augment_factory=SimCLRAugment, views=2
        ),
        "course.explorers.countdown": dict(minutes=1.0),
        "course.explorers.Countdown": dict(minutes=1.0),
        "course.explorers.flash_cards": {},
        "course.explorers.FlashCardDeck": {},
        "course.explorers.label_budget_explorer": dict(
            fractions=[0.1, 0.5, 1.0], results={"probe": acc}, chance=0.1, per_class=50
        ),
        "course.explorers.LiveTraining": dict(num_pairs=4, every=0.5, config=LAPTOP.config, images=sets),
        "course.explorers.loss_floor_explorer": {},
        "course.explorers.quiz": dict(quiz=interview.quiz(count=2)),
        "course.explorers.QuizBoard": dict(quiz=interview.quiz(count=2)),
        "course.explorers.similarity_explorer": views,
        "course.explorers.temperature_explorer": dict(similarities=sim[0, 1:], positive_index=2),
        "course.explorers.tsne_explorer": dict(
            precomputed={(5.0, 0): plane}, labels=labels9, class_names=names
        ),
    }


def found():
    """Every public class, method and function of the package by its name."""
    public = {}
    for short in MODULES:
        module = importlib.import_module(f"simclr_edu.{short}")
        own = [n for n, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__]
        for name in getattr(module, "__all__", own):
            value = getattr(module, name)
            if name.startswith("_") or not str(getattr(value, "__module__", "")).startswith("simclr_edu"):
                continue
            if inspect.isclass(value) and not issubclass(value, BaseException):
                public[f"{short}.{name}"] = value
                methods = {
                    m: f for m, f in vars(value).items() if inspect.isfunction(f) and not m.startswith("_")
                }
                public |= {f"{short}.{name}.{m}": f for m, f in methods.items()}
            elif inspect.isfunction(value):
                public[f"{short}.{name}"] = value
    return {name: value for name, value in public.items() if name not in NOT_CALLED}


PUBLIC = found()


def anything():
    """Values of every kind: what of it is wrong for an argument, its annotation says."""
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)
    return {
        "None": None, "text": "yes", "False as text": "False", "True": True, "NaN": math.nan,
        "infinity": -math.inf, "fraction": 2.5, "huge": 10**400, "bytes": b"x", "list": [1, "a"],
        "dict": {1: 2}, "object": object(), "complex": 1j, "array of text": np.array(["a"]),
        "0-d": torch.tensor(1.0), "matrix": torch.ones(2, 3), "meta": torch.ones(2, 3, device="meta"),
        "sparse": torch.eye(3).to_sparse(), "nested": nested, "class": int, "device": torch.device("meta"),
    }  # fmt: skip


def tensors(x):
    """The tensor ``x`` spoiled in ways that its annotation does not show."""

    def with_first(value):
        y = x.clone()
        y.view(-1)[0] = value
        return y

    bad = {"meta": x.to("meta"), "complex": x.to(torch.complex64), "empty": x[:0], "rank": x[None]}
    if x.is_floating_point():
        bad |= {"a NaN": with_first(math.nan), "an infinity": with_first(math.inf)}
        bad |= {"bool": x > 0, "float8": x.to(torch.float8_e4m3fn)}
    if x.dtype == torch.int64 and x.ndim == 1:
        bad |= {"negative": with_first(-1), "fractions": x + 0.5}
    return bad


def alternatives(kind):
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [a for k in typing.get_args(kind) for a in alternatives(k)]
    return [kind]


def is_one(value, kind):
    """Whether a value is of an annotated kind; None where that cannot be said."""
    if kind is typing.Any or isinstance(kind, typing.TypeVar):
        return None
    origin = typing.get_origin(kind) or kind
    if origin is types.NoneType:
        return value is None
    if origin is int:
        return isinstance(value, Integral) and not isinstance(value, bool) and abs(value) < 2**63
    if origin is float:
        return isinstance(value, Real) and not isinstance(value, bool) and value in (2.5, 1.0)
    if origin is Tensor:
        return isinstance(value, Tensor) and not (value.is_nested or value.is_sparse or value.is_meta)
    if origin is np.ndarray:
        return isinstance(value, np.ndarray) and value.dtype.kind in "iufbO"
    if origin is collections.abc.Callable:
        return callable(value)
    if origin in (collections.abc.Sequence, tuple):
        return isinstance(value, list | tuple)
    return isinstance(value, origin) if inspect.isclass(origin) else None


def hints_of(function):
    target = function.__init__ if inspect.isclass(function) else inspect.unwrap(function)
    return typing.get_type_hints(target, vars(sys.modules[function.__module__]))


def call(name, changes=None):
    entry = valid()[name]
    owner, arguments = entry if isinstance(entry, tuple) else (None, entry)
    function = PUBLIC[name] if owner is None else getattr(owner, name.rsplit(".", 1)[1])
    result = function(**arguments | (changes or {}))
    if hasattr(result, "__enter__") and not isinstance(result, Tensor | Path):
        with result:
            pass
    return result


def refusal(name, argument, value):
    """The sentence with which a value is refused; None if it is taken."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            call(name, {argument: value})
        except (TypeError, ValueError, OSError, MemoryError) as error:
            where = traceback.extract_tb(error.__traceback__)[-1].filename
            assert where.startswith(PACKAGE), f"{argument}: {error!r} is raised in {where}"
            text = str(error)
            assert text and "\n" not in text and len(text) < 400, f"{argument}: {text!r} is no sentence"
            return text
    return None


def test_every_public_function_has_valid_arguments_here():
    assert set(PUBLIC) == set(valid())


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_the_wrong_kind_is_refused_in_a_sentence(name):
    entry = valid()[name]
    arguments = entry[1] if isinstance(entry, tuple) else entry
    kinds = hints_of(PUBLIC[name])
    for argument in arguments:
        if argument not in kinds:
            continue
        allowed = alternatives(kinds[argument])
        for label, value in anything().items():
            answers = [is_one(value, kind) for kind in allowed]
            if None in answers or any(answers):
                continue
            assert refusal(name, argument, value), f"{argument} takes {label} for {kinds[argument]}"


# A loss of NaN is NaN (looking would make a GPU wait), and what moves or mirrors tensors does not read them.
DO_NOT_LOOK = (
    "losses.", "simclr.", "distributed.", "device.hand_over", "augment.horizontal_flip",
    "augment.AugmentParameters",
)  # fmt: skip
TENSORS = [
    (name, argument)
    for name in sorted(PUBLIC)
    if not name.startswith(DO_NOT_LOOK)
    for argument, kind in hints_of(PUBLIC[name]).items()
    if argument != "return" and kind is Tensor
]


@pytest.mark.parametrize(("name", "argument"), TENSORS)
def test_spoiled_tensors_are_refused_in_a_sentence(name, argument):
    entry = valid()[name]
    x = (entry[1] if isinstance(entry, tuple) else entry)[argument]
    for label, value in tensors(x).items():
        assert refusal(name, argument, value), f"{argument} takes {label}"


SCALE_FREE = [
    "diagnostics.similarity_matrix", "diagnostics.contrastive_accuracy", "diagnostics.alignment",
    "diagnostics.uniformity", "diagnostics.effective_rank", "diagnostics.pair_similarities",
    "diagnostics.nearest_neighbours", "diagnostics.collapse_report", "evaluate.knn_predict",
    "evaluate.knn_accuracy", "losses.nt_xent", "losses.nt_xent_dense", "losses.nt_xent_loop",
]  # fmt: skip


def numbers(result):
    if isinstance(result, Tensor | float | int):
        return [torch.as_tensor(result, dtype=torch.float64)]
    parts = result.values() if isinstance(result, dict) else result if isinstance(result, tuple) else ()
    return [number for part in parts for number in numbers(part)]


@pytest.mark.parametrize("name", SCALE_FREE)
@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_what_depends_on_directions_only_is_the_same_at_every_scale(name, scale):
    if name.startswith("losses.") and scale < 1:
        pytest.skip("the losses divide by at least 1e-12, as F.normalize does")
    plain = numbers(call(name))
    for argument, x in valid()[name].items():
        if isinstance(x, Tensor) and x.is_floating_point():
            for a, b in zip(plain, numbers(call(name, {argument: x * scale})), strict=True):
                assert torch.allclose(a, b, rtol=1e-4, atol=1e-5), argument


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_a_linear_probe_is_the_same_at_every_scale(scale):
    both = {side: valid()["evaluate.fit_linear"][side] * scale for side in ("train_x", "test_x")}
    plain, scaled = call("evaluate.fit_linear"), call("evaluate.fit_linear", both)
    assert torch.equal(plain.predictions, scaled.predictions) and plain.accuracy > 0.5


@pytest.mark.parametrize("name", ["evaluate.fit_linear", "evaluate.knn_accuracy"])
def test_test_labels_of_one_class_are_refused(name):
    labels = torch.ones_like(valid()[name]["test_y"])
    assert "at least 2 classes" in refusal(name, "test_y", labels)


@pytest.mark.parametrize(("name", "argument"), [("simclr.SimCLR.forward", "x"), ("evaluate.embed", "images")])
def test_floats_up_to_255_are_no_pixels(name, argument):
    pixels = 255 * torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert "[0, 1]" in refusal(name, argument, pixels)


@pytest.mark.parametrize("function", ["augment.crop_and_resize", "simclr.ProjectionHead"])
def test_what_does_not_fit_in_memory_is_a_sentence(function, monkeypatch):
    argument = {"augment.crop_and_resize": "size", "simclr.ProjectionHead": "out_dim"}[function]
    assert "not enough memory" in refusal(function, argument, 2_000_000_000)
