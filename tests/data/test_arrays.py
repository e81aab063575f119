from __future__ import annotations

import io
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from striate.data import arrays as arrays_module
from striate.data import as_nchw
from striate.data.arrays import class_name_of, read_npz
from striate.errors import DataError


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def test_layouts_are_told_apart_by_the_channel_axis():
    gray, last, first = pixels(2, 7, 11), pixels(2, 7, 11, 3), pixels(2, 3, 7, 11)
    np.testing.assert_array_equal(as_nchw(gray), gray[:, None])
    np.testing.assert_array_equal(as_nchw(last), np.moveaxis(last, 3, 1))
    np.testing.assert_array_equal(as_nchw(first), first)
    assert as_nchw(last).flags.c_contiguous


def test_an_ambiguous_shape_needs_the_layout():
    array = pixels(2, 3, 7, 1)
    with pytest.raises(DataError, match=r"^X: shape \(2, 3, 7, 1\) can be NCHW or NHWC; say which with layout=$"):
        as_nchw(array)
    assert as_nchw(array, "NHWC").shape == (2, 1, 3, 7)
    assert as_nchw(array, "NCHW").shape == (2, 3, 7, 1)


@pytest.mark.parametrize(
    ("array", "layout", "message"),
    [
        (np.zeros((2, 7, 11)), None, r"^X: pixels are float64; give uint8, 0 to 255 \(floats in 0\.\.1: mul"),
        (pixels(2, 7), None, r"^X: shape \(2, 7\); give \(N, H, W\), \(N, H, W, C\) or \(N, C, H, W\) with C"),
        (pixels(2, 4, 7, 11), None, r"^X: shape \(2, 4, 7, 11\); give "),
        (pixels(2, 4, 7, 11), "NCHW", r"^X: shape \(2, 4, 7, 11\) read as NCHW; needs 1 or 3 channels and no"),
        (pixels(0, 7, 11), None, r"^X: shape \(0, 7, 11\) read as NHW; needs 1 or 3 channels and no empty axis$"),
        (pixels(2, 7, 11), "NCHW", r"^X: shape \(2, 7, 11\) does not have the axes NCHW$"),
        (pixels(2, 7, 11), "HWN", r"^X: layout is 'HWN'; use one of NHW, NHWC, NCHW$"),
    ],
)
def test_other_arrays_are_refused(array, layout, message):
    with pytest.raises(DataError, match=message):
        as_nchw(array, layout)


def test_labels_become_names():
    assert class_name_of([2, 0], None).tolist() == ["2", "0"]
    assert class_name_of(np.array([1, 0], np.uint8), ("cat", "dog")).tolist() == ["dog", "cat"]
    assert class_name_of(["b", "a"], None).tolist() == ["b", "a"]
    assert class_name_of(np.array(["b", "a"], object), None).tolist() == ["b", "a"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 2], r"^y: labels run 0 to 2; 2 classes are named$"),
        ([-1, 0], r"^y: labels run -1 to 0; 2 classes are named$"),
        ([0.0, 1.0], r"^y: labels are float64 \(2,\); give integers or strings of shape \(N,\)$"),
        ([[0], [1]], r"^y: labels are int64 \(2, 1\); give integers or strings of shape \(N,\)$"),
        ([True, False], r"^y: labels are bool \(2,\); give integers"),
    ],
)
def test_other_labels_are_refused(labels, message):
    with pytest.raises(DataError, match=message):
        class_name_of(labels, ("cat", "dog"))


def test_npz_gives_its_parts_and_the_order_of_its_classes(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x_train=pixels(3, 7, 11), y_train=[0, 1, 0], x_val=pixels(1, 7, 11), y_val=[1],
             x_test=pixels(2, 7, 11), y_test=[1, 0], classes=["dog", "cat"])  # fmt: skip
    found = read_npz(path)
    assert list(found.parts) == ["train", "validation", "test"]
    assert found.classes == ("dog", "cat")
    assert found.parts["test"].class_names.tolist() == ["cat", "dog"]
    assert found.parts["test"].names.tolist() == ["test/0", "test/1"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": pixels(2, 7, 11)}, r"a\.npz: x_train and y_train must come together; add the missing one$"),
        ({"y_test": [1]}, r"a\.npz: x_test and y_test must come together; add the missing one$"),
        (
            {"X": pixels(2, 7, 11)},
            r"a\.npz: unknown array 'X'; allowed are classes, x_test, x_train, x_val, y_test, y_train, y_val$",
        ),
        ({"classes": [1, 2]}, r"a\.npz: classes are int64 \(2,\); give strings of shape \(K,\)$"),
        (
            {"x_train": pixels(2, 7, 11), "y_train": [1]},
            r"a\.npz: train has 2 images and 1 labels; match them$",
        ),
    ],
)
def test_incomplete_npz_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_npz(tmp_path / "a.npz")


class Trap:
    """Unpickling this would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_is_unpickled(tmp_path):
    trap = Trap(tmp_path / "sprung")
    np.savez(tmp_path / "a.npz", x_train=np.array([trap], object), y_train=[0])
    (tmp_path / "b.npz").write_bytes(pickle.dumps(trap))
    with pytest.raises(DataError, match=r"/a\.npz: unreadable \.npz \(.*\); write it again with np\.savez$"):
        read_npz(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"/b\.npz: not a complete \.npz file; write it again with np\.savez$"):
        read_npz(tmp_path / "b.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kept", [0, 0.3, 0.9])
def test_a_truncated_npz_is_refused(tmp_path, kept):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x_train=pixels(50, 7, 11), y_train=np.arange(50) % 2)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(DataError, match=r"a\.npz: not a complete \.npz file; write it again with np\.savez$"):
        read_npz(path)


def test_an_altered_npz_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x_train=pixels(50, 7, 11), y_train=np.arange(50) % 2)
    content = bytearray(path.read_bytes())
    content[500] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz: unreadable \.npz"):
        read_npz(path)


def test_an_array_file_named_npz_is_refused(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, pixels(2, 3))
    with pytest.raises(DataError, match=r"a\.npz: not a complete \.npz file; write it again with np\.savez$"):
        read_npz(tmp_path / "a.npz")


def test_an_archive_that_expands_beyond_memory_is_refused_before_memory_is_taken(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x_train=np.zeros((1000, 100, 200), np.uint8), y_train=np.zeros(1000, np.int64))
    monkeypatch.setattr(arrays_module, "MEMORY_SHARE", 1e-4)
    tracemalloc.start()
    with pytest.raises(
        DataError, match=r"a\.npz: expands to 20,008,\d{3} bytes, more than half of this machine's memory"
    ):
        read_npz(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_an_array_that_claims_more_than_it_holds_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**40, 28, 28)})
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", header.getvalue())
    with pytest.raises(DataError, match=r"a\.npz: x_train\.npy has 128 bytes and claims 862,017,116,176,512$"):
        read_npz(path)
