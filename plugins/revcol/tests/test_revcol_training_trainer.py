"""The loop against one written out by hand, and a run that is killed against one that is not."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import os
import random
import signal

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy

from zoo_core.errors import CheckpointError, ConfigError, InputError, SaveError, ZooError
from zoo_revcol.loss import revcol_loss
from zoo_revcol.model import RevCol
from zoo_revcol.reversible import ReversibleLevel
from zoo_revcol.training import (
    Batches,
    Recipe,
    TensorAugmentation,
    evaluate,
    fit,
    image_batches,
    open_data,
    tensor_batches,
)
from zoo_revcol.training.checkpointing import checkpoints
from zoo_revcol.training.ema import MovingAverage
from zoo_revcol.training.randomness import permutation
from zoo_revcol.training.schedule import warmup_cosine

PLAIN = Recipe(
    epochs=2,
    lr=2e-2,
    batch_size=4,
    lr_images=8,
    warmup_epochs=1,
    warmup_lr=1e-3,
    min_lr=1e-4,
    clip=0.5,
    ema=0.8,
    image_size=32,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    tensors=True,
    flip=False,
)
EVERYTHING = PLAIN.changed(
    flip=True,
    mixup=0.8,
    cutmix=1.0,
    drop_path=0.5,
    supervision=True,
    shift=4.0,
    square=8,
    layer_decay=0.9,
)


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """Accelerate keeps a state for the process."""
    yield
    AcceleratorState._reset_state()


def network(recipe=EVERYTHING, seed=0, **changes):
    torch.manual_seed(seed)
    return RevCol(
        (4, 8, 16, 32),
        (1, 1, 1, 1),
        4 if recipe.supervision else 2,
        num_classes=3,
        drop_path_rate=recipe.drop_path,
        intermediate_supervision=recipe.supervision,
        layer_scale_init=0.5,
        **changes,
    )


def data(number=22):
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(number, 3, 32, 32, generator=generator)
    return images, torch.randint(3, (number,), generator=generator)


def batches(recipe=EVERYTHING, **changes):
    return tensor_batches(*data(), 4, augment=TensorAugmentation.of(recipe), **changes)


def same(one, other):
    one, other = one.state_dict(), other.state_dict()
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def lines(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("decay_alpha", [False, True])
@pytest.mark.parametrize("supervision", [False, True])
def test_the_loop_is_the_one_written_out_by_hand(supervision, decay_alpha):
    recipe = PLAIN.changed(supervision=supervision, decay_alpha=decay_alpha)
    images, labels = data()
    images = images.double()
    mine = network(recipe).double()
    with torch.no_grad():
        for level in mine.modules():
            if isinstance(level, ReversibleLevel):
                level.alpha.mul_(4e-3)  # so that the clamp has something to do
    theirs = copy.deepcopy(mine)
    average = copy.deepcopy(theirs)

    decayed = [
        it
        for name, it in theirs.named_parameters()
        if it.ndim > 1 and (decay_alpha or "alpha" not in name)
    ]
    known = {id(it) for it in decayed}
    others = [it for it in theirs.parameters() if id(it) not in known]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    )
    step, clipped = 0, 0
    for epoch in range(2):
        order = permutation(22, 0, "order", epoch)
        for number in range(5):
            index = order[4 * number : 4 * number + 4]
            rate = warmup_cosine(step, total=10, lr=1e-2, warmup=5, warmup_lr=5e-4, min_lr=5e-5)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss, _ = revcol_loss(
                theirs.train()(images[index]),
                images[index],
                labels[index],
                mean=recipe.mean,
                std=recipe.std,
            )
            optimizer.zero_grad()
            loss.backward()
            clipped += nn.utils.clip_grad_norm_(theirs.parameters(), 0.5) > 0.5
            optimizer.step()
            for name, parameter in theirs.named_parameters():
                if name.endswith("alpha"):
                    sign = torch.where(parameter < 0, -1.0, 1.0)
                    parameter.data = sign * parameter.data.abs().clamp(min=1e-3)
            for one, other in zip(average.parameters(), theirs.parameters(), strict=True):
                one.data.lerp_(other.data, 1 - 0.8)
            step += 1
    assert clipped > 5

    records = []
    made = tensor_batches(images, labels, 4)
    outcome = fit(mine, recipe, made, on_record=records.append, log_every=1)
    assert (outcome.step, outcome.steps, outcome.finished, outcome.signal) == (10, 10, True, 0)
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    for one, other in zip(outcome.model.parameters(), average.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    assert [record["lr"] for record in records][:2] == pytest.approx([5e-4, 2.4e-3])
    assert records[-1]["loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_the_average_follows_what_is_trained():
    model = network()
    average = MovingAverage(model, 0.75)
    before = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    average.update(model)
    average.update(model)
    for one, old in zip(average.model.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(one, old + (1 - 0.75**2))
    assert not average.model.training
    norm = nn.BatchNorm1d(2)
    counted = MovingAverage(norm, 0.5)
    norm(torch.randn(4, 2))
    counted.update(norm)
    assert counted.model.num_batches_tracked == 1
    torch.testing.assert_close(counted.model.running_mean, norm.running_mean / 2)


class Killed(BaseException):
    """What no handler catches: the process is gone."""


def killed_at(step):
    def on_record(record):
        if record["step"] == step:
            raise Killed

    return on_record


def options(**changes):
    return {
        "validation": tensor_batches(*data(9), 4, training=False),
        "checkpoint_every": 3,
        "log_every": 1,
        "seed": 7,
        **changes,
    }


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    whole = fit(network(), EVERYTHING, batches(seed=7), out=tmp_path / "whole", **options())
    for kill in (2, 5, 8):  # within an epoch, at its end, in the second
        folder = tmp_path / f"killed-{kill}"
        with contextlib.suppress(Killed):
            fit(
                network(),
                EVERYTHING,
                batches(seed=7),
                out=folder,
                on_record=killed_at(kill),
                **options(),
            )
        if kill < 3:
            with pytest.raises(CheckpointError, match="no checkpoint"):
                fit(network(), EVERYTHING, batches(), out=folder, resume=True)
            continue
        model = network(seed=99)  # what it starts from must not matter
        torch.rand(17)
        again = fit(model, EVERYTHING, batches(seed=7), out=folder, resume=True, **options())
        assert same(again.model, whole.model)
        assert again.metrics == whole.metrics
        told = [
            {key: value for key, value in record.items() if key != "images/s"}
            for record in lines(folder)
        ]
        assert told == [
            {key: value for key, value in record.items() if key != "images/s"}
            for record in lines(tmp_path / "whole")
        ]
    finished = fit(network(), EVERYTHING, batches(seed=7), out=folder, resume=True, **options())
    assert finished.finished
    assert same(finished.model, whole.model)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [2, 5])
def test_a_signal_ends_the_run_at_a_step_with_a_checkpoint(tmp_path, number, step):
    before = signal.getsignal(number)
    records = []

    def on_record(record):
        records.append(record)
        if record["kind"] == "train" and record["step"] == step:
            os.kill(os.getpid(), number)

    stopped = fit(
        network(),
        EVERYTHING,
        batches(),
        out=tmp_path,
        on_record=on_record,
        **options(checkpoint_every=None),
    )
    assert (stopped.step, stopped.finished, stopped.signal) == (step, False, number)
    assert records[-1]["kind"] == "train"  # no time is spent on evaluation any more
    assert signal.getsignal(number) is before
    (checkpoint,) = checkpoints(tmp_path / "checkpoints")
    assert checkpoint.name == f"step-{step:08d}"
    assert sorted(each.name for each in checkpoint.iterdir()) == [
        "average.safetensors",
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]
    fit(network(), EVERYTHING, batches(), out=tmp_path, resume=True, **options())
    evaluated = [each["step"] for each in lines(tmp_path) if each["kind"] == "evaluation"]
    assert evaluated == [5, 10]


def test_a_second_signal_acts_as_ever():
    def on_record(record):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(network(), EVERYTHING, batches(), on_record=on_record, log_every=1)


def test_the_last_checkpoints_stay_and_rubbish_goes(tmp_path):
    rubbish = tmp_path / "checkpoints" / ".step-00000002.abc" / "step-00000002"
    rubbish.mkdir(parents=True)
    fit(network(), EVERYTHING, batches(), out=tmp_path, checkpoint_every=2, keep=2)
    names = sorted(each.name for each in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000008", "step-00000010"]


def test_accumulated_batches_are_one_larger_batch():
    # Large enough an eps that AdamW does not forgive gradients of another size.
    recipe = PLAIN.changed(warmup_epochs=0, clip=1e9, eps=0.1)
    images, labels = data(16)
    images = images.double()
    large = fit(network(recipe).double(), recipe, tensor_batches(images, labels, 8))
    small = fit(network(recipe).double(), recipe, tensor_batches(images, labels, 2), accumulation=4)
    assert large.steps == small.steps == 4
    for one, other in zip(large.model.parameters(), small.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("memory", ["checkpoint", "reversible"])
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_memory_modes_train_alike_in_each_precision(memory, precision):
    recipe = EVERYTHING.changed(precision=precision)
    losses = []
    reference = network(recipe, memory="none")
    fit(reference, recipe, batches(), on_record=lambda it: losses.append(it["loss"]), log_every=1)
    told = []
    options = {"exact": True} if memory == "reversible" else {}
    model = network(recipe, memory=memory, **options)
    fit(model, recipe, batches(), on_record=lambda it: told.append(it["loss"]), log_every=1)
    assert told == pytest.approx(losses, rel=1e-4 if precision == "no" else 2e-2)
    assert all(each.dtype == torch.float32 for each in model.parameters())
    assert model.train()(data(2)[0]).logits[0].dtype == torch.float32


def test_bf16_computes_in_bf16():
    seen = set()
    model = network(PLAIN)
    model.head.fc.register_forward_hook(lambda _module, _inputs, output: seen.add(output.dtype))
    fit(model, PLAIN.changed(precision="bf16"), batches(PLAIN))
    assert seen == {torch.bfloat16}
    seen.clear()
    model(data(2)[0])
    assert seen == {torch.float32}  # the network has its own forward back


def test_it_learns_what_can_be_learnt():
    recipe = PLAIN.changed(epochs=12, lr=2e-2, lr_images=4, ema=0.5)
    _, labels = data(24)
    images = torch.randn(24, 3, 32, 32) * 0.3 + (labels[:, None, None, None] - 1.0)
    held_out = tensor_batches(images, labels, 8, training=False)
    outcome = fit(network(recipe), recipe, tensor_batches(images, labels, 4), validation=held_out)
    assert outcome.metrics["accuracy"] == outcome.metrics["ema_accuracy"] == 100.0
    assert outcome.accuracy == 100.0


def test_evaluation_counts_every_image_once():
    model = network(EVERYTHING)
    images, labels = data(11)
    found = evaluate(
        model.train(), tensor_batches(images, labels, 4, training=False), Accelerator()
    )
    assert model.training
    with torch.no_grad():
        logits = model.eval()(images)
    assert found["images"] == 11
    assert found["accuracy"] == pytest.approx(100 * (logits.argmax(1) == labels).sum().item() / 11)
    assert found["loss"] == pytest.approx(cross_entropy(logits, labels).item(), rel=1e-5)


class Drawing(nn.Module):
    """Logits, and a note of what the random generators gave in each step."""

    def __init__(self):
        super().__init__()
        self.linear, self.drawn = nn.Linear(3, 3), []

    def forward(self, images):
        self.drawn.append((torch.rand(()).item(), np.random.rand(), random.random()))
        return self.linear(images.mean((2, 3)))


def test_every_step_draws_other_numbers_and_every_seed_others_again():
    recipe = PLAIN.changed(clip=1e9, ema=0.0)
    runs = []
    for seed in (0, 0, 1):
        model = Drawing()
        fit(model, recipe, batches(PLAIN), seed=seed)
        runs.append(model.drawn)
    assert runs[0] == runs[1]
    for numbers in zip(*runs[0], *runs[2], strict=True):
        assert len(set(numbers)) == 20


def test_any_function_of_batches_can_be_trained_on(tmp_path):
    images, labels = data(12)

    def epoch(_number):
        for index in torch.randperm(12).split(4):  # from the global generator
            yield images[index] + 0.1 * torch.randn(4, 3, 32, 32), labels[index]

    made = Batches.of(epoch, 3, 4)
    whole = fit(network(), EVERYTHING, made)
    with contextlib.suppress(Killed):
        fit(
            network(),
            EVERYTHING,
            made,
            out=tmp_path,
            checkpoint_every=2,
            log_every=1,
            on_record=killed_at(5),
        )
    again = fit(network(), EVERYTHING, made, out=tmp_path, resume=True, checkpoint_every=2)
    assert same(again.model, whole.model)
    short = Batches.of(lambda epoch: [(images[:4], labels[:4])], 3, 4)
    with pytest.raises(InputError, match="epoch 0 had 1 batches; expected 3"):
        fit(network(), EVERYTHING, short)


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_what_is_not_finite_ends_the_run_and_is_never_saved(tmp_path, poison):
    model, recipe = network(PLAIN), PLAIN.changed(clip=1e9)
    bias, calls = model.head.fc.bias, []

    def spoil(*_):
        calls.append(1)
        if len(calls) == 7:
            (bias.data if poison == "loss" else bias.grad).fill_(float("nan"))

    if poison == "loss":
        model.register_forward_pre_hook(spoil)
    else:
        bias.register_post_accumulate_grad_hook(spoil)
    what = "the loss is nan" if poison == "loss" else "a weight is not finite"
    with pytest.raises(ZooError, match=f"{what} at step 7 of 10; the checkpoints in .* before"):
        fit(model, recipe, batches(PLAIN), out=tmp_path, checkpoint_every=1)
    assert checkpoints(tmp_path / "checkpoints")[-1].name == "step-00000006"
    again = network(PLAIN)
    assert fit(again, recipe, batches(PLAIN), out=tmp_path, resume=True).finished
    assert all(each.isfinite().all() for each in again.parameters())


def test_another_run_is_not_written_over(tmp_path):
    fit(network(), EVERYTHING, batches(), out=tmp_path)
    with pytest.raises(SaveError, match="already holds a run"):
        fit(network(), EVERYTHING, batches(), out=tmp_path)
    other = EVERYTHING.changed(lr=1e-3)
    with pytest.raises(CheckpointError, match=r"recipe\.lr \(0\.02 there, 0\.001 here\)"):
        fit(network(), other, batches(), out=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="different are: seed"):
        fit(network(), EVERYTHING, batches(), out=tmp_path, resume=True, seed=1)
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "config.json").write_text("{}")
    with pytest.raises(SaveError, match="already holds a saved model"):
        fit(network(), EVERYTHING, batches(), out=saved)
    with pytest.raises(SaveError, match="not a folder"):
        fit(network(), EVERYTHING, batches(), out=saved / "config.json")


def test_a_damaged_checkpoint_is_an_error(tmp_path):
    fit(network(), EVERYTHING, batches(), out=tmp_path)
    newest = checkpoints(tmp_path / "checkpoints")[-1]
    for name in ("model.safetensors", "optimizer.safetensors", "average.safetensors", "state.json"):
        content = (newest / name).read_bytes()
        (newest / name).write_bytes(content[:-9])
        with pytest.raises(CheckpointError, match="cannot be read"):
            fit(network(), EVERYTHING, batches(), out=tmp_path, resume=True)
        (newest / name).write_bytes(content)
    (newest / "state.json").write_text('{"format": 2}')
    with pytest.raises(CheckpointError, match="expected 1"):
        fit(network(), EVERYTHING, batches(), out=tmp_path, resume=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"step": None},
        {"step": "x"},
        {"step": -5},
        {"step": 10**9},
        {"evaluated": None},
        {"evaluated": 10**9},
        {"metrics": [1]},
        {"scaler": 3},
    ],
)
def test_a_state_that_cannot_be_is_an_error(changes, tmp_path):
    fit(network(), EVERYTHING, batches(), out=tmp_path)
    file = checkpoints(tmp_path / "checkpoints")[-1] / "state.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(CheckpointError, match="damaged"):
        fit(network(), EVERYTHING, batches(), out=tmp_path, resume=True)


def test_an_optimiser_s_state_must_be_whole(tmp_path):
    fit(network(), EVERYTHING, batches(), out=tmp_path)
    file = checkpoints(tmp_path / "checkpoints")[-1] / "optimizer.safetensors"
    whole = load_file(file)
    name = next(each for each in whole if each.startswith("exp_avg/"))
    for broken in (
        {},
        {key: value for key, value in whole.items() if key != name},
        {**whole, name: torch.zeros(3, 3, 3)},
        {**whole, "foo/stem.conv.weight": torch.zeros(1)},
    ):
        save_file(broken, file)
        with pytest.raises(CheckpointError, match="this network's optimiser"):
            fit(network(), EVERYTHING, batches(), out=tmp_path, resume=True)


def test_weights_that_are_not_finite_are_not_resumed(tmp_path):
    fit(network(), EVERYTHING, batches(), out=tmp_path)
    file = checkpoints(tmp_path / "checkpoints")[-1] / "model.safetensors"
    tensors = load_file(file)
    tensors["head.fc.bias"][0] = float("nan")
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match="not finite"):
        fit(network(), EVERYTHING, batches(), out=tmp_path, resume=True)


@pytest.mark.parametrize("content", [b"garbage\n", b"{}\n", b"\xff\xfe\n"])
def test_a_log_that_is_none_is_an_error(content, tmp_path):
    fit(network(), EVERYTHING, batches(), out=tmp_path)
    (tmp_path / "log.jsonl").write_bytes(content)
    with pytest.raises(CheckpointError, match="not the log of a run"):
        fit(network(), EVERYTHING, batches(), out=tmp_path, resume=True)


def test_a_checkpoint_of_another_network_is_an_error(tmp_path):
    fit(network(), EVERYTHING, batches(), out=tmp_path)
    other = network(kernel_size=5)
    identity = json.loads((tmp_path / "run.json").read_text())
    identity["parameters"] = sum(each.numel() for each in other.parameters())
    (tmp_path / "run.json").write_text(json.dumps(identity))
    with pytest.raises(CheckpointError, match="is of another network"):
        fit(other, EVERYTHING, batches(), out=tmp_path, resume=True)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"resume": True}, ConfigError, "out is None"),
        ({"accumulation": 0}, ConfigError, "accumulation is 0"),
        ({"accumulation": 6}, InputError, "expected at least 6"),
        ({"keep": 0}, ConfigError, "keep is 0"),
        ({"seed": -1}, ConfigError, "seed is -1"),
        ({"log_every": 0}, ConfigError, "log_every is 0"),
        ({"checkpoint_every": 0}, ConfigError, "checkpoint_every is 0"),
    ],
)
def test_arguments_are_checked(changes, error, message):
    with pytest.raises(error, match=message):
        fit(network(), EVERYTHING, batches(), **changes)


def test_odd_batches_cannot_be_mixed():
    with pytest.raises(ConfigError, match="3 images; mixup and cutmix need an even number"):
        fit(network(), EVERYTHING, tensor_batches(*data(), 3))


def test_trackers_must_be_known(tmp_path):
    with pytest.raises(ConfigError, match="there is no tracker 'nothing'"):
        fit(network(), EVERYTHING, batches(), out=tmp_path, trackers=("nothing",))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU can do fp16")
def test_fp16_needs_a_gpu():
    with pytest.raises(ConfigError, match="precision 'fp16' cannot be used here"):
        fit(network(), EVERYTHING.changed(precision="fp16"), batches())
    fit(network(), EVERYTHING, batches())  # and leaves nothing behind


def test_fp16_scales_the_loss_and_goes_on_with_its_scale(tmp_path):
    """The scaler is put in by hand, on the CPU, where Accelerate has none."""
    recipe = EVERYTHING.changed(precision="fp16", epochs=4)
    skipped = []

    def run(**changes):
        AcceleratorState._reset_state()
        accelerator = Accelerator(mixed_precision="fp16")
        accelerator.native_amp = True
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**28, growth_interval=4)
        outcome = fit(network(), recipe, batches(), accelerator=accelerator, log_every=1, **changes)
        skipped.append(28 - math.log2(accelerator.scaler.get_scale()))
        return outcome

    whole = run()
    assert 3 < skipped[0] < 25
    assert all(each.isfinite().all() for each in whole.model.parameters())
    with contextlib.suppress(Killed):
        run(out=tmp_path, checkpoint_every=3, on_record=killed_at(17))
    state = json.loads((tmp_path / "checkpoints" / "step-00000015" / "state.json").read_text())
    assert state["scaler"]["scale"] < 2.0**26
    again = run(out=tmp_path, resume=True)
    assert same(again.model, whole.model)
    assert skipped[-1] == skipped[0]


def test_a_given_accelerator_must_have_the_recipe_s_precision():
    recipe, accelerator = EVERYTHING.changed(precision="bf16"), Accelerator(mixed_precision="no")
    with pytest.raises(ConfigError, match="precision is 'bf16', that of the accelerator 'no'"):
        fit(network(), recipe, batches(), accelerator=accelerator)


def test_images_read_by_workers_train_to_the_same_weights(tmp_path):
    from PIL import Image

    images, labels = data(10)
    for split in ("train", "val"):
        for label in range(3):
            (tmp_path / split / str(label)).mkdir(parents=True)
        for index, label in enumerate([*labels.tolist()[:7], 0, 1, 2]):
            pixels = (images[index].permute(1, 2, 0) * 60 + 128).clamp(0, 255).byte().numpy()
            Image.fromarray(pixels).save(tmp_path / split / str(label) / f"{index}.png")
    train, _ = open_data(str(tmp_path))
    recipe = EVERYTHING.changed(tensors=False, auto_augment="rand-m9-mstd0.5-inc1", erasing=0.5)

    def run(workers, **changes):
        made = image_batches(train, recipe, 2, training=True, workers=workers)
        return fit(network(), recipe, made, **changes)

    whole = run(0)
    out = tmp_path / "run"
    with contextlib.suppress(Killed):
        run(2, out=out, checkpoint_every=3, log_every=1, on_record=killed_at(8))
    assert same(run(1, out=out, resume=True, checkpoint_every=3).model, whole.model)
