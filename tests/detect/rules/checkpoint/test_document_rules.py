"""Documents that ask for code, and the ones that look like them."""

from __future__ import annotations

import json

import pytest

from tests.scan.gating import gated, is_clean, rules

ERROR, WARNING = "error", "warning"
INERT = "os.system"

HARM = [
    ({"py/reduce": [{"py/function": INERT}, {"py/tuple": ["true"]}]}, ERROR),
    ({"a": [{"b": {"py/object": "subprocess.Popen"}}]}, ERROR),
    ({"model": {"_target_": INERT, "command": "true"}}, ERROR),
    ({"model": {"_target_": "hydra.utils.get_method", "path": "builtins.exec"}}, ERROR),
    ({"class_path": "subprocess.run", "init_args": {}}, ERROR),
    ({"py/reduce": [{"py/function": "unknown.function"}, {"py/tuple": []}]}, WARNING),
    ({"_target_": "pickle.load"}, WARNING),
    ({"__class__": "system", "__module__": "os", "__loader__": "FunctionNode"}, ERROR),
]
REMOTE = [
    ({"auto_map": {"AutoModel": "modeling.Net"}}, WARNING),
    ({"auto_map": {"AutoModel": "someone/else--modeling.Net"}}, ERROR),
    ({"vision_config": {"auto_map": {"AutoConfig": "someone/else--configuration.Made"}}}, ERROR),
    ({"auto_map": {"AutoTokenizer": ["tokenization.Slow", None]}}, WARNING),
    ({"auto_map": {"AutoModel": "a.B"}, "auto_map ": {}}, WARNING),
    ({"custom_pipelines": {"text": {"impl": "pipe.Mine", "pt": ["AutoModel"]}}}, WARNING),
    ({"_attn_implementation": "someone/kernels"}, WARNING),
    ([{"idx": 0, "name": "0", "path": "", "type": "own.Module"}], WARNING),
    ({"_class_name": ["pipeline", "Mine"], "unet": ["diffusers", "UNet2DModel"]}, WARNING),
    ({"_class_name": "XPipeline", "unet": ["mine", "Net"]}, WARNING),
    ({"auto_mapping": {"base_model_class": "Net", "parent_library": "transformers_modules.x"}}, WARNING),
    ({"activation_function": "mine.Activation", "in_features": 8}, WARNING),
    ({"model_type": "llama", "model_file": "model.py"}, WARNING),
]
CLEAN = [
    {"architectures": ["LlamaForCausalLM"], "auto_map": {}, "model_type": "llama", "torch_dtype": "bfloat16"},
    {"auto_map": None, "_attn_implementation": "flash_attention_2", "activation_function": "gelu_new"},
    {"model": {"_target_": "torch.optim.AdamW", "lr": 1e-3}, "net": {"_target_": "src.models.Net"}},
    {"seed": {"_target_": "torch.manual_seed", "seed": 1}, "cpus": {"_target_": "os.cpu_count"}},
    {"c": {"_target_": "hydra.utils.get_class", "path": "torch.nn.Linear"}},
    [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ],
    {"in_features": 8, "activation_function": "torch.nn.modules.activation.Tanh"},
    {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "image_encoder": [None, None],
        "unet": ["diffusers", "UNet2DConditionModel"],
    },
    {
        "_class_name": "UNet2DModel",
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "block_out_channels": [32, 64],
    },
    {"auto_mapping": {"base_model_class": "BertModel", "parent_library": "transformers.models.bert"}},
    {"megatron_core": "megatron.core", "peft_type": "LORA", "auto_mapping": None},
    {"py/object": "collections.OrderedDict"},
    {"py/tuple": [1, 2], "text": "py/reduce os.system"},
    {"description": "set auto_map to someone/else--code.Class and _target_ to os.system"},
]


@pytest.mark.parametrize(("document", "severity"), HARM, ids=lambda one: str(one)[:50])
def test_a_name_that_is_no_data_is_found(document: object, severity: str) -> None:
    assert rules(document) == [f"checkpoint-names-harm {severity}"]


@pytest.mark.parametrize(("document", "severity"), REMOTE, ids=lambda one: str(one)[:50])
def test_code_of_the_models_own_is_found(document: object, severity: str) -> None:
    assert rules(document, "config.json") == [f"checkpoint-remote-code {severity}"]


@pytest.mark.parametrize("document", CLEAN, ids=lambda one: str(one)[:50])
def test_ordinary_documents_are_clean(document: object) -> None:
    assert is_clean(document)


def test_text_that_is_evaluated_is_found() -> None:
    assert rules({"py/repr": "os/os.getpid()"}) == ["checkpoint-carries-code error"]


def test_neither_escapes_nor_encodings_nor_doubled_keys_hide_a_name() -> None:
    plain = '{"auto_map": {"AutoModel": "someone/else--modeling.Net"}}'
    found = ["checkpoint-remote-code error"]

    assert rules(plain.replace("auto_map", "\\u0061uto_m\\u0061p")) == found
    assert rules(plain.encode("utf-16")) == found
    assert rules('{"py\\/object": "subprocess.Popen"}') == ["checkpoint-names-harm error"]
    assert rules(plain.encode("utf-32-be")) == found
    assert rules(b"\xef\xbb\xbf" + plain.encode()) == found
    assert rules('{"auto_map": {"AutoModel": "someone/else--a.B"}, "auto_map": {}}') == found
    assert rules(" " * 5000 + plain) != []


def test_what_no_reader_of_json_takes_says_nothing() -> None:
    assert is_clean('{"auto_map": {"AutoModel": "someone/else--modeling.Net"')
    assert is_clean('{"auto_map": {"A": "b--c.D"}} and text')


def test_a_finding_says_where_in_the_document() -> None:
    (found,) = gated({"text_config": {"auto_map": {"AutoModel": "m.N"}}}, "config.json").findings

    assert found.subject == "config.json"
    assert found.evidence[0].name == "text_config.auto_map.AutoModel"


def test_depth_is_bounded_and_said() -> None:
    deep = '{"auto_map": ' + '{"a": ' * 900 + "1" + "}" * 901
    deeper = '{"auto_map": ' + "[" * 200_000

    assert is_clean(deep)
    assert gated(deeper).status == "incomplete"


def test_data_of_any_length_is_clean_without_being_parsed() -> None:
    assert is_clean(json.dumps({"vocabulary": {f"token{i}": i for i in range(50_000)}}))


def test_an_index_of_components_is_known_by_its_name_too() -> None:
    index = {"_class_name": "X", "unet": ["mine", "Net"]}

    assert rules(index, "model/model_index.json") == ["checkpoint-remote-code warning"]
