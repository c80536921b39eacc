"""``_virtualenv.py``, which virtualenv and uv write into environments and no RECORD names.

Its wording differs from version to version, so its vocabulary is compared: a file that imports, names and
spells nothing but what theirs do, and puts no other words together, has no means to do anything else.
Nothing is executed.
"""

from __future__ import annotations

import ast

MAX_PATCH = 64 << 10
_NAMES = frozenset(
    [
        "AttributeError",
        "Callable",
        "Final",
        "ImpImporter",
        "ImpLoader",
        "ImportError",
        "MetaPathFinder",
        "ModuleSpec",
        "NameError",
        "Sequence",
        "TYPE_CHECKING",
        "UnicodeDecodeError",
        "VIRTUALENV_PATCH_FILE",
        "_DISTUTILS_PATCH",
        "_Finder",
        "_VIRTUALENV_PATCH_FILE",
        "_VirtualenvImporter",
        "_VirtualenvLoader",
        "__file__",
        "__lazy_modules__",
        "_filter_install_paths",
        "args",
        "base",
        "command",
        "command_options",
        "contextlib",
        "destinations",
        "dict",
        "dist",
        "distutils_patch",
        "etc",
        "file",
        "filename",
        "find_module",
        "find_spec",
        "fullname",
        "func",
        "func_name",
        "getattr",
        "hasattr",
        "install",
        "is_new_api",
        "key",
        "kwargs",
        "len",
        "load",
        "load_module",
        "lock",
        "module",
        "name",
        "object",
        "old",
        "old_parse_config_files",
        "options",
        "os",
        "parse_config_files",
        "partial",
        "patch_dist",
        "path",
        "result",
        "self",
        "setattr",
        "spec",
        "staticmethod",
        "str",
        "super",
        "suppress",
        "sys",
        "threading",
        "tuple",
        "type",
        "types",
    ]
)
_ATTRIBUTES = frozenset(
    [
        "Distribution",
        "Lock",
        "ModuleType",
        "__init__",
        "__loader__",
        "__name__",
        "_patch_module",
        "_patch_spec",
        "abspath",
        "append",
        "command_options",
        "exec_module",
        "format",
        "fullname",
        "get",
        "get_option_dict",
        "insert",
        "join",
        "load_module",
        "loader",
        "lock",
        "meta_path",
        "parse_config_files",
        "path",
        "pop",
        "prefix",
        "setdefault",
        "split",
        "suppress",
        "version_info",
    ]
)
_STRINGS = frozenset(
    [
        ".",
        "contextlib",
        "data",
        "distutils.dist",
        "exec_module",
        "exec_prefix",
        "headers",
        "install",
        "install_",
        "install_base",
        "install_data",
        "install_dir",
        "install_egg_info",
        "install_headers",
        "install_lib",
        "install_platbase",
        "install_platlib",
        "install_purelib",
        "install_scripts",
        "install_{}",
        "load_module",
        "platlib",
        "prefix",
        "purelib",
        "scripts",
        "setuptools.dist",
    ]
)
_IMPORTS = frozenset(
    [
        "__future__:annotations",
        "collections.abc:Callable",
        "collections.abc:Sequence",
        "contextlib",
        "contextlib:suppress",
        "functools:partial",
        "imp:find_module",
        "importlib.abc:MetaPathFinder",
        "importlib.machinery:ModuleSpec",
        "importlib.util:find_spec",
        "os",
        "pkgutil:ImpImporter",
        "pkgutil:ImpLoader",
        "sys",
        "threading",
        "types",
        "typing:Final",
        "typing:TYPE_CHECKING",
    ]
)


def only_patches(data: bytes) -> bool:
    """Whether the source in ``data`` says nothing that those files do not say."""
    if len(data) > MAX_PATCH:
        return False
    try:
        tree = ast.parse(data)  # bytes, so that an encoding it declares is heeded
        return all(map(_is_known, ast.walk(_without_remarks(tree))))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _without_remarks(tree: ast.Module) -> ast.Module:
    """The tree without its docstrings, and without annotations where they are not evaluated."""
    unevaluated = any(isinstance(one, ast.ImportFrom) and one.module == "__future__" for one in tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant(None)
        if not unevaluated:
            continue
        if isinstance(node, (ast.AnnAssign, ast.arg)):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    return tree


def _is_known(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id in _NAMES
    if isinstance(node, ast.Attribute):
        return node.attr in _ATTRIBUTES
    if isinstance(node, ast.Constant):
        return not isinstance(node.value, (str, bytes)) or node.value in _STRINGS
    if isinstance(node, (ast.BinOp, ast.Slice)):
        return False  # other words can be made so
    if isinstance(node, ast.JoinedStr):
        first = node.values[0] if node.values else None
        return isinstance(first, ast.Constant) and first.value == "install_"
    if isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Name):
        is_lock = isinstance(node.value, ast.Attribute) and node.value.attr == "lock"
        is_last = ast.unparse(node) == "fullname.split('.')[-1]"
        return (
            is_lock or is_last or (isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str))
        )
    if isinstance(node, ast.Import):
        return all(one.name in _IMPORTS and not one.asname for one in node.names)
    if isinstance(node, ast.ImportFrom):
        names = [f"{node.module}:{one.name}" for one in node.names if not one.asname]
        return not node.level and len(names) == len(node.names) and _IMPORTS.issuperset(names)
    return True
