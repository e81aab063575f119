from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from striate.data import Preprocessing, from_arrays, load, load_part
from striate.errors import DataError

H, W = 7, 11


def put(root, counts, size=(W, H), mode="L", start=0):
    """``counts`` images in each class folder; pixel values differ from image to image, class to class, part to part."""
    for name, count in counts.items():
        place = list(f"{root.name}/{name}".encode())
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = np.random.default_rng([start, i, *place]).integers(0, 256, (size[1], size[0])).astype(np.uint8)
            Image.fromarray(pixels).convert(mode).save(root / name / f"{start + i}.png")
    return root


def value(choices, name):
    return {choice.name: choice.value for choice in choices}[name]


def arrays(n=20, shape=(H, W), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape)).astype(np.uint8), np.arange(n) % 2


def test_data_is_torch_free():
    code = "import sys, striate.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_plain_folder_is_split_three_ways_and_says_so(tmp_path):
    put(tmp_path, {"10": 10, "9": 20})
    dataset, choices = load(tmp_path)
    assert dataset.classes == ("9", "10")
    assert [np.bincount(part.labels).tolist() for part in dataset.parts.values()] == [[14, 7], [2, 1], [4, 2]]
    assert [str(choice) for choice in choices[:4]] == [
        "test = 6 images (0.2 of each class, held out of 30 images with seed 0)",
        "validation = 3 images (0.1 of each class, held out of 24 images with seed 0)",
        "image_size = (7, 11) (all 30 images have this size)",
        "channels = 1 (all 30 images are gray)",
    ]
    names = [name for part in dataset.parts.values() for name in part.names]
    assert len(set(names)) == 30
    assert dataset.source == str(tmp_path)


def test_every_image_keeps_its_label_and_name(tmp_path):
    put(tmp_path, {"a": 5, "b": 5})
    dataset, _ = load(tmp_path)
    for part in dataset.parts.values():
        for image, label, name in zip(part.images, part.labels, part.names, strict=True):
            assert name.split("/")[0] == dataset.classes[label]
            with Image.open(tmp_path / name) as file:
                np.testing.assert_array_equal(image[0], np.asarray(file))


def test_the_seed_decides_the_split_and_a_repeat_is_identical(tmp_path):
    put(tmp_path, {"a": 20, "b": 20})
    first, again, other = load(tmp_path)[0], load(tmp_path)[0], load(tmp_path, seed=1)[0]
    assert first.fingerprint == again.fingerprint
    assert first.test.names.tolist() != other.test.names.tolist()


def test_parts_of_the_source_are_kept_and_classes_matched_by_name(tmp_path):
    put(tmp_path / "train", {"b": 4, "a": 4})
    put(tmp_path / "val", {"a": 1, "b": 2})
    put(tmp_path / "test", {"b": 3, "a": 2})
    dataset, choices = load(tmp_path)
    assert [np.bincount(part.labels).tolist() for part in dataset.parts.values()] == [[4, 4], [1, 2], [2, 3]]
    assert [choice.name for choice in choices] == ["image_size", "channels", "mean", "std"]


def test_without_a_test_part_none_is_made_from_what_is_called_train(tmp_path):
    put(tmp_path / "train", {"a": 10, "b": 10})
    dataset, choices = load(tmp_path)
    assert dataset.test is None
    assert str(choices[1]) == "test = none (the source has no test part)"


def test_ignored_files_are_counted(tmp_path):
    put(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "a" / "labels.csv").touch()
    _, choices = load(tmp_path)
    assert str(choices[0]) == "ignored = 1 (hidden, not an image by suffix, or beside the folders)"


def test_statistics_come_from_the_training_part_alone(tmp_path):
    X, y = arrays()
    far_off = (np.full((4, H, W), 255, np.uint8), [0, 1, 0, 1])
    dataset, _ = from_arrays(X, y, validation=far_off, test=far_off)
    assert dataset.preprocessing.mean == (round(X.mean() / 255, 4),)
    assert dataset.preprocessing.std == (round(X.std() / 255, 4),)


