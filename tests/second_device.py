"""A second device on any machine: tensors that hold others on the CPU, and refuse what CUDA would refuse.

An operation on tensors of both devices raises, and so does NumPy; copies between the devices, indices and 0-dimensional
tensors on the CPU are allowed, as on CUDA. It has no generators of its own and no autograd.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map_only

AVAILABLE = hasattr(backend_registration, "_setup_privateuseone_for_python_backend")
"""Whether this PyTorch can have a device written in Python."""

_SHAPE = {
    "aten::dim": Tensor.dim,
    "aten::is_contiguous": Tensor.is_contiguous,
    "aten::numel": Tensor.numel,
    "aten::size": Tensor.size,
    "aten::stride": Tensor.stride,
    "aten::sym_numel": Tensor.numel,
    "aten::sym_size": Tensor.size,
    "aten::sym_storage_offset": Tensor.storage_offset,
    "aten::sym_stride": Tensor.stride,
}
_COPIES = {"aten::_to_copy", "aten::copy_"}


class SecondDeviceTensor(Tensor):
    """On the second device; `held` is what it holds."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore[reportAssignmentType]

    @staticmethod
    def __new__(cls, held: Tensor):
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        # Some operations change a shape in place: it is asked for anew.
        layout["dispatch_sizes_strides_policy"] = "sizes"
        made = Tensor._make_wrapper_subclass(cls, held.size(), device=_device(), **layout)  # pyright: ignore
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None):
        if func._schema.name in _SHAPE:
            return _SHAPE[func._schema.name](args[0].held, *args[1:], **kwargs or {})
        return func.decompose(*args, **kwargs or {}) if func._can_decompose() else _run(func, *args, **kwargs or {})

    def __repr__(self, **_: Any) -> str:
        return f"{self.held} on {self.device}"

    def new_tensor(self, data: Any, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
        # PyTorch's own cannot make a subclass.
        return torch.tensor(data, dtype=dtype or self.dtype).to(self.device)


def second_device() -> torch.device:
    """The device, registered with PyTorch when it is first asked for."""
    global _library
    if _library is None:
        backend_registration._setup_privateuseone_for_python_backend()
        _library = torch.library.Library("_", "IMPL")
        _library.fallback(_run, "PrivateUse1")
    return _device()


def install(monkeypatch: Any) -> None:
    """Let `torch.tensor` and `torch.as_tensor` make tensors on the device, which PyTorch's own cannot."""

    def following(make: Any):
        def tensor(data: Any, *, device: Any = None, **keywords: Any) -> Tensor:
            there = device is not None and torch.device(device).type == _device().type
            return make(data, **keywords).to(_device()) if there else make(data, device=device, **keywords)

        return tensor

    monkeypatch.setattr(torch, "tensor", following(torch.tensor))
    monkeypatch.setattr(torch, "as_tensor", following(torch.as_tensor))


_library: torch.library.Library | None = None


def _device() -> torch.device:
    return torch.device("privateuseone", 0)


def _run(operation: Any, *args: Any, **kwargs: Any):
    """Run an operation on what its tensors hold."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, SecondDeviceTensor)]
    name, target = operation._schema.name, kwargs.get("device")
    if ours and name not in _COPIES and not name.startswith(("aten::index", "aten::_index")):
        foreign = [tensor for tensor in tensors if not isinstance(tensor, SecondDeviceTensor) and tensor.dim()]
        if foreign:
            raise RuntimeError(f"Expected all tensors to be on the same device, found two in {name}")
    if kwargs.get("generator") is not None:
        raise RuntimeError(f"Expected a generator of {_device()}, found another in {name}")
    here = bool(ours) if target is None else torch.device(target).type == _device().type
    if target is not None:
        kwargs["device"] = torch.device("cpu") if here else target
    args, kwargs = tree_map_only(SecondDeviceTensor, lambda tensor: tensor.held, (args, kwargs))
    results = operation(*args, **kwargs)
    if not here:
        return results
    # What was changed in place is given back as it came in.
    given = {id(tensor.held): tensor for tensor in ours}

    def wrapped(held: Tensor) -> Tensor:
        return given[id(held)] if id(held) in given else SecondDeviceTensor(held)

    return tree_map_only(Tensor, wrapped, results)
