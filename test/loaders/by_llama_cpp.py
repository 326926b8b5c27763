"""Converts what write-cases.ts wrote to GGUF, runs it by llama.cpp and compares. Usage: python3 by_llama_cpp.py FOLDER SOURCE LOGITS > llama_cpp.json

SOURCE is a checkout of llama.cpp, whose conversion is used as it is but for the vocabulary: the tiny models have no tokenizer, so that
ids alone are converted. LOGITS is logits.cpp of this folder, built against that checkout.
"""

import json
import logging
import multiprocessing
import pathlib
import subprocess
import sys

import numpy as np

folder, source, program = (pathlib.Path(path) for path in sys.argv[1:4])
sys.path[:0] = [str(source), str(source / "gguf-py")]


def converted(case):
    logging.disable(logging.CRITICAL)
    import gguf
    import torch
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class

    path = folder / "checkpoints" / case["name"]
    out = folder / "gguf" / f"{case['name']}.gguf"
    try:
        with torch.inference_mode():
            hparams = ModelBase.load_hparams(path, False)
            base = get_model_class(get_model_architecture(hparams, ModelType.TEXT))

            class WithoutTokens(base):
                model_arch = base.model_arch

                def set_vocab(self):
                    self.vocab_size = self.hparams["vocab_size"]
                    self._set_vocab_none()
                    if "type_vocab_size" in self.hparams:
                        self.gguf_writer.add_token_type_count(self.hparams["type_vocab_size"])

                def set_gguf_parameters(self):
                    super().set_gguf_parameters()
                    if not any(key.endswith("vocab_size") for key in self.gguf_writer.kv_data[0]):
                        self.gguf_writer.add_vocab_size(self.hparams["vocab_size"])

            WithoutTokens(path, gguf.LlamaFileType.ALL_F32, out, eager=True).write()
        return None
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:300]


def main():
    cases = [case for case in json.loads((folder / "cases.json").read_text()) if "input_ids" in case["inputs"]]
    (folder / "gguf").mkdir(exist_ok=True)
    with multiprocessing.Pool(12) as pool:
        errors = pool.map(converted, cases, chunksize=4)
    lines, answers = [], {}
    for case, error in zip(cases, errors):
        name = case["name"]
        if error is not None:
            answers[name] = {"loads": False, "at": "conversion", "why": error}
            continue
        ids = np.load(folder / "values" / f"{name}.input_ids.npy")
        tokens = folder / "gguf" / f"{name}.txt"
        tokens.write_text(f"{ids.shape[0]} {ids.shape[1]}\n" + " ".join(map(str, ids.reshape(-1))))
        what = "logits" if "logits" in case["outputs"] else "features"
        lines.append((name, [str(folder / "gguf" / f"{name}.gguf"), str(tokens), str(folder / "gguf" / f"{name}.f32"), what]))
    for name, line in lines:
        # A process each, since a program that asserts ends.
        listing = folder / "gguf" / f"{name}.case"
        listing.write_text(" ".join(line))
        done = subprocess.run([str(program), str(listing)], capture_output=True, text=True, timeout=60)
        if not done.stdout.startswith("ok"):
            said = [row for row in done.stderr.splitlines() if "error" in row.lower() or "assert" in row.lower()]
            answers[name] = {"loads": False, "at": "loading", "why": " | ".join(said[:2])[:300] or f"status {done.returncode}"}
            continue
        case = next(one for one in cases if one["name"] == name)
        key = "logits" if line[3] == "logits" else "last_hidden_state"
        expected = np.load(folder / "values" / f"{name}.{key}.npy").astype(np.float64)
        got = np.fromfile(line[2], np.float32).astype(np.float64)
        if got.size != expected.size:
            answers[name] = {"loads": True, "difference": None, "why": f"{got.size} numbers for {list(expected.shape)}"}
            continue
        got = got.reshape(expected.shape)
        answers[name] = {"loads": True, "difference": float(np.abs(got - expected).max() / np.abs(expected).max())}
    print(json.dumps({"cases": answers}, indent=1))


main()
