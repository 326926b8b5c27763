import type { Architecture } from "../checkpoint/architecture.ts";
import { bert, roberta } from "./bert.ts";
import { deepseekV2, deepseekV3 } from "./deepseek.ts";
import { gemma, gemma2, gemma3 } from "./gemma.ts";
import { gptNeox } from "./gpt-neox.ts";
import { gpt2 } from "./gpt2.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { mixtral } from "./mixtral.ts";
import { modernbert } from "./modernbert.ts";
import { olmo2, olmoe } from "./olmo.ts";
import { opt } from "./opt.ts";
import { phi3 } from "./phi3.ts";
import { qwen2, qwen3 } from "./qwen.ts";
import { qwen2Moe, qwen3Moe } from "./qwen-moe.ts";
import { vit } from "./vit.ts";

/** Every architecture whose checkpoints become models. */
export const architectures: readonly Architecture[] = [
  llama,
  mistral,
  qwen2,
  qwen3,
  phi3,
  gemma,
  gemma2,
  gemma3,
  olmo2,
  gpt2,
  gptNeox,
  opt,
  mixtral,
  qwen2Moe,
  qwen3Moe,
  olmoe,
  deepseekV2,
  deepseekV3,
  bert,
  roberta,
  modernbert,
  vit,
];
