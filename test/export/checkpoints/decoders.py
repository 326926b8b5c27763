"""Decoders as their papers and configs describe them. Each takes weights, config and tokens, and gives hidden states by stage."""

import math

import torch
from torch.nn import functional as F

from parts import (ACTIVATIONS, allowed, gelu_tanh, glu, heads, layer_norm, linear, rms, rotate, scaled_frequencies,
                   softmax_attention, unheads)


def rope(c, size, time, share=1.0, theta=None, scaling="config"):
    scaling = c.get("rope_scaling") if scaling == "config" else scaling
    if scaling is not None and "original_max_position_embeddings" in c:
        scaling = {**scaling, "original_max_position_embeddings": c["original_max_position_embeddings"]}
    n = int(size * share)
    return scaled_frequencies(n, theta or c.get("rope_theta", 10000.0), scaling, c["max_position_embeddings"], time)


def grouped(w, name, c, x, size, freqs, ok, *, bias=False, out_bias=False, flat_norm=None, head_norm=None, scale=None, cap=None):
    n, kv = c["num_attention_heads"], c["num_key_value_heads"]
    q, k, v = (linear(w, f"{name}.{p}_proj", x, m * size, bias) for p, m in (("q", n), ("k", kv), ("v", kv)))
    if flat_norm:
        q, k = flat_norm("q_norm", q), flat_norm("k_norm", k)
    q, k, v = heads(q, n), heads(k, kv), heads(v, kv)
    if head_norm:
        q, k = head_norm("q_norm", q), head_norm("k_norm", k)
    q, k = rotate(q, *freqs), rotate(k, *freqs)
    mixed = unheads(softmax_attention(q, k, v, ok, scale or size**-0.5, cap))
    return linear(w, f"{name}.o_proj", mixed, c["hidden_size"], out_bias)


def finish(w, c, states, x, embedding="model.embed_tokens", head="lm_head", tied=None, bias=False):
    tied = c.get("tie_word_embeddings", False) if tied is None else tied
    name = embedding if tied else head
    logits = x @ w(f"{name}.weight", c["vocab_size"], x.shape[-1]).T
    return states, logits + w(f"{head}.bias", c["vocab_size"]) if bias else logits


def llama(w, c, ids, *, sliding=None, bias=None, out_bias=None, head_norm=False, mlp=None, window_of=None):
    """Llama, Mistral (a window), Qwen2 (biases on queries, keys, values), Qwen3 (norms in heads)."""
    eps, time = c["rms_norm_eps"], ids.shape[1]
    size = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
    bias = c.get("attention_bias", False) if bias is None else bias
    out_bias = bias if out_bias is None else out_bias
    freqs = rope(c, size, time)
    x = w("model.embed_tokens.weight", c["vocab_size"], c["hidden_size"])[ids]
    states = [x]
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}"
        window = window_of(i) if window_of else sliding
        norm = (lambda n, y: rms(w, f"{at}.self_attn.{n}.weight", y, eps)) if head_norm else None
        a = rms(w, f"{at}.input_layernorm.weight", x, eps)
        x = x + grouped(w, f"{at}.self_attn", c, a, size, freqs, allowed(time, window=window), bias=bias, out_bias=out_bias, head_norm=norm)
        m = rms(w, f"{at}.post_attention_layernorm.weight", x, eps)
        x = x + (mlp(f"{at}.mlp", m, i) if mlp else glu(w, f"{at}.mlp", m, c["intermediate_size"], c.get("hidden_act", "silu"), c.get("mlp_bias", False)))
        states.append(x)
    return finish(w, c, states, rms(w, "model.norm.weight", x, eps))


def mistral(w, c, ids):
    return llama(w, c, ids, sliding=c.get("sliding_window"), bias=False)


def qwen_window(c):
    if not c.get("use_sliding_window"):
        return lambda i: None
    return lambda i: c["sliding_window"] if i >= c["max_window_layers"] else None


def qwen2(w, c, ids):
    return llama(w, c, ids, bias=True, out_bias=False, window_of=qwen_window(c))


def qwen3(w, c, ids):
    return llama(w, c, ids, head_norm=True, window_of=qwen_window(c))


