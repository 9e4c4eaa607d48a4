"""Writes files as torch.save does, without torch: a ZIP of stored entries, a pickle of protocol 2.

Tensors are made from numpy arrays; what a test wants to be wrong it sets by hand (Tensor's fields,
or the pickle's bytes themselves).
"""
import collections
import io
import pickle
import sys
import types
import zipfile
from dataclasses import dataclass, field

import numpy as np

STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "float64": "DoubleStorage",
            "bfloat16": "BFloat16Storage", "int64": "LongStorage"}


def _module(name, **members):
    """A stand-in module, so that pickle writes its members' names as torch's."""
    module = sys.modules.setdefault(name, types.ModuleType(name))
    for key, value in members.items():
        value.__module__, value.__qualname__ = name, key
        setattr(module, key, value)
    return module


def _rebuild_tensor_v2(*_args):
    raise AssertionError("only named in pickles, never called")


def _rebuild_parameter(*_args):
    raise AssertionError("only named in pickles, never called")


_utils = _module("torch._utils", _rebuild_tensor_v2=_rebuild_tensor_v2,
                 _rebuild_parameter=_rebuild_parameter)
_torch = _module("torch", **{name: type(name, (), {}) for name in STORAGES.values()})
_torch._utils = _utils


class BDHConfig:
    def __init__(self, **fields):
        self.__dict__.update(fields)


_module("bdh", BDHConfig=BDHConfig)


@dataclass
class Storage:
    key: str
    dtype: str
    data: bytes
    numel: int


@dataclass
class Tensor:
    storage: Storage
    offset: int
    shape: tuple
    strides: tuple
    parameter: bool = False

    def __reduce__(self):
        args = (self.storage, self.offset, self.shape, self.strides, False,
                collections.OrderedDict())
        if self.parameter:
            plain = Tensor(self.storage, self.offset, self.shape, self.strides)
            return _rebuild_parameter, (plain, True, collections.OrderedDict())
        return _rebuild_tensor_v2, args


@dataclass
class Writer:
    """Collects storages; tensor() gives what goes into the pickled object."""
    storages: list = field(default_factory=list)

    def storage(self, array, dtype=None):
        dtype = dtype or array.dtype.name
        if dtype == "bfloat16":
            bits = np.ascontiguousarray(array, dtype="<f4").view("<u4")
            data = (bits >> 16).astype("<u2").tobytes()
        else:
            data = np.ascontiguousarray(array, dtype=dtype).tobytes()
        made = Storage(str(len(self.storages)), dtype, data, array.size)
        self.storages.append(made)
        return made

    def tensor(self, array, dtype=None, transposed=False, parameter=False):
        """transposed: the storage holds the last two dimensions swapped, the strides say so."""
        stored = np.swapaxes(array, -1, -2) if transposed else array
        strides = np.ascontiguousarray(stored).strides
        strides = [s // stored.itemsize for s in strides]
        if transposed:
            strides[-1], strides[-2] = strides[-2], strides[-1]
        return Tensor(self.storage(stored, dtype), 0, array.shape, tuple(strides), parameter)

    def pickle(self, value):
        out = io.BytesIO()

        class Pickler(pickle._Pickler):
            def persistent_id(self, obj):
                if isinstance(obj, Storage):
                    return ("storage", getattr(_torch, STORAGES[obj.dtype]), obj.key, "cpu",
                            obj.numel)
                return None

        Pickler(out, 2).dump(value)
        return out.getvalue()

    def save(self, path, value=None, pickled=None, stem="archive", extra=(), compression=0):
        """extra: more entries, (name, bytes)."""
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr(f"{stem}/data.pkl", pickled or self.pickle(value))
            for name, data in extra:
                archive.writestr(f"{stem}/{name}", data)
            for storage in self.storages:
                archive.writestr(f"{stem}/data/{storage.key}", storage.data)
            archive.writestr(f"{stem}/version", b"3\n")
