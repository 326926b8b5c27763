import { readFileSync, writeFileSync } from "node:fs";
import { completeLock } from "./lock.ts";

const path = "package-lock.json";
const { lock, added } = completeLock(JSON.parse(readFileSync(path, "utf8")));
if (added.length > 0) writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
console.log(`${path}: ${added.length} packages of other platforms added`);
