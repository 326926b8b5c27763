import { analyse, type Explanation, explain, load } from "../../index.node.ts";
import { command } from "../command.ts";
import { modelOptions, withRuntime } from "../shared-options.ts";
import { compact, table } from "../table.ts";

/** Members beyond this many are counted, not listed; --json lists all. */
const LISTED = 12;

export const explainCommand = command({
  name: "explain",
  summary: "Say why a part can or cannot be pruned, and what goes with it.",
  args: ["<model>", "<node-or-parameter>"],
  options: modelOptions,
  examples: ["espalier explain model.onnx conv1.weight", "espalier explain model.onnx conv1.weight --json"],
  async run([path = "", name = ""], options, host) {
    const model = await load(path, { fix: options.fix });
    const found = await withRuntime(options, host, async (runtime) =>
      explain(await analyse(model.onnx.graph, runtime, { shapes: options.shape }), name),
    );
    host.print(options.json ? JSON.stringify(found) : explanationText(found));
  },
});

function explanationText({ name, kind, parameters, groups, alone }: Explanation): string {
  const lines = [`${name} is a ${kind}.`];
  if (kind !== "parameter") {
    for (const parameter of parameters) lines.push(`It uses ${parameter.name} [${parameter.shape.join(", ")}].`);
  } else for (const { shape } of parameters) lines.push(`Its shape is [${shape.join(", ")}].`);
  for (const group of groups) {
    const apart = group.sets > 1 ? `, as many in each of ${group.sets} sets` : "";
    lines.push("", `Group ${group.id}, ${group.units} ${group.heads ?? "units"}${apart}:`);
    if (group.blocked.length > 0) lines.push(`It stays whole, because of ${group.blocked.join("; ")}.`);
    else {
      lines.push(
        `One unit takes about ${compact(group.paramsPerUnit)} parameters and ${compact(group.macsPerUnit)} MACs with it.`,
      );
    }
    const shown = group.members.slice(0, LISTED);
    lines.push(
      table([
        ["loses positions", "axis", "as"],
        ...shown.map((m) => [m.parameter, `${m.axis}`, roles[m.role] ?? m.role]),
      ]),
    );
    if (group.members.length > shown.length) lines.push(`and ${group.members.length - shown.length} more (--json)`);
  }
  for (const { parameter, axis, size } of alone) {
    lines.push("", `Axis ${axis} of ${parameter} (${size}) belongs to no group: positions of a kernel, or of size 1.`);
  }
  if (groups.length === 0) lines.push("No group of units lies on it.");
  return lines.join("\n");
}

const roles: Readonly<Record<string, string>> = { output: "output", input: "input", other: "norm, bias or table" };
