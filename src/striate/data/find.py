"""From what a person types to the images it names: which reader reads which source."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from striate.data.arrays import read_npz
from striate.data.encoded import Encoded
from striate.data.fashion import read_fashion_mnist
from striate.data.folders import PART_OF_FOLDER, list_folder
from striate.data.names import natural_key
from striate.data.parquet import read_parquet
from striate.data.raw import PARTS, WHOLE, Found, encoded
from striate.data.sample import read_sample
from striate.data.tables import read_csv
from striate.data.tar import read_tar, stream_tar
from striate.data.zips import read_zip
from striate.errors import DataError

Files = dict[str, tuple[Path, ...]]

BUILT_IN: dict[str, Callable[[], Found]] = {"sample": read_sample, "fashion-mnist": read_fashion_mnist}
OF_ONE_FILE: dict[str, Callable[[Path], Found]] = {".csv": read_csv, ".npz": read_npz, ".zip": read_zip}
OF_MANY_FILES: dict[str, Callable[[str, Files], Found]] = {".parquet": read_parquet, ".tar": read_tar}
ALLOWED = f"a folder, a {', '.join(sorted([*OF_ONE_FILE, *OF_MANY_FILES]))} file, {' or '.join(BUILT_IN)}"


def find(source: str | Path) -> Found:
    """The parts of a source; nothing is decoded.

    A source is a built-in name, a folder of class folders, one file, or several .parquet or .tar files as a
    pattern ("shards/train-*.tar") or the folder that holds them. Of a pattern or folder, the files whose names
    begin with train, val, valid, validation or test are that part; a single file given by itself is the whole.
    Raises: DataError, in one line that says what to do.
    """
    if isinstance(source, str) and source in BUILT_IN:
        return BUILT_IN[source]()
    files = _files(source)
    if not files:
        return list_folder(Path(source))
    suffix = files[0].suffix.lower()
    if suffix in OF_ONE_FILE and len(files) == 1:
        return OF_ONE_FILE[suffix](files[0])
    return OF_MANY_FILES[suffix](str(source), by_part(files, source))


def stream(source: str | Path) -> Iterator[Encoded]:
    """Every image of a source, still encoded, one after another in bounded memory; labels are not needed in shards.

    Raises: DataError; also where the source holds pixels instead of encoded images.
    """
    files = [] if isinstance(source, str) and source in BUILT_IN else _files(source)
    if files and files[0].suffix.lower() == ".tar":
        yield from stream_tar(by_part(files, source))
        return
    found = find(source)
    for raw in found.parts.values():
        if not hasattr(raw.pixels, "read"):
            raise DataError(f"{source}: holds arrays, which are in memory already; use load")
        yield from encoded(raw)


def by_part(files: list[Path], source: str | Path) -> Files:
    """Files by the part that their names begin with; none or all of them say one."""
    if files == [Path(source)]:
        return {WHOLE: (files[0],)}
    parts: dict[str, list[Path]] = {}
    for file in files:
        parts.setdefault(PART_OF_FOLDER.get(re.split(r"[-_.0-9]", file.stem.lower())[0], WHOLE), []).append(file)
    if WHOLE in parts and len(parts) > 1:
        raise DataError(
            f"{source}: {parts[WHOLE][0].name} names no part and others do; begin it with {', '.join(PARTS)}"
        )
    return {part: tuple(parts[part]) for part in (WHOLE, *PARTS) if part in parts}


def _files(source: str | Path) -> list[Path]:
    """The files a source consists of, all of one suffix, in natural order; none for a folder of class folders."""
    path = Path(source)
    if path.is_dir():
        files = [] if _has_folders(path) else [file for file in path.iterdir() if file.suffix.lower() in OF_MANY_FILES]
    elif "*" in path.name or "?" in path.name:
        files = list(path.parent.glob(path.name))
        if not files:
            raise DataError(f"{path}: no file fits this pattern; check it")
    else:
        files = [_one_file(path)]
    suffixes = sorted({file.suffix.lower() for file in files})
    if len(suffixes) > 1 or (len(files) > 1 and suffixes[0] not in OF_MANY_FILES):
        raise DataError(f"{source}: names {', '.join(suffixes)} files together; several may be .parquet or .tar files")
    return sorted(files, key=lambda file: natural_key(file.name))


def _one_file(path: Path) -> Path:
    suffix = path.suffix.lower()
    refuse_compressed(path)
    if path.exists() and suffix in OF_ONE_FILE | OF_MANY_FILES:
        return path
    if path.exists():
        raise DataError(f"{path}: not a kind of file that is read; give {ALLOWED}")
    raise DataError(f"{path}: no such folder or file; give {ALLOWED}")


def refuse_compressed(path: Path) -> None:
    """Raises: DataError at a tar file that is compressed as a whole."""
    if path.name.lower().endswith((".tar.gz", ".tgz", ".tar.xz", ".tar.zst")):
        raise DataError(f"{path}: a compressed tar cannot be read in place; write a plain .tar, images are compressed")


def _has_folders(path: Path) -> bool:
    return any(entry.is_dir() and not entry.name.startswith(".") for entry in path.iterdir())
