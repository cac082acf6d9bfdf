"""Small planes per second: in this process, on one worker process, and on several.

    python tests/benchmark/throughput.py --planes 8 --side 64 --workers 2

Every worker process has one thread; this process has one per core.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import numpy as np

import napari_dip
from napari_dip.samples import moving_cells


def main() -> None:
    """Print the planes per second of each, and how they compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planes", type=int, default=8)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    film = moving_cells(arguments.planes, arguments.side).degraded
    settings = napari_dip.Settings(step_limit=arguments.steps, stopping="fixed")
    here = planes_per_second(film, settings)
    print(f"this process: {here:.2f} planes/s")
    one, several = (on_workers(count, film, settings) for count in (1, arguments.workers))
    print(f"1 worker: {one:.2f} planes/s")
    print(
        f"{arguments.workers} workers: {several:.2f} planes/s, {several / one:.2f} times one, {several / here:.2f} here"
    )


def on_workers(count: int, film: np.ndarray, settings: napari_dip.Settings) -> float:
    """Return the planes per second of so many worker processes."""
    from distributed import Client, LocalCluster

    os.environ["OMP_NUM_THREADS"] = "1"  # the workers inherit it
    with (
        LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        return planes_per_second(film, settings, client)


def planes_per_second(film: np.ndarray, settings: napari_dip.Settings, client: Any = None) -> float:
    """Restore some planes to load everything, then all of them."""
    out = np.zeros(film.shape, np.float32)
    for each in (film[:4], film):
        start = time.perf_counter()
        for _ in napari_dip.restore_stack(
            each, "TYX", settings=settings, out=out[: len(each)], client=client, report_wanted=lambda: False
        ):
            pass
    return len(film) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
