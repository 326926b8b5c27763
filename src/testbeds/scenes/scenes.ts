import { type IndexedDataset, indexed } from "../../data/dataset.ts";
import { EspalierError } from "../../tensor/error.ts";
import { random } from "../../tensor/random.ts";
import { tensor } from "../../tensor/tensor.ts";
import { composer } from "./compose.ts";
import { drawer } from "./draw.ts";
import type { SceneSettings } from "./settings.ts";

export interface ScenesOptions {
  readonly count: number;
  readonly seed?: number;
  /** Samples of different splits have nothing in common. */
  readonly split?: string;
  /** Share of the samples that carry the label of another class. */
  readonly labelNoise?: number;
  /** Share of the samples that repeat an earlier one, picture and label. */
  readonly duplicates?: number;
}

/** Rendered pictures with what is known of each sample because it was made. */
export interface Scenes extends IndexedDataset {
  /** The label of each sample. */
  readonly labels: Int32Array;
  /** The label that the picture deserves. */
  readonly truth: Int32Array;
  /** The sample that each one repeats; its own position where it repeats none. */
  readonly sources: Int32Array;
}

/**
 * Pictures of stroke glyphs: bytes [1, height, width] named "image", with labels. Sample i depends on the settings, the
 * seed, the split and i alone, byte for byte on every platform; with whole rounds of classes, all are as frequent.
 */
export function scenes(settings: SceneSettings, options: ScenesOptions): Scenes {
  const { count, seed = 0, split = "train", labelNoise = 0, duplicates = 0 } = options;
  for (const [name, share] of [["label noise", labelNoise] as const, ["duplicates", duplicates] as const]) {
    if (share >= 0 && share < 1) continue;
    throw new EspalierError("request", name, `expected a fraction from 0 up to 1, got ${share}.`);
  }
  const { height, width } = settings.canvas;
  const compose = composer(settings, seed, split);
  const classes = settings.label === "parity" ? 2 : settings.glyphs.length;
  const sources = repeats(count, duplicates, seed, split);
  const truth = sources.map((source) => compose(source).label);
  const labels = confused(truth, sources, classes, labelNoise, seed, split);
  const size = height * width;
  const draw = drawer(settings);
  const pixels = new Uint8Array(count * size);
  const drawn = new Uint8Array(count);
  const pictureOf = (source: number): Uint8Array => {
    const picture = pixels.subarray(source * size, (source + 1) * size);
    if (drawn[source] === 0) {
      draw(compose(source), random(seed, "noise", split, source), picture);
      drawn[source] = 1;
    }
    return picture;
  };
  const extras = [
    labelNoise > 0 ? `${100 * labelNoise} % of the labels wrong` : "",
    duplicates > 0 ? `${100 * duplicates} % repeated` : "",
  ];
  const dataset = indexed({
    description: [`scenes of ${settings.glyphs.length} glyphs, ${split}, seed ${seed}`, ...extras]
      .filter((part) => part !== "")
      .join(", "),
    count,
    labelled: true,
    features: new Map([["image", { dtype: "u8", shape: [1, height, width] }]]),
    async gather(positions) {
      const bytes = new Uint8Array(positions.length * size);
      for (let i = 0; i < positions.length; i++) bytes.set(pictureOf(sources[positions[i] ?? 0] ?? 0), i * size);
      return {
        inputs: new Map([["image", tensor("u8", [positions.length, 1, height, width], bytes)]]),
        labels: positions.map((position) => labels[position] ?? 0),
        count: positions.length,
      };
    },
  });
  return { ...dataset, labels, truth, sources };
}

/** For each sample the one that it repeats, or itself. */
function repeats(count: number, share: number, seed: number, split: string): Int32Array {
  const draw = random(seed, "duplicates", split);
  const sources = Int32Array.from({ length: count }, (_, i) => i);
  for (let i = 1; i < count; i++) {
    const [chance, earlier] = [draw.uniform(), draw.int(i)];
    if (chance < share) sources[i] = sources[earlier] ?? earlier;
  }
  return sources;
}

/** Labels of which a share became another class; a repeated sample repeats its label. */
function confused(
  truth: Int32Array,
  sources: Int32Array,
  classes: number,
  share: number,
  seed: number,
  split: string,
): Int32Array {
  const draw = random(seed, "label noise", split);
  const labels = Int32Array.from(truth);
  for (let i = 0; i < labels.length; i++) {
    const [chance, other] = [draw.uniform(), 1 + draw.int(Math.max(1, classes - 1))];
    const source = sources[i] ?? i;
    if (source !== i) labels[i] = labels[source] ?? 0;
    else if (chance < share) labels[i] = ((labels[i] ?? 0) + other) % classes;
  }
  return labels;
}
