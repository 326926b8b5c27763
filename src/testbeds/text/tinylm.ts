import type { LlamaConfig } from "../models/llama.ts";

/** Stands between documents, and in front of every window. */
export const endOfText = "<|endoftext|>";

/** Tokens that the testbed learns on, and measures with. */
const tinylmWindow = 256;

/** The smallest decoder whose heads are as wide as those of large ones (32): 5.07 M parameters. */
export const tinylmConfig: LlamaConfig = {
  vocabulary: 1024,
  width: 256,
  layers: 8,
  heads: 8,
  kvHeads: 4,
  inner: 512,
  time: tinylmWindow,
};
