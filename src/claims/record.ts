/** One or more. */
export type Some<T> = readonly [T, ...T[]];

/**
 * The words in which every paper is catalogued: axis, then word, then what it means. Types, lists, advice and docs all
 * come from this table. The axes are those of the survey by Cheng et al. (2023) and some of our own.
 */
export const vocabulary = {
  removes: {
    weight: "single weights",
    "n:m": "N of every M neighbouring weights",
    block: "blocks of weights",
    channel: "channels, filters, neurons",
    head: "attention heads",
    layer: "whole layers or blocks",
    expert: "experts",
    vocabulary: "vocabulary entries",
    token: "tokens",
    "cache entry": "entries of a cache",
    sample: "training samples",
    edge: "edges of a graph",
  },
  speedup: {
    structured: "less work on any hardware",
    "semi-structured": "needs kernels for its pattern",
    unstructured: "zeros: a smaller compressed file, no speed without sparse kernels",
  },
  when: {
    before: "before training",
    during: "while training",
    after: "after training",
    runtime: "while the model serves",
  },
  criterion: {
    magnitude: "size of weights",
    activation: "size of activations",
    sensitivity: "gradients or curvature",
    "loss change": "the loss, or an output, with the part removed",
    similarity: "redundancy among parts",
    random: "chance",
    learned: "trained gates or scores",
  },
  learn: {
    none: "nothing is learned",
    regularisation: "a sparsity term in the loss",
    gates: "relaxed masks",
    meta: "generated weights",
    reinforcement: "a learned policy",
    evolution: "evolutionary search",
  },
  fusion: {
    none: "pruning alone",
    quantisation: "with quantisation",
    decomposition: "with low rank",
    "architecture search": "with architecture search",
    distillation: "with distillation",
  },
  data: {
    none: "no data",
    unlabelled: "some unlabelled inputs",
    labelled: "some labelled inputs",
    "training set": "the training set",
  },
  supervision: {
    none: "no targets",
    self: "the model's own outputs",
    semi: "some labels",
    supervised: "labels",
  },
  scope: {
    local: "the same share of every row, layer or group",
    global: "one ranking for the whole model",
    allocated: "shares of layers decided on their own",
  },
  iterations: {
    "one-shot": "one step",
    iterative: "several steps",
  },
  recovery: {
    none: "none",
    norm: "running statistics measured again",
    "layer-wise": "kept weights refitted layer by layer",
    "fine-tuning": "training afterwards",
  },
  models: {
    mlp: "multilayer perceptrons",
    cnn: "convolutional networks",
    vit: "vision transformers",
    encoder: "text encoders",
    llm: "language models",
    moe: "mixtures of experts",
    recurrent: "recurrent networks",
    diffusion: "diffusion models",
    graph: "graph networks",
  },
  guarantee: {
    exact: "the stated problem is solved exactly",
    heuristic: "a rule that works in practice",
  },
} as const;

export type Axis = keyof typeof vocabulary;
export type Word<A extends Axis> = keyof (typeof vocabulary)[A] & string;

/** What a paper's method is and needs: at least one word on every axis. */
export type PaperRecord = { readonly [A in Axis]: Some<Word<A>> } & {
  /** Whether it looks at gradients. */
  readonly gradients: boolean;
  /** Whether weights that stay are changed. */
  readonly weightUpdate: boolean;
};
