// What a GGUF computes for sequences of tokens, by llama.cpp in float32: logits [sequences, time, vocabulary], or features of encoders.
// Usage: logits CASES, where each line of CASES is "MODEL.gguf TOKENS.txt OUT.f32 logits|features"; TOKENS.txt holds the number of sequences, their
// length, then the ids. Prints a line for each: "ok" or "refused".
#include "llama.h"
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

static bool answer(const std::string & model_path, const std::string & tokens_path, const std::string & out_path, bool features) {
    std::ifstream in(tokens_path);
    int sequences = 0, length = 0;
    in >> sequences >> length;
    std::vector<llama_token> ids(sequences * length);
    for (auto & id : ids) in >> id;
    llama_model_params mp = llama_model_default_params();
    mp.n_gpu_layers = 0;
    llama_model * model = llama_model_load_from_file(model_path.c_str(), mp);
    if (!model) return false;
    llama_context_params cp = llama_context_default_params();
    cp.n_ctx = 256;
    cp.n_batch = cp.n_ubatch = 256;
    cp.n_threads = cp.n_threads_batch = 1;
    cp.type_k = cp.type_v = GGML_TYPE_F32;
    cp.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    cp.embeddings = features;
    cp.pooling_type = LLAMA_POOLING_TYPE_NONE;
    llama_context * ctx = llama_init_from_model(model, cp);
    if (!ctx) { llama_model_free(model); return false; }
    const int width = features ? llama_model_n_embd(model) : llama_vocab_n_tokens(llama_model_get_vocab(model));
    std::ofstream out(out_path, std::ios::binary);
    bool good = true;
    for (int s = 0; s < sequences && good; s++) {
        if (llama_get_memory(ctx)) llama_memory_clear(llama_get_memory(ctx), true);
        llama_batch batch = llama_batch_init(length, 0, 1);
        for (int t = 0; t < length; t++) {
            batch.token[t] = ids[s * length + t];
            batch.pos[t] = t;
            batch.n_seq_id[t] = 1;
            batch.seq_id[t][0] = 0;
            batch.logits[t] = 1;
        }
        batch.n_tokens = length;
        good = (features ? llama_encode(ctx, batch) : llama_decode(ctx, batch)) == 0;
        for (int t = 0; t < length && good; t++) {
            const float * row = features ? llama_get_embeddings_ith(ctx, t) : llama_get_logits_ith(ctx, t);
            good = row != nullptr;
            if (good) out.write(reinterpret_cast<const char *>(row), sizeof(float) * width);
        }
        llama_batch_free(batch);
    }
    llama_free(ctx);
    llama_model_free(model);
    return good;
}

int main(int argc, char ** argv) {
    if (argc != 2) return 2;
    llama_backend_init();
    std::ifstream cases(argv[1]);
    std::string model, tokens, out, what;
    while (cases >> model >> tokens >> out >> what) {
        std::cerr << "== " << model << std::endl;
        std::cout << (answer(model, tokens, out, what == "features") ? "ok " : "refused ") << model << std::endl;
    }
    llama_backend_free();
}
