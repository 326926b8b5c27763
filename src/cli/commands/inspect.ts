import { analyse, branchesOf, headsOf, load, openRuntime } from "../../index.node.ts";
import { command } from "../command.ts";
import { modelOptions } from "../shared-options.ts";
import { compact, counted, percent, table } from "../table.ts";

export const inspectCommand = command({
  name: "inspect",
  summary: "Show layers, groups, parameters, MACs and sizes: what can be pruned, what cannot, and why.",
  args: ["<model>"],
  options: modelOptions,
  examples: ["espalier inspect model.onnx", "espalier inspect model.onnx --shape input=1x3x320x320 --json"],
  async run([path = ""], { shape, fix, device, threads, json }, host) {
    const model = await load(path, { fix });
    const runtime = await openRuntime({
      ...(device === undefined ? {} : { device }),
      ...(threads === undefined ? {} : { threads }),
      signal: host.signal,
    });
    try {
      const analysis = await analyse(model.onnx.graph, runtime, { shapes: shape });
      const total = analysis.cost.total();
      const layers = analysis.cost
        .byNode()
        .filter(({ params, macs }) => params + macs > 0)
        .map(({ node, params, macs }) => ({ name: node.name || (node.outputs[0] ?? ""), op: node.op, params, macs }));
      const { heads, queryHeads } = headsOf(analysis.coupling);
      const branches = branchesOf(analysis.graph, analysis.coupling, analysis.facts);
      const groups = analysis.coupling.groups.map((group) => ({
        id: group.id,
        units: group.size * group.sets,
        sets: group.sets,
        heads: heads.has(group) ? "heads" : queryHeads.has(group) ? "query heads" : null,
        members: new Set(group.members.map(({ parameter }) => parameter)).size,
        blocked: group.blocked,
      }));
      if (json) {
        const unknown = Object.fromEntries(analysis.coupling.unknown);
        const inputs = Object.fromEntries(analysis.inputs);
        host.print(JSON.stringify({ model: path, ...total, inputs, layers, groups, branches, unknown }));
        return;
      }
      const free = groups.filter(({ blocked }) => blocked.length === 0);
      host.print(
        `${path}: ${compact(total.params)} parameters, ${compact(total.macs)} MACs a sample, ${compact(total.bytes)}B of weights`,
      );
      host.print("");
      host.print(
        table([
          ["layer", "operator", "parameters", "", "MACs", ""],
          ...layers.map(({ name, op, params, macs }) => [
            name,
            op,
            compact(params),
            percent(params, total.params),
            compact(macs),
            percent(macs, total.macs),
          ]),
        ]),
      );
      host.print("");
      host.print(`${counted(free.length, "group of units", "groups of units")} can be pruned:`);
      const unitsOf = (g: (typeof groups)[number]) => (g.sets === 1 ? `${g.units}` : `${g.sets} x ${g.units / g.sets}`);
      const rows = free.map((g) => [g.id, unitsOf(g), `${g.members}`, g.heads ?? ""]);
      host.print(table([["group", "units", "parameters", ""], ...rows]));
      if (branches.length > 0) {
        host.print("");
        host.print(
          `${counted(branches.length, "residual branch", "residual branches")} can go as a whole (--granularity layer):`,
        );
        host.print(table([["branch", "is added at", "to"], ...branches.map((b) => [b.branch, b.sum, b.bypass])]));
      }
      const rest = groups.filter(({ blocked }) => blocked.length > 0);
      if (rest.length > 0) {
        host.print("");
        host.print(`${counted(rest.length, "group stays", "groups stay")} whole:`);
        host.print(
          table([["group", "units", "because"], ...rest.map((g) => [g.id, `${g.units}`, g.blocked.join("; ")])]),
        );
      }
      for (const [op, count] of analysis.coupling.unknown) {
        host.print(`${op} (${count}x) is not understood; what it touches stays whole.`);
      }
      const { unknown } = analysis.coupling;
      const decides = analysis.graph.inputs.find(({ dtype, dims }) => dtype === "bool" && dims?.length === 0);
      if (unknown.size > 0 && decides !== undefined) {
        const { name } = decides;
        host.print(`Input ${name} may decide what runs: with --fix ${name}=true it is settled before anything is cut.`);
      }
    } finally {
      await runtime.close();
    }
  },
});
