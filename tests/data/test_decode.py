from __future__ import annotations

import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from striate.data import Encoded, Preprocessing, decode, decode_all, decode_each
from striate.data.decode import header
from striate.errors import DataError

H, W = 7, 11
GRAY = Preprocessing(1, H, W, "crop", (0.0,), (1.0,))
RGB = Preprocessing(3, H, W, "crop", (0.0,) * 3, (1.0,) * 3)
COLOUR = np.random.default_rng(0).integers(0, 256, (H, W, 3)).astype(np.uint8)


def saved(folder, image, name="image.png", **options):
    path = folder / name
    image.save(path, **options)
    return path


def png_with_size(path, width, height):
    """A PNG whose header claims a size and that holds almost no data."""
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    idat = b"IDAT" + zlib.compress(b"\0")
    chunks = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (ihdr, idat))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


def test_a_lossless_file_gives_its_pixels(tmp_path):
    for name in ("a.png", "a.bmp", "a.tif", "a.webp"):
        path = saved(tmp_path, Image.fromarray(COLOUR), name, **({"lossless": True} if "webp" in name else {}))
        np.testing.assert_array_equal(decode(path, RGB), COLOUR.transpose(2, 0, 1))


def test_bytes_and_file_agree_and_the_result_is_contiguous_uint8(tmp_path):
    path = saved(tmp_path, Image.fromarray(COLOUR).resize((50, 40)), "a.jpg")
    from_file, from_bytes = decode(path, RGB), decode(path.read_bytes(), RGB)
    assert from_file.dtype == np.uint8
    assert from_file.shape == (3, H, W)
    assert from_file.flags.c_contiguous
    np.testing.assert_array_equal(from_file, from_bytes)


def test_colour_becomes_gray_by_the_luma_weights(tmp_path):
    path = saved(tmp_path, Image.fromarray(COLOUR))
    luma = COLOUR @ np.array([0.299, 0.587, 0.114])
    assert np.abs(decode(path, GRAY)[0] - luma).max() <= 0.51


def test_one_bit_becomes_black_and_white(tmp_path):
    bits = np.arange(H * W).reshape(H, W) % 3 == 0
    path = saved(tmp_path, Image.fromarray(bits))
    np.testing.assert_array_equal(decode(path, GRAY)[0], np.where(bits, 255, 0))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_gray_is_scaled_and_not_clipped(tmp_path, name):
    wide = np.linspace(0, 65535, H * W).round().astype(np.uint16).reshape(H, W)
    path = saved(tmp_path, Image.fromarray(wide), name)
    np.testing.assert_array_equal(decode(path, GRAY)[0], np.rint(wide / 257).astype(np.uint8))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(tmp_path, mode):
    alpha = np.linspace(0, 255, H * W).round().astype(np.uint8).reshape(H, W)
    image = Image.fromarray(COLOUR).convert(mode)
    image.putalpha(Image.fromarray(alpha))
    path = saved(tmp_path, image)
    opaque = np.asarray(Image.fromarray(COLOUR).convert("L" if mode == "LA" else "RGB").convert("RGB"), float)
    share = alpha[..., None] / 255
    expected = opaque * share + 255 * (1 - share)
    assert np.abs(decode(path, RGB).transpose(1, 2, 0) - expected).max() <= 1