def test_statistics_are_per_channel():
    X = np.stack([arrays(shape=(H, W))[0] // k for k in (1, 2, 5)], axis=1)
    dataset, _ = from_arrays(X, np.arange(20) % 2, validation=(X, np.arange(20) % 2))
    np.testing.assert_allclose(dataset.preprocessing.mean, X.mean((0, 2, 3)) / 255, atol=5e-5)
    np.testing.assert_allclose(dataset.preprocessing.std, X.std((0, 2, 3)) / 255, atol=5e-5)


def test_flat_pictures_are_refused():
    X = np.zeros((20, H, W), np.uint8)
    message = r"^training images do not vary in channel 0; check that they hold pictures$"
    with pytest.raises(DataError, match=message):
        from_arrays(X, np.arange(20) % 2)


@pytest.mark.parametrize(
    ("size", "side", "reason"),
    [
        ((300, 200), 128, "median short side 200 px; of 32, 64, 96, 128 the largest not above it"),
        ((100, 500), 96, "median short side 100 px; of 32, 64, 96, 128 the largest not above it"),
        ((20, 65), 32, "median short side 20 px; of 32, 64, 96, 128 the smallest"),
    ],
)
def test_large_images_become_squares_with_a_reason(tmp_path, size, side, reason):
    put(tmp_path, {"a": 3, "b": 3}, size)
    dataset, choices = load(tmp_path)
    assert dataset.train.images.shape[2:] == (side, side)
    assert f"image_size = ({side}, {side}) ({reason})" in [str(choice) for choice in choices]


def test_one_colour_image_makes_the_set_colour(tmp_path):
    put(tmp_path, {"a": 4, "b": 3})
    put(tmp_path, {"b": 1}, mode="RGB", start=50)
    dataset, choices = load(tmp_path)
    assert dataset.train.images.shape[1] == 3
    assert "channels = 3 (1 of 8 images are stored in colour)" in [str(choice) for choice in choices]


def test_what_is_given_is_taken_and_is_no_choice(tmp_path):
    put(tmp_path, {"a": 5, "b": 5})
    dataset, choices = load(tmp_path, image_size=(5, 6), channels=3, fit="pad")
    assert dataset.preprocessing.shape == (3, 5, 6)
    assert dataset.preprocessing.fit == "pad"
    assert not {"image_size", "channels"} & {choice.name for choice in choices}
    assert load(tmp_path, image_size=9)[0].preprocessing.shape == (1, 9, 9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 0}, r"^preprocessing: height is 0 px; use 1 to 4096$"),
        ({"image_size": (1, 2, 3)}, r"^image_size is \(1, 2, 3\); give one side or \(height, width\) in px$"),
        ({"channels": 2}, r"^preprocessing: channels is 2; use 1 \(gray\) or 3 \(RGB\)$"),
        ({"fit": "best"}, r"^preprocessing: fit is 'best'; use one of crop, pad, stretch$"),
        ({"validation_share": 1.5}, r"^validation share is 1\.5; give a number between 0 and 1, such as 0\.1$"),
    ],
)
def test_impossible_options_are_refused(tmp_path, options, message):
    put(tmp_path, {"a": 5, "b": 5})
    with pytest.raises(DataError, match=message):
        load(tmp_path, **options)


def test_a_missing_source_lists_what_can_be_given(tmp_path):
    message = (
        rf"^{tmp_path}/none: no such folder or file; "
        r"give a folder, a \.csv, \.npz, \.parquet, \.tar, \.zip file, sample or fashion-mnist$"
    )
    with pytest.raises(DataError, match=message):
        load(tmp_path / "none")
    with pytest.raises(DataError, match=r"none\.npz: no such folder or file; give a folder"):
        load(tmp_path / "none.npz")


def test_a_single_class_is_refused(tmp_path):
    put(tmp_path, {"a": 5})
    with pytest.raises(DataError, match=r"^found 1 class\(es\) \('a',\); a classifier needs at least 2$"):
        load(tmp_path)


def test_a_class_with_too_few_images_is_named(tmp_path):
    put(tmp_path, {"a": 5, "b": 2})
    message = r"^class 'b' has 1 image\(s\) to split into training and validation; add images$"
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_an_unreadable_image_is_named_before_any_is_decoded(tmp_path):
    put(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "b" / "3.png").write_text("text")
    with pytest.raises(DataError, match=rf"^{tmp_path}/b/3\.png: not an image of a known format"):
        load(tmp_path)


def test_a_truncated_image_is_named(tmp_path):
    put(tmp_path, {"a": 5, "b": 5})
    path = tmp_path / "b" / "3.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=rf"^{path}: "):
        load(tmp_path)


