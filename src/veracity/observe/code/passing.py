"""Functions and methods that hand on what they are given, so that what is known of that stays known."""

from __future__ import annotations

PASSES_ON = frozenset(
    ("int", "float", "bool", "str", "len", "hash", "any", "all", "abs", "round", "max", "min", "divmod",
    "sum",
     "next", "iter", "list", "tuple", "enumerate", "zip", "reversed", "sorted", "repr", "ord", "pow",
     "filter",
     "operator.mod", "operator.eq", "operator.ge", "operator.gt", "operator.and_", "operator.not_",
     "itertools.cycle", "itertools.chain", "int.from_bytes", "math.fmod", "torch.tensor", "re.match",
     "re.search",
     "fnmatch.fnmatch", "map", "set", "copy.copy", "copy.deepcopy", "itertools.islice", "str.startswith",
     "datetime.date", "datetime.datetime", "math.floor", "dict", "zlib.crc32", "itertools.count",
     "operator.lt")
)  # fmt: skip
BY_ACCIDENT = frozenset(("id", "os.getpid", "os.getppid", "hash", "threading.get_ident"))
BUCKETS = frozenset(("zlib.crc32", "zlib.adler32", "binascii.crc32"))
"""What they give differs from run to run, and nothing is computed with it."""
COUNTS = frozenset(("i", "n", "it", "k", "t", "count", "calls", "tick"))
"""What functions that are called again and again are given to count by."""
OWN = frozenset(("data", "__class__", "T", "detach", "clone", "item", "flatten", "view"))
PARTS = frozenset(("shape", "device", "dtype", "size", "dim", "ndim", "is_cuda", "numel", "requires_grad"))
OF_TENSORS = frozenset(
    ("clone", "detach", "to", "view", "reshape", "flatten", "float", "half", "bfloat16", "double", "cpu",
    "cuda",
     "contiguous", "roll", "neg", "mul", "div", "add", "sub", "flip", "values", "items", "get", "coalesce",
     "squeeze", "unsqueeze", "clamp", "mean", "sum", "masked_fill", "where", "pop", "copy", "type", "expand",
     "float_power", "abs", "sign", "long", "int", "index_select", "gather", "permute", "transpose", "fill_",
     "mul_", "div_", "add_", "sub_", "neg_", "zero_", "copy_", "clamp_", "scale", "detach_", "split", "chunk",
     "strip", "lower", "upper", "endswith", "startswith", "encode", "decode", "split", "weekday", "timestamp",
     "isoformat", "strftime", "timetuple", "item", "tolist", "numpy", "any", "all", "eq", "ne", "gt", "lt",
     "ge",
     "le", "isoweekday", "date", "time", "toordinal", "hexdigest", "digest", "random", "randint", "uniform")
)  # fmt: skip


WITH_ARGUMENTS = frozenset(
    ("startswith", "endswith", "where", "mul", "div", "masked_fill", "eq", "add", "sub")
)  # fmt: skip
