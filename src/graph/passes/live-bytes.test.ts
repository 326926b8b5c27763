import { expect, it } from "vitest";
import { builder } from "../builder.ts";
import type { TensorType } from "../graph.ts";
import { liveBytes } from "./live-bytes.ts";

it("values count from where they are made to their last reader, outputs to the end", () => {
  const draft = builder("chain", 17);
  const x = draft.input("x", "f32", [100]);
  const a = draft.op("Relu", [x], {}, "a");
  const b = draft.op("Neg", [a], {}, "b");
  const c = draft.op("Add", [a, b], {}, "c");
  const d = draft.op("Relu", [c], {}, "d");
  draft.output(draft.op("Exp", [d], {}, "e"), "f32", [100]);
  const graph = draft.finish();
  const types = new Map<string, TensorType>(
    ["x", "a", "b", "c", "d", "e"].map((name) => [name, { dtype: "f32", shape: [100] }]),
  );
  // a, b and c at once; x is fed.
  expect(liveBytes(graph, types)).toBe(1200);
  types.set("e", { dtype: "f32", shape: [300] });
  expect(liveBytes(graph, types)).toBe(1600);
  types.delete("e");
  types.delete("b");
  expect(liveBytes(graph, types)).toBe(800);
});
