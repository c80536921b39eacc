"""Names that a pickle can ask for, and why some of them are not data.

A pickle is a program: it names globals (``module``, ``name``), which the unpickler imports, and calls them.
What an honest file names are classes and the functions that rebuild them; such a list has no end, since
every project has classes of its own. What does harm is a known, short vocabulary, listed here by *why* it
does.

Two kinds of name are not listed because they cannot be: a function of the program's own modules (whatever
it does, the program could have done it), and a gadget that nobody has described yet. ``kind`` tells one
thing more: no honest pickler writes a reference to a module.
"""

from __future__ import annotations

import enum
import re
from functools import cache


class Danger(str, enum.Enum):
    """What a name could do when it is called while a file is loaded."""

    RUNS = "runs"
    CONNECTS = "connects"
    WRITES = "writes"
    ALTERS = "alters"
    CARRIES = "carries"
    REACHES = "reaches"
    IDLE = "idle"


SENTENCES = {
    Danger.RUNS: "runs programs or text as code",
    Danger.CONNECTS: "opens connections",
    Danger.WRITES: "opens, changes or removes files",
    Danger.ALTERS: "changes the state of the process or of its random generators",
    Danger.CARRIES: "makes functions out of code that the file brings, or loads a further pickle",
    Danger.REACHES: "reaches from one object to any other",
    Danger.IDLE: "calls a function that rebuilds no data",
}

# Modules without anything an honest pickle would name, but for the exceptions below.
_MODULES: dict[Danger, tuple[str, ...]] = {
    Danger.RUNS: (
        *("os", "posix", "nt", "subprocess", "_posixsubprocess", "pty", "runpy"),
        *("importlib", "imp", "zipimport", "pkgutil", "timeit", "cProfile", "bdb", "pdb", "doctest"),
        *("pydoc", "webbrowser", "ensurepip", "pip", "venv", "distutils", "idlelib", "lib2to3"),
        *("torch.hub", "torch.utils.cpp_extension", "torch.utils.collect_env", "torch.utils.bottleneck"),
        *(
            "torch.distributed.rpc",
            "torch._inductor.codecache",
            "torch.jit.unsupported_tensor_ops",
            "torch.utils._config_module",
        ),
        *("numpy.testing", "numpy.f2py", "numpy.distutils", "IPython", "cffi", "pexpect"),
    ),
    Danger.CONNECTS: (
        *("socket", "_socket", "ssl", "socketserver", "ftplib", "smtplib", "telnetlib", "poplib", "imaplib"),
        *("nntplib", "http.client", "http.server", "urllib.request", "urllib2", "httplib", "xmlrpc"),
        *("requests.api", "httpx._api", "paramiko"),
    ),
    Danger.WRITES: ("shutil", "tempfile", "_io", "io", "fileinput", "mmap", "sqlite3"),
    Danger.ALTERS: ("sys", "gc", "atexit", "resource", "faulthandler", "site", "torch.backends"),
    Danger.CARRIES: ("marshal", "dill", "dill._dill", "cloudpickle", "cloudpickle.cloudpickle"),
    Danger.REACHES: (),
}

# Data that lives in those modules: results, exceptions, enumerations, buffers.
_DATA = r"""
    (os|posix|nt)\.(_?make_)?(\w+_result|terminal_size|PathLike|fspath|getpid|getcwd|sched_param|path(\.\w+)?)
    |os\._make_\w+_result
    |subprocess\.(CompletedProcess|CalledProcessError|TimeoutExpired|SubprocessError)
    |_?socket\.(AddressFamily|SocketKind|MsgFlag|AddressInfo|gaierror|herror|timeout|error)
    |ssl\.(SSL\w*Error|AlertDescription|TLSVersion|VerifyMode|Purpose|\w+Options?)
    |importlib\.(metadata|resources)\b.*
    |(_io|io)\.(BytesIO|StringIO|UnsupportedOperation)
    |shutil\.(Error|SameFileError|SpecialFileError|ExecError|ReadError|_ntuple_diskusage)
    |sys\.(\w+_info|flags|intern|getsizeof|maxsize)
    |http\.client\.(HTTPException|\w+Error|responses)
    |pip\._vendor\b.*
    |numpy\.testing\.(IgnoreException|SkipTest|KnownFailureException)
    |tempfile\.SpooledTemporaryFile
    |distutils\.version\.\w+
    |timeit\.default_timer
    |(os|posix|nt)\.(cpu_count|getenv|getuid|strerror|fsencode|fsdecode)
    |resource\.struct_rusage
    |torch\.utils\.collect_env\.SystemEnv"""