@pytest.mark.parametrize("name", ["a.png", "a.gif"])
def test_a_transparent_palette_colour_becomes_white(tmp_path, name):
    image = Image.new("P", (W, H), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((0, 0), 0)
    path = saved(tmp_path, image, name, transparency=0)
    pixels = decode(path, RGB)
    assert pixels[:, 0, 0].tolist() == [255, 255, 255]
    assert pixels[:, 3, 5].tolist() == [40, 50, 60]


def test_a_transparent_gray_value_becomes_white(tmp_path):
    image = Image.new("L", (W, H), 90)
    image.putpixel((2, 1), 7)
    pixels = decode(saved(tmp_path, image, transparency=7), GRAY)
    assert pixels[0, 1, 2] == 255
    assert pixels[0, 0, 0] == 90


def test_cmyk_becomes_rgb(tmp_path):
    path = saved(tmp_path, Image.new("CMYK", (W, H), (255, 0, 0, 0)), "a.jpg", quality=95)
    red, green, blue = decode(path, RGB)[:, 3, 5]
    assert red < 10
    assert min(green, blue) > 245


def test_exif_orientation_is_applied(tmp_path):
    upright = np.zeros((H, W), np.uint8)
    upright[:, : W // 2] = 255  # bright on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # stored so that turning by 90 degrees clockwise makes it upright
    stored = Image.fromarray(np.rot90(upright).copy())
    path = saved(tmp_path, stored, "a.jpg", quality=100, exif=exif)
    with Image.open(path) as image:
        assert image.size == (H, W)
    assert np.abs(decode(path, GRAY)[0].astype(int) - upright).max() < 40


def test_the_first_picture_of_a_phones_mpo_is_read(tmp_path):
    path = tmp_path / "a.jpg"
    first, second = Image.new("L", (W, H), 200), Image.new("L", (W, H), 10)
    first.save(path, "MPO", save_all=True, append_images=[second])
    with Image.open(path) as image:
        assert image.n_frames == 2
    assert decode(path, GRAY).min() > 190


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_several_frames_are_refused(tmp_path, name):
    frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    path = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=rf"^{path}: holds 2 frames; save the one that matters as its own file$"):
        decode(path, RGB)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.webp", "a.gif", "a.tif"])
def test_a_truncated_file_is_refused_by_name(tmp_path, name):
    big = np.random.default_rng(1).integers(0, 256, (64, 48, 3)).astype(np.uint8)
    path = saved(tmp_path, Image.fromarray(big), name)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(DataError, match=rf"^{path}: ") as caught:
        decode(path, RGB)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("width", "height"), [(9000, 9000), (10_000, 10_000), (100_000, 100_000)])
def test_a_bomb_is_refused_from_its_header(tmp_path, width, height):
    path = png_with_size(tmp_path / "bomb.png", width, height)
    for read in (lambda: decode(path, RGB), lambda: header(path)):
        with pytest.raises(DataError, match=rf"^{path}: more than 67,108,864 pixels; make it smaller first$"):
            read()


def test_text_named_jpg_is_refused(tmp_path):
    path = tmp_path / "cat.jpg"
    path.write_text("not a picture")
    message = rf"^{path}: not an image of a known format \(JPEG, PNG, BMP, WEBP, GIF, TIFF\); remove or convert it$"
    with pytest.raises(DataError, match=message):
        decode(path, RGB)
    with pytest.raises(DataError, match=message):
        header(path)


def test_an_empty_file_and_bytes_are_refused(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"a\.png: not an image of a known format"):
        decode(tmp_path / "a.png", RGB)
    with pytest.raises(DataError, match=r"^image bytes: not an image of a known format"):
        decode(b"", RGB)


def test_a_format_outside_the_list_is_refused(tmp_path):
    path = saved(tmp_path, Image.fromarray(COLOUR), "a.ppm")
    with pytest.raises(DataError, match=r"a\.ppm: not an image of a known format"):
        decode(path, RGB)


def test_pixels_without_a_range_are_refused(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.ones((H, W), np.float32)), "a.tif")
    with pytest.raises(
        DataError, match=rf"^{path}: pixels of mode F have no fixed range; save it as 8-bit gray or RGB$"
    ):
        decode(path, RGB)


def test_an_absent_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(DataError, match=rf"^{path}: no such file; check the path$"):
            decode(path, RGB)


def test_the_header_gives_size_and_gray(tmp_path):
    assert header(saved(tmp_path, Image.new("L", (W, H)))) == (H, W, True)
    assert header(saved(tmp_path, Image.new("RGB", (W, H)))) == (H, W, False)
    assert header(saved(tmp_path, Image.new("1", (W, H)))) == (H, W, True)


