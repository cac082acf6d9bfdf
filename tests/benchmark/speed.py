"""What a step costs beside what it must cost, what a restoration takes, and how both grow with the image.

    python tests/benchmark/speed.py [--size 256 ...] [--preset published ...] [--device cpu] [--markdown]
    python tests/benchmark/speed.py --restore [--size 128] [--image FILE] [--plain-steps 400]

The first prints, for each preset and size, milliseconds of: the floor (the network's convolutions, forward and both
backward products, and nothing else, in the fastest of the precisions and layouts that the hardware has); our step; our
step with a measurement and the stopping rule after every tenth, and previews as the window has them; a plain loop (see
plain_loop.py; the network of the preset "published" only; in a process of its own, with torch's memory as it comes).
They take turns; the median of the turns is printed. Then the peak memory of a process that only steps (on Linux), on
CUDA what its allocator held at most. With --markdown they are the rows of a table for docs/benchmarks.md.

The second restores a noisy image with known truth, with the default settings and with "fast": seconds from call to
automatic stop, and steps and seconds until the estimate comes within 0.1 dB of the final one's PSNR. With --plain-steps
the plain loop, too, for so many steps: its best moment, and what ours takes to come within 0.1 dB of that.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import multiprocessing.pool
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from degradations import Case, acquired, noisy
from plain_loop import PlainLoop
from torch.nn import functional

import napari_dip
from napari_dip.device import choose_device
from napari_dip.fit_plan import build_estimate, build_fit
from napari_dip.measurement.data_term import data_term_of
from napari_dip.measurement.task import find_task
from napari_dip.optimisation.fit import Fit
from napari_dip.pace import Pace
from napari_dip.restoration import restore_steps

_TURNS, _WARM_UP = 5, 3
_CALLS, _CALLS_ON_GPU = 3, 20  # between two looks at the clock: to wait for a GPU takes as long as many launches
_REPORT_STEPS, _SECONDS_BETWEEN_PREVIEWS = 10, 0.2
_CLOSE = 0.1  # dB

_plain: PlainLoop | None = None


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs="+", default=[256])
    parser.add_argument("--preset", nargs="+", default=["published", "default"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=("auto", "bfloat16", "float32"))
    parser.add_argument("--restore", action="store_true")
    parser.add_argument("--image", type=Path, help="its centre, with noise of 25, or NAME_raw; default: the cameraman")
    parser.add_argument("--brief", action="store_true", help="do not run again to find when quality was reached")
    parser.add_argument("--plain-steps", type=int, default=0)
    parser.add_argument("--turns", type=int, default=_TURNS)
    parser.add_argument("--markdown", action="store_true", help="print the first table as Markdown")
    arguments = parser.parse_args()
    choice = choose_device(arguments.device, arguments.precision)
    print(f"{choice.reason} torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.platform()}\n")
    if arguments.restore:
        for size in arguments.size:
            print_restorations(make_case(arguments.image, size), size, arguments)
        return
    print(StepCost.markdown_head() if arguments.markdown else StepCost.head(), flush=True)
    for preset, size in itertools.product(arguments.preset, arguments.size):
        settings = dataclasses.replace(
            napari_dip.Settings.preset(preset), device=choice.device, precision=choice.precision
        )
        cost = measure_steps(preset, size, settings, arguments.turns)
        print(cost.markdown_row() if arguments.markdown else cost.row(), flush=True)


@dataclass(frozen=True, slots=True)
class StepCost:
    """One row of the first table.

    Attributes
    ----------
    preset : str
    size : int
        Side of the image in pixels.
    seconds : dict of float
        Of "floor", "step" and "watched"; of "plain" where that was run.
    memory : int
        Bytes; 0 if nobody knows.
    """

    preset: str
    size: int
    seconds: dict[str, float]
    memory: int

    @staticmethod
    def head() -> str:
        return (
            f"{'':22s}{'floor':>9s}{'step':>9s}{'watched':>9s}{'plain':>9s}{'ratios':>30s}{'ns/pixel':>10s}"
            f"{'memory':>20s}"
        )

    @staticmethod
    def markdown_head() -> str:
        return (
            "| preset | size | floor, ms | a step, ms | × floor | watched | plain loop, ms | ns a pixel | MiB |\n"
            "|---|---|---|---|---|---|---|---|---|"
        )

    def row(self) -> str:
        took = self.seconds
        ratios = f"step {self.times_floor:.2f} floor, watched {self.percent_watched:+.0f}%"
        if "plain" in took:
            ratios += f", plain {took['plain'] / took['step']:.1f}"
        columns = "".join(
            f"{1000 * took[name]:9.1f}" if name in took else f"{'':9s}"
            for name in ("floor", "step", "watched", "plain")
        )
        return (
            f"{self.preset:10s}{self.size:6d}^2    {columns}{ratios:>44s}{self.nanoseconds_per_pixel:10.0f}"
            f"{self.memory / 2**20:8.0f} MiB, {self.memory / self.size**2:.0f} bytes/pixel"
        )

    def markdown_row(self) -> str:
        took = self.seconds
        plain = f"{1000 * took['plain']:.0f}" if "plain" in took else ""
        memory = f"{self.memory / 2**20:.0f}" if self.memory else ""
        return (
            f"| {self.preset} | {self.size}² | {1000 * took['floor']:.1f} | {1000 * took['step']:.1f} | "
            f"{self.times_floor:.2f} | {self.percent_watched:+.0f}% | {plain} | {self.nanoseconds_per_pixel:.0f} | "
            f"{memory} |"
        )

    @property
    def times_floor(self) -> float:
        return self.seconds["step"] / self.seconds["floor"]

    @property
    def percent_watched(self) -> float:
        return 100 * (self.seconds["watched"] / self.seconds["step"] - 1)

    @property
    def nanoseconds_per_pixel(self) -> float:
        return 1e9 * self.seconds["step"] / self.size**2


def measure_steps(preset: str, size: int, settings: napari_dip.Settings, turns: int) -> StepCost:
    """Measure one row of the first table."""
    image = make_case(None, size).degraded
    fit = make_fit(image, settings)
    watched = seconds_of_watched_steps(image, settings)
    workloads: dict[str, Callable[[], object]] = {
        "floor": fastest_floor(fit, size),
        "step": fit.step,
    }
    if preset == "published" and settings.device == "cpu":
        plain = own_process(THP_MEM_ALLOC_ENABLE="0")  # napari_dip asks for large pages
        plain.apply(start_plain_loop, (image / 255,))
        workloads["plain"] = lambda: plain.apply(step_plain_loop)
    for _, workload in itertools.product(range(_WARM_UP), workloads.values()):
        workload()
    next(watched)
    next(watched)  # the first preview is of few steps
    seconds: dict[str, list[float]] = {name: [] for name in (*workloads, "watched")}
    calls = _CALLS if settings.device == "cpu" else _CALLS_ON_GPU
    for _ in range(turns):
        for name, workload in workloads.items():
            seconds[name].append(timed(workload, calls, settings.device))
        seconds["watched"].append(next(watched))
    took = {name: median(values) for name, values in seconds.items()}
    if torch.device(settings.device).type == "cuda":
        memory = peak_memory(size, settings)
    else:  # what this process has used and given back would hide it
        memory = own_process().apply(peak_memory, (size, settings))
    return StepCost(preset, size, took, memory)


def timed(workload: Callable[[], object], count: int, device: str) -> float:
    """Return the seconds of one call."""
    synchronise(device)
    start = time.perf_counter()
    for _ in range(count):
        workload()
    synchronise(device)
    return (time.perf_counter() - start) / count


def synchronise(device: str) -> None:
    """Wait until the device has done what it was asked for."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
    elif torch.device(device).type == "mps":
        torch.mps.synchronize()


