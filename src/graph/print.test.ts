import { expect, it } from "vitest";
import { float, floats, int, string, subgraph, tensorAttribute } from "./attributes.ts";
import { builder } from "./builder.ts";
import { printGraph } from "./print.ts";

it("prints every kind of value in one readable text", () => {
  const branch = builder("inner");
  branch.output(branch.op("Add", ["y", branch.float32([0.1, -2.5e-9], [2], "bias")], {}, "sum"), "f32", ["n", null]);
  const g = builder("a net", 17);
  const x = g.input("x", "f32", ["n", 3, 8, 8]);
  const sequence = g.input("parts", null);
  const w = g.constant({ dtype: "f32", shape: [16, 3, 3, 3], bytes: new Uint8Array(1728) }, "W");
  const y = g.op("Conv", [x, w, ""], { group: int(1), auto_pad: string('V"') }, "y");
  const end = g.constant(
    { dtype: "i64", shape: [1], bytes: new Uint8Array(BigInt64Array.of(2n ** 63n - 1n).buffer) },
    "end",
  );
  g.op(
    "Slice",
    [y, end, end],
    { scales: floats([1, 0.5]), t: tensorAttribute({ dtype: "bool", shape: [2], bytes: Uint8Array.of(0, 1) }) },
    ["s", ""],
  );
  g.op("com.microsoft::Gelu", [sequence], { alpha: float(0.10000000149011612) }, "has space");
  g.op("If", ["c"], { then_branch: subgraph(branch.finish()) }, "z");
  g.output("z", "f32");
  g.output(w);
  expect(printGraph(g.finish())).toBe(
    [
      'graph "a net" (ai.onnx 17, com.microsoft 1)',
      "  input %x: f32[n, 3, 8, 8]",
      "  input %parts: ?",
      '  %y = Conv[auto_pad="V\\"", group=1](%x, W: f32[16, 3, 3, 3], _)',
      "  %s, _ = Slice[scales=[1, 0.5], t=bool[2] {0, 1}](%y, end: i64[1] {9223372036854775807}, end: i64[1] {9223372036854775807})",
      '  %"has space" = com.microsoft::Gelu[alpha=0.1](%parts)',
      "  %z = If[then_branch](%c)",
      "    then_branch:",
      "      %sum = Add(%y, bias: f32[2] {0.1, -2.5e-9})",
      "      output %sum: f32[n, ?]",
      "  output %z: f32",
      "  output W: f32[16, 3, 3, 3]",
      "",
    ].join("\n"),
  );
});
