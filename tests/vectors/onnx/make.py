"""Makes the files of this folder with ONNX's own library: python make.py (pip install onnx==1.23.2)."""

from __future__ import annotations

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

STANDARD = helper.make_opsetid("", 17)
ONES = numpy_helper.from_array(numpy.ones(4, "float32"), "w")


def made(path: str, nodes: object = (), tensors: object = (), functions: object = (), *more: object) -> None:
    """A graph that adds two vectors, or one of these nodes, with these tensors."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy")
    nodes = nodes or [helper.make_node("Add", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [y], tensors or [ONES])
    model = helper.make_model(graph, functions=functions, opset_imports=[STANDARD, *more])
    with open(path, "wb") as file:
        file.write(model.SerializeToString())


def external(location: str) -> onnx.TensorProto:
    """A tensor whose data lies in another file."""
    tensor = onnx.TensorProto()
    tensor.CopyFrom(ONES)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


if __name__ == "__main__":
    made("plain.onnx")
    made("beside.onnx", tensors=[external("weights/model.bin")])
    made("external-up.onnx", tensors=[external("../../etc/hosts")])
    made("external-root.onnx", tensors=[external("/etc/hosts")])
    unknown = helper.make_node("Mine", ["x"], ["y"], domain="my.own")
    made("domain.onnx", [unknown])
    made("python.onnx", [helper.make_node("PythonOp", ["x"], ["y"], domain="com.microsoft")])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    branch = helper.make_graph([unknown], "branch", [], [output])
    made("domain-nested.onnx", [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)])
    constant = helper.make_node("Constant", [], ["y"], value=external("/etc/hosts"))
    made("external-attribute.onnx", [constant])
    double = helper.make_node("Add", ["a", "a"], ["b"])
    twice = helper.make_function("local", "Twice", ["a"], ["b"], [double], [STANDARD])
    call = helper.make_node("Twice", ["x"], ["y"], domain="local")
    made("function.onnx", [call], (), [twice], helper.make_opsetid("local", 1))
    hidden = helper.make_function("local", "Twice", ["x"], ["y"], [unknown], [STANDARD])
    made("domain-function.onnx", [call], (), [hidden], helper.make_opsetid("local", 1))
