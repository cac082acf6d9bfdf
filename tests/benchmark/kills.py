"""Kill runs of the command line at random moments, resume them until they end, and compare what they wrote.

    python tests/benchmark/kills.py --kills 100 --seed 0

A folder, a stack (with a mask and two outputs), an OME-Zarr and a stack whose planes begin where those before them
ended are restored without a kill first. Then each is begun anew, again and again, and killed (SIGKILL): at a random
time; just before a random one of the times that it opens, renames or removes a file; or a few milliseconds after that.
What is left is resumed, and may be killed again, until a run ends by itself. Its outputs must have the same pixels and
records as those of the run that nobody killed, but for the seconds in them; no hidden file may be left.

Every run is a fork of this process, which has imported all that it needs. Linux and macOS only.
"""

import argparse
import contextlib
import csv
import itertools
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # a fork would lack the other threads

import numpy as np
import tifffile
import torch
import zarr
from skimage import data, io

import napari_dip
from napari_dip.command_line import app

QUICK = ["--device", "cpu", "--step-limit", "15", "--set", "width=8", "--set", "levels=2", "--set", "partner=false"]
EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree")
WAYS = ("time", "before", "after")


@dataclass(frozen=True)
class Way:
    """How a run is to die: after some seconds, or at the n-th event with a file."""

    name: str
    seconds: float = 0.0
    event: int = 0


def write_sources(folder: Path) -> dict[str, list[str]]:
    """Write images, and return the arguments of each run, without OUT."""
    image = data.camera()[80:112, 200:232]
    noise = np.random.default_rng(0)
    film = np.stack([np.roll(image, n, axis=1) + noise.normal(0, 15, image.shape) for n in range(5)]).astype(np.float32)
    (folder / "data").mkdir(parents=True)
    io.imsave(folder / "data" / "a.png", image, check_contrast=False)
    tifffile.imwrite(folder / "data" / "b.tif", image[::-1].astype(np.uint16))
    io.imsave(folder / "data" / "c.png", image[:, ::-1], check_contrast=False)
    stack: dict[str, Any] = {"metadata": {"axes": "TYX"}, "photometric": "minisblack"}
    tifffile.imwrite(folder / "data" / "d.ome.tif", film[:2], **stack)
    tifffile.imwrite(folder / "film.ome.tif", film, **stack)
    still = image + noise.normal(0, 15, (4, *image.shape))
    tifffile.imwrite(folder / "still.ome.tif", still.astype(np.float32), **stack)
    mask = (noise.random(film.shape) < 0.1).astype(np.uint8)
    tifffile.imwrite(folder / "mask.tif", mask, **stack)
    return {
        "folder": [str(folder / "data"), "out", "--residual", *QUICK],
        "stack": [str(folder / "film.ome.tif"), "out/film.ome.tif", "--task", "inpaint", "--mask",
                  str(folder / "mask.tif"), "--residual", *QUICK],
        "zarr": [str(folder / "film.ome.tif"), "out/film.zarr", *QUICK],
        "warm": [str(folder / "still.ome.tif"), "out/still.ome.tif", "--warm-start", "T", *QUICK],
    }  # fmt: skip


