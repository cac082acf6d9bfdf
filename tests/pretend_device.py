"""An accelerator that is none: a torch device whose memory is the CPU's, and which is stricter than any real one.

It lets a machine without a GPU run the engine, forward and backward, where ``tensor.is_cpu`` is False. Every tensor on
it holds a CPU tensor; every operation is done on these. What a real device does in silence, or only now and then, is an
error here: mixing devices, drawing random numbers, and, where a test says so, waiting for the device.

What it cannot tell: whether another device's kernels are right, how fast they are, and what they round.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils import backend_registration

NAME = "pretend"
_CPU = torch.device("cpu")
_COPIES = {"aten::copy_", "aten::_copy_from", "aten::_to_copy"}  # what may name two devices
_SCALAR_TAKERS = ("aten::_foreach_", "aten::masked_fill", "aten::fill", "aten::where")
_BY_INDEX = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
_NO_WORK = {"aten::empty", "aten::empty_strided", "aten::empty_like", "aten::lift_fresh", "aten::_unsafe_view"}


@dataclasses.dataclass
class Tally:
    """What was asked of the device.

    Attributes
    ----------
    operations : Counter
        How often each operation was run, as ``"aten::add"``; views and empty memory are no work.
    synchronisations : Counter
        Those of them whose result the host waits for.
    uploads : int
        Copies from the host.
    """

    operations: Counter[str] = dataclasses.field(default_factory=Counter)
    synchronisations: Counter[str] = dataclasses.field(default_factory=Counter)
    uploads: int = 0


class Recording:
    """What was asked of the device, to be done again with the same numbers in the same memory, as by a CUDA graph."""

    def __init__(self) -> None:
        self._done: list[tuple[Any, tuple, dict[str, Any], Any]] = []

    def add(self, operation: Any, args: tuple, kwargs: dict[str, Any], result: Any) -> None:
        """Take an operation on held tensors, with its result."""
        self._done.append((operation, args, kwargs, result))

    def replay(self) -> None:
        """Do it all once more."""
        for operation, args, kwargs, result in self._done:
            if _facts(operation).works:  # a view or empty memory is there already
                again = operation(*args, **kwargs)
                for old, new in zip(pytree.tree_leaves(result), pytree.tree_leaves(again), strict=True):
                    if isinstance(old, torch.Tensor) and old is not new:
                        old.copy_(new)


@dataclasses.dataclass(frozen=True)
class _Rules:
    """How strict the device is now; of the process, because autograd works in threads of its own."""

    tallies: tuple[Tally, ...] = ()
    refuses_synchronisation: bool = False
    refused_types: tuple[torch.dtype, ...] = ()
    scrambles_outputs: bool = False
    changes: tuple[tuple[str, Callable[[torch.Tensor], torch.Tensor]], ...] = ()
    offered: bool = False
    recording: Recording | None = None


_rules = _Rules()
_libraries: list[torch.library.Library] = []  # what they register ends with them


class PretendTensor(torch.Tensor):
    """A tensor on the device; ``held`` is the CPU tensor that it stands for."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> PretendTensor:
        tensor = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=torch.device(NAME, 0),
        )  # fmt: skip
        tensor.held = held
        return tensor

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(operation, args, kwargs or {})

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"PretendTensor({self.held!r})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Be saved as what is held; a run that is taken up moves it to its own device."""
        return self.held.__reduce_ex__(protocol)


def is_available() -> bool:
    """Return whether this torch lets a device be written in Python; if so, the device is there from now on.

    Not beside a real accelerator: torch would take this one for it, and CUDA's gradients fail.
    """
    if _libraries:
        return True
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        return False
    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        return False

    class Module(backend_registration._DummyBackendModule):
        def is_available(self) -> bool:
            return _rules.offered

    backend_registration._setup_privateuseone_for_python_backend(NAME, Module())
    fallback = torch.library.Library("_", "IMPL")
    fallback.fallback(lambda operation, *args, **kwargs: _run(operation, args, kwargs), "PrivateUse1")
    copies = torch.library.Library("aten", "IMPL")  # torch.tensor(..., device=...) passes the fallback by
    copies.impl("_copy_from", _copy_from, "PrivateUse1")
    _libraries.extend((fallback, copies))
    return True


