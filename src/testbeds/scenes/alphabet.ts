import { didYouMean, EspalierError } from "../../tensor/error.ts";
import { turn } from "./turn.ts";

/** A figure of straight strokes in the square from -1 to 1, y downwards: x, y, x, y of the two ends of each. */
export type Strokes = Float64Array;

type Point = readonly [x: number, y: number];
type Line = readonly Point[];

/** Points on a circle or a spiral around a centre, from one angle to another, clockwise from the right. */
function arc(centre: Point, from: number, to: number, radius: number, end = radius, pieces = 12): Line {
  return Array.from({ length: pieces + 1 }, (_, i): Point => {
    const [c, s] = turn(from + ((to - from) * i) / pieces);
    const r = radius + ((end - radius) * i) / pieces;
    return [centre[0] + r * c, centre[1] + r * s];
  });
}

const polygon = (...points: readonly Point[]): Line => [...points, ...points.slice(0, 1)];

/** Lines through the middle at these angles. */
const spokes = (...angles: readonly number[]): readonly Line[] =>
  angles.map((angle) => {
    const [c, s] = turn(angle);
    return [[-0.9 * c, -0.9 * s] as const, [0.9 * c, 0.9 * s] as const];
  });

/** Every glyph in each of its fonts, most usual first; a font that a glyph does not have repeats from the first. */
const glyphs = {
  ring: [[arc([0, 0], 0, 360, 0.85)], [oval(0.6, 0.9)]],
  cross: [spokes(0, 90), spokes(10, 80)],
  triangle: [[polygon([-0.85, 0.7], [0.85, 0.7], [0, -0.85])], [polygon([-0.85, 0.75], [0.85, 0.5], [-0.3, -0.85])]],
  square: [
    [polygon([-0.75, -0.75], [0.75, -0.75], [0.75, 0.75], [-0.75, 0.75])],
    [polygon([-0.6, -0.8], [0.85, -0.65], [0.6, 0.8], [-0.85, 0.65])],
  ],
  arrow: [
    [line([0, 0.9], [0, -0.9]), line([-0.6, -0.3], [0, -0.9], [0.6, -0.3])],
    [line([0, 0.9], [0, -0.2]), polygon([-0.45, -0.2], [0, -0.9], [0.45, -0.2])],
  ],
  zigzag: [
    [line([-0.9, -0.5], [-0.4, 0.5], [0.05, -0.5], [0.5, 0.5], [0.9, -0.5])],
    [line([-0.9, 0.5], [-0.45, -0.5], [0, 0.5], [0.45, -0.5], [0.9, 0.5])],
  ],
  tee: [
    [line([0, 0.9], [0, -0.8]), line([-0.8, -0.8], [0.8, -0.8])],
    [line([0, 0.9], [0, -0.8]), line([-0.8, -0.55], [-0.8, -0.8], [0.8, -0.8], [0.8, -0.55])],
  ],
  spiral: [[arc([0, 0], 0, 648, 0.1, 0.9, 18)], [arc([0, 0], 180, 720, 0.15, 0.9, 15)]],
  asterisk: [spokes(30, 90, 150), spokes(0, 45, 90, 135)],
  arc: [[arc([0, 0], 45, 315, 0.85)], [arc([0, 0], 60, 300, 0.85)]],
  zero: [[oval(0.55, 0.9)], [oval(0.55, 0.9), line([0.35, -0.6], [-0.35, 0.6])]],
  one: [
    [line([-0.35, -0.55], [0, -0.9], [0, 0.9])],
    [line([-0.35, -0.55], [0, -0.9], [0, 0.9]), line([-0.4, 0.9], [0.4, 0.9])],
    [line([0, -0.9], [0, 0.9])],
  ],
  two: [
    [[...arc([0, -0.4], 190, 390, 0.5), [-0.55, 0.9], [0.6, 0.9]]],
    [line([-0.5, -0.9], [0.5, -0.9], [0.5, 0], [-0.5, 0], [-0.5, 0.9], [0.5, 0.9])],
  ],
  three: [
    [arc([0, -0.45], 200, 450, 0.45), arc([0, 0.45], 270, 520, 0.45)],
    [line([-0.5, -0.9], [0.5, -0.9], [0, -0.15]), arc([0, 0.35], 270, 500, 0.5)],
  ],
  four: [
    [line([0.3, 0.9], [0.3, -0.9], [-0.6, 0.35], [0.65, 0.35])],
    [line([-0.45, -0.9], [-0.45, 0.1], [0.5, 0.1]), line([0.35, -0.5], [0.35, 0.9])],
  ],
  five: [
    [line([0.5, -0.9], [-0.4, -0.9], [-0.45, -0.1]), arc([0, 0.35], 225, 500, 0.55)],
    [line([0.5, -0.9], [-0.5, -0.9], [-0.5, 0], [0.5, 0], [0.5, 0.9], [-0.5, 0.9])],
  ],
  six: [
    [[[0.35, -0.9], [-0.35, -0.1], ...arc([0, 0.4], 180, 540, 0.5)]],
    [line([0.5, -0.9], [-0.5, -0.9], [-0.5, 0.9], [0.5, 0.9], [0.5, 0], [-0.5, 0])],
  ],
  seven: [
    [line([-0.55, -0.9], [0.55, -0.9], [-0.15, 0.9])],
    [line([-0.55, -0.9], [0.55, -0.9], [-0.15, 0.9]), line([-0.3, 0], [0.5, 0])],
  ],
  eight: [
    [arc([0, -0.45], 0, 360, 0.4), arc([0, 0.42], 0, 360, 0.48)],
    [polygon([-0.45, -0.9], [0.45, -0.9], [-0.45, 0.9], [0.45, 0.9])],
  ],
  nine: [
    [[...arc([0, -0.4], 360, 0, 0.5), [0.4, 0.9]]],
    [line([0.5, 0], [-0.5, 0], [-0.5, -0.9], [0.5, -0.9], [0.5, 0.9], [-0.5, 0.9])],
  ],
} satisfies Readonly<Record<string, readonly (readonly Line[])[]>>;

export type GlyphName = keyof typeof glyphs;

const known = new Map<string, readonly (readonly Line[])[]>(Object.entries(glyphs));

/** Ten figures that share few strokes. */
export const figures = [
  "ring",
  "cross",
  "triangle",
  "square",
  "arrow",
  "zigzag",
  "tee",
  "spiral",
  "asterisk",
  "arc",
] as const satisfies readonly GlyphName[];

export const digits = [
  "zero",
  "one",
  "two",
  "three",
  "four",
  "five",
  "six",
  "seven",
  "eight",
  "nine",
] as const satisfies readonly GlyphName[];

/** The fonts of a glyph, as strokes. Throws `request` for a name that is not known. */
export function fontsOf(name: string): readonly Strokes[] {
  const found = known.get(name);
  if (found !== undefined) return found.map(strokesOf);
  const names = [...known.keys()];
  const message = `expected one of ${names.slice(0, 5).join(", ")}, ..., got "${name}".`;
  throw new EspalierError("request", "glyph", message, didYouMean(name, names));
}

function line(...points: readonly Point[]): Line {
  return points;
}

function oval(width: number, height: number): Line {
  return arc([0, 0], 0, 360, 1).map(([x, y]): Point => [width * x, height * y]);
}

function strokesOf(lines: readonly Line[]): Strokes {
  const ends: number[] = [];
  for (const points of lines) {
    for (const [i, [x, y]] of points.entries()) {
      const next = points[i + 1];
      if (next !== undefined) ends.push(x, y, next[0], next[1]);
    }
  }
  return Float64Array.from(ends);
}
