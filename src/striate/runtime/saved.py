"""The setting that was measured to be fastest on this machine, in a small file beside the model.

`striate bench --save` writes it. It is used where it holds: for the same model file, on the same kind of processor with
as many cores, with the same versions of the engine. Whoever uses it is told so, and told why where it does not hold.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from striate.errors import StriateError, UsageError
from striate.runtime.engines import ENGINES, Setting, is_installed, version

SUFFIX = ".bench.json"
MAX_BYTES = 2**20
Use = Literal["alone", "beside"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Machine(_Frozen):
    """What decides which setting is fastest: the processor, and how many of its cores this process may use."""

    cpu: str
    cores: int = Field(ge=1)


class Fastest(_Frozen):
    """The fastest setting found for a batch size.

    use: "alone": one caller has the whole machine; "beside": as many callers as cores, one thread for each
    version: of the engine's package
    """

    use: Use
    batch_images: int = Field(ge=1)
    engine: str
    version: str
    threads: int = Field(ge=1)
    spinning: bool
    part_images: int | None = Field(ge=1)
    images_per_s: float = Field(gt=0)

    @property
    def setting(self) -> Setting:
        """The setting as a value."""
        return Setting(self.engine, self.threads, self.spinning, self.part_images)


class Saved(_Frozen):
    """The file's content.

    model_sha256: of the model's file; measured: UTC, ISO 8601
    """

    format: Literal[1] = 1
    model_sha256: str
    machine: Machine
    measured: str
    fastest: tuple[Fastest, ...] = Field(min_length=1)

    def for_batch(self, batch_images: int, use: Use) -> Fastest | None:
        """What was measured at this batch size, or at the nearest below it, or else at the smallest."""
        found = sorted((f for f in self.fastest if f.use == use), key=lambda f: f.batch_images)
        below = [f for f in found if f.batch_images <= batch_images]
        nearest = below[-1:] or found[:1]
        return nearest[0] if nearest else None


def this_machine() -> Machine:
    """The machine this process runs on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return Machine(cpu=names[0] if names else platform.machine(), cores=len(os.sched_getaffinity(0)))


def saved_path(model: Path) -> Path:
    """`model.bench.json`, beside `model.onnx`."""
    return model.with_suffix(SUFFIX)


def save(model: Path, measured: str, fastest: Sequence[Fastest]) -> Path:
    """Write the file beside the model, whole or not at all; an older one is replaced.  Raises: UsageError."""
    saved = Saved(
        model_sha256=_sha256(model),
        machine=this_machine(),
        measured=measured,
        fastest=tuple(fastest),
    )
    path = saved_path(model)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(saved.model_dump_json(indent=2) + "\n", encoding="utf-8")
        beside.replace(path)
    except OSError as fault:
        beside.unlink(missing_ok=True)
        raise UsageError(f"{path}: cannot be written ({fault.strerror}); choose a folder you may write to") from None
    return path


def saved_setting(model: Path, batch_images: int, use: Use) -> tuple[Setting | None, str]:
    """The setting saved for this model, machine and use, and a line that says so or why it is not used.

    None and an empty line where nothing was saved.
    """
    path = saved_path(model)
    if not path.exists() or not model.is_file():
        return None, ""
    try:
        saved = read(path)
        fastest = _that_holds(saved, _sha256(model), batch_images, use)
    except StriateError as fault:
        return None, f"{path} is not used: {fault}; run striate bench --save again"
    speed = f"{fastest.images_per_s:,.0f} images/s at batch {fastest.batch_images}"
    return fastest.setting, f"{fastest.setting} (measured fastest here on {saved.measured[:10]}, {speed}: {path})"


def _that_holds(saved: Saved, model_sha256: str, batch_images: int, use: Use) -> Fastest:
    """What is saved for a use.  Raises: UsageError where it was measured for something else than is here."""
    here, there = this_machine(), saved.machine
    fastest = saved.for_batch(batch_images, use)
    if fastest is None:
        raise UsageError(f"nothing was measured for callers {use}")
    installed = version(fastest.engine) if fastest.engine in ENGINES and is_installed(fastest.engine) else "none"
    if saved.model_sha256 != model_sha256:
        raise UsageError("it was measured for another model")
    if here != there:
        raise UsageError(f"it was measured on {there.cpu}, {there.cores} cores; this is {here.cpu}, {here.cores}")
    if fastest.version != installed:
        raise UsageError(f"it was measured with {fastest.engine} {fastest.version}; installed is {installed}")
    return fastest


def _sha256(model: Path) -> str:
    with model.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: Path) -> Saved:
    """The file's content, checked.  Raises: UsageError in one line on whatever is not such a file."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as fault:
        raise UsageError(f"it cannot be read ({fault.strerror})") from None
    if len(text) > MAX_BYTES:
        raise UsageError(f"it has more than {MAX_BYTES:,} bytes")
    try:
        return Saved.model_validate_json(text)
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UsageError(f"{where}: {first['msg']}") from None
