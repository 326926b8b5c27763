import type { HostTensor } from "../tensor/tensor.ts";

const nowhere = new MessageChannel().port1;
nowhere.close();

/**
 * Gives the memory of a tensor back that nobody reads any longer, by sending it to a port that is closed: the tensor is empty from then
 * on. Left to the garbage collector, results of megabytes make it look through everything every few
 * runs. Memory that is shared, or holds more than the tensor, stays.
 */
export function discard({ bytes }: HostTensor): void {
  const { buffer } = bytes;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === bytes.length) nowhere.postMessage(null, [buffer]);
}
