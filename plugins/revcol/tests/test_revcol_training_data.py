"""Where batches come from: folders, tensors, functions; the same however they are read."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from zoo_core.errors import ConfigError, InputError
from zoo_revcol.training import (
    Batches,
    Recipe,
    TensorAugmentation,
    image_batches,
    open_data,
    tensor_batches,
)
from zoo_revcol.training.batches import Order
from zoo_revcol.training.data import FolderItems, Labelled
from zoo_revcol.training.images import posterized, training_transform
from zoo_revcol.training.randomness import derived, permutation, seed_all

ALONE = (0, 1)
AUGMENTED = Recipe(
    epochs=1,
    lr=1.0,
    image_size=32,
    auto_augment="rand-m9-mstd0.5-inc1",
    erasing=0.5,
    color_jitter=0.4,
)


@pytest.fixture
def folder(tmp_path):
    """Two classes of differently coloured images, ten to train on and four to evaluate."""
    generator = np.random.default_rng(0)
    for split, number in (("train", 5), ("val", 2)):
        for place, name in enumerate(("cat", "dog")):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(number):
                pixels = generator.integers(0, 128, (40, 48, 3), dtype=np.uint8) + 127 * place
                path = tmp_path / split / name / f"{index}.png"
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path


def taken(batches, epoch=0, start=0):
    """Images and labels, each batch made from a seed of its own as the trainer does."""
    made = iter(batches.make(epoch, start))
    result = []
    for number in range(start, batches.number):
        seed_all("test", epoch, number)
        result.append(next(made))
    return result


def joined_up(lists):
    return list(itertools.chain.from_iterable(lists))


def same(one, other):
    assert len(one) == len(other)
    return all(
        torch.equal(mine, theirs)
        for a, b in zip(one, other, strict=True)
        for mine, theirs in zip(a, b, strict=True)
    )


def test_a_folder_is_read_in_the_order_of_names(folder):
    (folder / "train" / "cat" / "notes.txt").write_text("no image")
    (folder / "train" / ".hidden").mkdir()
    train, held_out = open_data(str(folder))
    assert train.classes == held_out.classes == ("cat", "dog")
    assert (train.split, held_out.split) == ("train", "val")
    assert [train.items[index][1] for index in range(10)] == [0] * 5 + [1] * 5
    first, _ = train.items[0]
    assert np.array_equal(first, Image.open(folder / "train" / "cat" / "0.png"))
    assert len(held_out.items) == 4


def test_the_part_to_evaluate_on_can_be_named(folder):
    (folder / "val").rename(folder / "held-out")
    with pytest.raises(InputError, match="no folder val or validation"):
        open_data(str(folder))
    assert open_data(str(folder), validation="held-out")[1].split == "held-out"
    elsewhere = str(folder / "held-out")
    assert len(open_data(str(folder), validation=elsewhere)[1].items) == 4
    with pytest.raises(InputError, match="no folder nothing"):
        open_data(str(folder), validation="nothing")


def test_torchvision_s_data_sets_come_through_timm(folder):
    train, held_out = open_data("torch/image_folder", root=str(folder))
    assert train.classes == held_out.classes == ("cat", "dog")
    assert (len(train.items), len(held_out.items)) == (10, 4)
    mine, theirs = open_data(str(folder))[0], train
    recipe = AUGMENTED
    pair = [
        image_batches(each, recipe, 5, training=True, seed=3, place=ALONE)
        for each in (mine, theirs)
    ]
    assert same(taken(pair[0]), taken(pair[1]))


@pytest.mark.parametrize("name", ["torch/nothing", "torch/cifar10"])
def test_what_timm_cannot_open_is_an_error(name, tmp_path):
    with pytest.raises(InputError, match=f"{name} .train. cannot be opened"):
        open_data(name, root=str(tmp_path))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda it: it / "elsewhere", "there is no folder"),
        (lambda it: it / "train", "has no folder train"),
        (lambda it: "wds/shards", "is a stream"),
        (lambda it: (it / "val" / "dog").rename(it / "val" / "cow").parents[1], "only in val: cow"),
        (lambda it: (it / "train" / "owl").mkdir() or it, "owl has no images"),
        (lambda it: "", "it is empty"),
    ],
)
def test_bad_folders(folder, break_it, message):
    with pytest.raises(InputError, match=message):
        open_data(str(break_it(folder)))


def test_no_images_and_one_class(tmp_path):
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
    with pytest.raises(InputError, match="train has no images"):
        open_data(str(tmp_path))
    for split in ("train", "val"):
        (tmp_path / split / "cat").mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / split / "cat" / "0.png")
    with pytest.raises(InputError, match="has 1 classes; expected at least 2"):
        open_data(str(tmp_path))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_named(folder, workers):
    broken = folder / "train" / "dog" / "3.png"
    broken.write_bytes(broken.read_bytes()[:200])
    train, _ = open_data(str(folder))
    batches = image_batches(train, AUGMENTED, 10, training=True, workers=workers, place=ALONE)
    with pytest.raises(InputError, match=r"dog/3\.png is not a readable image") as caught:
        taken(batches)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("tensors", [False, True])
def test_workers_and_starts_change_nothing(folder, tensors):
    train, _ = open_data(str(folder))
    recipe = AUGMENTED.changed(tensors=tensors, shift=4.0, square=8, rotation=10.0)
    alone, helped = (
        image_batches(train, recipe, 2, training=True, seed=5, workers=workers, place=ALONE)
        for workers in (0, 2)
    )
    first = taken(alone, 0)
    assert same(first, taken(helped, 0))
    assert same(first[3:], taken(helped, 0, start=3))
    second = taken(helped, 1)
    assert same(second, taken(alone, 1))
    assert not same(first, second)
    next(iter(helped.make(0, 0)))  # left in the middle
    assert same(second, taken(helped, 1))


def test_augmentation_depends_on_epoch_image_and_seed_alone(folder):
    train, _ = open_data(str(folder))

    def by_image(seed, epoch, size):
        batches = image_batches(train, AUGMENTED, size, training=True, seed=seed, place=ALONE)
        images = torch.cat([images for images, _ in taken(batches, epoch)])
        order = permutation(10, seed, "order", epoch)[: len(images)]
        return dict(zip(order.tolist(), images, strict=True))

    whole, halves = by_image(0, 4, 10), by_image(0, 4, 5)
    assert all(torch.equal(whole[index], halves[index]) for index in range(10))
    for other in (by_image(1, 4, 10), by_image(0, 5, 10)):
        assert not any(torch.equal(whole[index], other[index]) for index in range(10))


def test_evaluation_is_in_order_and_complete(folder):
    _, held_out = open_data(str(folder))
    batches = image_batches(held_out, AUGMENTED, 3, training=False, place=ALONE)
    assert [len(labels) for _, labels in taken(batches)] == [3, 1]
    assert torch.cat([labels for _, labels in taken(batches)]).tolist() == [0, 0, 1, 1]
    assert same(taken(batches, 0), taken(batches, 7))


@pytest.mark.parametrize("images", [7, 8, 9, 16])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_an_order(images, world):
    def batches(training, rank=0, world=1, size=2):
        order = Order(images, size, training=training, seed=1, place=(rank, world))
        found = list(order.batches(3, 0))
        assert len(found) == len(order)
        assert list(order.batches(3, 1)) == found[1:]
        return found

    together = batches(True, size=2 * world)
    shares = [batches(True, rank, world) for rank in range(world)]
    joined = [joined_up(parts) for parts in zip(*shares, strict=True)]
    assert joined == together
    flat = joined_up(together)
    assert len(set(flat)) == len(flat) == images // (2 * world) * 2 * world
    held_out = [joined_up(batches(False, rank, world)) for rank in range(world)]
    assert sorted(joined_up(held_out)) == list(range(images))


def test_tensors_in_memory():
    images = torch.arange(6.0).reshape(6, 1, 1, 1).expand(6, 3, 32, 32)
    labels = torch.arange(6)
    batches = tensor_batches(images, labels, 4, seed=2, augment=lambda it: it + 10, place=ALONE)
    ((found, classes),) = taken(batches, 5)
    assert torch.equal(found[:, 0, 0, 0], classes + 10.0)
    assert classes.tolist() == permutation(6, 2, "order", 5)[:4].tolist()
    held_out = tensor_batches(images, labels, 4, training=False, augment=torch.neg, place=ALONE)
    assert torch.equal(torch.cat([images for images, _ in taken(held_out)]), images)


def test_any_function_makes_batches():
    made = Batches.of(lambda epoch: [(epoch, number) for number in range(4)])
    assert (made.number, made.seekable) == (4, False)
    assert list(made.make(2, 0)) == [(2, 0), (2, 1), (2, 2), (2, 3)]
    with pytest.raises(InputError, match="number="):
        Batches.of(lambda epoch: iter([]))


@pytest.mark.parametrize(
    ("images", "labels", "size", "message"),
    [
        (torch.zeros(4, 32, 32), torch.zeros(4, dtype=torch.int64), 2, "expected floating-point"),
        (torch.zeros(4, 3, 32, 32).int(), torch.zeros(4).long(), 2, "dtype torch.int32"),
        (torch.zeros(4, 3, 32, 32), torch.zeros(3).long(), 2, "for 4 images"),
        (torch.zeros(4, 3, 32, 32), torch.zeros(4), 2, "dtype torch.float32"),
        (torch.zeros(4, 3, 32, 32), torch.zeros(4).long(), 5, "fewer than one batch of 5"),
        (torch.zeros(0, 3, 32, 32), torch.zeros(0).long(), 5, "there are no images"),
    ],
)
def test_tensors_are_checked(images, labels, size, message):
    with pytest.raises(InputError, match=message):
        tensor_batches(images, labels, size, place=ALONE)
    assert issubclass(InputError, ValueError)


def test_sizes_are_checked():
    with pytest.raises(ConfigError, match="batch_size is 0"):
        tensor_batches(torch.zeros(4, 3, 32, 32), torch.zeros(4).long(), 0, place=ALONE)
    nothing = Labelled(FolderItems([("nowhere.png", 0)] * 4), ("a", "b"), "train")
    with pytest.raises(ConfigError, match="workers is -1"):
        image_batches(nothing, AUGMENTED, 2, training=True, workers=-1, place=ALONE)


def test_seeds_differ_by_every_part():
    seeds = {derived(a, b, c) for a in (0, 1) for b in ("order", "step") for c in range(50)}
    assert len(seeds) == 200
    assert all(0 <= each < 1 << 63 for each in seeds)
    assert derived(12, "x") != derived(1, "2x")


def test_seeding_reaches_every_generator():
    import random

    def drawn():
        return random.random(), np.random.rand(), torch.rand(3).tolist()

    seed_all(1, "a")
    first = drawn()
    drawn()
    seed_all(1, "a")
    assert drawn() == first
    seed_all(1, "b")
    assert all(one != other for one, other in zip(drawn(), first, strict=True))


def test_randaugment_works_at_every_strength():
    transform = training_transform(
        AUGMENTED.changed(auto_augment="rand-m10-mstd0.5-inc1", erasing=0.0)
    )
    (randomly,) = [step for step in transform.transforms if hasattr(step, "ops")]
    (posterize,) = [each for each in randomly.ops if each.name == "PosterizeIncreasing"]
    image = Image.new("RGB", (8, 8), (255, 129, 3))
    for strength, bits in ((0, 4), (5, 2), (9, 1), (10, 0)):
        posterize.magnitude, posterize.magnitude_std, posterize.prob = strength, 0, 1.0
        kept = 256 - 2 ** (8 - bits)
        expected = tuple(value & kept for value in (255, 129, 3))
        assert posterize(image).getpixel((7, 7)) == expected
    original = training_transform(AUGMENTED.changed(auto_augment="original-mstd0.5"))
    for make in (transform, original):
        for number in range(100):
            seed_all("augment", number)
            assert make(image).isfinite().all()


def test_posterize_keeps_what_has_eight_bits():
    image = Image.new("RGB", (2, 2), (255, 129, 3))
    assert posterized(image, 8) is image


def test_shifts_move_by_whole_pixels_and_flips_mirror():
    seed_all("flip")
    images = torch.rand(64, 3, 8, 8)
    moved = TensorAugmentation(flip=True)(images)
    mirrored = [
        torch.allclose(after, before.flip(-1), atol=1e-5)
        for before, after in zip(images, moved, strict=True)
    ]
    unchanged = [
        torch.allclose(after, before, atol=1e-5)
        for before, after in zip(images, moved, strict=True)
    ]
    assert all(one != other for one, other in zip(mirrored, unchanged, strict=True))
    assert 16 < sum(mirrored) < 48
    assert torch.equal(TensorAugmentation()(images), images)


def test_largest_shift_and_rotation():
    seed_all("shift")
    point = torch.zeros(200, 1, 33, 33)
    point[:, :, 16, 16] = 1.0
    line = torch.arange(33.0) - 16

    def centre(images, dim):
        return (images.sum(dim=(1, dim)) * line).sum(-1) / images.sum(dim=(1, 2, 3))

    moved = TensorAugmentation(shift=4.0)(point)
    for dim in (2, 3):
        reach = centre(moved, dim)
        assert reach.abs().max() <= 4.0 + 1e-3
        assert reach.max() > 3.0
        assert reach.min() < -3.0
    corner = torch.zeros(200, 1, 33, 33)
    corner[:, :, 16, 26] = 1.0
    turned = TensorAugmentation(rotation=30.0)(corner)
    angle = torch.rad2deg(torch.atan2(centre(turned, 3), centre(turned, 2)))
    assert angle.abs().max() < 32
    assert angle.max() > 20
    assert angle.min() < -20


def test_one_square_is_erased():
    seed_all("square")
    images = torch.ones(300, 3, 16, 16)
    erased = TensorAugmentation(square=5)(images) == 0
    assert torch.equal(erased.all(1), erased.any(1))
    rows, columns = erased[:, 0].any(2).sum(1), erased[:, 0].any(1).sum(1)
    assert torch.equal(erased[:, 0].sum((1, 2)), rows * columns)
    for sides in (rows, columns):
        assert (int(sides.min()), int(sides.max())) == (1, 5)
    assert erased[:, 0, 0, 0].any()
    assert erased[:, 0, -1, -1].any()
