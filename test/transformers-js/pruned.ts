import type { Group } from "../../src/coupling/couple.ts";
import type { Checkpoint } from "../../src/formats/checkpoint/open.ts";
import { memorySource } from "../../src/formats/source/source.ts";
import { analyse } from "../../src/models/analysis.ts";
import { withGraph } from "../../src/models/checkpoint/change.ts";
import { type CheckpointModel, checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { inexpressible } from "../../src/models/checkpoint/expressible.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { cut } from "../../src/surgery/cut.ts";
import { fromFloats, toFloat32 } from "../../src/tensor/numeric.ts";
import { load, refOf, type TensorRef } from "../../src/tensor/tensor.ts";
import { openFixtures } from "../checkpoints/fixtures.ts";

const fixtures = openFixtures();

/** Letters as tokens, behind tokens that begin and end a text. */
const letters = ["<s>", "</s>", ..." abcdefghijklmnopqrstuvwxy"];
const letterTokenizer = JSON.stringify({
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: [0, 1].map((id) => ({
    ...{ id, content: letters[id], special: true, normalized: false },
    ...{ single_word: false, lstrip: false, rstrip: false },
  })),
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: { type: "Fuse" },
  model: {
    ...{ type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null },
    ...{ fuse_unk: false, byte_fallback: false, ignore_merges: false, merges: [] },
    vocab: Object.fromEntries(letters.map((letter, id) => [letter, id])),
  },
});

/** A fixture with larger weights, so that what comes depends on what was read, and with a tokenizer of letters. */
export async function lively(name: string): Promise<Checkpoint> {
  const checkpoint = await fixtures.open(name, { bos_token_id: 0, eos_token_id: 1, pad_token_id: 1 });
  const tensors = new Map<string, TensorRef>();
  for (const [key, ref] of checkpoint.tensors) {
    const values = toFloat32(await load(ref)).map((x) => (ref.shape.length === 2 ? 5 * x : x));
    tensors.set(key, refOf(fromFloats("bf16", ref.shape, values)));
  }
  const bytes = new TextEncoder().encode(letterTokenizer);
  return { ...checkpoint, tensors, files: new Map([["tokenizer.json", memorySource("tokenizer.json", bytes)]]) };
}

/**
 * A small checkpoint without the last unit of every set of each group that a config can state; of those groups alone that lie
 * in the part of it that is named, where one is.
 */
export async function prunedFixture(name: string, runtime: Runtime, part = ""): Promise<CheckpointModel> {
  const model = checkpointModel(await lively(name));
  const { graph } = model.graph();
  const { coupling, facts } = await analyse(graph, runtime);
  const refused = inexpressible(model, coupling);
  const masks = new Map<Group, Uint8Array>();
  for (const group of coupling.groups) {
    if (group.blocked.length > 0 || refused.has(group) || group.size < 2) continue;
    if (!group.members.every(({ parameter }) => parameter.startsWith(part))) continue;
    const mask = new Uint8Array(group.size * group.sets).fill(1);
    for (let set = 1; set <= group.sets; set++) mask[set * group.size - 1] = 0;
    masks.set(group, mask);
  }
  return checkpointModel(withGraph(model, await cut(graph, coupling, facts, masks)));
}