def test_a_class_missing_in_a_part_is_named(tmp_path):
    put(tmp_path / "train", {"a": 5, "b": 5})
    put(tmp_path / "val", {"b": 5})
    message = rf"^{tmp_path}: no image of class 'a' in the validation part; add some or drop it everywhere$"
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_a_class_unknown_to_training_is_named(tmp_path):
    put(tmp_path / "train", {"a": 5, "b": 5})
    put(tmp_path / "test", {"a": 5, "b": 5, "c": 5})
    with pytest.raises(DataError, match=rf"^{tmp_path}: test: class 'c' is unknown; the classes are a, b$"):
        load(tmp_path)


def test_parts_without_training_are_refused(tmp_path):
    put(tmp_path / "val", {"a": 5, "b": 5})
    message = rf"^{tmp_path}: no training part; add train/ or, in an \.npz file, x_train and y_train$"
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_a_folder_named_sample_is_reached_by_a_path(tmp_path, monkeypatch):
    put(tmp_path / "sample", {"a": 5, "b": 5})
    monkeypatch.chdir(tmp_path)
    assert load("./sample")[0].classes == ("a", "b")
    assert len(load("sample")[0].classes) == 10


def test_npz_and_arrays_give_the_same_data(tmp_path):
    X, y = arrays()
    np.savez(tmp_path / "a.npz", x_train=X, y_train=y, x_test=X[:4], y_test=y[:4])
    from_file, _ = load(tmp_path / "a.npz")
    in_memory, _ = from_arrays(X, y, test=(X[:4], y[:4]))
    assert from_file.fingerprint == in_memory.fingerprint
    assert from_file.classes == ("0", "1")


def test_arrays_with_string_labels_and_other_options():
    X, _ = arrays(shape=(H, W, 3))
    y = ["b10", "b9"] * 10
    dataset, choices = from_arrays(X, y, image_size=(4, 5))
    assert dataset.classes == ("b9", "b10")
    assert dataset.train.images.shape == (18, 3, 4, 5)
    assert value(choices, "channels") == 3
    assert from_arrays(X, y, classes=("b10", "b9"))[0].classes == ("b10", "b9")
    gray, _ = from_arrays(X, y, channels=1)
    assert gray.train.images.shape == (18, 1, H, W)


def test_image_and_label_counts_must_agree():
    X, y = arrays()
    with pytest.raises(DataError, match=r"^arrays: train has 20 images and 19 labels; match them$"):
        from_arrays(X, y[1:])


def test_load_part_matches_names_and_allows_absent_classes(tmp_path):
    put(tmp_path, {"c": 2, "a": 3})
    preprocessing = Preprocessing(3, 5, 6, "stretch", (0.5,) * 3, (0.2,) * 3)
    part, _ = load_part(tmp_path, ("c", "b", "a"), preprocessing)
    assert part.images.shape == (5, 3, 5, 6)
    assert part.labels.tolist() == [2, 2, 2, 0, 0]
    with pytest.raises(DataError, match=rf"^{tmp_path}: class 'c' is unknown; the classes are a, b$"):
        load_part(tmp_path, ("a", "b"), preprocessing)


def test_load_part_takes_the_test_part(tmp_path):
    gray = Preprocessing(1, H, W, "crop", (0.5,), (0.2,))
    put(tmp_path / "train", {"a": 5, "b": 5})
    with pytest.raises(DataError, match=rf"^{tmp_path}: has train but no test part; name one$"):
        load_part(tmp_path, ("a", "b"), gray)
    put(tmp_path / "test", {"a": 1, "b": 2})
    assert load_part(tmp_path, ("a", "b"), gray)[0].labels.tolist() == [0, 1, 1]
    assert load_part(tmp_path / "train", ("a", "b"), gray)[0].labels.tolist() == [0] * 5 + [1] * 5


def test_load_part_of_the_sample_equals_load():
    dataset, _ = load("sample")
    part, _ = load_part("sample", dataset.classes, dataset.preprocessing)
    np.testing.assert_array_equal(part.images, dataset.test.images)
    np.testing.assert_array_equal(part.labels, dataset.test.labels)


def test_photographs_load_as_class_folders(tmp_path, shared_data):
    source = shared_data / "trashnet"
    if not source.is_dir():
        pytest.skip("needs ../shared/data/trashnet")
    for folder in (path for path in source.iterdir() if path.is_dir()):
        (tmp_path / folder.name).mkdir()
        for file in sorted(folder.glob("*.jpg"))[:6]:
            shutil.copy(file, tmp_path / folder.name)
    dataset, choices = load(tmp_path)
    assert dataset.classes == ("cardboard", "glass", "metal", "paper", "plastic", "trash")
    assert dataset.train.images.shape == (24, 3, 128, 128)
    assert value(choices, "channels") == 3
    again, _ = load_part(tmp_path, dataset.classes, dataset.preprocessing)
    i = again.names.tolist().index(str(dataset.test.names[0]))
    np.testing.assert_array_equal(again.images[i], dataset.test.images[0])