def run(arguments: list[str], folder: Path, way: Way | None = None) -> tuple[int | None, float, int]:
    """Run the command line in a fork; return its exit code (None if it was killed), seconds, and events."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        _be_the_run(arguments, folder, way, tell)
    os.close(tell)
    start = time.monotonic()
    events = 0
    end = None if way is None or way.name != "time" else start + way.seconds
    while True:
        wait = None if end is None else max(0.0, end - time.monotonic())
        ready, _, _ = select.select([told], [], [], wait)
        if not ready:
            os.kill(child, signal.SIGKILL)
            break
        read = os.read(told, 4096)
        if not read:  # it has ended
            break
        events += len(read)
        if way is not None and way.name == "after" and events >= way.event:
            time.sleep(way.seconds)
            os.kill(child, signal.SIGKILL)
            break
    _, status = os.waitpid(child, 0)
    os.close(told)
    code = None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
    return code, time.monotonic() - start, events


def _be_the_run(arguments: list[str], folder: Path, way: Way | None, tell: int) -> None:
    code = 70
    try:
        os.chdir(folder)
        output = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        out = str(folder / "out")
        counter = itertools.count(1)

        def listen(event: str, arguments: tuple[Any, ...]) -> None:
            if event in EVENTS and any(_is_in(each, out) for each in arguments[:2]):
                if way is not None and way.name == "before" and next(counter) == way.event:
                    os.kill(os.getpid(), signal.SIGKILL)
                os.write(tell, b".")

        sys.addaudithook(listen)
        app(["restore", *arguments])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        print(f"raised {error!r}", file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _is_in(path: Any, folder: str) -> bool:
    try:
        return os.path.abspath(os.fspath(path)).startswith(folder)
    except (TypeError, ValueError):
        return False


def read_outputs(folder: Path) -> dict[str, Any]:
    """Return all that a run has written, as it can be compared."""
    found: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".zarr":
            group = zarr.open_group(str(path), mode="r")
            pixels = {name: np.asarray(array[...]) for name, array in group.arrays()}
            found[path.name] = {name: (each.dtype, each.shape, each.tobytes()) for name, each in pixels.items()}
            found[path.name]["told"] = _without_seconds(dict(group.attrs))
        elif path.suffix == ".tif":
            with tifffile.TiffFile(path) as file:
                pixels, description = file.asarray(), file.pages.first.description
                if file.ome_metadata:
                    description = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Description"]
            found[path.name] = (pixels.dtype, pixels.shape, pixels.tobytes(), _without_seconds(json.loads(description)))
        elif path.suffix == ".csv":
            with path.open(newline="") as file:
                found[path.name] = [
                    {name: each[name] for name in ("source", "out", "error")} for each in csv.DictReader(file)
                ]
        else:
            found[path.name] = "what is this?"
    return found


def _without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_seconds(each) for name, each in value.items() if name != "seconds"}
    return [_without_seconds(each) for each in value] if isinstance(value, list) else value


def draw_way(chance: random.Random, seconds: float, events: int) -> Way:
    """Draw how a run dies that takes some seconds and events if nobody kills it."""
    name = chance.choice(WAYS)
    if name == "time":
        return Way(name, chance.uniform(0, seconds))
    return Way(name, chance.uniform(0, 0.005) if name == "after" else 0.0, chance.randint(1, events))


def main() -> None:
    """Parse the arguments, kill, compare, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="how many are to hit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default="folder,stack,zarr,warm", help="which runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = napari_dip.Settings(device="cpu", width=8, levels=2, step_limit=1)
    napari_dip.restore(data.camera()[:32, :32], settings=settings)  # it imports what every run would import again
    chance = random.Random(arguments.seed)
    work = Path(tempfile.mkdtemp(prefix="kills-")).resolve()
    try:
        sys.exit(_kill_all(arguments.kills, arguments.kinds.split(","), chance, work))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _kill_all(kills: int, kinds: list[str], chance: random.Random, work: Path) -> int:
    commands = write_sources(work / "sources")
    expected, usual = {}, {}
    for kind in kinds:
        folder = work / f"{kind}-whole"
        folder.mkdir()
        code, seconds, events = run(commands[kind], folder)
        if code != 0:
            print(f"{kind}: the run that nobody killed ended with {code}:\n{(folder / 'said').read_text()}")
            return 1
        expected[kind] = read_outputs(folder / "out")
        usual[kind] = seconds, events
        print(f"{kind}: {seconds:.1f} s, {events} events with files, {len(expected[kind])} outputs", flush=True)
    hits: Counter[str] = Counter()
    resumed: Counter[str] = Counter()
    different = 0
    for number, kind in enumerate(itertools.cycle(kinds)):
        if sum(hits.values()) >= kills:
            break
        folder = work / f"{kind}-{number}"
        folder.mkdir()
        ways: list[Way] = []
        code = None
        for attempt in itertools.count():
            way = draw_way(chance, *usual[kind]) if sum(hits.values()) < kills else None
            code, _, _ = run([*commands[kind], *(["--resume"] if attempt else [])], folder, way)
            if code is not None:
                break
            assert way is not None
            ways.append(way)
            hits[f"{kind} {way.name}"] += 1
            resumed[kind] += 1
        faults = [] if code == 0 else [f"ended with {code}"]
        with contextlib.suppress(FileNotFoundError):
            found = read_outputs(folder / "out")
            faults += [f"{name} is left over" for name in found.keys() - expected[kind].keys()]
            faults += [f"{name} is not there" for name in expected[kind].keys() - found.keys()]
            faults += [f"{name} differs" for name in found.keys() & expected[kind].keys()
                       if found[name] != expected[kind][name]]  # fmt: skip
        if faults:
            different += 1
            print(f"{kind}, killed {ways}: {'; '.join(faults)}\n{(folder / 'said').read_text()}", flush=True)
        else:
            shutil.rmtree(folder)
    for name, count in sorted(hits.items()):
        print(f"killed {count} times: {name}")
    print(f"{sum(hits.values())} kills hit, {sum(resumed.values())} resumes, {different} runs differ")
    return 1 if different else 0


if __name__ == "__main__":
    main()
