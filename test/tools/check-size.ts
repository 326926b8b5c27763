import { checkSizes } from "./size.ts";

process.exitCode = (await checkSizes()) ? 0 : 1;
