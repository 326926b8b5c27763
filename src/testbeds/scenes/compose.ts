import { type Random, random } from "../../tensor/random.ts";
import { fontsOf, type Strokes } from "./alphabet.ts";
import type { Range, SceneSettings } from "./settings.ts";
import { turn } from "./turn.ts";

/** Strokes of one brightness and width, in pixels from the upper left corner. */
export interface Drawing {
  /** x, y, x, y of the two ends of each stroke. */
  readonly strokes: Strokes;
  /** Half of the width of a stroke. */
  readonly pen: number;
  /** Brightness above the ground. */
  readonly ink: number;
}

/** A glyph on a canvas. */
export interface Thing extends Drawing {
  /** Its class: place in the list of glyphs of the settings. */
  readonly kind: number;
}

/** What a picture shows, before it is drawn. */
export interface Scene {
  readonly things: readonly Thing[];
  readonly clutter: Drawing;
  /** Brightness in the middle, and how much it rises to the right and downwards. */
  readonly ground: readonly [middle: number, right: number, down: number];
  readonly noise: number;
  /** What the label rule says of it. */
  readonly label: number;
}

/** Composes scenes of some settings; what scene i shows depends on the seed, the split and i alone. */
export function composer(settings: SceneSettings, seed: number, split: string): (index: number) => Scene {
  const { canvas, clutter } = settings;
  const fonts = settings.glyphs.map((name) => fontsOf(name).slice(0, settings.fonts));
  const kinds = kindsInTurn(fonts.length, seed, split);
  return (index) => {
    const draw = random(seed, "scene", split, index);
    const count = whole(draw, settings.count);
    const places = placesOn(canvas, count, draw);
    const things = places.map(([x, y, room], i): Thing => {
      const kind = i === 0 ? kinds(index) : draw.int(fonts.length);
      const choice = fonts[kind] ?? [];
      const figure = choice[draw.int(choice.length)] ?? new Float64Array(0);
      return { kind, ...placed(figure, x, y, room, settings, draw) };
    });
    const brightest = things[0]?.ink ?? 1;
    return {
      things,
      clutter: {
        strokes: strayStrokes(whole(draw, clutter.count), clutter.reach, canvas, draw),
        pen: between(draw, settings.pen),
        ink: brightest * between(draw, clutter.ink),
      },
      ground: [between(draw, settings.ground), rise(settings.slope, draw), rise(settings.slope, draw)],
      noise: between(draw, settings.noise),
      label: labels[settings.label](things),
    };
  };
}

const labels: Readonly<Record<SceneSettings["label"], (things: readonly Thing[]) => number>> = {
  class: (things) => things[0]?.kind ?? 0,
  parity: (things) => things.reduce((sum, { kind }) => sum + kind, 0) % 2,
};

/** Classes so that every run of as many samples as classes, from a multiple of it, has each of them once. */
function kindsInTurn(classes: number, seed: number, split: string): (index: number) => number {
  let at = -1;
  let order: Int32Array = new Int32Array(0);
  return (index) => {
    const block = Math.floor(index / classes);
    if (block !== at) order = random(seed, "kinds", split, block).permutation(classes);
    at = block;
    return order[index % classes] ?? 0;
  };
}

/** Middles of places for so many glyphs, and how much of their size there is room for. One has the whole canvas. */
function placesOn(
  { height, width }: SceneSettings["canvas"],
  count: number,
  draw: Random,
): readonly (readonly [x: number, y: number, room: number])[] {
  const side = Math.ceil(Math.sqrt(count));
  return Array.from(draw.sample(side * side, count), (cell) => {
    const [row, column] = [Math.floor(cell / side), cell % side];
    return [(width * (column + 0.5)) / side, (height * (row + 0.5)) / side, 1 / side] as const;
  });
}

/** The figure wobbled, stretched, sheared, turned and moved to its place. */
function placed(figure: Strokes, x: number, y: number, room: number, settings: SceneSettings, draw: Random): Drawing {
  const [c, s] = turn(rise(settings.rotation, draw));
  const size = room * between(draw, settings.scale);
  const stretch = between(draw, settings.stretch);
  const shear = rise(settings.shear, draw);
  const left = x + rise(room * settings.shift, draw);
  const top = y + rise(room * settings.shift, draw);
  const wobble = new Float64Array(figure.length);
  draw.fillNormal(wobble, 0, settings.wobble);
  const strokes = new Float64Array(figure.length);
  for (let i = 0; i < figure.length; i += 2) {
    const px = (figure[i] ?? 0) + (wobble[i] ?? 0);
    const py = (figure[i + 1] ?? 0) + (wobble[i + 1] ?? 0);
    const u = stretch * px + shear * py;
    const v = py / stretch;
    strokes[i] = left + size * (c * u - s * v);
    strokes[i + 1] = top + size * (s * u + c * v);
  }
  return { strokes, pen: between(draw, settings.pen), ink: between(draw, settings.ink) };
}

function strayStrokes(count: number, reach: number, canvas: SceneSettings["canvas"], draw: Random): Strokes {
  const strokes = new Float64Array(4 * count);
  for (let i = 0; i < strokes.length; i += 4) {
    const [x, y] = [canvas.width * draw.uniform(), canvas.height * draw.uniform()];
    strokes.set([x, y, x + rise(reach, draw), y + rise(reach, draw)], i);
  }
  return strokes;
}

function between(draw: Random, [least, most]: Range): number {
  return least + (most - least) * draw.uniform();
}

function whole(draw: Random, [least, most]: Range): number {
  return least + draw.int(most - least + 1);
}

/** Uniform between minus and plus `most`. */
function rise(most: number, draw: Random): number {
  return most * (2 * draw.uniform() - 1);
}