def spoil(root, *names):
    """One file that is no image, one that ends early."""
    first, second = (root / name for name in names)
    first.write_text("text")
    second.write_bytes(second.read_bytes()[:60])


def test_skipping_leaves_bad_images_out_after_the_split_and_lists_them(tmp_path):
    put(tmp_path, {"a": 10, "b": 10})
    whole, _ = load(tmp_path)
    gone = [str(whole.train.names[0]), str(whole.test.names[1])]
    spoil(tmp_path, *gone)
    with pytest.raises(DataError, match=r"not an image of a known format"):
        load(tmp_path)
    dataset, choices = load(tmp_path, on_bad="skip")
    assert [image.name for image in dataset.skipped] == gone
    assert [image.name for image in dataset.test.skipped] == gone[1:]
    assert dataset.skipped[0].class_name == gone[0][0]
    assert dataset.skipped[0].reason.startswith(f"{tmp_path}/{gone[0]}: not an image of a known format")
    for part in ("train", "validation", "test"):
        before, after = whole.parts[part], dataset.parts[part]
        assert after.names.tolist() == [name for name in before.names.tolist() if name not in gone]
        assert len(after) == len(after.images) == len(after.labels) == len(before) - len(after.skipped)
    assert value(choices, "skipped") == "2 images"
    assert str(next(c for c in choices if c.name == "skipped")).startswith(
        "skipped = 2 images (on_bad is skip; the first: "
    )


def test_evaluation_lists_what_it_skips_and_puts_nothing_in_its_place(tmp_path):
    put(tmp_path, {"a": 4, "b": 4})
    whole, _ = load(tmp_path)
    spoil(tmp_path, "a/1.png", "b/2.png")
    with pytest.raises(DataError, match=r"a/1\.png: not an image"):
        load_part(tmp_path, whole.classes, whole.preprocessing)
    part, _ = load_part(tmp_path, whole.classes, whole.preprocessing, on_bad="skip")
    assert part.names.tolist() == ["a/0.png", "a/2.png", "a/3.png", "b/0.png", "b/1.png", "b/3.png"]
    assert [image.name for image in part.skipped] == ["a/1.png", "b/2.png"]
    assert part.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_skipping_everything_or_an_unknown_word_is_refused(tmp_path):
    put(tmp_path, {"a": 4, "b": 4})
    with pytest.raises(DataError, match=r"^on_bad is 'warn'; use fail or skip$"):
        load(tmp_path, on_bad="warn")
    for path in tmp_path.glob("*/*.png"):
        path.write_text("text")
    message = rf"^{tmp_path}: no image can be read; see the audit for what is wrong with each$"
    with pytest.raises(DataError, match=message):
        load(tmp_path, on_bad="skip")
    with pytest.raises(DataError, match=r"^the train part has no images; add some or leave the part out$"):
        load(tmp_path, on_bad="skip", image_size=7, channels=1)


def table(root, split=None):
    """20 images in ten groups of two, a pair of groups a class in turn."""
    put(root, {"a": 10, "b": 10})
    rows = [f"{name}/{i}.png,{name},{name}{i // 2}{split(i) if split else ''}" for name in "ab" for i in range(10)]
    (root / "labels.csv").write_text("\n".join(["path,label,group" + (",split" if split else ""), *rows]))
    return root / "labels.csv"


def test_groups_of_a_table_stay_in_one_part(tmp_path):
    dataset, choices = load(table(tmp_path))
    parts_of = {}
    for name, part in dataset.parts.items():
        for image in part.names.tolist():
            parts_of.setdefault((image[0], int(image[2]) // 2), set()).add(name)
    assert len(parts_of) == 10
    assert all(len(parts) == 1 for parts in parts_of.values())
    assert [np.bincount(part.labels).tolist() for part in dataset.parts.values()] == [[6, 6], [2, 2], [2, 2]]
    assert str(choices[0]).endswith("held out of 20 images with seed 0; its 10 groups stay whole)")


def test_a_group_in_two_given_parts_is_refused(tmp_path):
    source = table(tmp_path, lambda i: ",test" if i in (1, 2, 3) else ",train")
    message = rf"^{source}: group 'a0' is in train and test; a group belongs in one part$"
    with pytest.raises(DataError, match=message):
        load(source)
