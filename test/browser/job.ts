import {
  criterionNamed,
  fromTensors,
  loadFrom,
  methods,
  normalise,
  prune,
  type Runtime,
  readNpy,
  take,
} from "../../src/index.ts";

/** What one run gives, in a form that can leave a browser. */
export interface Outcome {
  readonly criterion: string;
  /** By group, a 0 or 1 for each unit. */
  readonly masks: readonly (readonly [group: string, mask: string])[];
  /** The pruned model's file, as base64. */
  readonly file: string;
  readonly version: string;
}

/** Criteria that look at weights alone and at activations. */
export const criteriaCompared = ["l2", "activation"] as const;

/** Prunes a model to half of its work, the same way wherever it runs. */
export async function pruneIn(
  runtime: Runtime,
  model: Uint8Array,
  calibration: Uint8Array,
  criterion: string,
): Promise<Outcome> {
  const images = fromTensors({ image: await readNpy(calibration) });
  const data = take(normalise(images, { scale: 1 / 255 }), 64);
  const plan = methods.structured({ keepMacs: 0.5, criterion: criterionNamed(criterion) });
  const result = await prune(await loadFrom(model, { name: "glyphs.onnx" }), plan, {
    runtime,
    calibration: data,
    measure: false,
  });
  return {
    criterion,
    masks: [...result.masks].map(([group, mask]) => [group, mask.join("")]),
    file: base64(await result.model.encode()),
    version: runtime.version,
  };
}

function base64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  return btoa(text);
}
