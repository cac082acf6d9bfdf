"""A step of a fit keeps the device busy and the host free, and computes there what it computes on a CPU.

Stated of what ``build_fit`` and ``build_estimate`` return alone, so that they hold for any optimiser. What a GPU would
do in silence, or slowly, the pretend device refuses; meta tensors, which have no values, refuse to tell any.
"""

import contextlib
import dataclasses
import gc
import weakref
from collections.abc import Callable

import numpy as np
import pretend_device
import pytest
import torch
from devices import assert_same, needs_pretend_device
from pretend_device import NAME
from torch.utils._python_dispatch import TorchDispatchMode

from napari_dip import Settings, fit_plan
from napari_dip.device import DeviceChoice
from napari_dip.fit_plan import build_estimate, build_fit
from napari_dip.image_tensor import to_tensor
from napari_dip.measurement.data_term import data_term_of
from napari_dip.measurement.task import find_task
from napari_dip.optimisation import step_graph
from napari_dip.optimisation.fit import Fit
from napari_dip.prior.networks import NETWORKS, Architecture, Network, fixed_input

LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
SMALL = Settings(width=8, levels=2, partner=False, precision="float32")
KINDS = {
    "default": {},
    "published": {"network": "encoder_decoder", "normalisation": "batch", "upsampling": "bilinear"},
    "gaussian": {"upsampling": "gaussian", "network": "conv_net"},
    "several runs": {"runs": 2},
}
TASKS = ["denoise", "inpaint", "deblock", "super_resolve"]


def build(image: np.ndarray, device: str, layout: str = "contiguous", task: str = "denoise", **changes) -> Fit:
    image = image[:24, :20]
    mask = np.zeros(image.shape, bool)
    mask[10:14, 12:16] = task == "inpaint"
    tensor = to_tensor(image, mask)
    data_term = data_term_of(
        find_task(task), tensor.values.to(device), tensor.known.to(device),
        factor=2 if task == "super_resolve" else None, scale=float(tensor.scale[0]), offset=float(tensor.offset[0]),
        quantisation_table=np.full((8, 8), 16.0) if task == "deblock" else None,
    )  # fmt: skip
    choice = DeviceChoice(device, "float32", "as the test asks")
    fit = build_fit(dataclasses.replace(SMALL, **changes), choice, data_term)
    fit.noise = fit.noise.contiguous(memory_format=LAYOUTS[layout])
    return fit


@needs_pretend_device
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_host_waits_for_nothing_in_a_step(kind: str, layout: str, camera) -> None:
    """Nor are devices mixed, nor ``out=`` memory given that is not contiguous: the device refuses all of that."""
    fit = build(camera, NAME, layout, **KINDS[kind])
    fit.step()
    with pretend_device.refuse_synchronisation(), pretend_device.count_operations() as tally:
        fit.step()
        fit.step()
    assert tally.operations["aten::convolution"] > 0
    assert tally.uploads == 0


@needs_pretend_device
@pytest.mark.parametrize("task", TASKS)
def test_nor_does_it_in_any_task(task: str, camera) -> None:
    fit = build(camera, NAME, task=task)
    fit.step()
    with pretend_device.refuse_synchronisation(), pretend_device.count_operations() as tally:
        fit.step()
    assert tally.uploads == 0


@needs_pretend_device
@pytest.mark.parametrize("noise", [{"input_noise": 0.03}, {"weight_noise": 2.0, "burn_in": 0}])
def test_nor_does_noise_make_it_wait(noise: dict, camera) -> None:
    fit = build(camera, NAME, **noise)
    fit.step()
    with pretend_device.refuse_synchronisation(), pretend_device.count_operations() as tally:
        fit.step()
    assert not tally.synchronisations


@needs_pretend_device
def test_a_report_reads_the_device_once(camera) -> None:
    fit = build(camera, NAME)
    estimate = build_estimate(SMALL, fit)
    fit.step()
    with pretend_device.count_operations() as tally:
        estimate.measure()
    assert tally.synchronisations.total() == 1


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_steps_are_the_cpus(kind: str, layout: str, accelerator: str, camera) -> None:
    outputs = []
    for device in ("cpu", accelerator):
        fit = build(camera, device, layout, **KINDS[kind])
        for _ in range(3):
            fit.step()
        outputs.append(fit.averaged_outputs)
    assert_same(outputs[1], outputs[0], times=30)


@needs_pretend_device
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_device_that_scrambles_outputs_learns_all_the_same(layout: str, camera) -> None:
    """As CUDA does it to padding in channels-last memory: the network that was trained so learned nothing."""
    outputs = []
    for device, fault in (("cpu", contextlib.nullcontext()), (NAME, pretend_device.scramble_outputs())):
        fit = build(camera, device, layout)
        with fault:
            for _ in range(3):
                fit.step()
        outputs.append(fit.averaged_outputs)
    assert_same(outputs[1], outputs[0], times=30)


