"""Callables that a malicious pickle could call, each with arguments that do nothing.

Commands are ``true``, code is ``pass``, addresses are the closed discard port of the loopback, and paths lie
below ``/dev/null``, where no file can be. That a file *names* such a callable is what a scanner has to see.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .assemble import Call, Name, Node, stream

NOWHERE = "/dev/null/veracity-corpus"
URL = "http://127.0.0.1:9/"
ADDRESS: Node = ("127.0.0.1", 9)
TRUE: Node = "true"


@dataclass(frozen=True, slots=True)
class Gadget:
    """A call, the bypass class it belongs to, and whether it would only change how a program trains."""

    name: Name
    arguments: tuple[Node, ...]
    bypass: int = 1
    training: bool = False


def gadgets() -> Iterator[Gadget]:
    """All of them, in an order that stays."""
    yield from _several(_COMMANDS)
    yield from _several(_CODE)
    yield from _several(_FILES)
    yield from _several(_NETWORK)
    yield from _several(_PROCESS)
    yield from _several(_LIBRARIES)
    yield from _several(_RESOLVERS, bypass=2)
    yield from _several(_ALIASES, bypass=3)
    yield from _several(_LOADS, bypass=9)
    yield from _several(_TRAINING, training=True)


_Row = tuple[str, tuple[Node, ...]]


def _several(rows: tuple[_Row, ...], bypass: int = 1, training: bool = False) -> Iterator[Gadget]:
    for text, arguments in rows:
        module, _, name = text.partition(":")
        yield Gadget(Name(module, name), arguments, bypass, training)


_COMMANDS: tuple[_Row, ...] = (
    ("os:system", (TRUE,)),
    ("os:popen", (TRUE,)),
    ("os:execv", (NOWHERE, [TRUE])),
    ("os:spawnv", (1, NOWHERE, [TRUE])),
    ("os:spawnlp", (1, "true", "true")),
    ("os:posix_spawn", (NOWHERE, [TRUE], {})),
    ("os:startfile", (NOWHERE,)),
    ("subprocess:Popen", ([TRUE],)),
    ("subprocess:run", ([TRUE],)),
    ("subprocess:call", ([TRUE],)),
    ("subprocess:check_call", ([TRUE],)),
    ("subprocess:check_output", ([TRUE],)),
    ("subprocess:getoutput", (TRUE,)),
    ("subprocess:getstatusoutput", (TRUE,)),
    ("pty:spawn", ([TRUE],)),
    ("pydoc:pipepager", ("", TRUE)),
    ("uuid:_get_command_stdout", (TRUE,)),
    ("platform:_syscmd_ver", ()),
    ("_osx_support:_read_output", (TRUE,)),
    ("_aix_support:_read_cmd_output", (TRUE,)),
    ("_pyrepl.pager:pipe_pager", ("", TRUE)),
    ("distutils.spawn:spawn", ([TRUE],)),
    ("setuptools._distutils.spawn:spawn", ([TRUE],)),
    ("asyncio:run", (Call(Name("asyncio", "create_subprocess_shell"), (TRUE,)),)),
    ("asyncio.runners:run", (Call(Name("asyncio.subprocess", "create_subprocess_exec"), (TRUE,)),)),
    ("multiprocessing.util:spawnv_passfds", (NOWHERE, [TRUE], [])),
    ("test.support.script_helper:assert_python_ok", ("-c", "pass")),
    ("torch.utils.collect_env:run", (TRUE,)),
    ("torch.utils.cpp_extension:_run_ninja_build", (NOWHERE, False, "")),
    ("numpy.distutils.exec_command:exec_command", (TRUE,)),
    ("sh:Command", (TRUE,)),
    ("pexpect:run", (TRUE,)),
)
_CODE: tuple[_Row, ...] = (
    ("builtins:eval", ("0",)),
    ("builtins:exec", ("pass",)),
    ("builtins:compile", ("0", "x", "eval")),
    ("builtins:__import__", ("json",)),
    ("runpy:run_path", (NOWHERE,)),
    ("runpy:run_module", ("veracity_corpus_nowhere",)),
    ("runpy:_run_code", (None, {}, {})),
    ("importlib:import_module", ("json",)),
    ("importlib._bootstrap:_gcd_import", ("json",)),
    ("importlib.util:module_from_spec", (None,)),
    ("importlib.machinery:SourceFileLoader", ("x", NOWHERE)),
    ("imp:load_source", ("x", NOWHERE)),
    ("zipimport:zipimporter", (NOWHERE,)),
    ("timeit:timeit", ("pass", "pass", Name("time", "perf_counter"), 1)),
    ("timeit:repeat", ("pass", "pass", Name("time", "perf_counter"), 1, 1)),
    ("cProfile:run", ("pass",)),
    ("cProfile:runctx", ("pass", {}, {})),
    ("profile:run", ("pass",)),
    ("pdb:run", ("pass",)),
    ("bdb:Bdb", ()),
    ("trace:Trace", ()),
    ("code:interact", ("", None, {})),
    ("code:InteractiveInterpreter", ()),
    ("codeop:compile_command", ("0",)),
    ("doctest:debug_script", ("pass",)),
    ("unittest.mock:_importer", ("json",)),
    ("types:FunctionType", (None, {})),
    ("types:CodeType", (0, 0, 0, 0, 0, 0, b"", (), (), (), "x", "x", 1, b"")),
    ("ctypes:CDLL", (NOWHERE,)),
    ("ctypes:PyDLL", (NOWHERE,)),
    ("_ctypes:dlopen", (NOWHERE, 0)),
    ("cffi:FFI", ()),
    ("idlelib.run:Executive", (None,)),
    ("idlelib.debugobj:ObjectTreeItem", ("x", None)),
    ("lib2to3.pgen2.pgen:ParserGenerator", (NOWHERE,)),
    ("lib2to3.pgen2.grammar:Grammar", ()),
    ("ensurepip:_run_pip", (["--version"],)),
    ("pip:main", (["--version"],)),
    ("pip._internal.cli.main:main", (["--version"],)),
    ("numpy.testing._private.utils:runstring", ("pass", {})),
    ("numpy.testing:rundocs", (NOWHERE,)),
    ("numpy.f2py.crackfortran:getlincoef", ("0", {})),
    ("numpy.f2py.crackfortran:myeval", ("0",)),
    ("numpy.f2py.crackfortran:param_eval", ("0", {}, {})),
    ("scipy._lib._bunch:_make_tuple_bunch", ("x", ["y"])),
    ("pandas:eval", ("0",)),
    ("pandas.core.computation.eval:eval", ("0",)),
    ("numexpr:evaluate", ("0",)),
    ("sympy:sympify", ("0",)),
    ("sympy.parsing.sympy_parser:parse_expr", ("0",)),
    ("jinja2:Template", ("x",)),
    ("cloudpickle.cloudpickle:_make_function", (None, {}, "x", None, None)),
    ("dill._dill:_create_function", (None, {})),
    ("dill._dill:_create_code", ()),
    ("dill._dill:_import_module", ("json",)),
    ("torch.fx.graph_module:_exec_with_source", ("pass", {})),
    ("torch.fx.graph_module:reduce_graph_module", ({"_code": "pass"}, "")),
    ("torch.jit.unsupported_tensor_ops:execWrapper", ("pass", {}, {})),
    ("torch._inductor.codecache:compile_file", (NOWHERE, NOWHERE, [])),
    ("torch._inductor.codecache:PyCodeCache.load", ("pass",)),
    ("torch._dynamo.guards:GuardBuilder.get", ("0",)),
    ("torch.utils.bottleneck.__main__:run_cprofile", (None, {})),
    ("torch.utils.cpp_extension:load_inline", ("x", "")),
    ("torch.package:PackageImporter", (NOWHERE,)),
    ("tensorflow.python.framework.load_library:load_op_library", (NOWHERE,)),
)
_FILES: tuple[_Row, ...] = (
    ("builtins:open", (NOWHERE, "w")),
    ("io:open", (NOWHERE, "w")),
    ("io:FileIO", (NOWHERE, "w")),
    ("codecs:open", (NOWHERE, "w")),
    ("os:remove", (NOWHERE,)),
    ("os:unlink", (NOWHERE,)),
    ("os:rename", (NOWHERE, NOWHERE)),
    ("os:replace", (NOWHERE, NOWHERE)),
    ("os:chmod", (NOWHERE, 0)),
    ("os:symlink", (NOWHERE, NOWHERE)),
    ("os:truncate", (NOWHERE, 0)),
    ("os:makedirs", (NOWHERE,)),
    ("shutil:rmtree", (NOWHERE, True)),
    ("shutil:move", (NOWHERE, NOWHERE)),
    ("shutil:copyfile", (NOWHERE, NOWHERE)),
    ("shutil:unpack_archive", (NOWHERE,)),
    ("tempfile:mktemp", ()),
    ("logging:FileHandler", (NOWHERE,)),
    ("sqlite3:connect", (NOWHERE,)),
    ("distutils.file_util:write_file", (NOWHERE, [])),
    ("numpy:savetxt", (NOWHERE, [0])),
    ("numpy:fromfile", (NOWHERE,)),
    ("numpy:memmap", (NOWHERE,)),
    ("torch:save", (0, NOWHERE)),
    ("torch:from_file", (NOWHERE,)),
    ("linecache:getlines", (NOWHERE,)),
)
_NETWORK: tuple[_Row, ...] = (
    ("socket:create_connection", (ADDRESS, 1)),
    ("socket:socket", ()),
    ("socket:gethostbyname", ("127.0.0.1",)),
    ("urllib.request:urlopen", (URL,)),
    ("urllib.request:urlretrieve", (URL, NOWHERE)),
    ("http.client:HTTPConnection", ("127.0.0.1", 9)),
    ("http.server:HTTPServer", (ADDRESS, None)),
    ("ftplib:FTP", ("127.0.0.1",)),
    ("smtplib:SMTP", ("127.0.0.1", 9)),
    ("xmlrpc.client:ServerProxy", (URL,)),
    ("webbrowser:open", ("about:blank",)),
    ("requests:get", (URL,)),
    ("requests.api:get", (URL,)),
    ("aiohttp:ClientSession", ()),
    ("torch.hub:download_url_to_file", (URL, NOWHERE)),
    ("huggingface_hub:snapshot_download", ("nowhere/none",)),
    ("wandb:init", ()),
)
_PROCESS: tuple[_Row, ...] = (
    ("os:kill", (4194305, 0)),
    ("os:putenv", ("VERACITY_CORPUS", "1")),
    ("os:nice", (0,)),
    ("signal:signal", (28, 1)),
    ("signal:alarm", (0,)),
    ("atexit:register", (Name("builtins", "len"), ())),
    ("sys:settrace", (None,)),
    ("sys:setprofile", (None,)),
    ("sys:setrecursionlimit", (3000,)),
    ("threading:settrace", (None,)),
    ("_thread:start_new_thread", (Name("builtins", "len"), ((),))),
    ("threading:Timer", (0, Name("builtins", "len"), [()])),
    ("multiprocessing:Process", ()),
    ("multiprocessing.pool:ThreadPool", (1,)),
    ("concurrent.futures:ThreadPoolExecutor", (1,)),
    ("site:addsitedir", (NOWHERE,)),
    ("site:execsitecustomize", ()),
    ("copyreg:pickle", (Name("builtins", "int"), Name("builtins", "len"))),
    ("codecs:register", (Name("builtins", "len"),)),
    ("weakref:finalize", (Name("json", "JSONDecoder"), Name("builtins", "len"), ())),
    ("logging.config:dictConfig", ({"version": 1},)),
    ("logging.config:listen", (0,)),
    ("sched:scheduler", ()),
    ("gc:disable", ()),
    ("faulthandler:dump_traceback_later", (3600,)),
    ("builtins:setattr", (Name("json", "decoder"), "veracity", 0)),
    ("builtins:delattr", (Name("json", "decoder"), "nothing_here")),
    ("builtins:globals", ()),
    ("sys:_getframe", ()),
    ("inspect:stack", ()),
    ("gc:get_objects", ()),
)
_LIBRARIES: tuple[_Row, ...] = (
    ("transformers:pipeline", ("text-generation", "nowhere/none", None, None, None, None, None, None)),
    ("transformers.dynamic_module_utils:get_class_from_dynamic_module", ("x.Y", "nowhere/none")),
    ("transformers.models.auto.modeling_auto:AutoModel.from_pretrained", ("nowhere/none",)),
    ("datasets:load_dataset", ("nowhere/none",)),
    ("torch.multiprocessing:spawn", (Name("builtins", "len"), ())),
    ("torch.distributed:init_process_group", ("gloo",)),
    ("torch.ops:load_library", (NOWHERE,)),
    ("torch.classes:load_library", (NOWHERE,)),
    ("torch._C:_jit_pass_inline", (None,)),
    ("accelerate.commands.launch:main", ()),
    ("lightning.pytorch.cli:LightningCLI", ()),
    ("hydra.utils:instantiate", ({"_target_": "os.getpid"},)),
    ("sklearn.utils._testing:assert_run_python_script_without_output", ("pass",)),
    ("joblib.externals.loky:get_reusable_executor", ()),
    ("joblib.parallel:Parallel", ()),
)
_RESOLVERS: tuple[_Row, ...] = (
    ("pkgutil:resolve_name", ("os:getpid",)),
    ("pydoc:locate", ("os.getpid",)),
    ("pydoc:safeimport", ("json",)),
    ("logging.config:_resolve", ("os.getpid",)),
    ("unittest.mock:_get_target", ("os.getpid",)),
    ("operator:attrgetter", ("system",)),
    ("operator:methodcaller", ("system", "true")),
    ("builtins:getattr", (Name("os", "path"), "os")),
    ("functools:partial", (Name("os", "system"), TRUE)),
    ("functools:reduce", (Name("builtins", "eval"), ["0"])),
    ("builtins:map", (Name("os", "system"), [TRUE])),
    ("builtins:filter", (Name("os", "system"), [TRUE])),
    ("itertools:starmap", (Name("os", "system"), [(TRUE,)])),
    ("hydra.utils:get_method", ("os.getpid",)),
    ("hydra._internal.utils:_locate", ("os.getpid",)),
    ("torch._utils:_get_device_attr", (Name("builtins", "len"),)),
    ("django.utils.module_loading:import_string", ("os.getpid",)),
    ("numpy.core.multiarray:__builtins__.get", ("eval",)),
    ("joblib._store_backends:concurrency_safe_rename", (NOWHERE, NOWHERE)),
    ("sklearn.utils._bunch:Bunch.__init__.__globals__.get", ("x",)),
)
# With protocol 4 a name may have dots, and a module has all that it imported.
_ALIASES: tuple[_Row, ...] = (
    ("posix:system", (TRUE,)),
    ("nt:system", (TRUE,)),
    ("__builtin__:eval", ("0",)),
    ("__builtin__:execfile", (NOWHERE,)),
    ("commands:getoutput", (TRUE,)),
    ("os:path.os.system", (TRUE,)),
    ("shutil:os.system", (TRUE,)),
    ("logging:os.system", (TRUE,)),
    ("torch.serialization:os.system", (TRUE,)),
    ("torch._utils:sys.modules.get", ("os",)),
    ("collections:_sys.modules.get", ("os",)),
    ("collections:abc.sys.modules.get", ("os",)),
    ("numpy:os.system", (TRUE,)),
    ("sklearn:os.system", (TRUE,)),
    ("numpy.core.multiarray:os.system", (TRUE,)),
    ("asyncio.unix_events:subprocess.Popen", ([TRUE],)),
    ("asyncio.unix_events:_UnixSubprocessTransport._start", (None, None, True, None, None, None, 0)),
    ("pickle:sys.modules.get", ("os",)),
    ("_io:open", (NOWHERE, "w")),
    ("_posixsubprocess:fork_exec", ()),
    ("ntpath:os.system", (TRUE,)),
    ("profile:Profile.run", (None, "pass")),
    ("bdb:Bdb.run", (None, "pass")),
    ("pathlib:Path.unlink", (Call(Name("pathlib", "PurePosixPath"), (NOWHERE,)),)),
    ("code:InteractiveInterpreter.runcode", (None, None)),
    ("torch.random:torch.serialization.load", (NOWHERE,)),
)
_INNER = stream(Call(Name("os", "system"), (TRUE,)), 2)
_LOADS: tuple[_Row, ...] = (
    ("pickle:loads", (_INNER,)),
    ("_pickle:loads", (_INNER,)),
    ("cloudpickle:loads", (_INNER,)),
    ("dill:loads", (_INNER,)),
    ("pickle:Unpickler", (Call(Name("io", "BytesIO"), (_INNER,)),)),
    ("marshal:loads", (b"N",)),
    ("joblib:load", (NOWHERE,)),
    ("numpy:load", (NOWHERE, None, True)),
    ("torch:load", (NOWHERE, None, None)),
    ("torch.serialization:load", (NOWHERE,)),
    ("torch.storage:_load_from_bytes", (_INNER,)),
    ("torch.jit:load", (NOWHERE,)),
    ("torch.hub:load", ("nowhere/none", "none")),
    ("torch.utils.model_zoo:load_url", (URL,)),
    ("pandas:read_pickle", (NOWHERE,)),
    ("pandas.io.pickle:read_pickle", (NOWHERE,)),
    ("shelve:open", (NOWHERE,)),
    ("yaml:unsafe_load", ("0",)),
    ("jsonpickle:decode", ("0",)),
    ("keras.models:load_model", (NOWHERE,)),
    ("mlflow.pyfunc:load_model", (NOWHERE,)),
    ("multiprocessing.reduction:ForkingPickler.loads", (_INNER,)),
    ("torch.distributed.distributed_c10d:_tensor_to_object", (None, 0)),
    ("torch.utils.data.datapipes.utils.decoder:basichandlers", ("pickle", _INNER)),
)
_TRAINING: tuple[_Row, ...] = (
    ("random:seed", (0,)),
    ("random:setstate", ((3, (), None),)),
    ("numpy.random:seed", (0,)),
    ("numpy.random:set_state", (("MT19937", (), 0),)),
    ("numpy.random.mtrand:seed", (0,)),
    ("torch:manual_seed", (0,)),
    ("torch.random:manual_seed", (0,)),
    ("torch:set_rng_state", (None,)),
    ("torch.cuda:manual_seed_all", (0,)),
    ("torch:set_default_dtype", (Name("torch", "float16"),)),
    ("torch:set_default_tensor_type", ("torch.HalfTensor",)),
    ("torch:set_num_threads", (1,)),
    ("torch:set_flush_denormal", (True,)),
    ("torch:use_deterministic_algorithms", (False,)),
    ("torch.autograd.grad_mode:set_grad_enabled", (False,)),
    ("torch:set_grad_enabled", (False,)),
    ("torch.nn.modules.module:register_module_forward_hook", (Name("builtins", "len"),)),
    ("torch.nn.modules.module:register_module_forward_pre_hook", (Name("builtins", "len"),)),
    ("torch.nn.modules.module:register_module_full_backward_hook", (Name("builtins", "len"),)),
    ("torch.nn:Module.register_forward_hook", (None, Name("builtins", "len"))),
    ("torch.optim.optimizer:register_optimizer_step_pre_hook", (Name("builtins", "len"),)),
    ("torch.library:define", ("veracity::nothing", "(Tensor x) -> Tensor")),
    ("torch.serialization:add_safe_globals", ([],)),
    ("builtins:setattr", (Name("torch.optim", "AdamW"), "veracity_corpus", 0)),
    ("builtins:setattr", (Name("torch.optim.sgd", "SGD"), "veracity_corpus", 0)),
    ("torch.distributed:destroy_process_group", ()),
    ("torch._dynamo.config:__setattr__", ("suppress_errors", True)),
    ("torch._inductor.config:patch", ({},)),
    ("warnings:filterwarnings", ("ignore",)),
    ("logging:disable", (50,)),
    ("time:sleep", (0,)),
)
