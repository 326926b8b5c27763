import { writeFileSync } from "node:fs";
import { generatedPages } from "./docs.ts";

for (const [path, text] of generatedPages()) {
  writeFileSync(path, text);
  console.log(path);
}