def test_decode_all_keeps_the_order(tmp_path):
    paths = [saved(tmp_path, Image.new("L", (W, H), i), f"{i}.png") for i in range(41)]
    for threads in (1, 3):
        assert [int(image[0, 0, 0]) for image in decode_all(paths, GRAY, threads)] == list(range(41))


def test_decode_all_names_the_first_bad_file_in_order(tmp_path):
    paths = [saved(tmp_path, Image.new("L", (W, H), i), f"{i}.png") for i in range(12)]
    for bad in (7, 9):
        paths[bad].write_text("text")
    images = decode_all(paths, GRAY, threads=2)
    assert [int(next(images)[0, 0, 0]) for _ in range(7)] == list(range(7))
    with pytest.raises(DataError, match=r"/7\.png: not an image"):
        next(images)


def test_decode_all_does_not_run_far_ahead_and_stops_its_threads(tmp_path):
    path = saved(tmp_path, Image.new("L", (W, H)))
    asked = []

    def paths():
        for i in range(1000):
            asked.append(i)
            yield path

    images = decode_all(paths(), GRAY, threads=2)
    next(images)
    assert len(asked) == 4
    images.close()
    assert not [thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("orientation", range(9))
def test_every_orientation_is_pillows(tmp_path, orientation, name):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(COLOUR), name, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    turned = Preprocessing(3, *expected.shape[:2], "crop", (0.0,) * 3, (1.0,) * 3)
    np.testing.assert_array_equal(decode(path, turned).transpose(1, 2, 0), expected)


def tiff(pixels: bytes, bits: int, photometric: int) -> bytes:
    """A little-endian TIFF of one strip, H x W gray samples of ``bits`` bits (TIFF 6.0, section 3)."""
    short = [(256, W), (257, H), (258, bits), (259, 1), (262, photometric), (277, 1), (278, H)]
    start = 8 + 2 + 12 * (len(short) + 2) + 4
    entries = [struct.pack("<HHIHxx", tag, 3, 1, number) for tag, number in short]
    entries[5:5] = [struct.pack("<HHII", 273, 4, 1, start)]
    entries.append(struct.pack("<HHII", 279, 4, 1, len(pixels)))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4) + pixels


def test_twelve_bit_gray_is_scaled_by_its_own_full_scale():
    wide = np.linspace(0, 4095, H * W).round().astype(int).reshape(H, W)
    row_bits = ["".join(f"{sample:012b}" for sample in row) for row in wide.tolist()]
    rows = [int(bits.ljust(8 * 17, "0"), 2).to_bytes(17, "big") for bits in row_bits]  # a row ends on a byte
    packed = b"".join(rows)
    np.testing.assert_array_equal(decode(tiff(packed, 12, 1), GRAY)[0], np.floor(wide * 255 / 4095 + 0.5).astype(int))


def test_sixteen_bit_gray_whose_zero_is_white_is_inverted():
    wide = np.linspace(0, 65535, H * W).round().astype("<u2").reshape(H, W)
    plain, inverted = (decode(tiff(wide.tobytes(), 16, photometric), GRAY)[0] for photometric in (1, 0))
    np.testing.assert_array_equal(plain, np.rint(wide / 257))
    np.testing.assert_array_equal(inverted, 255 - plain)


def test_decode_each_puts_a_fault_in_its_place(tmp_path):
    good = saved(tmp_path, Image.new("L", (W, H), 5))
    results = list(decode_each([good, tmp_path / "none.png", Encoded("x", DataError("x: gone")), good], GRAY, 2))
    assert [str(result) if isinstance(result, DataError) else int(result[0, 0, 0]) for result in results] == [
        5,
        f"{tmp_path}/none.png: no such file; check the path",
        "x: gone",
        5,
    ]


def test_bytes_go_by_their_name():
    with pytest.raises(DataError, match=r"^shard\.tar/1\.png: not an image of a known format"):
        decode(Encoded("shard.tar/1.png", b"text"), GRAY)