def gpt2(w, c, ids):
    d, eps, time = c["n_embd"], c["layer_norm_epsilon"], ids.shape[1]
    inner = c.get("n_inner") or 4 * d
    conv = lambda name, y, outputs: y @ w(f"{name}.weight", y.shape[-1], outputs) + w(f"{name}.bias", outputs)
    x = w("transformer.wte.weight", c["vocab_size"], d)[ids] + w("transformer.wpe.weight", c["n_positions"], d)[:time]
    states = [x]
    for i in range(c["n_layer"]):
        at = f"transformer.h.{i}"
        q, k, v = (heads(t, c["n_head"]) for t in conv(f"{at}.attn.c_attn", layer_norm(w, f"{at}.ln_1", x, eps), 3 * d).split(d, -1))
        scale = (d // c["n_head"]) ** -0.5
        if c.get("scale_attn_by_inverse_layer_idx"):
            scale /= i + 1
        x = x + conv(f"{at}.attn.c_proj", unheads(softmax_attention(q, k, v, allowed(time), scale)), d)
        h = gelu_tanh(conv(f"{at}.mlp.c_fc", layer_norm(w, f"{at}.ln_2", x, eps), inner))
        x = x + conv(f"{at}.mlp.c_proj", h, d)
        states.append(x)
    return finish(w, c, states, layer_norm(w, "transformer.ln_f", x, eps), embedding="transformer.wte", tied=True)


def opt(w, c, ids):
    d, n, time, base = c["hidden_size"], c["num_attention_heads"], ids.shape[1], "model.decoder"
    eps, before, narrow = 1e-5, c["do_layer_norm_before"], c["word_embed_proj_dim"]
    x = w(f"{base}.embed_tokens.weight", c["vocab_size"], narrow)[ids]
    if narrow != d:
        x = linear(w, f"{base}.project_in", x, d)
    x = x + w(f"{base}.embed_positions.weight", c["max_position_embeddings"] + 2, d)[2 : time + 2]
    states = [x]
    for i in range(c["num_hidden_layers"]):
        at = f"{base}.layers.{i}"
        norm = lambda name, y: layer_norm(w, f"{at}.{name}", y, eps)
        a = norm("self_attn_layer_norm", x) if before else x
        q, k, v = (heads(linear(w, f"{at}.self_attn.{p}_proj", a, d, True), n) for p in "qkv")
        mixed = unheads(softmax_attention(q, k, v, allowed(time), (d // n) ** -0.5))
        x = x + linear(w, f"{at}.self_attn.out_proj", mixed, d, True)
        x = x if before else norm("self_attn_layer_norm", x)
        m = norm("final_layer_norm", x) if before else x
        x = x + linear(w, f"{at}.fc2", F.relu(linear(w, f"{at}.fc1", m, c["ffn_dim"], True)), d, True)
        x = x if before else norm("final_layer_norm", x)
        states.append(x)
    if before:
        x = layer_norm(w, f"{base}.final_layer_norm", x, eps)
    if narrow != d:
        x = linear(w, f"{base}.project_out", x, narrow)
    return finish(w, c, states, x, embedding=f"{base}.embed_tokens", tied=True)


def gpt_neox(w, c, ids):
    d, n, eps, time = c["hidden_size"], c["num_attention_heads"], c["layer_norm_eps"], ids.shape[1]
    size = d // n
    freqs = rope({"rope_theta": c["rotary_emb_base"], **c}, size, time, share=c["rotary_pct"])
    x = w("gpt_neox.embed_in.weight", c["vocab_size"], d)[ids]
    states = [x]
    for i in range(c["num_hidden_layers"]):
        at = f"gpt_neox.layers.{i}"
        # Rows of the fused matrix: head by head, of each its query, key and value.
        qkv = linear(w, f"{at}.attention.query_key_value", layer_norm(w, f"{at}.input_layernorm", x, eps), 3 * d, True)
        q, k, v = qkv.reshape(*qkv.shape[:2], n, 3 * size).transpose(1, 2).split(size, -1)
        mixed = softmax_attention(rotate(q, *freqs), rotate(k, *freqs), v, allowed(time), size**-0.5)
        a = linear(w, f"{at}.attention.dense", unheads(mixed), d, True)
        m = layer_norm(w, f"{at}.post_attention_layernorm", x if c["use_parallel_residual"] else x + a, eps)
        h = F.gelu(linear(w, f"{at}.mlp.dense_h_to_4h", m, c["intermediate_size"], True))
        x = x + a + linear(w, f"{at}.mlp.dense_4h_to_h", h, d, True)
        states.append(x)
    return finish(w, c, states, layer_norm(w, "gpt_neox.final_layer_norm", x, eps), embedding="gpt_neox.embed_in", head="embed_out")


def phi3(w, c, ids):
    d, n, kv, eps, time = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"], c["rms_norm_eps"], ids.shape[1]
    size, inner = d // n, c["intermediate_size"]
    freqs = rope(c, size, time, share=c.get("partial_rotary_factor", 1.0))
    x = w("model.embed_tokens.weight", c["vocab_size"], d)[ids]
    states = [x]
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}"
        qkv = linear(w, f"{at}.self_attn.qkv_proj", rms(w, f"{at}.input_layernorm.weight", x, eps), (n + 2 * kv) * size)
        q, k, v = qkv.split([n * size, kv * size, kv * size], -1)
        q, k, v = rotate(heads(q, n), *freqs), rotate(heads(k, kv), *freqs), heads(v, kv)
        mixed = softmax_attention(q, k, v, allowed(time, window=c.get("sliding_window")), size**-0.5)
        x = x + linear(w, f"{at}.self_attn.o_proj", unheads(mixed), d)
        gate, up = linear(w, f"{at}.mlp.gate_up_proj", rms(w, f"{at}.post_attention_layernorm.weight", x, eps), 2 * inner).chunk(2, -1)
        x = x + linear(w, f"{at}.mlp.down_proj", F.silu(gate) * up, d)
        states.append(x)
    return finish(w, c, states, rms(w, "model.norm.weight", x, eps))


def gemma(w, c, ids):
    d, size, eps, time = c["hidden_size"], c["head_dim"], c["rms_norm_eps"], ids.shape[1]
    freqs = rope(c, size, time)
    x = w("model.embed_tokens.weight", c["vocab_size"], d)[ids] * math.sqrt(d)
    states = [x]
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}"
        x = x + grouped(w, f"{at}.self_attn", c, rms(w, f"{at}.input_layernorm.weight", x, eps, 1.0), size, freqs, allowed(time))
        m = rms(w, f"{at}.post_attention_layernorm.weight", x, eps, 1.0)
        x = x + glu(w, f"{at}.mlp", m, c["intermediate_size"], "gelu_pytorch_tanh")
        states.append(x)
    return finish(w, c, states, rms(w, "model.norm.weight", x, eps, 1.0), tied=True)


def gemma_sandwich(w, c, ids, local, freqs_of, head_norm):
    """Gemma 2 and 3: norms before and after attention and MLP, windows in some blocks."""
    d, size, eps, time = c["hidden_size"], c["head_dim"], c["rms_norm_eps"], ids.shape[1]
    x = w("model.embed_tokens.weight", c["vocab_size"], d)[ids] * math.sqrt(d)
    states = [x]
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}"
        norm = lambda name, y: rms(w, f"{at}.{name}.weight", y, eps, 1.0)
        inside = (lambda n, y: norm(f"self_attn.{n}", y)) if head_norm else None
        ok = allowed(time, window=c["sliding_window"] if local(i) else None)
        a = grouped(w, f"{at}.self_attn", c, norm("input_layernorm", x), size, freqs_of(i), ok, head_norm=inside,
                    scale=c["query_pre_attn_scalar"] ** -0.5, cap=c.get("attn_logit_softcapping"))
        x = x + norm("post_attention_layernorm", a)
        m = glu(w, f"{at}.mlp", norm("pre_feedforward_layernorm", x), c["intermediate_size"], "gelu_pytorch_tanh")
        x = x + norm("post_feedforward_layernorm", m)
        states.append(x)
    states, logits = finish(w, c, states, rms(w, "model.norm.weight", x, eps, 1.0), tied=True)
    cap = c.get("final_logit_softcapping")
    return states, logits if cap is None else cap * torch.tanh(logits / cap)


def gemma2(w, c, ids):
    freqs = rope(c, c["head_dim"], ids.shape[1])
    return gemma_sandwich(w, c, ids, lambda i: i % 2 == 0, lambda i: freqs, False)


def gemma3(w, c, ids):
    time, size = ids.shape[1], c["head_dim"]
    local = lambda i: (i + 1) % c["sliding_window_pattern"] != 0
    near = rope(c, size, time, theta=c["rope_local_base_freq"], scaling=None)
    far = rope(c, size, time)
    return gemma_sandwich(w, c, ids, local, lambda i: near if local(i) else far, True)


def olmo2(w, c, ids):
    d, eps, time = c["hidden_size"], c["rms_norm_eps"], ids.shape[1]
    size = d // c["num_attention_heads"]
    freqs = rope(c, size, time)
    x = w("model.embed_tokens.weight", c["vocab_size"], d)[ids]
    states = [x]
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}"
        norm = lambda name, y: rms(w, f"{at}.{name}.weight", y, eps)
        flat = lambda name, y: norm(f"self_attn.{name}", y)
        x = x + norm("post_attention_layernorm", grouped(w, f"{at}.self_attn", c, x, size, freqs, allowed(time), flat_norm=flat))
        x = x + norm("post_feedforward_layernorm", glu(w, f"{at}.mlp", x, c["intermediate_size"]))
        states.append(x)
    return finish(w, c, states, rms(w, "model.norm.weight", x, eps))


