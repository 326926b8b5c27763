"""Writes tiny checkpoints with what they have to compute, for pack.mjs. Usage: python3 make.py FOLDER

Per case a config and inputs in cases.json, weights in CHECKPOINT.safetensors (several cases may share them), and
expected values in CASE.expected.safetensors: hidden states before and after all blocks, and what the last stage gives.
"""

import json
import pathlib
import sys

import torch

from decoders import DECODERS
from encoders import ENCODERS
from parts import Weights, save

SMALL = {"vocab_size": 28, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "intermediate_size": 24, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0}
OLD = {"original_max_position_embeddings": 8}
EXPERTS = {**SMALL, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 10, "norm_topk_prob": False}
LATENT = {**SMALL, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 5, "kv_lora_rank": 8, "q_lora_rank": 7,
          "n_routed_experts": 8, "num_experts_per_tok": 3, "n_shared_experts": 2, "moe_intermediate_size": 6, "first_k_dense_replace": 1,
          "n_group": 4, "topk_group": 2, "routed_scaling_factor": 1.5, "norm_topk_prob": False, "num_hidden_layers": 3, "num_key_value_heads": 4}
YARN = {"rope_type": "yarn", "factor": 4.0, "beta_fast": 4, "beta_slow": 1, **OLD}
GEMMA = {**SMALL, "head_dim": 6, "query_pre_attn_scalar": 9, "sliding_window": 4, "hidden_activation": "gelu_pytorch_tanh", "num_hidden_layers": 3}
TEXT = {"vocab_size": 28, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24,
        "max_position_embeddings": 20, "type_vocab_size": 2, "layer_norm_eps": 1e-5, "hidden_act": "gelu"}