@contextlib.contextmanager
def count_operations() -> Iterator[Tally]:
    """Count what the device is asked to do meanwhile."""
    tally = Tally()
    with _ruled(tallies=(*_rules.tallies, tally)):
        yield tally


def refuse_synchronisation() -> contextlib.AbstractContextManager[None]:
    """Raise meanwhile where the host would wait for the device."""
    return _ruled(refuses_synchronisation=True)


def refuse_types(*types: torch.dtype) -> contextlib.AbstractContextManager[None]:
    """Raise meanwhile where a tensor of these types would be on the device; Apple's has no float64 and complex128."""
    return _ruled(refused_types=types)


def scramble_outputs() -> contextlib.AbstractContextManager[None]:
    """Write results meanwhile as CUDA's padding does: into ``out=`` memory of any layout as if it were contiguous."""
    return _ruled(scrambles_outputs=True)


def offer() -> contextlib.AbstractContextManager[None]:
    """Let torch find the device meanwhile when it is asked for an accelerator; else only who names it has it."""
    return _ruled(offered=True)


@contextlib.contextmanager
def record() -> Iterator[Recording]:
    """Record meanwhile what is asked of the device; other than by CUDA, it is also done."""
    recording = Recording()
    with _ruled(recording=recording, refuses_synchronisation=True):
        yield recording


def make_wrong(
    operation: str, change: Callable[[torch.Tensor], torch.Tensor] | None = None
) -> contextlib.AbstractContextManager[None]:
    """Make an operation wrong meanwhile.

    Parameters
    ----------
    operation : str
        As torch names it below autograd: ``"aten::convolution"``, ``"aten::convolution_backward"``.
    change : callable, optional
        What becomes of each of its results, CPU tensors; by default they are read as if their layout were another.
    """
    return _ruled(changes=(*_rules.changes, (operation, change or scramble)))


def scramble(result: torch.Tensor) -> torch.Tensor:
    """Return a tensor with its entries in another order: channels last, read as if they came first."""
    if result.ndim < 3:
        return result.flip(tuple(range(result.ndim)))
    return result.movedim(1, -1).reshape(result.shape)


@contextlib.contextmanager
def _ruled(**changes: Any) -> Iterator[None]:
    global _rules
    before = _rules
    _rules = dataclasses.replace(before, **changes)
    try:
        yield
    finally:
        _rules = before


@dataclasses.dataclass(frozen=True, slots=True)
class _Facts:
    """What an operation's schema says of it."""

    name: str
    works: bool  # it is no view, and more than finding memory
    takes_scalars: bool  # by value, from the host
    draws: bool  # random numbers
    tells: bool  # the host values of its arguments, by a number or by the shape of its result
    outputs: tuple[str, ...]  # names of ``out=`` arguments


@functools.cache
def _facts(operation: Any) -> _Facts:
    schema, tags, name = operation._schema, operation.tags, operation._schema.name
    tells = torch.Tag.data_dependent_output in tags or torch.Tag.dynamic_output_shape in tags
    return _Facts(
        name=name,
        works=not operation.is_view and name not in _NO_WORK,
        takes_scalars=torch.Tag.pointwise in tags or name.startswith(_SCALAR_TAKERS),
        draws=torch.Tag.nondeterministic_seeded in tags,
        tells=tells and name not in _BY_INDEX,
        outputs=tuple(argument.name for argument in schema.arguments if argument.is_out),
    )


