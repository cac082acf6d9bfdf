"""The pretend accelerator computes what the CPU does, and refuses what it says it refuses."""

import copy

import numpy as np
import pretend_device
import pytest
import torch
from devices import draw, needs_pretend_device
from pretend_device import NAME
from torch.nn import functional

pytestmark = needs_pretend_device


def test_it_is_not_the_cpu() -> None:
    tensor = torch.zeros(2, 3, device=NAME)
    assert not tensor.is_cpu
    assert tensor.device.type == NAME
    with pytest.raises((TypeError, RuntimeError)):
        np.asarray(tensor)
    assert tensor.cpu().is_cpu


@pytest.mark.parametrize(
    "make",
    [
        lambda device: torch.zeros(2, 3, device=device),
        lambda device: torch.ones(2, device=device, dtype=torch.bool),
        lambda device: torch.full((2,), 0.5, device=device),
        lambda device: torch.arange(-3, 4, device=device),
        lambda device: torch.linspace(0, 1, 5, device=device),
        lambda device: torch.eye(3, device=device),
        lambda device: torch.tensor([1.0, -2.0], device=device),
        lambda device: torch.zeros(2, device=device).new_tensor([0.1, 0.2]),
        lambda device: torch.from_numpy(np.arange(6.0).reshape(2, 3)).to(device),
        lambda device: torch.full((), 0.5, device=device) * 2.0,
        lambda device: torch.arange(12.0, device=device).reshape(3, 4)[:, 1:].T.flatten(),
        lambda device: torch.fft.fft2(torch.eye(4, device=device)).abs(),
    ],
)
def test_what_is_made_on_it_is_what_the_cpu_makes(make) -> None:
    made, expected = make(NAME), make("cpu")
    assert made.device.type == NAME
    assert (made.shape, made.stride(), made.dtype) == (expected.shape, expected.stride(), expected.dtype)
    assert made.cpu().equal(expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_forward_and_backward_are_the_cpus(layout) -> None:
    results = []
    for device in ("cpu", NAME):
        image = draw(2, 3, 8, 6).contiguous(memory_format=layout).to(device).requires_grad_()
        kernel = torch.nn.Parameter(draw(4, 3, 3, 3).to(device))
        out = functional.conv2d(functional.pad(image, (1,) * 4, mode="reflect"), kernel)
        out = functional.interpolate(functional.leaky_relu(out, 0.1), scale_factor=2, mode="bilinear")
        assert out.is_contiguous(memory_format=layout)
        (out.square().mean() + out[:, 1:].amax()).backward()
        results.append([out.detach().cpu(), image.grad.cpu(), kernel.grad.cpu()])
    for ours, theirs in zip(*results, strict=True):
        assert ours.equal(theirs)
        assert ours.stride() == theirs.stride()


def test_views_share_memory_and_gradients_pass_through_what_is_done_in_place() -> None:
    results = []
    for device in ("cpu", NAME):
        leaf = draw(3, 4).to(device).requires_grad_()
        table = leaf * 2
        table[1] = 0.0
        table[:, 2:].mul_(3)
        table.view(-1).narrow(0, 0, 2).add_(1)
        table.sum().backward()
        results.append([table.detach().cpu(), leaf.grad.cpu()])
    for ours, theirs in zip(*results, strict=True):
        assert ours.equal(theirs)


def test_an_optimiser_and_a_module_work_on_it() -> None:
    results = []
    for device in ("cpu", NAME):
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2).to(device)
        optimiser = torch.optim.Adam(layer.parameters(), foreach=True)
        for _ in range(3):
            optimiser.zero_grad()
            layer(torch.ones(4, 3, device=device)).square().sum().backward()
            optimiser.step()
        results.append(copy.deepcopy(layer.weight.detach()).cpu())
    assert results[0].equal(results[1])


def test_devices_do_not_mix() -> None:
    ours, theirs = torch.ones(3, device=NAME), torch.ones(3)
    with pytest.raises(RuntimeError, match="same device"):
        ours + theirs
    with pytest.raises(RuntimeError, match="same device"):
        torch.stack([ours.sum(), theirs.sum()])
    assert (ours + theirs.sum()).tolist() == [4, 4, 4]


def test_it_draws_no_random_numbers() -> None:
    with pytest.raises(RuntimeError, match="no random numbers"):
        torch.rand(3, device=NAME)


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).all()),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.equal(x),
        lambda x: torch.zeros(3).copy_(x),
        lambda x: torch.bincount(x.long()),
    ],
)
def test_where_the_host_waits_is_counted_and_can_be_refused(wait) -> None:
    tensor = torch.ones(3, device=NAME)
    with pretend_device.count_operations() as tally:
        wait(tensor)
    assert tally.synchronisations.total() == 1
    with pretend_device.refuse_synchronisation(), pytest.raises(RuntimeError, match="wait"):
        wait(tensor)
    with pretend_device.refuse_synchronisation():
        tensor.masked_fill(tensor > 0, 2.0)[None].mT.contiguous().index_add_(0, tensor.long(), tensor[:, None])


def test_work_is_counted_and_views_are_none() -> None:
    tensor = torch.ones(3, 4, device=NAME)
    with pretend_device.count_operations() as tally:
        tensor.T[1:].reshape(-1).add(1)
    assert tally.operations == {"aten::clone": 1, "aten::add": 1}
    assert not tally.synchronisations
    assert not tally.uploads


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(3, dtype=torch.float64, device=NAME),
        lambda: torch.zeros(3, device=NAME).double(),
        lambda: torch.zeros(3, dtype=torch.float64).to(NAME),
        lambda: torch.zeros(3, dtype=torch.float64).to(NAME, torch.float32),
        lambda: torch.zeros(3, device=NAME).to("cpu", torch.float64),
    ],
)
def test_types_can_be_refused(make) -> None:
    make()
    with pretend_device.refuse_types(torch.float64), pytest.raises(TypeError, match=r"no torch\.float64"):
        make()


def test_outputs_that_are_not_contiguous_are_refused_or_scrambled() -> None:
    image = draw(1, 3, 4, 5)
    right = functional.pad(image, (1,) * 4, mode="reflect")
    memory = torch.empty_like(right, memory_format=torch.channels_last).to(NAME)
    with pytest.raises(RuntimeError, match="contiguous"):
        torch.ops.aten.reflection_pad2d(image.to(NAME), (1,) * 4, out=memory)
    with pretend_device.scramble_outputs():
        torch.ops.aten.reflection_pad2d(image.to(NAME), (1,) * 4, out=memory)
    assert not memory.cpu().equal(right)
    assert memory.cpu().flatten().sort().values.equal(right.flatten().sort().values)
    plain = torch.empty(right.shape, device=NAME)
    torch.ops.aten.reflection_pad2d(image.to(NAME), (1,) * 4, out=plain)
    assert plain.cpu().equal(right)


def test_an_operation_can_be_made_wrong() -> None:
    image, kernel = draw(1, 3, 5, 5), draw(2, 3, 3, 3)
    right = functional.conv2d(image, kernel)
    on_device = image.to(NAME), kernel.to(NAME)
    with pretend_device.make_wrong("aten::convolution"):
        assert not functional.conv2d(*on_device).cpu().equal(right)
    with pretend_device.make_wrong("aten::convolution", lambda result: 2 * result):
        assert functional.conv2d(*on_device).cpu().equal(2 * right)
    assert functional.conv2d(*on_device).cpu().equal(right)