def make_case(path: Path | None, size: int) -> Case:
    """Return the centre of NAME_raw beside NAME_truth, of an image with noise of 25, or of the cameraman, repeated."""
    if path is not None:
        return acquired(path, size) if "_raw" in path.name else noisy(path, size, 25)
    from skimage import data

    repeats = -(-size // 512)
    truth = np.tile(data.camera(), (repeats, repeats)).astype(float)
    top = (len(truth) - size) // 2
    truth = truth[top : top + size, top : top + size]
    return Case("denoise", np.clip(truth + np.random.default_rng(0).normal(0, 25, truth.shape), 0, 255), truth)


def make_fit(image: np.ndarray, settings: napari_dip.Settings) -> Fit:
    """Return a fit of a grey image in [0, 255]."""
    choice = choose_device(settings.device, settings.precision)
    values = torch.from_numpy(image / 255).float()[None, None].to(choice.device)
    known = torch.ones_like(values, dtype=torch.bool)
    return build_fit(settings, choice, data_term_of(find_task("denoise"), values, known, scale=255.0))


def seconds_of_watched_steps(image: np.ndarray, settings: napari_dip.Settings) -> Iterator[float]:
    """Yield what a step takes from preview to preview, where every tenth is measured and the stopping rule asked."""
    watched = dataclasses.replace(
        settings, held_out=0.05, stopping="auto", patience=10**6, step_limit=10**6, report_every=_REPORT_STEPS
    )
    pace = Pace(_SECONDS_BETWEEN_PREVIEWS)
    start, step = time.perf_counter(), 0
    for progress in restore_steps(
        image.astype(np.float32), settings=watched, report_wanted=pace.is_due, quick_estimates=True
    ):
        pace.mark_shown()
        now = time.perf_counter()
        yield (now - start) / (progress.step - step)
        start, step = time.perf_counter(), progress.step


def fastest_floor(fit: Fit, size: int) -> Callable[[], object]:
    """Return the network's convolutions in the fastest precision and layout."""
    shapes = convolution_shapes(fit, size)
    choices = [
        floor(shapes, fit.noise.device, dtype, layout)
        for dtype in precisions(str(fit.noise.device))
        for layout in (torch.channels_last, torch.contiguous_format)
    ]
    device = str(fit.noise.device)
    for choice in choices:
        choice()
    return min(choices, key=lambda choice: timed(choice, 2, device))


def precisions(device: str) -> list[torch.dtype]:
    """Return those that the hardware multiplies in: elsewhere bfloat16 is emulated, hundreds of times slower."""
    fast = choose_device(device).precision
    return [torch.float32] if fast == "float32" else [torch.bfloat16, torch.float32]


def convolution_shapes(fit: Fit, size: int) -> list[tuple[tuple[int, ...], int]]:
    """Return the kernel shape of every convolution but the last, 1x1 one, and the side of what it draws."""
    architecture = fit.network.architecture
    kernels = [tuple(layer.kernel.shape[1:]) for layer in fit.network.convolutions]
    stem, levels, each = architecture.stem_convolutions, architecture.levels, architecture.convolutions_per_level
    canvas = -(-size // 2**levels) * 2**levels
    sides = [canvas >> levels] * stem + [canvas >> (levels - 1 - n) for n in range(levels) for _ in range(each)]
    return list(zip(kernels, sides, strict=True))


def floor(
    shapes: list[tuple[tuple[int, ...], int]], device: torch.device, dtype: torch.dtype, layout: torch.memory_format
) -> Callable[[], object]:
    """Return forward and both backward products of convolutions, with nothing around them."""

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device).to(dtype).contiguous(memory_format=layout)

    operands = [
        (random(1, kernel[1], side + 2, side + 2), random(*kernel), random(1, kernel[0], side, side))
        for kernel, side in shapes
    ]

    def run() -> None:
        for features, kernel, gradient in operands:
            functional.conv2d(features, kernel)
            torch.ops.aten.convolution_backward(
                gradient, features, kernel, None, (1, 1), (0, 0), (1, 1), False, (0, 0), 1, (True, True, False)
            )

    return run


def peak_memory(size: int, settings: napari_dip.Settings) -> int:
    """Return the bytes that some steps and a measurement take at most beyond what the process had before."""
    image = make_case(None, size).degraded
    cuda = torch.device(settings.device).type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(settings.device)
    before = torch.cuda.memory_allocated(settings.device) if cuda else memory_in_use("VmRSS")
    fit = make_fit(image, settings)
    for _ in range(_WARM_UP):
        fit.step()
    estimate = build_estimate(settings, fit)
    estimate.measure()
    _ = estimate.image
    return (torch.cuda.max_memory_allocated(settings.device) if cuda else memory_in_use("VmHWM")) - before


def memory_in_use(line: str) -> int:
    """Return the bytes of a line of this process's status: VmRSS, resident now; VmHWM, the most that ever were."""
    if not Path("/proc/self/status").exists():
        return 0
    found = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith(line))
    return int(found.split()[1]) * 1024


