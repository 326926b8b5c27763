import { describeNode } from "../graph/attributes.ts";
import type { Feeds, Graph } from "../graph/graph.ts";
import { removeDeadCode } from "../graph/passes/dead-code.ts";
import { expose } from "../graph/subgraph.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { isFloat } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { toFloat32 } from "../tensor/numeric.ts";
import type { HostTensor } from "../tensor/tensor.ts";

/** Values that are looked at in one run. */
const MOST = 64;

/**
 * Why a step gave values that are not finite: runs it again and finds the first of its values, in the order of
 * computation, that is not. What was fed comes first.
 */
export async function diagnose(runtime: Runtime, graph: Graph, feeds: Feeds, update: number): Promise<EspalierError> {
  const where = `update ${update}`;
  for (const [name, tensor] of feeds) {
    if (isSound(tensor)) continue;
    const message = `expected finite numbers, got ${kindIn(tensor)} in "${name}", which was fed.`;
    return new EspalierError("gradient", where, message, "Look at the data, and at what the last update did.");
  }
  const values = graph.nodes.flatMap((node) =>
    node.outputs.filter((name) => name !== "").map((name) => ({ node, name })),
  );
  for (let start = 0; start < values.length; start += MOST) {
    const part = values.slice(start, start + MOST);
    const bare = removeDeadCode(
      expose(
        { ...graph, outputs: [] },
        part.map(({ name }) => name),
      ),
    );
    const used = new Set(bare.nodes.flatMap(({ inputs }) => inputs));
    const inputs = bare.inputs.filter(({ name }) => used.has(name));
    const outputs = bare.outputs.map(({ name }) => ({ name, dtype: null }));
    const session = await runtime.compile(
      { ...bare, inputs, outputs, valueInfo: new Map() },
      { optimisation: "disabled" },
    );
    try {
      const given = new Map([...feeds].filter(([name]) => inputs.some((input) => input.name === name)));
      const found = await session.run(given);
      for (const { node, name } of part) {
        const tensor = found.get(name);
        if (tensor === undefined || isSound(tensor)) continue;
        const message = `expected finite numbers, got ${kindIn(tensor)} first in the result of ${describeNode(node)}.`;
        return new EspalierError("gradient", where, message, "A smaller learning rate, clipping or warm-up may help.");
      }
    } finally {
      await session.release();
    }
  }
  return new EspalierError("gradient", where, "expected a finite loss and finite gradients, got others.");
}

function isSound(tensor: HostTensor): boolean {
  return !isFloat(tensor.dtype) || toFloat32(tensor).every(Number.isFinite);
}

function kindIn(tensor: HostTensor): string {
  return toFloat32(tensor).some(Number.isNaN) ? "NaN" : "infinity";
}
