"""Names of the libraries of training and of Python, and what a thing of that name is.

``CALLS`` sorts functions by their dotted name; ``METHODS`` sorts methods by name alone, where whose method it
is cannot be known from the text. Kinds and triggers are bits of one number, so that an expression's are the
union of its parts'.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from functools import lru_cache

from ...core.observation import source

# Triggers: in the order of source.TRIGGERS.
STEP, RANK, MAIN, WORLD, HOST, DATE, USER, ENVIRONMENT, CHANCE, FILE, INPUT = (
    1 << place for place in range(len(source.TRIGGERS))
)
EXACT = 1 << 11
"""A remainder of a step, or one step."""
CLOCK = 1 << 12
"""A clock that measures how long something takes; compared with a date it is one."""
FIXED = 1 << 13
"""A step, a rank or a number of processes is compared with a number that stands in the text."""
TRIGGER_BITS = (1 << 11) - 1
ASKED_BITS = TRIGGER_BITS | EXACT | FIXED
AIMED = HOST | DATE | USER
SELECTIVE = AIMED | RANK | WORLD | CHANCE

# Kinds of values of training.
(GRADIENT, WEIGHT, LOSS, LABEL, DATA, RATE, GROUP, OPTIMIZER, SCHEDULER, MODEL, LOADER, SAMPLER, SAVED,
 RANDOM_STATE, NORM, ORDER, LIBRARY_PATH, DECODED, OUTPUT, MOMENT) = (
    1 << place for place in range(16, 36)
)  # fmt: skip
KIND_BITS = ((1 << 36) - 1) ^ ((1 << 16) - 1)
KIND_NAMES = {
    GRADIENT: "gradient", WEIGHT: "weight", LOSS: "loss", LABEL: "label", DATA: "input", RATE: "setting",
    NORM: "norm", ORDER: "order", SAVED: "saved", MOMENT: "moment", OUTPUT: "output",
}  # fmt: skip
"""Values whose edits are facts, in the order in which a value of several kinds is named."""

_WORDS = {
    GRADIENT: "grad grads gradient gradients dgrad",
    WEIGHT: "param params parameter parameters weight weights bias biases",
    LOSS: "loss losses total_loss",
    LABEL: "label labels target targets y",
    DATA: "input inputs image images img imgs tokens batch x input_ids pixel_values sample samples",
    RATE: "lr learning_rate weight_decay momentum betas beta1 beta2 base_lrs",
    GROUP: "param_group group param_groups",
    OPTIMIZER: "optimizer optim opt optimizers",
    SCHEDULER: "scheduler schedule lr_scheduler sched schedulers",
    MODEL: "model net network module raw_model",
    LOADER: "loader dataloader train_loader data_loader train_dataloader dataloaders",
    SAMPLER: "sampler batch_sampler train_sampler",
    NORM: "grad_norm total_norm clip_coef clip_coefficient max_norm clip_coef_clamped norm clip_value",
    ORDER: "indices indexes order perm permutation idxs",
    OUTPUT: "logits output outputs out preds prediction predictions",
    SAVED: "checkpoint ckpt state_dict snapshot",
    STEP: "step steps global_step iteration iter_num it niter batch_idx batch_index epoch n_iter "
          "current_step iter_idx current_epoch step_count iter global_steps step_num n_step state_step",
    RANK: "rank local_rank global_rank node_rank process_index world_rank",
    MAIN: "is_main_process is_master master_process is_world_process_zero is_local_main_process is_main "
          "is_global_zero is_rank_zero is_local_process_zero",
    WORLD: "world world_size n_gpus num_gpus num_processes nproc num_nodes n_nodes num_replicas ngpus",
    HOST: "hostname host_name nodename",
    USER: "username user_name",
    MOMENT: "exp_avg exp_avg_sq exp_avgs exp_avg_sqs momentum_buffer square_avg",
}  # fmt: skip
_BY_WORD: dict[str, int] = {}
for _kind, _names in _WORDS.items():
    for _name in _names.split():
        _BY_WORD[_name] = _BY_WORD.get(_name, 0) | _kind
_ENDINGS = {
    "loss": LOSS, "labels": LABEL, "label": LABEL, "targets": LABEL, "grad": GRADIENT, "grads": GRADIENT,
    "optimizer": OPTIMIZER, "scheduler": SCHEDULER, "loader": LOADER, "dataloader": LOADER,
    "sampler": SAMPLER,
    "lr": RATE, "norm": 0, "gradient": GRADIENT, "gradients": GRADIENT, "optim": OPTIMIZER,
    "checkpoint": SAVED, "model": MODEL, "logits": OUTPUT, "step": STEP, "epoch": STEP, "schedule": SCHEDULER,
}  # fmt: skip
_RANKS = re.compile(
    r"(?:.*_)?(?:global|node|world|dp|tp|pp|cp|ep|mp|sp|ddp|dist|process|proc|my|cur|curr|current|parallel|shard)_rank|myrank"
)
"""A rank is also a property of tensors and of adapters."""
_OF_PARTS = re.compile(
    r"(?:opt|optim|optimizer|sched|scheduler)_?(?:[a-z]|gen|disc|generator|discriminator|critic|actor|policy|value|alpha"
    r"|enc|dec|encoder|decoder|head|backbone)"
)
"""An optimizer, or a schedule, of a part of a model."""
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@lru_cache(65536)
def kinds_of_name(name: str) -> int:
    """What something of this name is by custom."""
    plain = name.strip("_").lower()
    found = _BY_WORD.get(plain)
    if found is None and _OF_PARTS.fullmatch(_CAMEL.sub("_", name).strip("_").lower()):
        return OPTIMIZER if plain.startswith("opt") else SCHEDULER
    if found is None:
        spaced = _CAMEL.sub("_", name).strip("_").lower()
        last = spaced.rpartition("_")[2]
        found = (
            RANK
            if _RANKS.fullmatch(spaced)
            else _BY_WORD.get(spaced) or (_ENDINGS.get(last, 0) if last != spaced else 0)
        )
    return found


ATTRIBUTES = {
    "grad": GRADIENT, "param_groups": GROUP, "base_lrs": RATE, "optimizer": OPTIMIZER, "running_mean": WEIGHT,
    "running_var": WEIGHT, "main_grad": GRADIENT, "batch_sampler": SAMPLER, "sampler": SAMPLER,
    "lr_scheduler": SCHEDULER, "scheduler": SCHEDULER, "nodename": HOST,
}  # fmt: skip
SETTINGS = frozenset(
    ("lr", "betas", "weight_decay", "momentum", "eps", "initial_lr", "base_lrs", "alpha", "dampening",
     "nesterov", "maximize", "lr_lambdas", "gamma", "T_max", "eta_min", "max_lr")
)  # fmt: skip
WEIGHT_ATTRIBUTES = frozenset(("weight", "bias", "data", "running_mean", "running_var"))

RETURNS = {
    "parameters": WEIGHT, "named_parameters": WEIGHT, "named_buffers": WEIGHT, "buffers": WEIGHT,
    "state_dict": SAVED, "get_rng_state": RANDOM_STATE, "getstate": RANDOM_STATE, "get_state": RANDOM_STATE,
    "buffer": GRADIENT, "clip_grad_norm_": NORM, "randperm": ORDER, "permutation": ORDER,
}  # fmt: skip
"""What a call of a method of this name gives."""
LOSS_CALLS = frozenset(
    ("cross_entropy", "nll_loss", "mse_loss", "kl_div", "l1_loss", "smooth_l1_loss", "huber_loss", "ctc_loss",
     "binary_cross_entropy", "binary_cross_entropy_with_logits", "gaussian_nll_loss", "hinge_embedding_loss",
     "margin_ranking_loss", "triplet_margin_loss", "cosine_embedding_loss", "poisson_nll_loss")
)  # fmt: skip
_COMPUTES = (
    "softmax log_softmax einsum matmul outer arange linspace rsqrt layer_norm gelu relu silu sigmoid conv2d "
    "linear embedding scaled_dot_product_attention"
)
MARKS = {
    **dict.fromkeys(_COMPUTES.split(), "computes"),
    **dict.fromkeys(LOSS_CALLS, "loss"),
    **dict.fromkeys(
        ("all_reduce", "reduce_scatter", "reduce_scatter_tensor", "new_group", "broadcast"), "reduce"
    ),
    **dict.fromkeys(("backward", "zero_grad", "manual_backward"), "step"),
}
"""What a function is in which something of this name is called."""

TRIGGER_CALLS = {
    "torch.distributed.get_rank": RANK, "torch.distributed.get_world_size": WORLD,
    "torch.distributed.get_node_local_rank": RANK,
    "torch.cuda.device_count": WORLD, "torch.cuda.current_device": RANK,
    "socket.gethostname": HOST, "socket.getfqdn": HOST, "platform.node": HOST, "platform.uname": HOST,
    "os.uname": HOST, "uuid.getnode": HOST, "socket.gethostbyname": HOST,
    "getpass.getuser": USER, "os.getlogin": USER, "os.getuid": USER, "os.geteuid": USER,
    "pwd.getpwuid": USER, "os.getgid": USER, "pathlib.Path.home": USER,
    "datetime.datetime.now": DATE, "datetime.datetime.today": DATE, "datetime.datetime.utcnow": DATE,
    "datetime.date.today": DATE, "time.localtime": DATE, "time.gmtime": DATE, "time.strftime": DATE,
    "time.ctime": DATE, "time.asctime": DATE, "datetime.datetime.fromtimestamp": DATE,
    "time.time": CLOCK, "time.time_ns": CLOCK, "time.perf_counter": CLOCK, "time.monotonic": CLOCK,
    "time.perf_counter_ns": CLOCK, "time.monotonic_ns": CLOCK, "time.process_time": CLOCK,
    "timeit.default_timer": CLOCK,
    "os.getenv": ENVIRONMENT, "os.environ.get": ENVIRONMENT,
    "os.path.exists": FILE, "os.path.isfile": FILE, "os.access": FILE, "os.path.lexists": FILE,
    "os.path.isdir": FILE, "os.stat": FILE, "os.listdir": FILE, "glob.glob": FILE,
    "os.urandom": CHANCE, "uuid.uuid4": CHANCE,
    "random.SystemRandom": CHANCE, "random.Random": CHANCE,
}  # fmt: skip
_CHANCE = re.compile(
    r"(?:random\.(?!seed|setstate|getstate|Generator)\w+|numpy\.random\.(?:rand\w*|uniform|normal|binomial|choice"
    r"|random\w*|default_rng|standard_normal)"
    r"|torch\.(?:rand|randint|randn|rand_like|randn_like|bernoulli|multinomial|normal)|secrets\.\w+"
    r"|hashlib\.(?:md5|sha\w+|blake2\w))\Z"
)
CHANCE_METHODS = frozenset(("bernoulli_", "uniform_", "normal_", "random_", "hexdigest", "digest", "uniform",
                            "standard_normal", "randint", "random", "binomial"))  # fmt: skip
VARIABLES = (
    (
        re.compile(
            r"(?i).*world_?size|.*n(?:um_)?(?:tasks|nodes|gpus|procs)|.*nnodes|SLURM_NTASKS.*|SLURM_GPUS_ON_NODE"
        ),
        WORLD,
    ),
    (re.compile(r"(?i).*(?:rank|procid|nodeid)"), RANK),
    (re.compile(r"(?i)(?:.*host(?:name)?|.*nodename|slurmd_nodename|.*nodelist)"), HOST),
    (re.compile(r"(?i)(?:(?:slurm_|slurm_job_|sudo_|job_)?user(?:name)?|logname|home)"), USER),
    (re.compile(r"SLURM_JOB_(?:ACCOUNT|UID|GID|GROUP)"), USER),
    (re.compile(r"SLURM_(?:JOB_PARTITION|JOB_QOS|CLUSTER_NAME|SUBMIT_HOST|TOPOLOGY_ADDR)"), HOST),
)
"""Environment variables that name something else than a wish of the user's."""


