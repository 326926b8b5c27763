import type { Breach, Rule, Severity } from "./loader.ts";
import { type OfTypes, ofType } from "./model-types.ts";
import type { LoadSizes } from "./sizes.ts";

/** Fields with the heads of queries, those of keys and values, and the width, by the names that configs have for them. */
const heads = ["num_attention_heads", "n_head"] as const;
const keyHeads = "num_key_value_heads";
const widths = ["hidden_size", "n_embd"] as const;

/** Fields with heads, and with features inside a block, which tensor parallelism shares out over devices. */
const shared: ReadonlySet<string> = new Set([
  ...heads,
  keyHeads,
  "intermediate_size",
  "moe_intermediate_size",
  "shared_expert_intermediate_size",
  "ffn_dim",
  "n_inner",
]);

/** Every block has the same sizes. */
export function sameInEveryBlock(because: string): Rule {
  return {
    severity: "refused",
    expected: "the same sizes in every block",
    because,
    breaches: ({ fields }) =>
      [...fields]
        .filter(([, values]) => values.length > 1)
        .map(([field, values]) => ({ got: `${field} of ${listed(values)}`, ways: [[field]] })),
  };
}

/** The `model_type` is one that the loader has. */
export function knownType(known: OfTypes<boolean>, because: string): Rule {
  return {
    severity: "refused",
    expected: "a model_type that it has",
    because,
    breaches: ({ type }) => (ofType(known, type) === true ? [] : [{ got: type, ways: [] }]),
  };
}

/** Queries are shared out evenly over the heads of keys and values. */
export const queriesPerKey: Rule = {
  severity: "refused",
  expected: "as many query heads for every head of keys and values",
  because: "Each head of keys and values is repeated for the query heads that read it.",
  breaches: (sizes) => {
    const [queries, keys] = [firstOf(sizes, heads), largest(sizes, keyHeads)];
    if (queries === undefined || keys === undefined || queries.value % keys === 0) return [];
    return [{ got: `${queries.value} for ${keys}`, ways: [[queries.field], [keyHeads]] }];
  },
};

/** The width is a multiple of the number of query heads, in the types where that is asked for. */
export function widthByHeads(asked: OfTypes<boolean>, because: string): Rule {
  return {
    severity: "refused",
    expected: "a width that is a multiple of the number of query heads",
    because,
    breaches: (sizes) => {
      const [queries, width] = [firstOf(sizes, heads), firstOf(sizes, widths)];
      if (ofType(asked, sizes.type) !== true || queries === undefined || width === undefined) return [];
      if (width.value % queries.value === 0) return [];
      const together = sizes.fields.has(keyHeads) ? [queries.field, keyHeads] : [queries.field];
      return [{ got: `a width of ${width.value} with ${queries.value} heads`, ways: [together, [width.field]] }];
    },
  };
}

/** Tokens of a tokenizer of bytes are all there. */
export function wholeByteTokens(because: string): Rule {
  return {
    severity: "refused",
    expected: "the whole vocabulary of a byte-level tokenizer",
    because,
    breaches: ({ bytesWent }) => (bytesWent ? [{ got: "a part", ways: [] }] : []),
  };
}

/** All query heads together have as many features as the width, in the types whose attention is built so. */
export function queriesFillWidth(asked: OfTypes<boolean>, because: string): Rule {
  return {
    severity: "refused",
    expected: "as many features in all query heads together as the width has",
    because,
    breaches: (sizes) => (ofType(asked, sizes.type) === true ? unfilledWidth(sizes) : []),
  };
}

/** Query heads that do not have as many features together as the width. */
export function unfilledWidth(sizes: LoadSizes): readonly Breach[] {
  const [queries, width] = [firstOf(sizes, heads), firstOf(sizes, widths)];
  const size = queries === undefined ? undefined : sizes.features.get(queries.field);
  if (queries === undefined || width === undefined) return [];
  if (size === undefined || queries.value * size === width.value) return [];
  const together = sizes.fields.has(keyHeads) ? [queries.field, keyHeads] : [queries.field];
  return [{ got: `${queries.value} heads of ${size} for a width of ${width.value}`, ways: [together, [width.field]] }];
}

/** Rows that experts are multiplied by are multiples of a number; `inner` names the field with the features inside an expert. */
export function expertRowsInMultiples(of: number, inner: OfTypes<string | null>, because: string): Rule {
  return {
    severity: "limited",
    expected: `rows of experts in multiples of ${of}`,
    because,
    breaches: (sizes) => {
      const field = ofType(inner, sizes.type) ?? null;
      const [own, width] = [field === null ? undefined : firstOf(sizes, [field]), firstOf(sizes, widths)];
      if (own === undefined || width === undefined) return [];
      return [own, width]
        .filter(({ value }) => value % of !== 0)
        .map((one) => ({ got: `${one.field} = ${one.value}`, ways: [[one.field]] }));
    },
  };
}

/** Rows of matrices are multiples of a number. */
export function rowsInMultiples(of: number, severity: Severity, because: string): Rule {
  return {
    severity,
    expected: `rows of matrices in multiples of ${of}`,
    because,
    breaches: ({ rows }) =>
      rows
        .filter(({ values }) => values.some((value) => value % of !== 0))
        .map(({ name, fields, values }) => ({
          got: `${name} = ${listed(values)}`,
          ways: fields.map((field) => [field]),
        })),
  };
}

/** Heads have as many features as kernels are built for; `apart` are types whose attention has kernels of its own. */
export function headsOf(multiple: number, most: number, apart: ReadonlySet<string>, because: string): Rule {
  return {
    severity: "limited",
    expected: `heads of at most ${most} features, in multiples of ${multiple}`,
    because,
    breaches: (sizes) => {
      const queries = firstOf(sizes, heads);
      const size = queries === undefined ? undefined : sizes.features.get(queries.field);
      if (size === undefined || apart.has(sizes.type) || (size % multiple === 0 && size <= most)) return [];
      return [{ got: `${size} features`, ways: [] }];
    },
  };
}

/** Heads and inner widths are shared out evenly over so many devices. */
export function splitsOver(devices: number, because: string): Rule {
  return {
    severity: "limited",
    expected: `heads and inner widths that divide by ${devices}`,
    because,
    breaches: (sizes) => {
      const found: Breach[] = [];
      for (const [field, values] of sizes.fields) {
        if (!shared.has(field)) continue;
        // Where there are fewer heads of keys and values than devices, several devices hold the same one.
        const broken = values.find((n) => n % devices !== 0 && !(field === keyHeads && devices % n === 0));
        if (broken !== undefined) found.push({ got: `${field} = ${broken}`, ways: [[field]] });
      }
      return found;
    },
  };
}

/** The first of some fields that there is, with its largest value. */
function firstOf(
  sizes: LoadSizes,
  names: readonly string[],
): { readonly field: string; readonly value: number } | undefined {
  for (const field of names) {
    const value = largest(sizes, field);
    if (value !== undefined) return { field, value };
  }
  return undefined;
}

function largest({ fields }: LoadSizes, field: string): number | undefined {
  const values = fields.get(field);
  return values === undefined ? undefined : Math.max(...values);
}

/** At most five of them. */
function listed(values: readonly number[]): string {
  const shown = values.slice(0, 5).map(String);
  if (values.length > shown.length) return `${shown.join(", ")} and others`;
  const last = shown.pop() ?? "";
  return shown.length === 0 ? last : `${shown.join(", ")} and ${last}`;
}
