import { describe, expect, it } from "vitest";
import { random } from "../../tensor/random.ts";
import { digits, figures, fontsOf } from "./alphabet.ts";
import { composer, type Scene } from "./compose.ts";
import { drawer } from "./draw.ts";
import { type Scenes, type ScenesOptions, scenes } from "./scenes.ts";
import { glyphs, type SceneSettings } from "./settings.ts";
import { turn } from "./turn.ts";

async function pixelsOf(dataset: Scenes, positions: readonly number[]): Promise<Uint8Array> {
  const { inputs } = await dataset.gather(Int32Array.from(positions));
  return inputs.get("image")?.bytes ?? expect.fail("no image");
}

const render = (options: Partial<ScenesOptions> = {}, settings: Partial<SceneSettings> = {}): Scenes =>
  scenes({ ...glyphs, ...settings }, { count: 200, ...options });

function checksum(bytes: Uint8Array): string {
  let h = 0x811c9dc5;
  for (const byte of bytes) h = Math.imul(h ^ byte, 0x01000193);
  return (h >>> 0).toString(16);
}

describe("turning", () => {
  it("agrees with the platform's cosine and sine all the way round", () => {
    for (let degrees = -720; degrees <= 720; degrees += 3.7) {
      const [c, s] = turn(degrees);
      expect(c).toBeCloseTo(Math.cos((degrees * Math.PI) / 180), 13);
      expect(s).toBeCloseTo(Math.sin((degrees * Math.PI) / 180), 13);
      expect(c * c + s * s).toBeCloseTo(1, 14);
    }
  });
});

describe("alphabet", () => {
  it.each([...figures, ...digits])("%s lies in its square and has strokes of some length", (name) => {
    for (const strokes of fontsOf(name)) {
      expect(strokes.length % 4).toBe(0);
      expect(Math.max(...strokes.map(Math.abs))).toBeLessThanOrEqual(1);
      expect(Math.max(...strokes.map(Math.abs))).toBeGreaterThan(0.7);
    }
  });

  it("names the nearest glyph for one that is not there", () => {
    expect(() => fontsOf("zigzga")).toThrow('Did you mean "zigzag"?');
  });
});

describe("a scene", () => {
  const quiet: SceneSettings = {
    ...glyphs,
    levels: 256,
    noise: [0, 0],
    clutter: { ...glyphs.clutter, count: [0, 0] },
    slope: 0,
  };

  /** What drawing means, pixel by pixel over every stroke. */
  function slowly({ things, ground: [middle] }: Scene, { height, width }: SceneSettings["canvas"]): Float64Array {
    const out = new Float64Array(height * width).fill(middle);
    for (const { strokes, pen, ink } of things) {
      for (let i = 0; i < strokes.length; i += 4) {
        const [x0 = 0, y0 = 0, x1 = 0, y1 = 0] = strokes.subarray(i, i + 4);
        for (let at = 0; at < out.length; at++) {
          const [px, py] = [(at % width) + 0.5, Math.floor(at / width) + 0.5];
          const length = (x1 - x0) ** 2 + (y1 - y0) ** 2;
          const t = Math.min(1, Math.max(0, ((px - x0) * (x1 - x0) + (py - y0) * (y1 - y0)) / length));
          const gap = Math.hypot(px - x0 - t * (x1 - x0), py - y0 - t * (y1 - y0));
          const cover = Math.min(1, Math.max(0, pen + 0.5 - gap));
          out[at] = Math.max(out[at] ?? 0, middle + ink * cover);
        }
      }
    }
    return out;
  }

  it("is drawn as every pixel's distance to the nearest stroke says", () => {
    const compose = composer(quiet, 5, "train");
    const draw = drawer(quiet);
    const { height, width } = quiet.canvas;
    for (let i = 0; i < 40; i++) {
      const scene = compose(i);
      const picture = new Uint8Array(height * width);
      draw(scene, random(0), picture);
      const expected = slowly(scene, quiet.canvas).map((level) => 255 * Math.min(1, level));
      const gaps = expected.map((level, at) => Math.abs(level - (picture[at] ?? 0)));
      expect(Math.max(...gaps)).toBeLessThanOrEqual(0.5 + 1e-9);
    }
  });

  it("with noise alone has the mean and the deviation that were asked for", async () => {
    const settings = { noise: [0.1, 0.1], ground: [0.5, 0.5], slope: 0, ink: [0, 0] } as const;
    const bytes = await pixelsOf(render({ count: 100 }, settings), [...Array(100).keys()]);
    const mean = bytes.reduce((sum, n) => sum + n, 0) / bytes.length / 255;
    const variance = bytes.reduce((sum, n) => sum + (n / 255 - mean) ** 2, 0) / bytes.length;
    expect(mean).toBeCloseTo(0.5, 2);
    expect(Math.sqrt(variance)).toBeCloseTo(0.1, 2);
  });

  it("uses only the grey levels that it is allowed", async () => {
    const bytes = await pixelsOf(render({ count: 20 }, { levels: 6 }), [...Array(20).keys()]);
    expect(new Set([...bytes].map((n) => n % 51))).toEqual(new Set([0]));
  });

  it("may hold several glyphs in places of their own, and is called odd or even by them", () => {
    const settings: SceneSettings = { ...glyphs, count: [2, 4], label: "parity", canvas: { height: 56, width: 56 } };
    const compose = composer(settings, 1, "train");
    for (let i = 0; i < 50; i++) {
      const { things, label } = compose(i);
      expect(things.length).toBeGreaterThanOrEqual(2);
      expect(things.length).toBeLessThanOrEqual(4);
      expect(label).toBe(things.reduce((sum, { kind }) => sum + kind, 0) % 2);
      const middles = things.map(({ strokes }) => {
        const xs = strokes.filter((_, k) => k % 2 === 0);
        const ys = strokes.filter((_, k) => k % 2 === 1);
        return [xs, ys].map((v) => Math.floor((Math.min(...v) + Math.max(...v)) / 2 / 28)).join();
      });
      expect(new Set(middles).size).toBe(things.length);
    }
  });
});

