import { int } from "../../graph/attributes.ts";
import { edit } from "../../graph/edit.ts";
import type { Graph, ValueInfo } from "../../graph/graph.ts";
import type { Carry, Runtime } from "../../runtime/runtime.ts";
import { onnxNumberOf } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { fromInts, toFloat32 } from "../../tensor/numeric.ts";
import { type HostTensor, tensor } from "../../tensor/tensor.ts";

/** A language model that goes on with texts, several at once. */
export interface Decoder {
  /**
   * Logits of the token behind each text, [texts, vocabulary]. The first call takes whole texts; later ones what came to
   * each since, one token, where the model remembers the rest.
   */
  next(texts: readonly Int32Array[]): Promise<readonly Float32Array[]>;
  release(): Promise<void>;
}

/** Names of a cache's inputs, and of the outputs that follow them, as exporters give them. */
const past = /^past_key_values\.(.+)$/;

export interface DecoderOptions {
  /** Fills shorter texts. */
  readonly pad: number;
  /** Positions that the model has; a text that has ended does not go beyond. */
  readonly positions?: number;
}

/**
 * Compiles a model for going on with text. One with a cache (`past_key_values.*` in, `present.*` out) reads each token once,
 * and the cache stays beside the runtime; another reads the whole text for every token. Texts of several lengths end
 * together, filled before their beginning, where an attention_mask says so; without one and without a cache they begin
 * together, since no token sees what comes behind it. Throws `request` for a model that takes something else, or texts of
 * several lengths where neither can be.
 */
export async function openDecoder(
  runtime: Runtime,
  graph: Graph,
  { pad, positions = Number.POSITIVE_INFINITY }: DecoderOptions,
): Promise<Decoder> {
  const caches = graph.inputs.filter(({ name }) => past.test(name));
  const others = graph.inputs.filter(({ name }) => !past.test(name));
  const tokens = others.filter(({ name }) => !known.has(name));
  const [first] = tokens;
  const strange = others.find(({ dtype }) => dtype !== "i64" && dtype !== "i32");
  if (first === undefined || tokens.length > 1 || strange !== undefined) {
    const got = others.map(({ name }) => name).join(", ") || "none";
    const message = `expected inputs of tokens, attention_mask, position_ids and past_key_values, got ${got}.`;
    throw new EspalierError("request", `graph "${graph.name}"`, message);
  }
  const output = graph.outputs[0]?.name;
  if (output === undefined)
    throw new EspalierError("request", `graph "${graph.name}"`, "expected logits, got no output.");
  const draft = edit(graph);
  const float = draft.op("Cast", [output], { to: int(onnxNumberOf("f32")) });
  const masked = others.some(({ name }) => known.get(name) === "mask");
  const behind = !masked && caches.length === 0 && (graph.opsets.get("") ?? 0) >= 12;
  const ends = behind ? draft.input(draft.fresh("ends"), "i64", ["texts", 1]) : null;
  const last =
    ends === null
      ? draft.op("Gather", [float, draft.int64([-1], [])], { axis: int(1) }, draft.fresh("last"))
      : draft.op("GatherND", [float, ends], { batch_dims: int(1) }, draft.fresh("last"));
  const answers = caches.map(({ name }) => name.replace(past, "present.$1"));
  const outputs = [last, ...answers].map((name) => ({ name, dtype: null }));
  const session = await runtime.compile({ ...draft.finish(), outputs });
  const state = await runtime.state();
  const carry: Carry = {
    state,
    reads: new Map(caches.map(({ name }) => [name, name])),
    writes: new Map(caches.map(({ name }, i) => [answers[i] ?? "", name])),
  };
  let mask: Int32Array[] = [];
  /** Texts so far, for a model that remembers nothing. */
  let held: Int32Array[] = [];
  const run = async (rows: readonly Int32Array[], pads: readonly number[]): Promise<readonly Float32Array[]> => {
    const time = rows[0]?.length ?? 0;
    const total = mask[0]?.length ?? 0;
    const feeds = new Map<string, HostTensor>();
    for (const { name, dtype } of others) {
      const kind = known.get(name) ?? "tokens";
      const values =
        kind === "mask"
          ? mask
          : rows.map((row, i) => (kind === "tokens" ? row : places(row, total - (pads[i] ?? 0), positions, kind)));
      const length = kind === "mask" ? total : time;
      feeds.set(name, fromInts(dtype === "i32" ? "i32" : "i64", [rows.length, length], joined(values, length)));
    }
    if (ends !== null)
      feeds.set(
        ends,
        fromInts(
          "i64",
          [rows.length, 1],
          held.map(({ length }) => length - 1),
        ),
      );
    const found = await session.run(feeds, [last], caches.length === 0 ? undefined : carry);
    const logits = found.get(last);
    const values = logits === undefined ? new Float32Array(0) : toFloat32(logits);
    const width = values.length / rows.length;
    return rows.map((_, i) => values.subarray(i * width, (i + 1) * width));
  };
  let pads: number[] = [];
  return {
    async next(texts) {
      const starting = mask.length === 0;
      if (starting || caches.length === 0) {
        held = texts.map((text, i) => (starting ? text : Int32Array.of(...(held[i] ?? []), ...text)));
        const longest = Math.max(...held.map(({ length }) => length));
        pads = held.map(({ length }) => longest - length);
        if (!masked && !behind && pads.some((n) => n > 0)) throw unpadded(graph);
        const rows = held.map((text, i) => {
          const filling = new Int32Array(pads[i] ?? 0).fill(pad);
          return behind ? Int32Array.of(...text, ...filling) : Int32Array.of(...filling, ...text);
        });
        mask = rows.map((row, i) => row.map((_, at) => (at < (pads[i] ?? 0) ? 0 : 1)));
        if (behind) pads = pads.map(() => 0);
        if (caches.length > 0)
          await state.set(new Map(caches.map((input) => [input.name, emptyCache(input, rows.length)])));
        return run(rows, pads);
      }
      mask = mask.map((row) => Int32Array.of(...row, 1));
      return run(texts, pads);
    },
    release: async () => {
      await session.release();
      await state.release();
    },
  };
}

/** What inputs beside tokens hold. */
const known: ReadonlyMap<string, "mask" | "positions" | "zeros"> = new Map([
  ["attention_mask", "mask"],
  ["position_ids", "positions"],
  ["token_type_ids", "zeros"],
]);

/** Places of the tokens of a row whose last is number `length` of its text. */
function places(row: Int32Array, length: number, positions: number, kind: "positions" | "zeros" | "mask"): Int32Array {
  if (kind !== "positions") return new Int32Array(row.length);
  return row.map((_, i) => Math.min(positions - 1, Math.max(0, length - row.length + i)));
}

function joined(rows: readonly Int32Array[], length: number): Int32Array {
  const all = new Int32Array(rows.length * length);
  for (const [i, row] of rows.entries()) all.set(row, i * length);
  return all;
}

/** A cache of no tokens: [texts, heads, 0, size]. */
function emptyCache({ name, dtype, dims }: ValueInfo, texts: number): HostTensor {
  const [, heads, , size] = dims ?? [];
  if (dims?.length !== 4 || typeof heads !== "number" || typeof size !== "number" || dtype === null) {
    const message = "expected a cache [batch, heads, past, size] whose heads and size are fixed.";
    throw new EspalierError("request", `input "${name}"`, message);
  }
  return tensor(dtype, [texts, heads, 0, size]);
}

function unpadded(graph: Graph): EspalierError {
  const message = "expected texts of one length for a model without an attention_mask, got several.";
  return new EspalierError("request", `graph "${graph.name}"`, message, "Go on with one text at a time.");
}