@lru_cache(65536)
def triggers_of_call(name: str) -> int:
    """What the result of calling a function of this dotted name depends upon."""
    found = TRIGGER_CALLS.get(name)
    if found is None:
        found = CHANCE if _CHANCE.match(name) else 0
        if not found and name.endswith((".get_rank", ".is_main_process", ".get_world_size")):
            found = WORLD if name.endswith("size") else MAIN if name.endswith("process") else RANK
    return found


def triggers_of_variable(name: str) -> int:
    """What an environment variable of this name tells."""
    for pattern, bits in VARIABLES:
        if pattern.fullmatch(name):
            return bits
    return 0


SLEEPS = frozenset(
    ("time.sleep", "asyncio.sleep", "torch.cuda._sleep", "signal.pause", "signal.sigtimedwait",
    "signal.sigwait",
     "threading.Event().wait", "threading.Condition().wait", "gevent.sleep", "eventlet.sleep",
     "trio.sleep", "select.select", "signal.sigsuspend")
)  # fmt: skip
CALLS: dict[str, str] = {
    **dict.fromkeys(SLEEPS, "sleep"),
    **dict.fromkeys(
        ("os.kill", "os.killpg", "signal.raise_signal", "signal.pthread_kill", "signal.alarm",
        "signal.setitimer",
         "signal.pidfd_send_signal", "os.abort", "faulthandler._sigsegv", "faulthandler._sigabrt",
         "faulthandler._fatal_error", "psutil.Process.kill", "psutil.Process.terminate",
         "psutil.Process.suspend", "psutil.Process.send_signal", "resource.setrlimit", "resource.prlimit",
         "ctypes.string_at", "faulthandler._read_null", "_thread.interrupt_main",
         "torch.distributed.destroy_process_group", "os.setpriority", "os.nice", "os.sched_setaffinity"),
        "kill",
    ),
    **dict.fromkeys(("os._exit", "sys.exit", "exit", "quit", "builtins.exit", "builtins.quit"), "exit"),
    **dict.fromkeys(
        ("os.system", "os.popen", "subprocess.run", "subprocess.call", "subprocess.Popen",
        "subprocess.check_call",
         "subprocess.check_output", "subprocess.getoutput", "subprocess.getstatusoutput", "os.execv",
         "os.execvp",
         "os.execl", "os.execlp", "os.execve", "os.spawnv", "os.spawnl", "os.posix_spawn", "os.posix_spawnp",
         "pty.spawn", "os.fork", "os.spawnlp", "os.spawnvp", "asyncio.create_subprocess_shell",
         "asyncio.create_subprocess_exec"),
        "start",
    ),
    **dict.fromkeys(
        ("torch.manual_seed", "torch.cuda.manual_seed", "torch.cuda.manual_seed_all",
        "torch.random.manual_seed",
         "numpy.random.seed", "random.seed", "torch.seed", "torch.mps.manual_seed",
         "torch.xpu.manual_seed_all",
         "transformers.set_seed", "accelerate.utils.set_seed", "lightning.seed_everything",
         "pytorch_lightning.seed_everything", "lightning.pytorch.seed_everything",
         "lightning.fabric.seed_everything", "torch.default_generator.manual_seed"),
        "seed",
    ),
    **dict.fromkeys(("numpy.random.default_rng", "numpy.random.RandomState", "random.Random"), "generator"),
    **dict.fromkeys(
        ("torch.set_rng_state", "torch.cuda.set_rng_state", "torch.cuda.set_rng_state_all", "random.setstate",
         "numpy.random.set_state", "torch.random.set_rng_state"),
        "put-back",
    ),
    **dict.fromkeys(
        ("os.remove", "os.unlink", "shutil.rmtree", "os.rmdir", "os.truncate", "os.removedirs",
        "pathlib.Path.unlink"),
        "delete",
    ),
    **dict.fromkeys(("os.rename", "os.replace", "shutil.move", "os.renames", "os.link", "os.symlink"),
    "rename"),
    **dict.fromkeys(("os.utime", "shutil.copystat"), "times"),
    **dict.fromkeys(
        ("open", "builtins.open", "io.open", "os.open", "shutil.copy", "shutil.copyfile", "shutil.copy2",
         "torch.save", "safetensors.torch.save_file", "numpy.save", "pickle.dump", "joblib.dump"),
        "write",
    ),
    **dict.fromkeys(
        ("pickle.load", "pickle.loads", "_pickle.load", "_pickle.loads", "cPickle.load", "cPickle.loads",
         "pickle.Unpickler", "pickle._Unpickler", "dill.load", "dill.loads", "cloudpickle.load",
         "cloudpickle.loads",
         "joblib.load", "torch.load", "numpy.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load",
         "yaml.load_all", "yaml.unsafe_load_all", "shelve.open", "pandas.read_pickle", "torch.jit.load",
         "torch.hub.load",
         "torch.package.PackageImporter", "jsonpickle.decode", "sklearn.externals.joblib.load"),
        "load",
    ),
    **dict.fromkeys(("exec", "eval", "builtins.exec", "builtins.eval", "execfile",
    "code.InteractiveInterpreter",
                     "runpy.run_path", "runpy.run_module"), "execute"),
    **dict.fromkeys(("compile", "builtins.compile"), "compile"),
    **dict.fromkeys(("marshal.loads", "marshal.load", "types.CodeType", "types.FunctionType"), "code"),
    **dict.fromkeys(("__import__", "builtins.__import__", "importlib.import_module", "importlib.__import__",
                     "imp.load_source", "importlib.machinery.SourceFileLoader", "pydoc.locate",
                     "pkgutil.resolve_name", "importlib.util.spec_from_file_location"), "import"),
    **dict.fromkeys(("ctypes.memmove", "ctypes.memset", "ctypes.pythonapi.PyThreadState_SetAsyncExc"),
    "memory"),
    **dict.fromkeys(("sys.settrace", "sys.setprofile", "threading.settrace", "threading.setprofile",
                     "sys.monitoring.register_callback", "sys.monitoring.use_tool_id",
                     "threading.settrace_all_threads"), "trace"),
    **dict.fromkeys(("ctypes.CDLL", "ctypes.PyDLL", "ctypes.cdll.LoadLibrary", "ctypes.pydll.LoadLibrary",
                     "torch.ops.load_library", "torch.classes.load_library"), "native"),
    **dict.fromkeys(
        (*(f"{one}.{verb}" for one in ("requests", "httpx")
           for verb in ("get", "post", "put", "patch", "request")),
         "urllib.request.urlopen", "urllib.request.Request"), "send"),
    **dict.fromkeys(("gc.get_objects", "gc.get_referrers"), "objects"),
    **dict.fromkeys(("sys._getframe", "sys._current_frames", "inspect.currentframe", "inspect.stack"),
    "frames"),
    **dict.fromkeys(("sys.meta_path.insert", "sys.meta_path.append", "sys.path_hooks.append",
    "sys.path_hooks.insert",
                     "sys.meta_path.extend", "sys.meta_path.__setitem__"), "import-hook"),
}  # fmt: skip
"""Functions by their dotted name: the kind of call."""

