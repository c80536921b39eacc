"""The configuration of a model has code executed that comes with the model.

## The law

Load: nothing that can execute is loaded unseen.

## What breaks it

``auto_map`` and ``custom_pipelines`` of ``config.json``, ``tokenizer_config.json`` and their like: with
``trust_remote_code=True`` transformers executes the file they name, and with ``repository--module.Class`` the
newest file of somebody else's repository. Other loaders ask for no permission: modules of ``modules.json``,
components of ``model_index.json``, ``parent_library`` of an adapter, ``loader_module`` of MLflow,
``model_file`` of MLX, an attention kernel that is fetched from a repository, ``module`` of a Keras layer.

## How it is checked

Each of these keys is read as its loader reads it, at any depth. Code of another repository is an error: who
keeps that repository can change at any time what this model executes. Code that lies beside the document, and
a library that does not belong to the loader's own, is a warning: it may be honest, and it is executed.

## What fools it

A file that a loader executes because of its name alone (``custom_generate/generate.py``, ``handler.py``): it
is read as Python. What a library does when it is imported.

## What to do

Read the file that is named, keep a copy of it beside the model, and load by a fixed ``revision``. Prefer
models that need no code of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import NameAsked, Observation
from ....core.rule import Confidence, Rule, Severity
from .asking import danger, full_name

# What a loader imports of its own, or of libraries that it is made for.
_OWN = {
    "transformers": ("transformers",),
    "sentence-transformers": ("sentence_transformers", "torch.nn", "torch"),
    "peft": (
        "transformers",
        "diffusers",
        "timm",
        "torch",
        "torchvision",
        "peft",
        "megatron.core",
        "__main__",
    ),
    "mlflow": ("mlflow",),
    "keras": (
        *("keras", "tf_keras", "keras_core", "keras_nlp", "keras_cv", "keras_hub", "keras_rs", "tensorflow"),
        *("builtins", "__main__"),
    ),
    "diffusers": ("diffusers", "transformers", "onnxruntime.training"),
}
# Packages of pipelines in diffusers, which stand for the library in model_index.json: those of 0.10 to 0.36.
_PIPELINES = frozenset(
    {
        *("ace_step", "allegro", "alt_diffusion", "amused", "animatediff", "anyflow", "audio_diffusion"),
        *("audioldm", "audioldm2", "aura_flow", "blip_diffusion", "bria", "bria_fibo", "bria_fibo2"),
        *("chroma", "chronoedit", "cogvideo", "cogview3", "cogview4", "consisid", "consistency_models"),
        *("controlnet", "controlnet_hunyuandit", "controlnet_sd3", "controlnet_xs", "cosmos"),
        *("dance_diffusion", "ddim", "ddpm", "deepfloyd_if", "deprecated", "diffusion_gemma", "dit"),
        *("dreamlite", "easyanimate", "ernie_image", "flux", "flux2", "free_init_utils", "glm_image"),
        *("helios", "hidream_image", "hunyuan_image", "hunyuan_video", "hunyuan_video1_5", "hunyuandit"),
        *("i2vgen_xl", "ideogram4", "joyimage", "kandinsky", "kandinsky2_2", "kandinsky3", "kandinsky5"),
        *("kandinsky6", "kolors", "krea2", "latent_consistency_models", "latent_diffusion"),
        *("latent_diffusion_uncond", "latte", "ledits_pp", "llada2", "longcat_audio_dit", "longcat_image"),
        *("ltx", "ltx2", "lucy", "lumina", "lumina2", "marigold", "mochi", "motif_video", "musicldm"),
        *("nucleusmoe_image", "omnigen", "ovis_image", "pag", "paint_by_example", "pia", "pixart_alpha"),
        *("pndm", "prx", "qwenimage", "qwenimage21", "repaint", "rfd4_proteina", "sana", "sana_video"),
        *("sana_wm", "score_sde_ve", "semantic_stable_diffusion", "shap_e", "skyreels_v2"),
        *("spectrogram_diffusion", "stable_audio", "stable_audio_3", "stable_cascade", "stable_diffusion"),
        *("stable_diffusion_3", "stable_diffusion_attend_and_excite", "stable_diffusion_diffedit"),
        *("stable_diffusion_gligen", "stable_diffusion_k_diffusion", "stable_diffusion_ldm3d"),
        *("stable_diffusion_panorama", "stable_diffusion_safe", "stable_diffusion_sag"),
        *("stable_diffusion_xl", "stable_video_diffusion", "stochastic_karras_ve", "t2i_adapter"),
        *("text_to_video_synthesis", "unclip", "unidiffuser", "versatile_diffusion", "visualcloze"),
        *("vq_diffusion", "wan", "wuerstchen", "z_image"),
    }
)  # fmt: skip


class RemoteCode:
    """One finding for each name that leads to code of the model's."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-remote-code",
        "load",
        "The configuration of a model has code executed that comes with the model",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (NameAsked,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "names")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one name."""
        if not isinstance(observation, NameAsked):
            return
        one = observation
        if one.way == "code":
            yield self._code(one)
        elif one.loader in _OWN and danger(one) is None and not _is_own(one):
            what = f"{one.name} has {one.loader} import {full_name(one)}, which is not of its own"
            yield self._found(one, what, Severity.WARNING, Confidence.MEDIUM)

    def _code(self, one: NameAsked) -> Finding:
        if one.repository:
            what = f"{one.name} has {one.loader} execute code of the repository {one.repository}"
            grave = Severity.ERROR if one.module else Severity.WARNING
            return self._found(one, what, grave, Confidence.HIGH)
        file = one.module if one.loader == "mlx" else f"{one.module.replace('.', '/')}.py"
        what = f"{one.name} has {one.loader} execute {file}, which lies beside it"
        return self._found(one, what, Severity.WARNING, Confidence.HIGH)

    def _found(self, one: NameAsked, what: str, severity: Severity, sure: Confidence) -> Finding:
        return finding_of(
            self.rule,
            one.name,
            what,
            locations=(Location(one.name),),
            evidence=(Evidence(one.where or "the document", observed=full_name(one) or one.repository),),
            severity=severity,
            confidence=sure,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Names are counted by ``checkpoint-names-harm``, once for the law."""
        return self._coverage


def _is_own(one: NameAsked) -> bool:
    if one.loader == "diffusers" and one.module in _PIPELINES:
        return True
    return any(one.module == own or one.module.startswith(f"{own}.") for own in _OWN[one.loader])