_NAMES: dict[Danger, frozenset[str]] = {
    Danger.RUNS: frozenset(
        {
            *(
                "builtins.eval",
                "builtins.exec",
                "builtins.compile",
                "builtins.execfile",
                "builtins.__import__",
            ),
            *("builtins.breakpoint", "builtins.input", "builtins.help", "builtins.apply"),
            *(
                "code.interact",
                "code.InteractiveInterpreter",
                "code.InteractiveConsole",
                "codeop.compile_command",
            ),
            *("trace.Trace", "profile.run", "profile.runctx", "profile.Profile", "asyncio.run"),
            *("asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell"),
            *(
                "multiprocessing.Process",
                "multiprocessing.process.Process",
                "multiprocessing.context.Process",
            ),
            *("threading.Thread", "threading.Timer", "_thread.start_new_thread", "thread.start_new_thread"),
            *("ctypes.CDLL", "ctypes.PyDLL", "ctypes.cdll", "ctypes.pydll", "ctypes.LibraryLoader"),
            *("ctypes.pythonapi", "ctypes.memmove", "ctypes.memset", "ctypes.CFUNCTYPE", "_ctypes.dlopen"),
            *(
                "_ctypes.call_function",
                "_ctypes.call_cdeclfunction",
                "platform.popen",
                "logging.config.listen",
            ),
            *("torch._ops._Ops.load_library", "torch.ops.load_library", "torch.classes.load_library"),
            *("torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression",),
            *("commands.getoutput", "commands.getstatusoutput", "popen2.popen2", "popen2.popen3"),
            *(
                "torch.distributed.run.run",
                "torch.distributed.run.main",
                "torch.distributed.launcher.api.launch_agent",
            ),
            *("torch._dynamo.guards.GuardBuilder.get", "yaml.unsafe_load", "yaml.load", "os2emxpath.system"),
            *("pandas.core.computation.eval.eval", "pandas.eval", "sympy.core.sympify.sympify"),
        }
    ),
    Danger.CONNECTS: frozenset(
        {"asyncio.open_connection", "asyncio.start_server", "requests.get", "requests.post"}
    ),
    Danger.WRITES: frozenset(
        {
            *(
                "builtins.open",
                "builtins.file",
                "codecs.open",
                "gzip.open",
                "bz2.open",
                "lzma.open",
                "zipfile.ZipFile",
            ),
            *("tarfile.open", "tarfile.TarFile", "torch.save", "torch.serialization.save", "numpy.save"),
            *("numpy.savetxt", "numpy.savez", "numpy.fromfile", "logging.FileHandler", "linecache.getlines"),
            *(
                "pathlib.Path.write_text",
                "pathlib.Path.write_bytes",
                "pathlib.Path.unlink",
                "pathlib.Path.open",
            ),
            *("pathlib.Path.rename", "pathlib.Path.replace", "pathlib.Path.rmdir", "pathlib.Path.chmod"),
            *("pathlib.Path.symlink_to", "pathlib.Path.hardlink_to", "pathlib.Path.touch"),
        }
    ),
    Danger.ALTERS: frozenset(
        {
            *("builtins.setattr", "builtins.delattr", "builtins.globals", "builtins.locals", "builtins.vars"),
            *("builtins.exit", "builtins.quit", "signal.signal", "signal.raise_signal", "signal.alarm"),
            *("signal.setitimer", "signal.pthread_kill", "warnings.filterwarnings", "warnings.simplefilter"),
            *("copyreg.pickle", "copyreg.add_extension", "codecs.register", "threading.settrace"),
            *("threading.setprofile", "locale.setlocale", "time.sleep", "random.seed", "random.setstate"),
            *("numpy.random.seed", "numpy.random.set_state", "numpy.random.mtrand.seed"),
            *(
                "numpy.random.mtrand.set_state",
                "numpy.seterr",
                "logging.disable",
                "logging.config.dictConfig",
            ),
            *("torch.autograd.grad_mode.set_grad_enabled", "torch.autograd.grad_mode.inference_mode"),
            *("torch.autograd.grad_mode._force_original_view_tracking",),
        }
    ),
    Danger.CARRIES: frozenset(
        {
            *(
                "types.FunctionType",
                "types.LambdaType",
                "types.CodeType",
                "builtins.function",
                "builtins.code",
            ),
            *(
                "pickle.load",
                "pickle.loads",
                "_pickle.load",
                "_pickle.loads",
                "cPickle.load",
                "cPickle.loads",
            ),
            *("pickle.Unpickler", "_pickle.Unpickler", "pickle._load", "pickle._loads", "pickle._Unpickler"),
            *(
                "joblib.load",
                "joblib.numpy_pickle.load",
                "numpy.load",
                "numpy.core.multiarray.load",
                "shelve.open",
            ),
            *("torch.load", "torch.serialization.load", "torch.jit.load", "torch.jit._serialization.load"),
            *(
                "torch.fx.graph_module.reduce_graph_module",
                "torch.fx.graph_module.reduce_package_graph_module",
            ),
            *(
                "torch.fx.graph_module.reduce_deploy_graph_module",
                "pandas.read_pickle",
                "pandas.io.pickle.read_pickle",
            ),
        }
    ),
    Danger.REACHES: frozenset(
        {
            *("builtins.getattr", "operator.attrgetter", "operator.methodcaller", "_operator.attrgetter"),
            *("_operator.methodcaller", "types.MethodType", "functools.reduce", "_functools.reduce"),
            *("builtins.map", "builtins.filter", "itertools.starmap", "inspect.getattr_static"),
        }
    ),
}

