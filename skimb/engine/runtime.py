"""Process-wide settings that a fit borrows and gives back, and the choice of a device."""

import functools
import gc
import re
import threading
from contextlib import contextmanager

import torch

_LOCK = threading.Lock()
_GLOBAL_GENERATOR = threading.RLock()
_BORROWED = {"users": 0, "threads": 1}


@contextmanager
def small_batch_settings(*, one_thread):
    """One intra-op thread and flushed denormals inside, the former settings after.

    Intra-op threads cost more than they give on small batches, and many times more when other work
    shares the machine. Denormal numbers slow optimiser moments down. Concurrent fits share the
    setting; the last one out restores it.
    """
    flushed = _flushes_denormals()
    if one_thread:
        with _LOCK:
            if _BORROWED["users"] == 0:
                _BORROWED["threads"] = torch.get_num_threads()
                torch.set_num_threads(1)
            _BORROWED["users"] += 1
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
        if one_thread:
            with _LOCK:
                _BORROWED["users"] -= 1
                if _BORROWED["users"] == 0:
                    torch.set_num_threads(_BORROWED["threads"])


def _flushes_denormals():
    return (torch.tensor([1e-40]) * torch.ones(1)).item() == 0.0


def resolve_device(device, *, sparse=False):
    """Turn 'auto', 'cpu', 'cuda' or 'cuda:<number>' into a torch device.

    Parameters
    ----------
    device : str
        'auto' takes CUDA where there is one; 'cuda' insists on it, with a number on that card.
    sparse : bool, default=False
        Whether the input is sparse, which trains on the CPU.

    Returns
    -------
    torch.device
        The device.

    Raises
    ------
    ValueError
        If the device is unknown, CUDA or the card is missing, or the input is sparse.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() and not sparse else "cpu")
    if device == "cpu":
        return torch.device("cpu")
    if not re.fullmatch(r"cuda(:\d+)?", device):
        raise ValueError(
            f"device={device!r} is unknown; use 'cpu', 'cuda', 'cuda:<number of the card>' or 'auto'."
        )
    if not torch.cuda.is_available():
        raise ValueError(
            f"device={device!r} asks for CUDA, but torch finds no CUDA device here; "
            "use device='auto' or device='cpu'."
        )
    if sparse:
        raise ValueError(
            f"device={device!r} with sparse X: the sparse first layer trains on the CPU; "
            "use device='auto' or pass a dense X."
        )
    if (torch.device(device).index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={device!r}: torch finds {torch.cuda.device_count()} CUDA device(s) here, "
            "numbered from 0."
        )
    return torch.device(device)


def products_type(mixed_precision, device):
    """Type in which layers multiply: bfloat16 with mixed precision on CUDA, else None, that of the parameters."""
    return torch.bfloat16 if mixed_precision and device.type == "cuda" else None


@functools.cache
def wake_autograd(device):
    """Let the thread in which torch differentiates on a CUDA device begin with something else than a product.

    A product that comes first there makes torch warn that the thread has no context yet.
    """
    if device.type == "cuda":
        with torch.enable_grad():
            torch.zeros(1, device=device, requires_grad=True).exp().sum().backward()


@contextmanager
def no_collections():
    """No passes of the garbage collector inside, for loops that make many small objects that stay."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Draws:
    """Torch's global random state as a net sees it: set inside the block, put back after.

    Entering again goes on where the last block ended. One thread at a time is inside.

    Parameters
    ----------
    seed : int
        Seed at the first entry.
    """

    def __init__(self, seed):
        self.seed = seed
        self.states = None

    def __enter__(self):
        _GLOBAL_GENERATOR.acquire()
        self.fork = torch.random.fork_rng(devices=range(torch.cuda.device_count()))
        self.fork.__enter__()
        if self.states is None:
            torch.manual_seed(self.seed)
        else:
            cpu, cuda = self.states
            torch.random.set_rng_state(cpu)
            torch.cuda.set_rng_state_all(cuda)

    def __exit__(self, *exc):
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        self.states = torch.random.get_rng_state(), cuda
        self.fork.__exit__(*exc)
        _GLOBAL_GENERATOR.release()
