import type { Architecture } from "../checkpoint/architecture.ts";
import { llama } from "./llama.ts";

/** Every architecture whose checkpoints become models. */
export const architectures: readonly Architecture[] = [llama];
