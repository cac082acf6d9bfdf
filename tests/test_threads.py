"""Threads that wait let others work: in our own processes by the environment, in napari's without touching it.

That neither the library nor the plugin touches the environment when it is imported: see test_import_rules.py.
"""

import os
import subprocess
import sys

import pytest

from napari_dip.threads import let_waiting_threads_sleep

_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY", "OMP_NUM_THREADS")
_GAPS = """
def spun():
    "Return the share of one processor that is spent while the threads have nothing to do."
    import time, torch
    torch.set_num_threads(max(2, torch.get_num_threads()))
    image = torch.zeros(1 << 20)
    image.add_(1)
    spent = 0.0
    for _ in range(10):
        image.add_(1)
        before = time.process_time()
        time.sleep(0.005)
        spent += time.process_time() - before
    return spent / 0.05
"""
several_cores = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="GNU's OpenMP, and a second core to spin on"
)


def run_python(code: str, **variables: str) -> str:
    """Return what a fresh interpreter prints, which knows of none of the variables but these."""
    environment = {name: value for name, value in os.environ.items() if name not in _VARIABLES} | variables
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_process_of_ours_lets_waiting_threads_sleep() -> None:
    environment: dict[str, str] = {"OMP_NUM_THREADS": "2"}
    let_waiting_threads_sleep(environment)
    assert environment == {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}


@pytest.mark.parametrize("name", _VARIABLES[:4])
def test_what_the_user_set_is_obeyed(name: str) -> None:
    environment = {name: "what the user wants"}
    let_waiting_threads_sleep(environment)
    assert environment == {name: "what the user wants"}


_COMMAND_LINE = """
import os, sys
from napari_dip.command_line import main

def run():
    sys.argv = ["napari-dip", "--help"]
    try:
        main()
    except SystemExit:
        pass
    print()
    print(os.environ.get('OMP_WAIT_POLICY'), os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)

run()
"""


def test_the_command_line_sets_it_before_torch_is_loaded() -> None:
    """And obeys what the user set."""
    code = f"""{_COMMAND_LINE}
del os.environ["GOMP_SPINCOUNT"]
os.environ["OMP_WAIT_POLICY"] = "ACTIVE"
run()
"""
    told = [line for line in run_python(code).splitlines() if line.endswith("False")]
    assert told == ["PASSIVE 1000 False", "ACTIVE None False"]


@several_cores
def test_the_command_lines_threads_sleep_while_they_wait() -> None:
    assert float(run_python(f"{_COMMAND_LINE}{_GAPS}print(spun())").split()[-1]) < 0.15


@several_cores
def test_a_host_has_short_waits_while_it_lasts_and_its_own_after() -> None:
    code = f"""
import os, time
from napari_dip.threads import shorten_waits
{_GAPS}
import torch
torch.set_num_threads(2)
before = dict(os.environ), torch.get_num_threads()
with shorten_waits():
    print(spun())
    assert (dict(os.environ), torch.get_num_threads()) == before
end = time.monotonic() + 20
while (after := spun()) < 0.2 and time.monotonic() < end:  # a busy machine leaves little even to those that spin
    pass
print(after)
"""
    shortened, after = map(float, run_python(code).split())
    assert shortened < 0.15
    assert after > 0.2
