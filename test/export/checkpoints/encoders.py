"""Encoders as their papers and configs describe them: hidden states by stage, and named results."""

import torch
from torch.nn import functional as F

from parts import allowed, frequencies, heads, layer_norm, linear, rotate, softmax_attention, unheads


def self_attention(w, names, x, n, ok):
    q, k, v = (heads(linear(w, name, x, x.shape[-1], True), n) for name in names)
    return unheads(softmax_attention(q, k, v, ok, (x.shape[-1] // n) ** -0.5))


def bert(w, c, ids, mask, kinds, base="bert", positions=None):
    d, n, eps, time = c["hidden_size"], c["num_attention_heads"], c["layer_norm_eps"], ids.shape[1]
    at = f"{base}.embeddings"
    positions = torch.arange(time)[None] if positions is None else positions
    x = w(f"{at}.word_embeddings.weight", c["vocab_size"], d)[ids]
    x = x + w(f"{at}.position_embeddings.weight", c["max_position_embeddings"], d)[positions]
    x = x + w(f"{at}.token_type_embeddings.weight", c["type_vocab_size"], d)[kinds]
    x = layer_norm(w, f"{at}.LayerNorm", x, eps)
    states = [x]
    ok = allowed(time, causal=False, mask=mask)
    for i in range(c["num_hidden_layers"]):
        at = f"{base}.encoder.layer.{i}"
        a = self_attention(w, [f"{at}.attention.self.{p}" for p in ("query", "key", "value")], x, n, ok)
        x = layer_norm(w, f"{at}.attention.output.LayerNorm", x + linear(w, f"{at}.attention.output.dense", a, d, True), eps)
        h = F.gelu(linear(w, f"{at}.intermediate.dense", x, c["intermediate_size"], True))
        x = layer_norm(w, f"{at}.output.LayerNorm", x + linear(w, f"{at}.output.dense", h, d, True), eps)
        states.append(x)
    pooled = linear(w, f"{base}.pooler.dense", x[:, 0], d, True).tanh()
    return states, {"last_hidden_state": x, "pooler_output": pooled}


def roberta(w, c, ids, mask, kinds):
    # Positions count real tokens, from behind the padding's own number; padded ones have that.
    real = (ids != c["pad_token_id"]).long()
    return bert(w, c, ids, mask, kinds, base="roberta", positions=real.cumsum(1) * real + c["pad_token_id"])


def modernbert(w, c, ids, mask, kinds):
    d, n, eps, time = c["hidden_size"], c["num_attention_heads"], c["norm_eps"], ids.shape[1]
    size = d // n
    x = layer_norm(w, "model.embeddings.norm", w("model.embeddings.tok_embeddings.weight", c["vocab_size"], d)[ids], eps, False)
    states = [x]
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}"
        far = i % c["global_attn_every_n_layers"] == 0
        freqs = frequencies(size, c["global_rope_theta" if far else "local_rope_theta"])
        ok = allowed(time, causal=False, window=None if far else c["local_attention"] // 2, mask=mask)
        a = x if i == 0 else layer_norm(w, f"{at}.attn_norm", x, eps, False)
        q, k, v = (heads(t, n) for t in linear(w, f"{at}.attn.Wqkv", a, 3 * d).chunk(3, -1))
        mixed = unheads(softmax_attention(rotate(q, freqs), rotate(k, freqs), v, ok, size**-0.5))
        x = x + linear(w, f"{at}.attn.Wo", mixed, d)
        up, gate = linear(w, f"{at}.mlp.Wi", layer_norm(w, f"{at}.mlp_norm", x, eps, False), 2 * c["intermediate_size"]).chunk(2, -1)
        x = x + linear(w, f"{at}.mlp.Wo", F.gelu(up) * gate, d)
        states.append(x)
    return states, {"last_hidden_state": layer_norm(w, "model.final_norm", x, eps, False)}


def vit(w, c, pixels):
    d, n, eps, p = c["hidden_size"], c["num_attention_heads"], c["layer_norm_eps"], c["patch_size"]
    at = "vit.embeddings"
    kernel = w(f"{at}.patch_embeddings.projection.weight", d, 3, p, p, spread=0.5)
    patches = F.conv2d(pixels, kernel, w(f"{at}.patch_embeddings.projection.bias", d), stride=p).flatten(2).transpose(1, 2)
    x = torch.cat((w(f"{at}.cls_token", 1, 1, d).expand(pixels.shape[0], -1, -1), patches), 1)
    x = x + w(f"{at}.position_embeddings", 1, x.shape[1], d)
    states = [x]
    ok = torch.ones(1, 1, x.shape[1], x.shape[1], dtype=torch.bool)
    for i in range(c["num_hidden_layers"]):
        at = f"vit.encoder.layer.{i}"
        names = [f"{at}.attention.attention.{q}" for q in ("query", "key", "value")]
        a = self_attention(w, names, layer_norm(w, f"{at}.layernorm_before", x, eps), n, ok)
        x = x + linear(w, f"{at}.attention.output.dense", a, d, True)
        h = F.gelu(linear(w, f"{at}.intermediate.dense", layer_norm(w, f"{at}.layernorm_after", x, eps), c["intermediate_size"], True))
        x = x + linear(w, f"{at}.output.dense", h, d, True)
        states.append(x)
    return states, {"last_hidden_state": layer_norm(w, "vit.layernorm", x, eps)}


ENCODERS = {"bert": bert, "roberta": roberta, "modernbert": modernbert, "vit": vit}
