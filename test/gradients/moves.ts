import { int, string } from "../../src/graph/attributes.ts";
import type { GradientCase } from "./check.ts";

const x = { shape: [3, 4] };
const line = { shape: [2, 7] };
const list = (...values: number[]) => ({ ints: values });

/** Operators that cut, join, look up and place elements. */
export const moveCases: readonly GradientCase[] = [
  { op: "Concat", inputs: [{ shape: [2, 3] }, { shape: [2, 1] }, { shape: [2, 2] }], attributes: { axis: int(-1) } },
  { op: "Split", inputs: [line, list(3, 0, 4)], attributes: { axis: int(1) }, outputs: 3, read: [0, 2] },
  {
    op: "Split",
    form: "one part read",
    inputs: [line, list(3, 2, 2)],
    attributes: { axis: int(1) },
    outputs: 3,
    read: [1],
  },
  {
    op: "Split",
    form: "equal parts, the last one smaller",
    inputs: [line],
    attributes: { axis: int(1), num_outputs: int(3) },
    outputs: 3,
    read: [0, 1, 2],
  },
  { op: "Slice", inputs: [line, list(1), list(-1), list(1)] },
  {
    op: "Slice",
    form: "steps on two axes",
    inputs: [{ shape: [5, 7] }, list(1, 0), list(5, 7), list(0, 1), list(2, 3)],
  },
  { op: "Slice", form: "a step that leaves a rest", inputs: [{ shape: [8] }, list(1), list(6), list(0), list(3)] },
  { op: "Slice", form: "backwards", inputs: [line, list(-1), list(-100), list(1), list(-1)] },
  { op: "Slice", form: "backwards by two", inputs: [line, list(5), list(0), list(-1), list(-2)] },
  { op: "Slice", form: "axes by position", inputs: [x, list(0, 1), list(2, 1000)] },
  { op: "Pad", inputs: [x, list(1, 0, 2, 1)] },
  { op: "Pad", form: "with a value", inputs: [x, list(1, 0, 2, 1), { shape: [] }] },
  { op: "Pad", form: "negative", inputs: [x, list(-1, 2, 0, -1)] },
  { op: "Pad", form: "some axes", inputs: [x, list(2, 1), null, list(1)] },
  { op: "Pad", form: "edge", inputs: [x, list(1, 2, 0, 1)], attributes: { mode: string("edge") } },
  { op: "Pad", form: "reflect", inputs: [x, list(1, 2, 2, 3)], attributes: { mode: string("reflect") } },
  { op: "Pad", form: "wrap", inputs: [x, list(1, 2, 0, 3)], attributes: { mode: string("wrap") } },
  { op: "Gather", inputs: [x, list(2, 0, 0, -1)], attributes: { axis: int(1) } },
  { op: "Gather", form: "one position", inputs: [x, { ints: [-1], shape: [] }], attributes: { axis: int(1) } },
  {
    op: "Gather",
    form: "many jumps",
    inputs: [{ shape: [2, 9] }, list(0, 5, 2, 7, 1, 5, 3, 8)],
    attributes: { axis: int(1) },
  },
  { op: "Gather", form: "a table", inputs: [x, { ints: [2, 0, 1, 1, 2, -1], shape: [2, 3], feed: true }] },
  {
    op: "Gather",
    form: "lookups on the last axis",
    inputs: [x, { ints: [3, 0, 3], feed: true }],
    attributes: { axis: int(-1) },
  },
  { op: "GatherElements", inputs: [x, { ints: [0, 0, 3, -2, 1, 1], shape: [3, 2] }], attributes: { axis: int(1) } },
  { op: "GatherND", inputs: [x, { ints: [0, 1, 2, 3, -1, -1, 0, 1], shape: [2, 2, 2] }] },
  { op: "GatherND", form: "rows", inputs: [{ shape: [3, 2, 2] }, { ints: [2, 0, 2], shape: [3, 1] }] },
  {
    op: "GatherND",
    form: "batch",
    inputs: [{ shape: [2, 3, 2] }, { ints: [2, -3, 1, 1], shape: [2, 2, 1] }],
    attributes: { batch_dims: int(1) },
  },
  {
    op: "ScatterElements",
    inputs: [x, { ints: [3, 1, 0, -2], shape: [2, 2] }, { shape: [2, 2] }],
    attributes: { axis: int(1) },
  },
  {
    op: "ScatterElements",
    form: "add",
    inputs: [x, { ints: [1, 1, 0, 2], shape: [2, 2] }, { shape: [2, 2] }],
    attributes: { axis: int(0), reduction: string("add") },
  },
  { op: "ScatterND", inputs: [x, { ints: [2, 0], shape: [2, 1] }, { shape: [2, 4] }] },
  {
    op: "ScatterND",
    form: "add",
    inputs: [x, { ints: [0, 1, 0, 1, 2, 3], shape: [3, 2] }, { shape: [3] }],
    attributes: { reduction: string("add") },
  },
];