# Functions whose results no honest file has made anew when it is loaded. To name one is no harm, as
# ``defaultdict(len)`` does: only a file that calls it.
_IDLE = r"""
    builtins\.(print|id|hash|len|sorted|sum|min|max|any|all|callable|isinstance|issubclass|hasattr|dir|next
        |anext|aiter|repr|ascii|format|chr|ord|bin|oct|hex|abs|round|pow|divmod)
    |time\.(?!struct_time)[a-z_]+
    |warnings\.(warn|warn_explicit|showwarning|formatwarning|resetwarnings|catch_warnings)
    |logging\.(debug|info|warn|warning|error|critical|exception|log|basicConfig|captureWarnings|shutdown)
    |(logging\.)?(Root)?Logger\.[a-z]\w*
    |(math|cmath|_bisect|_heapq|bisect|heapq|traceback|pprint|inspect|platform|getpass|secrets|dis)\.[a-z]\w*
    |random\.[a-z]\w*
    |numpy\.random(\.mtrand)?\.[a-z]\w*
    |uuid\.(uuid\d|getnode)
    |(threading|_thread)\.(enumerate|active_count|current_thread|main_thread|get_ident)
    |torch\.(rand|randn|randint|randperm|bernoulli|normal|multinomial|rand_like|randn_like|randint_like)"""

# Functions of torch that set something for the whole process, by where they are and how they are called.
_TORCH_SETTERS = r"""
    torch(\.(random|cuda|xpu|mps|mtia|cpu|autograd|serialization|multiprocessing|distributed|_tensor_str|overrides
        |nn\.modules\.module|optim\.optimizer|utils\.deterministic)[a-z_0-9.]*)?
    \.(set_[a-z_0-9]+|manual_seed(_all)?|seed(_all)?|use_deterministic_algorithms|add_safe_globals
        |clear_safe_globals|register_(module|optimizer)_[a-z_]+|init_process_group|destroy_process_group)
    |torch\._C\._(set|enable|disable)_?[A-Za-z_0-9]+"""
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg", "exceptions": "builtins"}
MAX_NAME = 400


def danger_of(module: str, name: str) -> Danger | None:
    """Why the global ``module``/``name`` is not data; None when nothing is known against it.

    A name with dots goes through attributes, so ``torch`` / ``os.system`` is ``os.system``.
    """
    module, name = _RENAMED.get(module, module)[:MAX_NAME], name[:MAX_NAME]
    full = f"{module}.{name}"
    found = _listed(module, full)
    parts = name.split(".")
    for at in range(len(parts) - 1):
        found = found or _listed(".".join(parts[at:-1]), ".".join(parts[at:]))
    return found


def _listed(module: str, full: str) -> Danger | None:
    for danger, names in _NAMES.items():
        if full in names:
            return danger
    if _fits(_TORCH_SETTERS, full):
        return Danger.ALTERS
    if _fits(_DATA, full):
        return None
    for danger, modules in _MODULES.items():
        for one in modules:
            if module == one or module.startswith(f"{one}."):
                return danger
    return Danger.IDLE if _fits(_IDLE, full) else None


def _fits(pattern: str, name: str) -> bool:
    return _compiled(pattern).fullmatch(name) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compiled when it is first asked for, which takes longer than reading most pickles."""
    return re.compile(pattern, re.VERBOSE)