def _run(operation: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Do an operation on what the tensors hold, and check first that the device would do it."""
    facts = _facts(operation)
    name = facts.name
    leaves, structure = pytree.tree_flatten((args, kwargs))
    tensors = [each for each in leaves if isinstance(each, torch.Tensor)]
    to_cpu = _leaves_device(name, args, kwargs)
    if name in _COPIES:
        _check_types([*(each.dtype for each in tensors if each.ndim), kwargs.get("dtype")])
    else:
        _check_devices(facts, tensors)
    if facts.draws:
        raise RuntimeError(f"the device has no random numbers ({name}); draw them on the CPU, with a generator.")
    if to_cpu or facts.tells or _indexes_by_mask(name, args):
        _note_synchronisation(name)
    for tally in _rules.tallies:
        tally.operations.update([name] * facts.works)
        tally.uploads += name in _COPIES and not to_cpu and not all(isinstance(each, PretendTensor) for each in tensors)
    outputs = [each for each in pytree.tree_leaves([kwargs.get(each) for each in facts.outputs]) if each is not None]
    strided = any(not each.is_contiguous() for each in outputs)
    if strided and not _rules.scrambles_outputs:
        raise RuntimeError(f"{name} was given out= memory that is not contiguous: what it writes is not defined.")
    held_args, held_kwargs = pytree.tree_unflatten([_held(each) for each in leaves], structure)
    result = _write_scrambled(operation, held_args, held_kwargs) if strided else operation(*held_args, **held_kwargs)
    _make_wrong(name, result)
    if _rules.recording is not None:
        _rules.recording.add(operation, held_args, held_kwargs, result)
    if to_cpu:
        return args[0] if name == "aten::copy_" else result
    owners = {id(each.held): each for each in tensors if isinstance(each, PretendTensor)}
    for each in owners.values():
        _follow(each)

    def wrap(each: Any) -> Any:
        if not isinstance(each, torch.Tensor):
            return each
        _check_types([each.dtype])
        return owners[id(each)] if id(each) in owners else PretendTensor(each)

    return wrap(result) if isinstance(result, torch.Tensor) else pytree.tree_map(wrap, result)


def _copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    _run(torch.ops.aten.copy_.default, (target, source, non_blocking), {})
    return target


def _held(leaf: Any) -> Any:
    if isinstance(leaf, PretendTensor):
        return leaf.held
    if isinstance(leaf, torch.device) and leaf.type == NAME:
        return _CPU
    return leaf


def _leaves_device(name: str, args: tuple, kwargs: dict[str, Any]) -> bool:
    if name == "aten::_to_copy":
        device = kwargs.get("device")
        return device is not None and torch.device(device).type != NAME
    return name == "aten::copy_" and not isinstance(args[0], PretendTensor)


def _check_devices(facts: _Facts, tensors: list[torch.Tensor]) -> None:
    """Refuse CPU tensors beside the device's own, but for scalars where a kernel takes them by value."""
    strangers = [
        each for each in tensors if not isinstance(each, PretendTensor) and (each.ndim or not facts.takes_scalars)
    ]
    if strangers and len(strangers) < len(tensors):
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {NAME}:0 and"
            f" {strangers[0].device}! ({facts.name})"
        )


def _indexes_by_mask(name: str, args: tuple) -> bool:
    """Return whether the host must count what a mask selects before it can go on."""
    if name not in _BY_INDEX:
        return False
    return any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in args[1])


def _note_synchronisation(name: str) -> None:
    if _rules.refuses_synchronisation:
        raise RuntimeError(f"the host would wait for the device here ({name}).")
    for tally in _rules.tallies:
        tally.synchronisations[name] += 1


def _check_types(types: list[torch.dtype | None]) -> None:
    for each in types:
        if each in _rules.refused_types:
            raise TypeError(f"the device has no {each}.")


def _write_scrambled(operation: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    named = [argument.name for argument in operation._schema.arguments if argument.is_out]
    memory = {name: kwargs[name] for name in named}
    right = {name: torch.empty_like(each, memory_format=torch.contiguous_format) for name, each in memory.items()}
    operation(*args, **{**kwargs, **right})
    for name, each in memory.items():
        each.as_strided(each.shape, right[name].stride()).copy_(right[name])
    written = tuple(memory.values())
    return written[0] if len(written) == 1 else written


def _make_wrong(name: str, result: Any) -> None:
    for operation, change in _rules.changes:
        if operation == name:
            for each in pytree.tree_leaves(result):
                if isinstance(each, torch.Tensor):
                    each.copy_(change(each.clone()))  # in its own memory: the operation may have worked in place


def _follow(tensor: PretendTensor) -> None:
    """Give a tensor the shape of what it holds, where an operation has changed that."""
    held = tensor.held
    if tensor.shape != held.shape or tensor.stride() != held.stride():
        tensor.data = PretendTensor(held)
