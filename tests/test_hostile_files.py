"""Data sets, specs, studies, checkpoints and streams that are damaged, endless or meant ill: a result, or one line."""

import contextlib
import copy
import gzip
import os
import struct
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layered_networks import examples

from analog_ep.cli import main
from analog_ep.datasets import Dataset, load_dataset, read_idx
from analog_ep.errors import AnalogEPError, CheckpointError, DataError, SpecError
from analog_ep.learning.checkpoint import Checkpoint
from analog_ep.runs.choosing import CHECKPOINT, choose_spec, stored_spec
from analog_ep.runs.folder import Run
from analog_ep.spec import Spec, load_spec
from analog_ep.spec.reading import parse_spec
from analog_ep.spec.study import load_study
from analog_ep.spec.toml_files import read_tables
from analog_ep.support.files import read_bounded, write_atomically
from analog_ep.support.resources import specs_folder

LIMIT = 20.0
"""Longest that anything here may take, on a busy machine. [s]"""


def hostile(count: int) -> settings:
    """So many examples, each in a folder that they share."""
    return settings(examples(count), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@contextlib.contextmanager
def one_line_in_time() -> Iterator[None]:
    """What is refused is refused in one line of ours, and soon."""
    begin = time.monotonic()
    try:
        yield
    except AnalogEPError as error:
        text = str(error)
        problem = "\n" in text or len(text) > 600
        if problem:
            pytest.fail(f"a message must be one line, found {text!r}")
    assert time.monotonic() - begin < LIMIT


# idx

SIZES = st.sampled_from([0, 1, 2, 3, 28, 255, 65_536, 2**31, 2**32 - 1])
CODES = st.sampled_from([0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E, 0x00, 0xFF])


@given(
    magic=st.sampled_from([b"\0\0", b"\0\1", b"\x1f\x8b", b""]) | st.just(b"\0\0"),
    code=CODES | st.just(0x08),
    sizes=st.lists(SIZES, max_size=4) | st.sampled_from([[1] * 65, [1] * 255, [2] * 65, [0] * 3, [2**32 - 1] * 3]),
    values=st.binary(max_size=60),
    zipped=st.booleans(),
    cut=st.integers(0, 40) | st.none(),
)
@hostile(300)
def test_idx(tmp_path: Path, magic: bytes, code: int, sizes: list[int], values: bytes, zipped: bool, cut: int | None):
    content = magic + bytes([code, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + values
    path = tmp_path / ("x.gz" if zipped else "x")
    path.write_bytes((gzip.compress(content) if zipped else content)[:cut])
    with one_line_in_time():
        found = read_idx(path)
        assert list(found.shape) == sizes
        assert found.astype(found.dtype.newbyteorder(">")).tobytes() == values


def idx(path: Path, values: np.ndarray, code: int) -> None:
    header = bytes([0, 0, code, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(header + values.astype(values.dtype.newbyteorder(">")).tobytes())


def folder_of(path: Path, train: np.ndarray, test: np.ndarray, code: int) -> Path:
    path.mkdir(exist_ok=True)
    for part, images in (("train", train), ("t10k", test)):
        idx(path / f"{part}-images-idx3-ubyte", images, code)
        idx(path / f"{part}-labels-idx1-ubyte", np.zeros(len(images), np.uint8), 0x08)
    return path


def test_a_part_without_a_sample(tmp_path: Path):
    folder = folder_of(tmp_path / "d", np.zeros((0, 28, 28), np.uint8), np.zeros((3, 28, 28), np.uint8), 0x08)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte must hold at least one sample .*\(0, 28, 28\)"):
        load_dataset(str(folder))


def test_pixels_in_floats_of_0_to_255_are_refused_and_scaled_ones_read(tmp_path: Path):
    pixels = np.linspace(0, 255, 3 * 4, dtype=np.float32).reshape(3, 2, 2)
    with pytest.raises(DataError, match=r"images in floats must lie in −1…1, .* found 0…255; divide them by 255, or"):
        load_dataset(str(folder_of(tmp_path / "volts", pixels, pixels, 0x0D)))
    found = load_dataset(str(folder_of(tmp_path / "unit", pixels / 255, pixels / 255, 0x0D)))
    np.testing.assert_allclose(found.train_inputs, pixels.reshape(3, 4) / 255, rtol=1e-6)


def test_a_data_set_takes_no_bytes_as_volts():
    labels = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(DataError, match=r"inputs must be float32 or float64 and labels integers, found torch.uint8"):
        Dataset("d", torch.zeros(2, 3, dtype=torch.uint8), labels, torch.zeros(2, 3), labels, 2)


def test_a_gzip_file_is_unpacked_no_further_than_its_header_says(tmp_path: Path):
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 2, 2))
        for _ in range(200):
            file.write(bytes(2**20))
    with one_line_in_time(), pytest.raises(DataError, match=r"must hold 8 bytes of values .* found 9 or more"):
        read_idx(path)


ENDLESS = ["pipe", "device", "folder", "link to a device"]


def endless(folder: Path, kind: str) -> Path:
    path = folder / "endless"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    return Path("/dev/zero") if kind == "device" else path


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_never_ends_is_not_read(tmp_path: Path, kind: str):
    path = endless(tmp_path, kind)
    begin = time.monotonic()
    for read in (read_idx, load_spec, load_study, Checkpoint.load, stored_spec):
        with pytest.raises(AnalogEPError) as found:
            read(path)
        assert "\n" not in str(found.value)
    with pytest.raises(OSError, match=r"a folder|a pipe"):
        read_bounded(path, 10)
    assert time.monotonic() - begin < LIMIT


# Specs and studies


def small(name: str) -> dict:
    tables = read_tables(specs_folder() / name)
    tables["data"] = {"source": "xor", "input_voltage": tables["data"].get("input_voltage", 1.0)}
    tables["network"]["sizes"] = [2, 3, 2]
    tables["training"] |= {"epochs": 1, "learning_rate": 0.01, "batch_size": 4}
    return tables


BASES = [small(name) for name in ("xor.toml", "iris.toml", "digits-hopfield.toml", "digits-chip.toml")]
NUMBERS = [0, 1, -1, 2, 3, 7, 2**31, 2**63 - 1, 10**30, 10**4000, 0.0, 0.5, 2.5, 1e-300, 1e300, 5e-324, 1e-40, 1e39]
NUMBERS += [1.7e308, float("nan"), float("inf"), 1e-12, 1e12, True, False]
TEXTS = [
    "",
    "x",
    "ideal",
    "shockley",
    "frozen",
    "elastic",
    "ep",
    "random",
    "é",
    "a" * 300,
    "../..",
    "/dev/zero",
    "a\0b",
]
LISTS = [
    [],
    [1],
    [[1]],
    [2, 2.5, 2],
    [2, 10**9, 2],
    [2, 10**18, 2],
    [2] * 30,
    [1e-300, 1e-4],
    [1e-7, 1e38],
    [1e-4, 1e-4],
]
VALUES = st.sampled_from([*NUMBERS, *TEXTS, *LISTS, {}, {"a": 1}, None])


def keys(tables: dict, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in tables.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from keys(value, (*path, key))


@given(
    base=st.integers(0, len(BASES) - 1),
    changes=st.lists(st.tuples(st.integers(0, 10**6), VALUES), min_size=1, max_size=2),
    seed=st.integers(0, 10**9),
)
@hostile(300)
def test_specs(tmp_path: Path, base: int, changes: list, seed: int):
    tables = copy.deepcopy(BASES[base])
    for place, value in changes:
        known = list(keys(tables))
        *above, last = known[place % len(known)]
        at = tables
        for key in above:
            at = at[key]
        at[last] = copy.deepcopy(value)
        if value is None:
            del at[last]
    with one_line_in_time():
        spec = parse_spec(tables, "spec")
        if spec.training.epochs <= 3 and spec.gradient.nudging >= 1e-12:
            Run.create(tmp_path / f"run{seed}{time.monotonic_ns()}", spec)


TOML = [
    "[training]\nseed = " + "9" * 5000,
    "a = " + "[" * 1000 + "]" * 1000,
    "a = " + "{b=" * 300 + "1" + "}" * 300,
    "a" + ".a" * 2000 + " = 1",
    "a = " + "[" * 100 + "]" * 100,
    "[network]\nsizes = [2, " + "9" * 30 + "]",
    "[network]\nsizes = [" + "2, " * 100_000 + "2]",
    "x = 1e999",
    'x = "' + "y" * 2**20 + '"',
    "[[[",
    "\x00",
    "x = 0x" + "f" * 4000,
    "[training]\nlearning_rate = 1e-400",
]


@pytest.mark.parametrize("text", TOML, ids=range(len(TOML)))
def test_toml_that_overflows(tmp_path: Path, text: str):
    path = tmp_path / "s.toml"
    path.write_text(text)
    begin = time.monotonic()
    for load in (load_spec, load_study):
        with pytest.raises(SpecError) as found:
            load(path)
        assert "\n" not in str(found.value)
        assert len(str(found.value)) < 600
    assert time.monotonic() - begin < LIMIT


@given(
    variants=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    seeds=st.integers(1, 50),
    design=st.sampled_from(["factorial", "one_at_a_time"]),
)
@hostile(40)
def test_a_study_is_counted_before_it_is_formed(tmp_path: Path, variants: list[int], seeds: int, design: str):
    product = np.prod([float(n) for n in variants]) if design == "factorial" else 1 + sum(n - 1 for n in variants)
    # What is small is read elsewhere; here only what no memory holds.
    if product * seeds <= 10_000:
        return
    lines = ['base = "xor"', f'design = "{design}"', f"seeds = {list(range(seeds))}"]
    for axis, count in enumerate(variants):
        lines += [f"[axes.a{axis}]", *(f"v{n} = {{ training = {{ epochs = {n + 1} }} }}" for n in range(count))]
    (tmp_path / "study.toml").write_text("\n".join(lines))
    begin = time.monotonic()
    with pytest.raises(SpecError, match="a study must have at most 10,000 trainings, found"):
        load_study(tmp_path / "study.toml")
    assert time.monotonic() - begin < LIMIT


# Checkpoints


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two of three epochs, whose optimiser has moments."""
    path = tmp_path_factory.mktemp("hostile") / "run"
    tables = small("xor.toml")
    tables["training"] |= {"epochs": 2}
    Run.create(path, Spec.model_validate(tables)).train()
    return path


def resumed(run: Path) -> None:
    spec = stored_spec(run)
    longer = parse_spec({**spec.to_dict(), "training": {**spec.to_dict()["training"], "epochs": 3}}, "spec")
    Run.resume(run, longer).train()


DAMAGE = ["rename", "drop", "add", "flat", "longer", "double", "integers", "nan", "infinite", "history", "facts"]
HISTORIES = [None, [], [1], "x", [{}], [{"epoch": 1}], {"a": 1}, [{"epoch": "one", "train_accuracy": 1}]]


@given(which=st.integers(0, 10**6), damage=st.sampled_from(DAMAGE), history=st.sampled_from(HISTORIES))
@hostile(80)
def test_checkpoints(trained: Path, which: int, damage: str, history: object):
    file = trained / CHECKPOINT
    whole = file.read_bytes()
    checkpoint = Checkpoint.load(file)
    tensors, facts = dict(checkpoint.tensors), dict(checkpoint.facts)
    names = sorted(tensors)
    name = names[which % len(names)]
    value = tensors[name]
    changed = {
        "flat": lambda: value.flatten()[:1],
        "longer": lambda: torch.cat([value.flatten(), value.flatten()]),
        "double": lambda: value.double() if value.is_floating_point() else value.float(),
        "integers": lambda: torch.ones_like(value, dtype=torch.int64),
        "nan": lambda: torch.full_like(value, torch.nan) if value.is_floating_point() else value + 1,
        "infinite": lambda: torch.full_like(value, torch.inf) if value.is_floating_point() else value * 0,
    }
    if damage in ("rename", "drop"):
        del tensors[name]
    if damage in ("rename", "add"):
        tensors[f"{name}x"] = value.clone()
    if damage in changed:
        tensors[name] = changed[damage]()
    if damage == "history":
        facts["history"] = history
    if damage == "facts":
        facts = {}
    Checkpoint(tensors, facts).save(file)
    try:
        with one_line_in_time(), warnings.catch_warnings():
            warnings.simplefilter("error")
            resumed(trained)
    finally:
        file.write_bytes(whole)
        write_atomically(trained / "spec.toml", (trained / "spec.toml").read_text().replace("epochs = 3", "epochs = 2"))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("optimizer.0.exp_avg", None, "must hold the optimiser's 0.exp_avg; restore it or train anew"),
        ("optimizer.0.exp_avg", lambda t: t[:1], r"optimiser's 0.exp_avg must be torch.float32 of shape .*, found"),
        ("optimizer.1.exp_avg_sq", lambda t: t * torch.nan, "1.exp_avg_sq must be finite, found NaN or infinity"),
        ("gradient.generator", lambda t: t.float(), "must hold the generator of the random signs, found another state"),
    ],
)
def test_an_optimiser_state_of_another_kind_is_refused(trained: Path, tmp_path: Path, name, change, words: str):
    run = tmp_path / "run"
    run.mkdir()
    for part in ("spec.toml", CHECKPOINT):
        (run / part).write_bytes((trained / part).read_bytes())
    checkpoint = Checkpoint.load(run / CHECKPOINT)
    tensors = {key: value for key, value in checkpoint.tensors.items() if key != name or change is not None}
    if change is not None:
        tensors[name] = change(tensors[name])
    Checkpoint(tensors, checkpoint.facts).save(run / CHECKPOINT)
    with pytest.raises(CheckpointError, match=words):
        Run.resume(run)


# The command line


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return str(ended.value.code) if ended.value.code else capsys.readouterr().out


@pytest.mark.parametrize("command", ["export", "check", "analyse", "train"])
def test_what_is_no_run_folder_is_named(trained: Path, tmp_path: Path, capsys, command: str):
    (tmp_path / "xor.cir").write_text("* t\n.end\n")
    (tmp_path / "s.toml").write_text("")
    cases = [
        (tmp_path / "xor.cir", "must be a run folder, found a netlist; name the folder that train wrote by --out"),
        (tmp_path / "s.toml", "must be a run folder, found a spec or a card; train it with: analog-ep train"),
        (trained / CHECKPOINT, f"must be a run folder, found a file of tensors; its folder {trained} is one"),
        (tmp_path, "must be a run folder, found no spec.toml in it; name the folder that train wrote by --out"),
        (tmp_path / "none", "must be a run folder, found no spec.toml in it, nor itself; train with --out"),
    ]
    if command == "check":
        # It reads a designer's own netlist too.
        cases[0] = (tmp_path / "xor.cir", f"{tmp_path / 'xor.cir'} must hold elements behind its title, found none")
    for path, words in cases:
        options = {"train": ("--resume", "--out", path), "analyse": (path, "power")}.get(command, (path,))
        options = (*options, "-o", tmp_path / "out.cir") if command == "export" else options
        assert words in said(capsys, command, *options)


def test_a_path_that_is_no_utf8_and_a_name_of_250_characters(tmp_path: Path, capsys):
    ill = tmp_path / os.fsdecode(b"r\xffn")
    assert "the path of a run folder must be UTF-8, found" in said(capsys, "train", "--data", "xor", "--out", ill)
    with pytest.raises(SpecError, match="the path of the data must be UTF-8"):
        choose_spec(None, str(ill))
    long = tmp_path / ("n" * 250)
    assert "run folder" in said(capsys, "train", "--data", "xor", "--epochs", 1, "--out", long)
    write_atomically(long / ("f" * 255), "whole")
    assert (long / ("f" * 255)).read_text() == "whole"


def test_a_narrow_stream(trained: Path):
    encoding = "ascii"
    imports = "import sys; sys.argv = ['x']; from analog_ep.cli import main; from analog_ep.cli.common import console"
    code = f"{imports}\n{SPEAK}"
    found = subprocess.run(
        [sys.executable, "-c", code, str(trained)],
        env={**os.environ, "PYTHONIOENCODING": encoding, "LC_ALL": "C"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert b"Traceback" not in found.stderr
    assert found.returncode == 1
    text = found.stdout.decode(encoding)
    assert "5 Ohm, beta = 1...2, \\udcff" in text
    assert "must be a run folder" in found.stderr.decode(encoding)


SPEAK = """
from rich.table import Table
try:
    main(['check', sys.argv[0] + '\\udcff…'])
finally:
    print('5 Ω, β = 1…2, \\udcff')
    table = Table('a')
    table.add_row('σ …')
    console.print(table)
"""