describe("a set of scenes", () => {
  it("is the same on every platform and in every version of the renderer", async () => {
    expect(checksum(await pixelsOf(render(), [...Array(200).keys()]))).toBe("631e35fc");
  });

  it("holds sample i whatever the count and the order of reading", async () => {
    const wanted = [7, 3, 150, 3];
    const some = await pixelsOf(render(), wanted);
    expect(await pixelsOf(render({ count: 1000 }), wanted)).toEqual(some);
    expect(await pixelsOf(render({ seed: 1 }), wanted)).not.toEqual(some);
    expect(await pixelsOf(render({ split: "test" }), wanted)).not.toEqual(some);
  });

  it("has every class equally often", () => {
    const { labels } = render({ count: 500 });
    const counts = new Int32Array(10);
    for (const label of labels) counts[label] = (counts[label] ?? 0) + 1;
    expect([...counts]).toEqual(Array(10).fill(50));
  });

  it("can be told apart better than by chance, and by its own labels only", async () => {
    const [train, test] = [render({ count: 1000 }), render({ count: 500, split: "test" })];
    const accuracy = async (labels: Int32Array): Promise<number> => {
      const means = new Float64Array(10 * 784);
      const bytes = await pixelsOf(train, [...Array(1000).keys()]);
      for (let i = 0; i < bytes.length; i++) {
        const at = (labels[Math.floor(i / 784)] ?? 0) * 784 + (i % 784);
        means[at] = (means[at] ?? 0) + (bytes[i] ?? 0) / 100;
      }
      const tested = await pixelsOf(test, [...Array(500).keys()]);
      let right = 0;
      for (let s = 0; s < 500; s++) {
        const far = Array.from({ length: 10 }, (_, c) => {
          let sum = 0;
          for (let k = 0; k < 784; k++) sum += ((tested[s * 784 + k] ?? 0) - (means[c * 784 + k] ?? 0)) ** 2;
          return sum;
        });
        if (far.indexOf(Math.min(...far)) === test.labels[s]) right++;
      }
      return right / 500;
    };
    const own = await accuracy(train.labels);
    expect(own).toBeGreaterThan(0.3);
    expect(own).toBeLessThan(0.8);
    expect(await accuracy(train.labels.map((label) => (label * 7 + 3) % 10))).toBeLessThan(0.2);
  });

  it("carries wrong labels as often as asked, and the right ones beside them", async () => {
    const noisy = render({ count: 4000, labelNoise: 0.2 });
    expect(noisy.truth).toEqual(render({ count: 4000 }).labels);
    const wrong = noisy.labels.filter((label, i) => label !== noisy.truth[i]).length;
    expect(Math.abs(wrong / 4000 - 0.2)).toBeLessThan(0.02);
    expect((await noisy.gather(Int32Array.of(5, 9))).labels).toEqual(
      Int32Array.of(noisy.labels[5] ?? -1, noisy.labels[9] ?? -1),
    );
  });

  it("repeats earlier samples as often as asked, with their labels", async () => {
    const twice = render({ count: 1000, duplicates: 0.3, labelNoise: 0.1 });
    const copies = [...twice.sources.keys()].filter((i) => twice.sources[i] !== i);
    expect(Math.abs(copies.length / 1000 - 0.3)).toBeLessThan(0.05);
    const [copy = 0] = copies.slice(-1);
    const source = twice.sources[copy] ?? 0;
    expect(twice.sources[source]).toBe(source);
    expect(await pixelsOf(twice, [copy])).toEqual(await pixelsOf(twice, [source]));
    for (const i of copies) expect(twice.labels[i]).toBe(twice.labels[twice.sources[i] ?? 0]);
    expect(twice.description).toMatch(/10 % of the labels wrong, 30 % repeated/);
  });

  it("refuses shares that are none", () => {
    expect(() => render({ labelNoise: 1 })).toThrow("expected a fraction from 0 up to 1");
  });
});
