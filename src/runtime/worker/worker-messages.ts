import { type ErrorCode, EspalierError } from "../../tensor/error.ts";
import type { Carried, CreateOptions, MeasureOptions, NamedTensors, OutputType, PackedModel } from "../engine.ts";
import type { Device, Latency } from "../runtime.ts";

/** What the calling thread asks of the worker. */
export type Call =
  | { readonly call: "create"; readonly model: PackedModel; readonly options: CreateOptions }
  | { readonly call: "outputTypes"; readonly model: PackedModel }
  | {
      readonly call: "run";
      readonly session: number;
      readonly feeds: NamedTensors;
      readonly fetch: readonly string[];
      readonly carried?: Carried | undefined;
    }
  | { readonly call: "createState" }
  | { readonly call: "setState"; readonly state: number; readonly tensors: NamedTensors }
  | { readonly call: "getState"; readonly state: number; readonly names?: readonly string[] | undefined }
  | { readonly call: "releaseState"; readonly state: number }
  | {
      readonly call: "measure";
      readonly jobs: readonly { readonly session: number; readonly feeds: NamedTensors }[];
      readonly options: MeasureOptions;
    }
  | { readonly call: "release"; readonly session: number }
  | { readonly call: "close" };

export type Request = Call & { readonly id: number };

/** What comes back: a failure, or the one field that the call asked for. The worker greets with id 0 and `opened`. */
export interface Reply {
  readonly id: number;
  readonly failure?: Failure;
  readonly opened?: Opened;
  readonly session?: number;
  readonly state?: number;
  readonly types?: readonly OutputType[];
  readonly outputs?: NamedTensors;
  readonly latencies?: readonly Latency[];
}

/** An error as data: classes do not survive the way between threads. `own` when it is an EspalierError already. */
export interface Failure {
  readonly message: string;
  readonly own?: { readonly code: ErrorCode; readonly where: string; readonly hint: string };
}

export interface Opened {
  readonly device: Device;
  readonly threads: number;
  readonly version: string;
  readonly channelBlock?: number;
  readonly notes: readonly string[];
}

export interface WorkerSettings {
  readonly device: Device;
  readonly threads?: number;
}

/** Bytes of their own that can change threads; views would take the whole buffer that they look at along. */
export function owned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}

/** Copies tensors for the way to another thread and lists their buffers for the transfer. */
export function ownedTensors(tensors: NamedTensors, transfer: ArrayBuffer[]): NamedTensors {
  return tensors.map(([name, tensor]) => {
    const bytes = owned(tensor.bytes);
    transfer.push(bytes.buffer);
    return [name, { dtype: tensor.dtype, shape: tensor.shape, bytes }];
  });
}

/** Describes an error for the way to another thread; `revive` makes it an error again. */
export function failureOf(cause: unknown): Failure {
  if (!(cause instanceof EspalierError)) return { message: cause instanceof Error ? cause.message : String(cause) };
  const { code, where, hint } = cause;
  const text = cause.message.slice(where.length + 2, hint === "" ? undefined : -hint.length - 1);
  return { message: text, own: { code, where, hint } };
}

export function revive({ message, own }: Failure): Error {
  return own === undefined ? new Error(message) : new EspalierError(own.code, own.where, message, own.hint);
}
