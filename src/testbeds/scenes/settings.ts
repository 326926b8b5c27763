import { figures, type GlyphName } from "./alphabet.ts";

/** Least and most; a number is drawn uniformly between them. */
export type Range = readonly [least: number, most: number];

/** What scenes look like. Lengths in pixels, angles in degrees, brightness from 0 to 1. */
export interface SceneSettings {
  readonly canvas: { readonly height: number; readonly width: number };
  /** The glyphs that occur; a glyph's class is its place in the list. */
  readonly glyphs: readonly GlyphName[];
  /** Fonts in which they are drawn, at most; each glyph has at least one. */
  readonly fonts: number;
  /** Glyphs on one canvas. */
  readonly count: Range;
  /** Half of the side of the square that a glyph fills. */
  readonly scale: Range;
  /** How far a glyph lies from the middle of its place, at most, in each direction. */
  readonly shift: number;
  /** How far it is turned, at most, either way. */
  readonly rotation: number;
  /** Height over width, and its inverse. */
  readonly stretch: Range;
  readonly shear: number;
  /** Standard deviation of each end of each stroke, as a fraction of the glyph's size. */
  readonly wobble: number;
  /** Half of the width of a stroke. */
  readonly pen: Range;
  /** Brightness of strokes above the ground. */
  readonly ink: Range;
  readonly ground: Range;
  /** How much the ground may rise from one side to the other. */
  readonly slope: number;
  /** Standard deviation of the noise on each pixel. */
  readonly noise: Range;
  /** Stray strokes, and how far each may reach in each direction. */
  readonly clutter: { readonly count: Range; readonly reach: number; readonly ink: Range };
  /** Grey levels; fewer make smaller files. */
  readonly levels: number;
  /** What a scene is called: the class of its first glyph, or whether its glyphs' classes add up to an odd number. */
  readonly label: "class" | "parity";
}

/** Ten figures, one on each canvas of 28 by 28, bent, among stray strokes, on a sloped ground, in noise. */
export const glyphs: SceneSettings = {
  canvas: { height: 28, width: 28 },
  glyphs: figures,
  fonts: 2,
  count: [1, 1],
  scale: [7, 10],
  shift: 2,
  rotation: 15,
  stretch: [0.8, 1.25],
  shear: 0.2,
  wobble: 0.05,
  pen: [0.6, 1.4],
  ink: [0.35, 0.75],
  ground: [0.1, 0.3],
  slope: 0.15,
  noise: [0.04, 0.14],
  clutter: { count: [0, 3], reach: 9, ink: [0.6, 1.1] },
  levels: 32,
  label: "class",
};
