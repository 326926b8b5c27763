import { choice, flag, integer, shapes } from "./command.ts";

/** Options that every command with a model has. */
export const modelOptions = {
  shape: shapes("Sizes that the file leaves open, for example input=1x3x224x224."),
  device: choice(["cpu", "wasm", "webgpu", "cuda"], "Where to run; cpu unless told."),
  threads: integer("N", "Runtime threads; all cores unless told.", 1, 1024),
  json: flag("Print the answer as JSON and nothing else on stdout."),
};
