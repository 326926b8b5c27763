import { expect, it } from "vitest";
import { checkpointModel } from "../models/checkpoint/checkpoint-model.ts";
import { loadSizes } from "../models/loaders/sizes.ts";
import { loaderNames } from "../models/loaders/table.ts";
import { type Load, willLoad } from "../models/loaders/will-load.ts";
import { llamaCheckpoint } from "../testbeds/models/llama-checkpoint.ts";
import { loadText } from "./load-text.ts";

const sizesOf = (changes: { readonly inner?: number; readonly heads?: number; readonly kvHeads?: number }) => {
  const sizes = { vocabulary: 512, width: 256, layers: 2, heads: 8, kvHeads: 8, inner: 512, ...changes };
  return loadSizes(checkpointModel(llamaCheckpoint(sizes)));
};
const original = sizesOf({});
const loadsOf = (changes: Parameters<typeof sizesOf>[0]) => willLoad(sizesOf(changes), original);

it("a model that loses nothing takes one line", () => {
  expect(loadText(loadsOf({}))).toHaveLength(1);
});

it("each loader takes one line, with how many limits there are and the worst of them", () => {
  const loads = loadsOf({ inner: 301, kvHeads: 1 });
  const limited = loads.filter(({ findings }) => findings.some(({ original }) => !original));
  expect(Math.max(...limited.map(({ findings }) => findings.length))).toBeGreaterThan(3);
  const lines = loadText(loads);
  expect(lines).toHaveLength(1 + limited.length);
  expect(lines).toMatchInlineSnapshot(`
    [
      "By its sizes it loads in transformers, ONNX Runtime, Transformers.js.",
      "vLLM loads it with 5 limits: expected heads and inner widths that divide by 2, got intermediate_size = 301. The nearest that it takes: intermediate_size = 256 or 384. 4 more are in --json and --report.",
      "llama.cpp loads it with 2 limits: expected rows of matrices in multiples of 32, got intermediate_size = 301. The nearest that it takes: intermediate_size = 256 or 512. 1 more is in --json and --report.",
    ]
  `);
});

it("a refusal goes before limits, wherever it stands, and what the original has too is not told", () => {
  const finding = { expected: "a", got: "b", because: "c.", nearest: {}, original: false };
  const [loader = expect.fail()] = loaderNames;
  const load = { loader, version: "1", reads: "checkpoint" } as const;
  const both: Load = {
    ...{ ...load, verdict: "refused" },
    findings: [
      { ...finding, severity: "limited" },
      { ...finding, severity: "refused", expected: "x", nearest: { hidden_size: [8, 16] } },
    ],
  };
  const old: Load = { ...load, verdict: "limited", findings: [{ ...finding, severity: "limited", original: true }] };
  expect(loadText([both])).toMatchInlineSnapshot(`
    [
      "transformers refuses it: expected x, got b. The nearest that it takes: hidden_size = 8 or 16. 1 more is in --json and --report.",
    ]
  `);
  expect(loadText([old])).toMatchInlineSnapshot(`
    [
      "By its sizes it loads in transformers.",
    ]
  `);
  expect(loadText([])).toEqual([]);
});
