"""What gets code loaded without a program naming it: groups of entry points, and variables.

Each entry says who reads it. Of what a variable names, the files are looked at by the readers of start-ups.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

PLUGIN_GROUPS: Mapping[str, str] = {
    "torch.backends": "import torch",
    "torch_dynamo_backends": "torch.compile",
    "torchrun.handlers": "torchrun",
    "torchrun.logs_specs": "torchrun",
    "triton.backends": "import triton",
    "lightning.pytorch.callbacks_factory": "Lightning's Trainer",
    "pytorch_lightning.callbacks_factory": "Lightning's Trainer",
    "lightning.fabric.callbacks_factory": "Lightning's Fabric",
    "lightning_fabric.callbacks_factory": "Lightning's Fabric",
    "mlflow.run_context_provider": "import mlflow",
    "mlflow.default_experiment_provider": "import mlflow",
    "mlflow.request_header_provider": "import mlflow",
    "mlflow.request_auth_provider": "import mlflow",
    "mlflow.tracking_store": "import mlflow",
    "mlflow.model_registry_store": "import mlflow",
    "mlflow.artifact_repository": "import mlflow",
    "mlflow.dataset_source": "import mlflow",
    "mlflow.model_evaluator": "import mlflow",
    "numba_extensions": "numba's first compilation",
    "jax_plugins": "import jax",
    "vllm.general_plugins": "vLLM's engine",
    "vllm.platform_plugins": "import vllm",
}
"""Groups of entry points → who loads all that are in it, or the one that is asked for."""

PRELOADS = ("LD_PRELOAD", "LD_AUDIT", "CUDA_INJECTION64_PATH", "NVTX_INJECTION64_PATH", "OMP_TOOL_LIBRARIES")
"""Variables that name native libraries which are mapped before, or into, all others."""

_NCCL = {
    "NCCL_NET_PLUGIN": "libnccl-net",
    "NCCL_TUNER_PLUGIN": "libnccl-tuner",
    "NCCL_PROFILER_PLUGIN": "libnccl-profiler",
}
_LIBRARIES = (
    "HSA_TOOLS_LIB",
    "ROCP_TOOL_LIB",
    "PJRT_PLUGIN_LIBRARY_PATH",
    "TPU_LIBRARY_PATH",
    "RDMAV_DRIVERS",
)
_FOLDERS = (
    *("UCX_MODULE_DIR", "UCC_COMPONENT_PATH", "FI_PROVIDER_PATH", "GCONV_PATH"),
    *("OPENSSL_MODULES", "OPENSSL_ENGINES", "OMPI_MCA_mca_base_component_path"),
    *("OMPI_MCA_component_path", "PMIX_MCA_mca_base_component_path"),
)
_CACHES: Mapping[str, tuple[str, str]] = {
    "TORCHINDUCTOR_CACHE_DIR": ("torch.compile", "{tmp}/torchinductor_{user}"),
    "TRITON_CACHE_DIR": ("triton", "{home}/.triton/cache"),
    "TORCH_EXTENSIONS_DIR": ("torch.utils.cpp_extension", "{home}/.cache/torch_extensions"),
    "NUMBA_CACHE_DIR": ("numba", ""),
    "CUDA_CACHE_PATH": ("CUDA", "{home}/.nv/ComputeCache"),
    "PYTHONPYCACHEPREFIX": ("Python", ""),
}
"""Folders of compiled code that is loaded again: who does, and where it lies when no variable says so."""
SETTINGS = (
    *("GLIBC_TUNABLES", "LD_PROFILE", "LD_PROFILE_OUTPUT", "LD_DEBUG", "LD_DEBUG_OUTPUT", "LD_BIND_NOW"),
    *("LD_BIND_NOT", "LD_DYNAMIC_WEAK", "LOCPATH", "PYTHONINSPECT", "PYTHONSTARTUP", "PYTHONCASEOK"),
    *("PYTHONEXECUTABLE", "PYTHONPLATLIBDIR"),
)
"""Variables that bring in no code of their own, or only where somebody types; they are listed."""
TEMPORARY = "/tmp"  # noqa: S108 - where others may have put something is what is asked
SHELLS = ("BASH_ENV", "ENV", "ZDOTDIR")
VARIABLES = frozenset(
    {
        *(*PRELOADS, *_NCCL, *_LIBRARIES, *_FOLDERS, *_CACHES, *SETTINGS, *SHELLS),
        *("LD_LIBRARY_PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TRITON_HOME", "PYTHONBREAKPOINT"),
    }
)
MAX_PARTS = 64


def libraries(variables: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Variables that have a native library loaded later on, and what it may be called (ld.so finds it)."""
    for variable, stem in _NCCL.items():
        value = variables.get(variable, "")
        for word in value.split(",")[:MAX_PARTS] if value not in ("", "none") else ():
            # NCCL takes the value as the library's name, and as a part of it.
            yield variable, [word, f"{stem}-{word}.so"] if "/" not in word else [word]
    for variable in _LIBRARIES:
        for word in variables.get(variable, "").replace(",", ":").split(":")[:MAX_PARTS]:
            if word:
                yield variable, [word]


def folders(variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Variables that have plug-ins looked for in a folder, and the folder."""
    for variable in _FOLDERS:
        for part in variables.get(variable, "").split(":")[:MAX_PARTS]:
            if os.path.isabs(part):
                yield variable, part


def caches(variables: Mapping[str, str], user: str) -> Iterator[tuple[str, str, str]]:
    """Who loads compiled code, from which folder, and what says so: a variable, or the default."""
    home, temporary = variables.get("HOME", ""), variables.get("TMPDIR") or TEMPORARY
    for variable, (reader, usual) in _CACHES.items():
        value = variables.get(variable, "")
        if not value and variable == "TRITON_CACHE_DIR" and variables.get("TRITON_HOME"):
            value = os.path.join(variables["TRITON_HOME"], ".triton", "cache")
        if os.path.isabs(value):
            yield reader, value, variable
        elif usual and (home or "{home}" not in usual) and (user or "{user}" not in usual):
            yield reader, usual.format(home=home, user=user, tmp=temporary), "its default"
