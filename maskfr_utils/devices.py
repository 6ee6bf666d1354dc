"""What a run computes on: processes, precision, the device and its memory."""

import atexit
import contextlib
import ctypes
import os
from datetime import timedelta

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning_fabric.strategies import DDPStrategy

from maskfr_utils.config import ConfigError, TrainConfig
from maskfr_utils.messages import shown


def precision_for(config: TrainConfig, device: torch.device) -> str:
    """Fabric's name of the arithmetic: bf16 where the hardware computes in it, else half on a GPU, single on a CPU.

    Raises:
        ConfigError: half precision on a CPU.
    """
    if config.precision == "16-mixed" and device.type == "cpu":
        raise ConfigError(
            "precision=16-mixed needs a GPU, and this run is on the CPU: set precision to bf16-mixed or 32-true"
        )
    if config.precision != "auto":
        return config.precision
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16-mixed" if able.get("avx512_bf16") or able.get("amx_bf16") else "32-true"


def processes() -> tuple[int, int]:
    """How many processes were started for this run, in all and on this machine: torchrun, or whoever did, says so.

    Raises:
        ConfigError: the environment says so by half, as where WORLD_SIZE was left behind.
    """
    world = os.environ.get("WORLD_SIZE") or "1"
    if world == "1":
        return 1, 1
    missing = [name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if missing:
        raise ConfigError(
            f"WORLD_SIZE={shown(world)} is set, but {', '.join(missing)} not: left behind by another job? Unset WORLD_SIZE "
            "for a run of one process, or start several with torchrun"
        )
    numbers = {"WORLD_SIZE": world, "LOCAL_WORLD_SIZE": os.environ.get("LOCAL_WORLD_SIZE") or "1"}
    for name, text in numbers.items():
        if not text.isdecimal() or not 0 < int(text) < 100_000:
            raise ConfigError(f"{name}={shown(text)} is no number of processes: unset it, or start with torchrun")
    total, local = map(int, numbers.values())
    if total % local:
        raise ConfigError(f"WORLD_SIZE={total} is no multiple of LOCAL_WORLD_SIZE={local}: start with torchrun")
    return total, local


def loggers_for(config: TrainConfig) -> list[Logger]:
    """Fabric's loggers that a run asks for; each makes a folder of its kind in the run's, and begins a file a start.

    Raises:
        ConfigError: the package that it writes with is not installed.
    """
    if config.logger == "csv":
        return [CSVLogger(config.folder, name="csv", flush_logs_every_n_steps=1)]
    if config.logger == "tensorboard":
        try:
            return [TensorBoardLogger(config.folder, name="tensorboard")]
        except ModuleNotFoundError:
            raise ConfigError("logger=tensorboard needs a package that is not here: pip install tensorboard") from None
    return []


def make_fabric(config: TrainConfig) -> Fabric:
    """Fabric on the best device; as many processes as torchrun started, else one.

    Raises:
        ConfigError: the processes do not divide the batch, the environment does not tell how many they are, or a GPU that
            is asked for is not there.
    """
    world, local = processes()
    if config.batch_size % world:
        raise ConfigError(
            f"batch_size={config.batch_size} cannot be shared out over {world} processes: take a multiple of {world}"
        )
    found = torch.cuda.is_available()
    if config.device == "cuda" and not found:
        raise ConfigError(
            "device=cuda, but torch finds no GPU: set device to auto or cpu, or install a torch that is built for your GPU"
        )
    device = torch.device("cuda" if found and config.device != "cpu" else "cpu")
    if device.type == "cuda" and local > torch.cuda.device_count():
        raise ConfigError(
            f"{local} processes on a machine with {torch.cuda.device_count()} GPUs: start as many as there are, or set device to cpu"
        )
    fabric = Fabric(
        accelerator=device.type,
        devices=local,
        num_nodes=world // local,
        # The others wait while process 0 prepares millions of pictures: longer than torch's half hour.
        strategy=DDPStrategy(timeout=timedelta(days=2), find_unused_parameters=config.head_epochs > 0)
        if world > 1
        else "auto",
        precision=precision_for(config, device),
        loggers=loggers_for(config),
    )
    fabric.launch()
    if world > 1:
        atexit.register(leave_the_others)
    return fabric


def leave_the_others() -> None:
    """Ends the connection to the other processes of a run, while there is an interpreter still.

    Gloo's threads may hold tensors of the last exchange; let go of after the interpreter, they take the process down with a
    SIGABRT or SIGSEGV. Fabric does this for NCCL alone.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def keep_memory() -> None:
    """Tells glibc, where that is the allocator, to keep the memory that is freed instead of giving it back.

    A training step frees and asks for the same gigabytes each time. Given back, every page comes anew from the kernel,
    which fills it with zeros first: up to a fifth of the time of a narrow network's step on a CPU.
    """
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h; blocks above 32 MiB, the most it takes, are left out
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, 32 << 20)
        mallopt(M_TRIM_THRESHOLD, -1)


def device_name(device: torch.device) -> str:
    """The device in words, as a record names it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = torch.cpu.get_capabilities().get("cpu_name", "CPU") if hasattr(torch.cpu, "get_capabilities") else "CPU"
    return f"{name}, {os.cpu_count()} cores"