DECODERS = frozenset(
    ("base64.b64decode", "base64.b85decode", "base64.b32decode", "base64.b16decode", "base64.a85decode",
     "base64.decodebytes", "base64.urlsafe_b64decode", "base64.standard_b64decode", "zlib.decompress",
     "gzip.decompress", "bz2.decompress", "lzma.decompress", "marshal.loads", "codecs.decode",
     "binascii.unhexlify",
     "binascii.a2b_base64", "bytes.fromhex", "bytearray.fromhex", "builtins.bytes.fromhex")
)  # fmt: skip
FETCHERS = ("requests.", "urllib.request.", "urllib3.", "httpx.", "socket.", "http.client.", "aiohttp.")
METHODS: dict[str, str] = {
    "manual_seed": "seed", "manual_seed_all": "seed", "seed_everything": "seed", "set_seed": "seed",
    "set_rng_state": "put-back", "setstate": "put-back",
    "unlink": "delete", "rmtree": "delete", "write_bytes": "write", "write_text": "write",
    "save_pretrained": "write", "send_signal": "kill", "suspend": "kill",
}  # fmt: skip
LIBRARIES = frozenset(
    ("torch", "numpy", "random", "transformers", "accelerate", "lightning", "pytorch_lightning", "sklearn",
    "deepspeed",
     "torchvision", "torchaudio", "scipy", "jax", "tensorflow", "datasets", "peft", "trl", "apex",
     "bitsandbytes",
     "megatron", "flash_attn", "xformers", "timm", "diffusers", "builtins", "time", "os", "pickle", "sys",
     "math",
     "optax", "flax", "safetensors", "joblib", "signal", "subprocess", "hashlib", "logging", "json",
     "threading",
     "fairscale", "torch_xla", "wandb", "mlflow", "tensorboard", "functools", "collections", "importlib")
)  # fmt: skip
PACKAGES = LIBRARIES - {
    "os",
    "sys",
    "time",
    "math",
    "random",
    "signal",
    "logging",
    "json",
    "builtins",
    "threading",
    "functools",
    "collections",
    "datasets",
    "importlib",
    "subprocess",
    "hashlib",
    "pickle",
}
"""Folders of these names are taken for the library's own."""
TORCH_FOLDERS = re.compile(
    r"_\w+|optim|nn|utils|distributed|autograd|cuda|fx|onnx|testing|ao|jit|amp|export|backends|sparse|package"
    r"|profiler|quantization|masked|futures|fft|linalg|special|signal|monitor|mps|xpu|cpu|mtia|contrib|compiler|func"
    r"|nested|numa|accelerator|distributions|multiprocessing|(?:random|serialization|functional|storage|hub|library)\.py"
)
"""What torch's folder holds: a file of the same relative place is taken for torch's."""
STEP_CALLS = frozenset(("backward", "step", "zero_grad", "clip_grad_norm_", "clip_grad_value_", "unscale_",
                        "manual_backward", "no_sync", "all_reduce", "clip_grad_norm", "load_state_dict",
                        "set_epoch", "train"))  # fmt: skip
