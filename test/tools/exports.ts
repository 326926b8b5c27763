import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseSync } from "@swc/core";

export type Kind = "type" | "value";

/** The names that a module exports, with those of modules that it exports whole; only relative ones are followed. */
export function exportedNames(path: string): ReadonlyMap<string, Kind> {
  const names = new Map<string, Kind>();
  for (const item of parseSync(readFileSync(path, "utf8"), { syntax: "typescript" }).body) {
    if (item.type === "ExportAllDeclaration") {
      for (const [name, kind] of exportedNames(join(dirname(path), item.source.value))) names.set(name, kind);
    } else if (item.type === "ExportNamedDeclaration") {
      for (const specifier of item.specifiers) {
        if (specifier.type === "ExportNamespaceSpecifier") {
          names.set(specifier.name.value, "value");
          continue;
        }
        if (specifier.type !== "ExportSpecifier") throw new Error(`${path}: expected exports by name`);
        const name = (specifier.exported ?? specifier.orig).value;
        names.set(name, Reflect.get(item, "typeOnly") === true || specifier.isTypeOnly ? "type" : "value");
      }
    } else if (item.type === "ExportDeclaration") {
      const { declaration } = item;
      if (declaration.type === "VariableDeclaration") {
        for (const { id } of declaration.declarations) if (id.type === "Identifier") names.set(id.value, "value");
      } else if (declaration.type === "TsInterfaceDeclaration" || declaration.type === "TsTypeAliasDeclaration") {
        names.set(declaration.id.value, "type");
      } else if ("identifier" in declaration) {
        names.set(declaration.identifier.value, "value");
      }
    }
  }
  return names;
}

/** exports.txt: what every environment has, then what only Node has. */
export function publicSurface(everywhere: ReadonlyMap<string, Kind>, node: ReadonlyMap<string, Kind>): string {
  const lines = (names: ReadonlyMap<string, Kind>): string[] =>
    [...names].map(([name, kind]) => (kind === "type" ? `type ${name}` : name)).sort();
  const nodeOnly = new Map([...node].filter(([name]) => !everywhere.has(name)));
  return ["# everywhere", ...lines(everywhere), "", "# in Node only", ...lines(nodeOnly), ""].join("\n");
}
