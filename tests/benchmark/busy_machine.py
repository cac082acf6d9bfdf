"""How much longer a run takes on a machine that has other work: the demo alone, then beside two endless loops.

    python tests/benchmark/busy_machine.py [--steps 100] [--environment GOMP_SPINCOUNT=300000 …] [--loops 2]

Every run is a process of its own, started as the command line starts. The first environment is the user's own, in which
the command line chooses how its threads wait; in the others that is said by variables, as a user would. Waiting that
keeps a core busy shows in the processor time, waiting that does not in the switches that a thread asked for. Take all
figures from one session: the ratio is what counts.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tifffile

from napari_dip.samples import noisy_photograph

_SPINNING = "GOMP_SPINCOUNT=300000"  # what libgomp, the OpenMP of torch on Linux, does unless told otherwise
_COMMAND = (sys.executable, "-c", "from napari_dip.command_line import main; main()")
_LOOP = (sys.executable, "-c", "while True: pass")


@dataclass(frozen=True)
class Cost:
    """What a run took: seconds on the clock and of the processors, and switches between threads."""

    seconds: float
    processor: float
    waits: int  # a thread gave its core away, because it had to wait
    preemptions: int  # it was taken away


def main() -> None:
    """Print a row for each environment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, help="a run of so many steps and no filters instead of the demo")
    parser.add_argument("--side", type=int, default=128, help="of the image for --steps, in pixels")
    parser.add_argument("--loops", type=int, default=2, help="endless loops beside it")
    parser.add_argument("--nice", type=int, default=0, help="of the loops; 19 is the least important")
    parser.add_argument("--repeat", type=int, default=1, help="the fastest of so many runs counts")
    parser.add_argument(
        "--environment", metavar="NAME=VALUE", action="append",
        help=f'what is compared; several variables as one word: "A=1 B=2"; default {_SPINNING}',
    )  # fmt: skip
    arguments = parser.parse_args()
    environments = ["", *(arguments.environment or [_SPINNING])]
    print("| environment | alone, s | beside, s | ratio | processor s, alone | beside | waits, alone | beside |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        command = _command(Path(folder), arguments.steps, arguments.side)
        for each in environments:
            variables = dict(pair.split("=", 1) for pair in each.split())
            alone = min((measure(command, variables) for _ in range(arguments.repeat)), key=lambda cost: cost.seconds)
            with busy(arguments.loops, arguments.nice):
                beside = min(
                    (measure(command, variables) for _ in range(arguments.repeat)), key=lambda cost: cost.seconds
                )
            print(
                f"| {each or 'as it comes'} | {alone.seconds:.1f} | {beside.seconds:.1f}"
                f" | {beside.seconds / alone.seconds:.1f} | {alone.processor:.1f} | {beside.processor:.1f}"
                f" | {alone.waits} | {beside.waits} |",
                flush=True,
            )


def _command(folder: Path, steps: int | None, side: int) -> list[str]:
    if steps is None:
        return [*_COMMAND, "demo", str(folder / "demo")]
    tifffile.imwrite(folder / "noisy.tif", noisy_photograph(side=side).degraded)
    options = f"--step-limit {steps} --set stopping=fixed --set partner=false --device cpu --overwrite"
    return [*_COMMAND, "restore", str(folder / "noisy.tif"), str(folder / "out.tif"), *shlex.split(options)]


@contextmanager
def busy(loops: int, nice: int) -> Iterator[None]:
    """Keep as many cores busy with loops that never end; they are ended here."""
    started = [subprocess.Popen(_LOOP) for _ in range(loops)]
    try:
        for each in started:
            if nice:
                os.setpriority(os.PRIO_PROCESS, each.pid, nice)
        time.sleep(0.5)
        yield
    finally:
        for each in started:
            each.kill()
            each.wait()


def measure(command: list[str], variables: dict[str, str]) -> Cost:
    """Run a command to its end and return what it took."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env=os.environ | variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)} failed:\n{said}")
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_nvcsw, used.ru_nivcsw)


if __name__ == "__main__":
    main()