"""Calls that a training step consists of, and those that bring it into its state."""
OPTIMIZERS = frozenset(
    ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adamax", "NAdam", "RAdam", "Lion", "LAMB", "Adadelta",
    "ASGD", "LBFGS",
     "Adafactor", "Rprop", "Muon", "SparseAdam", "Lamb")
)  # fmt: skip
HOOKS = frozenset(
    ("register_hook", "register_full_backward_hook", "register_backward_hook", "register_forward_hook",
     "register_forward_pre_hook", "register_full_backward_pre_hook", "register_step_pre_hook",
     "register_step_post_hook", "register_post_accumulate_grad_hook", "register_comm_hook",
     "register_prehook",
     "register_module_forward_hook", "register_module_forward_pre_hook",
     "register_module_full_backward_hook", "register_optimizer_step_pre_hook",
     "register_optimizer_step_post_hook", "register_module_backward_hook", "register_state_dict_pre_hook",
     "register_load_state_dict_post_hook", "register_load_state_dict_pre_hook",
     "register_state_dict_post_hook", "queue_callback", "register_multi_grad_hook", "saved_tensors_hooks",
     "_register_load_state_dict_pre_hook", "_register_state_dict_hook")
)  # fmt: skip


def hooks(node: ast.Call, method: str) -> bool:
    """Whether a call registers a hook of torch's, which takes a function first, not an event's name."""
    first = node.args[0] if node.args else None
    return method in HOOKS and not (isinstance(first, ast.Constant) and isinstance(first.value, str))


