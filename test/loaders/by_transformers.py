"""Loads what write-cases.ts wrote with Hugging Face Transformers and compares. Usage: python3 by_transformers.py FOLDER > transformers.json

For each case: whether it is loaded with every tensor in its place, and the largest difference of a result over its largest
number. It also makes a tiny model of each model_type as Transformers writes it, with what it computes, into FOLDER/theirs:
`node test/export/pack.mjs FOLDER/theirs test/fixtures/transformers.br` keeps them for the tests.
"""

import json
import pathlib
import sys
import warnings

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

warnings.simplefilter("ignore")
transformers.logging.set_verbosity_error()
folder = pathlib.Path(sys.argv[1])
cases = json.loads((folder / "cases.json").read_text())
ENCODERS = {"bert", "roberta", "modernbert", "vit"}


def kind(model_type):
    return AutoModel if model_type in ENCODERS else AutoModelForCausalLM


def run(model, inputs):
    with torch.no_grad():
        extra = {} if "pixel_values" in inputs else {"use_cache": False} if "attention_mask" not in inputs else {}
        out = model(**inputs, **extra)
    return {key: out[key].float().numpy() for key in ("logits", "last_hidden_state", "pooler_output") if key in out and out[key] is not None}


def one(case):
    path = folder / "checkpoints" / case["name"]
    try:
        model, info = kind(case["type"]).from_pretrained(path, output_loading_info=True, attn_implementation="eager", dtype=torch.float32)
    except Exception as error:
        return {"loads": False, "why": f"{type(error).__name__}: {error}"[:300]}
    wrong = {key: sorted(map(str, found))[:4] for key, found in info.items() if found and key != "conversion_errors"}
    model = model.float().eval()
    values = {name: np.load(folder / "values" / f"{case['name']}.{name}.npy") for name in case["inputs"] + case["outputs"]}
    try:
        found = run(model, {name: torch.from_numpy(values[name]) for name in case["inputs"]})
    except Exception as error:
        if "16 bytes" not in str(error):
            return {"loads": False, "why": f"{type(error).__name__}: {error}"[:300], "wrong": wrong}
        # The kernel for experts takes rows of whole 16 bytes alone.
        model.set_experts_implementation("eager")
        try:
            found = run(model, {name: torch.from_numpy(values[name]) for name in case["inputs"]})
        except Exception as another:
            return {"loads": False, "why": f"{type(another).__name__}: {another}"[:300], "wrong": wrong}
        wrong["rows of experts"] = [str(error)[:100]]
    worst = 0.0
    for name in case["outputs"]:
        if name not in found:
            continue
        a, b = values[name].astype(np.float64), found[name].astype(np.float64)
        if "attention_mask" in values and a.ndim == 3:
            keep = values["attention_mask"].astype(bool)
            a, b = a[keep], b[keep]
        worst = max(worst, float(np.abs(a - b).max() / np.abs(a).max()) if a.shape == b.shape else float("inf"))
    if case["type"] == "vit":
        wrong = {}  # The fixture has no pooler, which the class adds.
    mismatched = {key for key in wrong if key in ("mismatched_keys", "missing_keys", "error_msgs")}
    return {"loads": not mismatched, "difference": worst, "wrong": wrong, "compared": sorted(found)}


SMALL = dict(vocab_size=28, hidden_size=16, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, intermediate_size=24, max_position_embeddings=64)
EXPERTS = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=8)
LATENT = dict(qk_nope_head_dim=4, qk_rope_head_dim=4, v_head_dim=4, kv_lora_rank=8, q_lora_rank=8, n_routed_experts=8, num_experts_per_tok=3,
              n_shared_experts=1, moe_intermediate_size=8, first_k_dense_replace=1, n_group=4, topk_group=2, num_key_value_heads=4)
TEXT = dict(vocab_size=28, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24, max_position_embeddings=40)
SPECIAL = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2)
LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
THEIRS = {
    "llama": {**SMALL, "rope_parameters": LLAMA3},
    "mistral": {**SMALL, "sliding_window": 5, "head_dim": 6},
    "qwen2": {**SMALL, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
    "qwen3": {**SMALL, "head_dim": 6, "tie_word_embeddings": True},
    "phi3": SMALL,
    "gemma": {**SMALL, "head_dim": 6},
    "gemma2": {**SMALL, "head_dim": 6, "sliding_window": 4},
    "gemma3_text": {**SMALL, "head_dim": 6, "sliding_window": 4, "num_hidden_layers": 7},
    "olmo2": SMALL,
    "gpt2": dict(vocab_size=28, n_embd=16, n_head=4, n_layer=2, n_positions=64),
    "gpt_neox": {**{key: SMALL[key] for key in SMALL if key != "num_key_value_heads"}, "hidden_size": 32},
    "opt": dict(vocab_size=28, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, ffn_dim=24, max_position_embeddings=64, word_embed_proj_dim=16),
    "mixtral": {**SMALL, "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": {**SMALL, **EXPERTS, "shared_expert_intermediate_size": 12},
    "qwen3_moe": {**SMALL, **EXPERTS, "head_dim": 6},
    "olmoe": {**SMALL, "num_experts": 4, "num_experts_per_tok": 2},
    "deepseek_v2": {**SMALL, **LATENT, "topk_method": "group_limited_greedy"},
    "deepseek_v3": {**SMALL, **LATENT},
    "bert": TEXT,
    "roberta": {**TEXT, "type_vocab_size": 1},
    "modernbert": {**TEXT, "num_hidden_layers": 4, "local_attention": 6},
    "vit": dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24, image_size=12, patch_size=4),
}


def theirs(model_type, sizes):
    torch.manual_seed(0)
    special = {} if model_type in ("vit", "roberta") else SPECIAL
    config = AutoConfig.for_model(model_type, **sizes, **special)
    model = kind(model_type).from_config(config, attn_implementation="eager").float().eval()
    for name, p in model.named_parameters():
        change = 0.1 * torch.randn_like(p) + p.data if p.dim() == 1 else torch.randn_like(p) * (0.3 if "embed" in name else p.shape[-1] ** -0.5)
        p.data.copy_(change.bfloat16().float())
    generator = torch.Generator().manual_seed(1)
    if model_type == "vit":
        inputs = {"pixel_values": torch.randn(2, 3, 12, 12, generator=generator)}
    else:
        inputs = {"input_ids": torch.randint(3, 28, (2, 13), generator=generator)}
        if model_type in ENCODERS:
            inputs["attention_mask"] = torch.ones(2, 13, dtype=torch.int64)
            if model_type != "modernbert":
                inputs["token_type_ids"] = torch.zeros(2, 13, dtype=torch.int64)
    expected = {**inputs, **{key: torch.from_numpy(value) for key, value in run(model, inputs).items()}}
    place = folder / "saved" / model_type
    model.bfloat16().save_pretrained(place)
    (folder / "theirs").mkdir(exist_ok=True)
    (folder / "theirs" / f"{model_type}.safetensors").write_bytes((place / "model.safetensors").read_bytes())
    save_file(expected, folder / "theirs" / f"{model_type}.expected.safetensors")
    return {"name": model_type, "checkpoint": model_type, "config": json.loads((place / "config.json").read_text())}


answers = {case["name"]: one(case) for case in cases}
made = [theirs(model_type, sizes) for model_type, sizes in THEIRS.items()]
(folder / "theirs" / "cases.json").write_text(json.dumps(made))
print(json.dumps({"version": transformers.__version__, "torch": torch.__version__, "cases": answers}, indent=1))