def own_process(**environment: str) -> multiprocessing.pool.Pool:
    """Return a pool of one fresh process."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        return multiprocessing.get_context("spawn").Pool(1)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def start_plain_loop(image: np.ndarray) -> None:
    """In its process: build the plain loop."""
    global _plain
    _plain = PlainLoop(image)


def step_plain_loop() -> None:
    """In its process: do a step."""
    assert _plain is not None
    _plain.step()


def print_restorations(case: Case, size: int, arguments: argparse.Namespace) -> None:
    """Print what default and fast take, and the plain loop."""
    best_plain = None
    if arguments.plain_steps:
        seconds, quality = run_plain(case, arguments.plain_steps)
        best = int(np.argmax(quality))
        best_plain = quality[best]
        print(
            f"plain loop {size}^2: {1000 * median(np.diff(seconds)):.0f} ms a step, best {best_plain:.2f} dB at step "
            f"{best + 1} after {seconds[best]:.1f} s, {quality[-1]:.2f} dB at step {len(quality)}; 10,000 steps take "
            f"{10_000 * median(np.diff(seconds)):.0f} s",
            flush=True,
        )
    for preset in ("default", "fast"):
        settings = dataclasses.replace(
            napari_dip.Settings.preset(preset), device=arguments.device, precision=arguments.precision
        )
        start = time.perf_counter()
        result = napari_dip.restore(case.degraded.astype(np.float32), settings=settings)
        whole = time.perf_counter() - start
        final = case.score(result.restored)
        moments = {} if arguments.brief else {step: (when, psnr) for step, when, psnr in follow(case, settings)}
        text = f"{preset} {size}^2: {final:.2f} dB in {whole:.1f} s, {result.record.stop_step} steps"
        targets = {} if arguments.brief else {f"{_CLOSE} dB of the final": final - _CLOSE}
        if best_plain is not None and not arguments.brief:
            targets["the same of the plain loop's best"] = best_plain - _CLOSE
        for name, target in targets.items():
            reached = next(((step, when) for step, (when, psnr) in moments.items() if psnr >= target), None)
            text += f"; within {name} " + (f"at step {reached[0]}, {reached[1]:.1f} s" if reached else "never")
        print(text, flush=True)


def run_plain(case: Case, steps: int) -> tuple[list[float], list[float]]:
    """Return the seconds and the PSNR after every step of the plain loop."""
    loop = PlainLoop(case.degraded / 255)
    seconds, quality, spent = [], [], 0.0
    for _ in range(steps):
        start = time.perf_counter()
        output = loop.step()
        spent += time.perf_counter() - start
        seconds.append(spent)
        quality.append(case.score(255 * output))
    return seconds, quality


def follow(case: Case, settings: napari_dip.Settings) -> Iterator[tuple[int, float, float]]:
    """Yield the step, the seconds without previews, and the PSNR of the estimate at every report."""
    image = case.degraded.astype(np.float32)
    when: list[float] = []
    start = time.perf_counter()

    def note_time() -> bool:
        when.append(time.perf_counter() - start)
        return False

    for _ in restore_steps(image, settings=settings, stop_requested=note_time, report_wanted=lambda: False):
        pass
    for progress in restore_steps(image, settings=settings):
        yield progress.step, when[progress.step - 1], case.score(progress.estimate)


if __name__ == "__main__":
    main()
