import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { random } from "../../src/tensor/random.ts";
import { handMade, type Lies } from "./hand-made.ts";

/** A file to be pruned. `valid` says that it must work, `broken` that it must not. */
export interface Case {
  readonly name: string;
  readonly expect: "valid" | "broken" | "either";
  /** Writes the file, and what lies beside it, into an empty folder, and gives its path. */
  write(folder: string): string;
}

const min = -(2n ** 63n);

const lies: Readonly<Record<string, Lies>> = {
  "a dimension too large for the bytes": { dims: [4, 80] },
  "a dimension too small for the bytes": { dims: [4, 2] },
  "a negative dimension": { dims: [-4, 8] },
  "huge dimensions": { dims: [2n ** 40n, 2n ** 40n] },
  "dimensions whose product wraps to the truth": { dims: [2n ** 32n, 2n ** 32n, 32n] },
  "a dimension of zero": { dims: [0, 8] },
  "thousands of dimensions": { dims: Array.from({ length: 5000 }, () => 1) },
  "layers that do not fit": { dims: [8, 4] },
  "too few bytes": { bytes: 60 },
  "no bytes": { bytes: 0 },
  "an element type that does not exist": { type: 99 },
  "an operator that does not exist": { op: "Explode" },
  "a cycle of one": { reads: "a" },
  "a cycle of two": { reads: "b" },
  "a value that nobody makes": { reads: "nowhere" },
  "an input of negative size": { input: [2, -4] },
  "an input of huge size": { input: [2n ** 50n, 4] },
  "data above the folder": { external: { location: "../secret", offset: "0", length: "128" } },
  "data at an absolute path": { external: { location: "/etc/passwd", offset: "0", length: "128" } },
  "data in a link that leaves the folder": { external: { location: "link", offset: "0", length: "128" } },
  "data in a linked folder": { external: { location: "folder/passwd", offset: "0", length: "128" } },
  "data in a device": { external: { location: "zero", offset: "0", length: "128" } },
  "data that is not there": { external: { location: "absent", offset: "0", length: "128" } },
  "data in a folder": { external: { location: "inner", offset: "0", length: "128" } },
  "data before the file": { external: { location: "data", offset: "-128", length: "128" } },
  "data after the file": { external: { location: "data", offset: "128", length: "128" } },
  "data at a huge offset": { external: { location: "data", offset: "99999999999999999999", length: "128" } },
  "data of a huge length": { external: { location: "data", offset: "0", length: "9007199254740993" } },
  "data of a length that is no number": { external: { location: "data", offset: "0", length: "many" } },
  "data without a location": { external: { offset: "0" } },
  "data in the model itself": { external: { location: "model.onnx", offset: "0", length: "128" } },
  "a division that stops the process": {
    integers: { p: [min], q: [-1n] },
    nodes: [["Div", ["p", "q"], "r"]],
  },
  "a size computed to exhaust memory": {
    integers: { p: [2n ** 20n], q: [2n ** 20n] },
    nodes: [
      ["Mul", ["p", "q"], "r"],
      ["ConstantOfShape", ["r"], "s"],
    ],
  },
};

/** Lies that a reader may forgive: what is left is a valid model. */
const forgivable = new Set(["data in the model itself", "a division that stops the process"]);

const folderContents = (folder: string): void => {
  writeFileSync(join(dirname(folder), "secret"), new Uint8Array(256));
  writeFileSync(join(folder, "data"), new Uint8Array(128).fill(3));
  mkdirSync(join(folder, "inner"));
  symlinkSync("/etc/passwd", join(folder, "link"));
  symlinkSync("/etc", join(folder, "folder"));
  symlinkSync("/dev/zero", join(folder, "zero"));
};

function fileCase(name: string, expect: Case["expect"], bytes: Uint8Array): Case {
  return {
    name,
    expect,
    write: (folder) => {
      folderContents(folder);
      const path = join(folder, "model.onnx");
      writeFileSync(path, bytes);
      return path;
    },
  };
}

/** Hand-made files, truthful ones first. */
export function lyingFiles(): readonly Case[] {
  return [
    fileCase("nothing wrong", "valid", handMade()),
    fileCase(
      "data beside the model",
      "valid",
      handMade({ external: { location: "data", offset: "0", length: "128" } }),
    ),
    fileCase("an empty file", "broken", new Uint8Array(0)),
    fileCase("zeros", "broken", new Uint8Array(1000)),
    fileCase("a picture", "broken", Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 0, 0, 0, 13])),
    ...Object.entries(lies).map(([name, lie]) =>
      fileCase(name, forgivable.has(name) ? "either" : "broken", handMade(lie)),
    ),
  ];
}

/** The example, cut off after every 1/64 of its length. */
export function truncated(): readonly Case[] {
  const whole = new Uint8Array(readFileSync(new URL("../../examples/glyphs/glyphs.onnx", import.meta.url)));
  return Array.from({ length: 64 }, (_, i) =>
    fileCase(`cut after ${i}/64`, "broken", whole.subarray(0, Math.floor((whole.length * i) / 64))),
  );
}

/** Hand-made files with one byte changed, decided by a seed. */
export function flipped(count: number): readonly Case[] {
  const whole = handMade({
    integers: { p: [2n, 3n], q: [1n] },
    nodes: [
      ["Mul", ["p", "q"], "r"],
      ["ConstantOfShape", ["r"], "s"],
    ],
  });
  return Array.from({ length: count }, (_, seed) => {
    const draw = random(seed, "flip");
    const bytes = new Uint8Array(whole);
    const at = draw.int(bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 + draw.int(255));
    return fileCase(`byte ${at} by seed ${seed}`, "either", bytes);
  });
}
