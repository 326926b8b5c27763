/**
 * espalier: prune any neural network and prove what it gained. This entry runs in browsers and in Node;
 * in Node, `espalier` resolves to an entry that adds paths, folders and native runtimes.
 */

export * from "./public.ts";
export { loadFrom as load } from "./public.ts";