# case: model_type, config, name of the checkpoint where it is another case's
CASES = {
    "llama": ("llama", SMALL),
    "llama-tied-biased": ("llama", {**SMALL, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True, "head_dim": 6, "num_key_value_heads": 4}),
    "llama-llama3": ("llama", {**SMALL, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 2.0, **OLD}}, "llama"),
    "llama-linear": ("llama", {**SMALL, "rope_scaling": {"rope_type": "linear", "factor": 2.5}}, "llama"),
    "llama-dynamic": ("llama", {**SMALL, "max_position_embeddings": 6, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "llama"),
    "llama-yarn": ("llama", {**SMALL, "rope_scaling": YARN}, "llama"),
    "gpt2": ("gpt2", {"vocab_size": 28, "n_embd": 16, "n_head": 4, "n_layer": 2, "n_positions": 20, "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"}),
    "gpt2-scaled": ("gpt2", {"vocab_size": 28, "n_embd": 16, "n_head": 4, "n_layer": 2, "n_positions": 20, "layer_norm_epsilon": 1e-5, "n_inner": 20, "scale_attn_by_inverse_layer_idx": True}),
    "qwen2": ("qwen2", SMALL),
    "qwen2-window": ("qwen2", {**SMALL, "use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}, "qwen2"),
    "qwen3": ("qwen3", {**SMALL, "head_dim": 6, "tie_word_embeddings": True}),
    "mistral": ("mistral", {**SMALL, "sliding_window": 3, "head_dim": 4}),
    "opt": ("opt", {"vocab_size": 28, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 24, "max_position_embeddings": 20, "do_layer_norm_before": True, "word_embed_proj_dim": 16}),
    "opt-after": ("opt", {"vocab_size": 28, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 24, "max_position_embeddings": 20, "do_layer_norm_before": False, "word_embed_proj_dim": 12}),
    "gpt_neox": ("gpt_neox", {"vocab_size": 28, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40, "max_position_embeddings": 64, "rotary_pct": 0.25, "rotary_emb_base": 10000, "layer_norm_eps": 1e-5, "use_parallel_residual": True, "hidden_act": "gelu"}),
    "gpt_neox-serial": ("gpt_neox", {"vocab_size": 28, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40, "max_position_embeddings": 64, "rotary_pct": 0.5, "rotary_emb_base": 10000, "layer_norm_eps": 1e-5, "use_parallel_residual": False, "hidden_act": "gelu"}),
    "phi3": ("phi3", {**SMALL, "sliding_window": 5}),
    "phi3-long": ("phi3", {**SMALL, "hidden_size": 32, "partial_rotary_factor": 0.5, **OLD, "rope_scaling": {"rope_type": "longrope", "short_factor": [1.0, 1.1], "long_factor": [1.5, 4.0]}}),
    "gemma": ("gemma", {**SMALL, "head_dim": 6, "num_key_value_heads": 1}),
    "gemma2": ("gemma2", {**GEMMA, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}),
    "gemma3_text": ("gemma3_text", {**GEMMA, "rope_theta": 1e6, "rope_local_base_freq": 10000.0, "sliding_window_pattern": 3, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}),
    "olmo2": ("olmo2", SMALL),
    "mixtral": ("mixtral", {**SMALL, "num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 10}),
    "qwen2_moe": ("qwen2_moe", {**EXPERTS, "shared_expert_intermediate_size": 12, "mlp_only_layers": [0]}),
    "qwen3_moe": ("qwen3_moe", {**EXPERTS, "norm_topk_prob": True, "head_dim": 6}),
    "olmoe": ("olmoe", {**EXPERTS, "intermediate_size": 10}),
    "deepseek_v2": ("deepseek_v2", {**LATENT, "topk_method": "group_limited_greedy"}),
    "deepseek_v2-lite": ("deepseek_v2", {**LATENT, "topk_method": "greedy", "q_lora_rank": None, "num_hidden_layers": 2, "rope_scaling": {**YARN, "mscale": 0.7, "mscale_all_dim": 0.9}}),
    "deepseek_v3": ("deepseek_v3", {**LATENT, "norm_topk_prob": True, "rope_scaling": {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0}}),
    "bert": ("bert", TEXT),
    "roberta": ("roberta", {**TEXT, "pad_token_id": 1, "type_vocab_size": 1}),
    "modernbert": ("modernbert", {**TEXT, "num_hidden_layers": 4, "global_attn_every_n_layers": 3, "local_attention": 4, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0, "norm_eps": 1e-5}),
    "vit": ("vit", {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24, "image_size": 12, "patch_size": 4, "num_channels": 3, "layer_norm_eps": 1e-6, "hidden_act": "gelu"}),
}


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    stores, cases = {}, []
    for number, (name, (kind, config, *shared)) in enumerate(CASES.items()):
        checkpoint = shared[0] if shared else name
        w = stores.setdefault(checkpoint, Weights(number + 1))
        g = torch.Generator().manual_seed(number)
        inputs = {}
        if kind == "vit":
            inputs["pixel_values"] = torch.randn(2, 3, config["image_size"], config["image_size"], generator=g)
            states, outputs = ENCODERS[kind](w, config, inputs["pixel_values"])
        else:
            inputs["input_ids"] = torch.randint(2, config["vocab_size"], (2, 11), generator=g)
            if kind in ENCODERS:
                inputs["attention_mask"] = torch.ones(2, 11, dtype=torch.int64)
                inputs["attention_mask"][1, 9:] = 0
                inputs["token_type_ids"] = torch.randint(0, config["type_vocab_size"], (2, 11), generator=g)
                if kind == "roberta":
                    inputs["input_ids"][1, 9:] = config["pad_token_id"]
                states, outputs = ENCODERS[kind](w, config, *inputs.values())
            else:
                states, logits = DECODERS[kind](w, config, inputs["input_ids"])
                outputs = {"logits": logits}
        expected = {**inputs, "hidden.first": states[0], "hidden.last": states[-1], **outputs}
        floats = {key: x.float() if x.is_floating_point() else x for key, x in expected.items()}
        save(floats, folder / f"{name}.expected.safetensors")
        cases.append({"name": name, "checkpoint": checkpoint, "config": {"model_type": kind, **config}})
    for name, w in stores.items():
        save(w.tensors, folder / f"{name}.safetensors")
    (folder / "cases.json").write_text(json.dumps(cases))


main(pathlib.Path(sys.argv[1]))