def make_recordable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let steps be recorded on the pretend device, which repeats them with the same numbers in the same memory."""

    def record(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
        with pretend_device.record() as recording:
            work()  # CUDA would not do it yet: the first replay is taken back

        first = True

        def replay() -> None:
            nonlocal first
            if not first:
                recording.replay()
            first = False

        return replay

    for module in (step_graph, fit_plan):
        monkeypatch.setattr(module, "can_record", lambda device: device.type == NAME)
    monkeypatch.setattr(step_graph, "work_aside", lambda work, device: work())
    monkeypatch.setattr(step_graph, "record", record)


@needs_pretend_device
@pytest.mark.parametrize("kind", KINDS)
def test_a_replayed_step_is_a_step(kind: str, camera, monkeypatch) -> None:
    """λ rises, Adam counts its steps, and the mean runs on: all of that must happen on the device."""
    make_recordable(monkeypatch)
    recorded, again = (build(camera, NAME, **KINDS[kind]) for _ in range(2))
    again._graph = step_graph.StepGraph(again.noise.device, is_constant=False)
    for _ in range(8):
        recorded.step()
        again.step()
    assert recorded._graph.is_recorded
    assert not again._graph.is_recorded
    for ours, expected in ((recorded.averaged_outputs, again.averaged_outputs), (recorded.loss, again.loss)):
        torch.testing.assert_close(ours.cpu(), expected.cpu())


@needs_pretend_device
def test_a_replay_finds_a_fault_that_it_would_hide(camera, monkeypatch) -> None:
    """If λ came from the host, every replay would use that of the recorded step."""
    make_recordable(monkeypatch)
    recorded, again = (build(camera, NAME) for _ in range(2))
    monkeypatch.setattr(recorded._bound, "fill_", lambda value: None)
    for _ in range(8):
        recorded.step()
        again.step()
    assert not torch.allclose(recorded.averaged_outputs.cpu(), again.averaged_outputs.cpu())


@needs_pretend_device
def test_what_cannot_be_recorded_is_done_one_by_one(camera, monkeypatch, caplog) -> None:
    make_recordable(monkeypatch)

    def refuse(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(step_graph, "record", refuse)
    fit = build(camera, NAME)
    for _ in range(6):
        fit.step()
    assert fit.step_count == 6
    assert not fit._graph.is_recorded
    assert caplog.text.count("does not record a step") == 1


@pytest.mark.parametrize("noise", [{"input_noise": 0.03}, {"weight_noise": 2.0, "burn_in": 0, "step_limit": 200}])
def test_fresh_noise_is_never_recorded(noise: dict, camera, monkeypatch) -> None:
    monkeypatch.setattr(step_graph, "can_record", lambda device: True)
    monkeypatch.setattr(step_graph, "work_aside", lambda work, device: pytest.fail("it was about to be recorded"))
    build(camera, "cpu", **noise).step()


def test_a_fit_is_freed_without_the_garbage_collector(camera) -> None:
    """After a failed run its memory is needed at once."""
    fit = build(camera, "cpu")
    fit.step()
    alive = weakref.ref(fit)
    gc.disable()
    try:
        del fit
        assert alive() is None
    finally:
        gc.enable()


def test_what_a_step_works_on_stays_where_it_is(camera) -> None:
    """A graph knows addresses only."""
    fit = build(camera, "cpu")
    fit.step()

    def find_addresses() -> list[int]:
        kept = [fit.noise, fit._mean, fit._bound, *fit.network.parameters(), *fit.network.buffers()]
        states = [value for each in fit.optimisers for state in each.state.values() for value in state.values()]
        return [each.data_ptr() for each in (*kept, *states) if isinstance(each, torch.Tensor)]

    before = find_addresses()
    fit.step()
    fit.start_from(fit.copy_network())
    fit.step()
    assert find_addresses() == before


class RefuseStridedOutputs(TorchDispatchMode):
    """Raises where ``out=`` memory is not contiguous."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        named = [argument.name for argument in operation._schema.arguments if argument.is_out]
        given = [each for each in map((kwargs or {}).get, named) if isinstance(each, torch.Tensor)]
        assert all(each.is_contiguous() for each in given), f"{operation} writes to memory that is not contiguous"
        return operation(*args, **(kwargs or {}))


def network_on_meta(name: str, runs: int, normalisation: str, upsampling: str) -> Network:
    architecture = Architecture(
        runs=runs, input_channels=8, output_channels=1, width=8, levels=2, convolutions_per_level=2,
        stem_convolutions=1, skip_channels=0, kernel_size=3, normalisation=normalisation, upsampling=upsampling,
        gaussian_sigma=0.5, gaussian_kernel_size=5,
    )  # fmt: skip
    network = NETWORKS[name](architecture, (0.0, 1.0), torch.tensor([0.4]), torch.Generator().manual_seed(0))
    return network.to("meta")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("normalisation", "upsampling"), [("lipschitz", "bilinear"), ("batch", "gaussian")])
def test_no_network_asks_for_a_value(name: str, runs: int, normalisation: str, upsampling: str, layout: str) -> None:
    """Forward and backward on tensors that have none; and it writes to contiguous memory only."""
    network = network_on_meta(name, runs, normalisation, upsampling)
    size = NETWORKS[name].input_size((16, 20), 2)
    noise = fixed_input("fourier", runs, 8, size, torch.Generator().manual_seed(0))
    with RefuseStridedOutputs():
        image = network(noise.to("meta").contiguous(memory_format=LAYOUTS[layout]), 1.4)
        image.square().sum().backward()
    assert image.shape == (runs, 1, 16, 20)
    assert all(each.grad.shape == each.shape for each in network.parameters() if each.requires_grad)
