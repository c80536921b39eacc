"""Makes the files of this folder with the format's own writer: python make.py (pip install gguf==0.19.0)."""

from __future__ import annotations

import gguf
import numpy


def made(path: str, template: str = "", *, endian: gguf.GGUFEndian, tensors: bool = True) -> None:
    """A small model; ``template`` is inert text that is never rendered."""
    writer = gguf.GGUFWriter(path, "llama", endianess=endian)
    writer.add_block_count(2)
    writer.add_context_length(128)
    writer.add_token_list([f"t{number}" for number in range(50)])
    writer.add_token_scores([0.0] * 50)
    writer.add_token_types([1] * 50)
    if template:
        writer.add_chat_template(template)
    if tensors:
        writer.add_tensor("a.weight", numpy.zeros((3, 32), "float32"))
        writer.add_tensor("b.weight", numpy.ones((5,), "float16"))
        writer.add_tensor("q", numpy.zeros((2, 34), "uint8"), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    chat = "{% for m in messages %}{{ m.content }}{% endfor %}"
    made("little.gguf", chat, endian=gguf.GGUFEndian.LITTLE)
    made("big-reaching.gguf", "{{ cycler.__init__ }}", endian=gguf.GGUFEndian.BIG)
    made("vocabulary.gguf", endian=gguf.GGUFEndian.LITTLE, tensors=False)