def routed(w, name, x, experts, top, expert, *, scores="softmax", normalise=False, scale=1.0, groups=None, correction=False, floor=0.0):
    """Sum over the chosen experts of weight times output, token by token."""
    flat = x.reshape(-1, x.shape[-1])
    logits = flat @ w(f"{name}.weight", experts, x.shape[-1], spread=3.0).T
    p = logits.softmax(-1) if scores == "softmax" else logits.sigmoid()
    choice = p + w(f"{name}.e_score_correction_bias", experts) if correction else p
    if groups is not None:
        count, best, how = groups
        apart = choice.reshape(-1, count, experts // count)
        rank = apart.max(-1).values if how == "max" else apart.topk(2, -1).values.sum(-1)
        open_groups = torch.zeros_like(rank).scatter(1, rank.topk(best, -1).indices, 1.0)
        choice = choice.masked_fill(open_groups.repeat_interleave(experts // count, 1) == 0, float("-inf"))
    chosen = choice.topk(top, -1).indices
    out = torch.zeros_like(flat)
    for t in range(flat.shape[0]):
        weights = p[t, chosen[t]]
        if normalise:
            weights = weights / (weights.sum() + floor)
        for e, s in zip(chosen[t].tolist(), (weights * scale).tolist()):
            out[t] += s * expert(e, flat[t])
    return out.reshape(x.shape)


def every_expert(w, make, experts, width):
    """Draws the weights of all experts, also of those that no token chose."""
    for e in range(experts):
        make(e, torch.zeros(width))


def mixtral(w, c, ids):
    def mlp(at, m, i):
        name = at.replace(".mlp", ".block_sparse_moe")
        make = lambda e, y: glu(w, f"{name}.experts.{e}", y, c["intermediate_size"], names=("w1", "w3", "w2"))
        every_expert(w, make, c["num_local_experts"], m.shape[-1])
        return routed(w, f"{name}.gate", m, c["num_local_experts"], c["num_experts_per_tok"], make, normalise=True)

    return llama(w, c, ids, sliding=c.get("sliding_window"), mlp=mlp)


def qwen_experts(w, c, shared):
    def mlp(at, m, i):
        dense = i in c.get("mlp_only_layers", []) or (i + 1) % c.get("decoder_sparse_step", 1) != 0
        if dense:
            return glu(w, at, m, c["intermediate_size"])
        make = lambda e, y: glu(w, f"{at}.experts.{e}", y, c["moe_intermediate_size"])
        every_expert(w, make, c["num_experts"], m.shape[-1])
        out = routed(w, f"{at}.gate", m, c["num_experts"], c["num_experts_per_tok"], make, normalise=c["norm_topk_prob"])
        if shared:
            gate = linear(w, f"{at}.shared_expert_gate", m, 1).sigmoid()
            out = out + gate * glu(w, f"{at}.shared_expert", m, c["shared_expert_intermediate_size"])
        return out

    return mlp


def qwen2_moe(w, c, ids):
    return llama(w, c, ids, bias=True, out_bias=False, mlp=qwen_experts(w, c, True))


def qwen3_moe(w, c, ids):
    return llama(w, c, ids, head_norm=True, mlp=qwen_experts(w, c, False))


def olmoe(w, c, ids):
    d, eps, time = c["hidden_size"], c["rms_norm_eps"], ids.shape[1]
    size = d // c["num_attention_heads"]
    freqs = rope(c, size, time)
    x = w("model.embed_tokens.weight", c["vocab_size"], d)[ids]
    states = [x]
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}"
        norm = lambda name, y: rms(w, f"{at}.{name}.weight", y, eps)
        flat = lambda name, y: norm(f"self_attn.{name}", y)
        x = x + grouped(w, f"{at}.self_attn", c, norm("input_layernorm", x), size, freqs, allowed(time), flat_norm=flat)
        make = lambda e, y: glu(w, f"{at}.mlp.experts.{e}", y, c["intermediate_size"])
        every_expert(w, make, c["num_experts"], d)
        x = x + routed(w, f"{at}.mlp.gate", norm("post_attention_layernorm", x), c["num_experts"], c["num_experts_per_tok"], make, normalise=c["norm_topk_prob"])
        states.append(x)
    return finish(w, c, states, rms(w, "model.norm.weight", x, eps))


def deepseek(w, c, ids, version):
    """DeepSeek-V2 and V3: keys and values from one narrow state, positions on a part of each head, shared experts."""
    d, n, eps, time = c["hidden_size"], c["num_attention_heads"], c["rms_norm_eps"], ids.shape[1]
    nope, turned, value, narrow = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"], c["kv_lora_rank"]
    freqs, amplitude = rope(c, turned, time)
    scale = (nope + turned) ** -0.5
    scaling = c.get("rope_scaling")
    if scaling and scaling.get("mscale_all_dim"):
        m = 0.1 * scaling["mscale_all_dim"] * math.log(scaling["factor"]) + 1
        scale *= m * m
    x = w("model.embed_tokens.weight", c["vocab_size"], d)[ids]
    states = [x]
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}"
        norm = lambda name, y: rms(w, f"{at}.{name}.weight", y, eps)
        # The norms of narrow states have an epsilon of their own in the released code, whatever the config says.
        latent = lambda name, y: rms(w, f"{at}.{name}.weight", y, 1e-6)
        a, own = norm("input_layernorm", x), f"{at}.self_attn"
        if c.get("q_lora_rank"):
            q = linear(w, f"{own}.q_b_proj", latent("self_attn.q_a_layernorm", linear(w, f"{own}.q_a_proj", a, c["q_lora_rank"])), n * (nope + turned))
        else:
            q = linear(w, f"{own}.q_proj", a, n * (nope + turned))
        q_plain, q_turning = heads(q, n).split([nope, turned], -1)
        state, k_turning = linear(w, f"{own}.kv_a_proj_with_mqa", a, narrow + turned).split([narrow, turned], -1)
        kv = linear(w, f"{own}.kv_b_proj", latent("self_attn.kv_a_layernorm", state), n * (nope + value))
        k_plain, v = heads(kv, n).split([nope, value], -1)
        q_turning = rotate(q_turning, freqs, amplitude, interleaved=True)
        k_turning = rotate(k_turning[:, None], freqs, amplitude, interleaved=True).expand(-1, n, -1, -1)
        mixed = softmax_attention(torch.cat((q_plain, q_turning), -1), torch.cat((k_plain, k_turning), -1), v, allowed(time), scale)
        x = x + linear(w, f"{own}.o_proj", unheads(mixed), d)
        m = norm("post_attention_layernorm", x)
        if i < c["first_k_dense_replace"]:
            x = x + glu(w, f"{at}.mlp", m, c["intermediate_size"])
        else:
            make = lambda e, y: glu(w, f"{at}.mlp.experts.{e}", y, c["moe_intermediate_size"])
            every_expert(w, make, c["n_routed_experts"], d)
            how = dict(scale=c["routed_scaling_factor"], normalise=c["norm_topk_prob"], floor=1e-20)
            if version == 3:
                how |= dict(scores="sigmoid", correction=True, groups=(c["n_group"], c["topk_group"], "two"))
            elif c["topk_method"] == "group_limited_greedy":
                how |= dict(groups=(c["n_group"], c["topk_group"], "max"))
            out = routed(w, f"{at}.mlp.gate", m, c["n_routed_experts"], c["num_experts_per_tok"], make, **how)
            x = x + out + glu(w, f"{at}.mlp.shared_experts", m, c["moe_intermediate_size"] * c["n_shared_experts"])
        states.append(x)
    return finish(w, c, states, rms(w, "model.norm.weight", x, eps))


DECODERS = {
    "llama": llama, "gpt2": gpt2, "qwen2": qwen2, "qwen3": qwen3, "mistral": mistral, "opt": opt, "gpt_neox": gpt_neox,
    "phi3": phi3, "gemma": gemma, "gemma2": gemma2, "gemma3_text": gemma3, "olmo2": olmo2, "mixtral": mixtral,
    "qwen2_moe": qwen2_moe, "qwen3_moe": qwen3_moe, "olmoe": olmoe,
    "deepseek_v2": lambda w, c, ids: deepseek(w, c, ids, 2), "deepseek_v3": lambda w, c, ids: deepseek(w, c, ids, 3),
}