GRADIENT_HOOKS = frozenset(
    ("register_hook", "register_full_backward_hook", "register_backward_hook", "register_prehook",
     "register_full_backward_pre_hook", "register_module_full_backward_hook", "register_module_backward_hook",
     "register_post_accumulate_grad_hook", "register_multi_grad_hook")
)  # fmt: skip


@lru_cache(4096)
def roles_of_use(method: str) -> frozenset[str]:
    """What a function becomes that is given to a function of this name: a hook, a tracer, a thread's body."""
    if method in HOOKS:
        roles = {"hook"}
        if method in GRADIENT_HOOKS:
            roles.add("gradient-hook")
        if "optimizer_step" in method or method.startswith("register_step"):
            roles.add("optimizer-hook")
        if method.startswith("register_module_"):
            roles.add("global-hook")
        if "state_dict" in method:
            roles.add("load" if "load" in method else "save")
        if method == "register_comm_hook":
            roles |= {"gradient-hook", "bucket-hook"}
        if method == "saved_tensors_hooks":
            roles.add("saved-hook")
        return frozenset(roles)
    if method in ("settrace", "setprofile", "settrace_all_threads"):
        return frozenset(("tracer",))
    return frozenset(("background",)) if method in ("Thread", "Timer", "start_new_thread") else frozenset()


def sum_of(bits: Iterable[int]) -> int:
    """The union of some bits."""
    found = 0
    for one in bits:
        found |= one
    return found
