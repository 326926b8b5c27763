import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ByteSource } from "../../tensor/tensor.ts";
import { fileSource } from "./file.node.ts";
import { httpSource } from "./http.ts";
import { blobSource, memorySource } from "./source.ts";

const bytes = Uint8Array.from({ length: 5000 }, (_, i) => (i * 31) & 255);

/** What every source promises: exact ranges, empty reads, refusal of everything outside. */
async function conforms(source: ByteSource): Promise<void> {
  expect(source.size).toBe(bytes.length);
  expect(await source.read(0, bytes.length)).toEqual(bytes);
  for (const [offset, length] of [
    [0, 1],
    [7, 9],
    [4999, 1],
  ] as const) {
    const read = await source.read(offset, length);
    expect(read).toEqual(bytes.slice(offset, offset + length));
    expect(read.byteOffset % 8).toBe(0);
  }
  expect(await source.read(5000, 0)).toHaveLength(0);
  for (const [offset, length] of [
    [4999, 2],
    [-1, 1],
    [0, -1],
    [0.5, 1],
    [0, 2 ** 53],
    [Number.NaN, 1],
  ] as const) {
    await expect(source.read(offset, length)).rejects.toMatchObject({ code: "format" });
  }
}

it("memory and blobs are sources", async () => {
  await conforms(memorySource("m", bytes));
  await conforms(memorySource("view", new Uint8Array([9, 9, 9, ...bytes]).subarray(3)));
  await conforms(memorySource("buffer", Buffer.from([9, ...bytes]).subarray(1)));
  await conforms(blobSource(new Blob([bytes]), "b"));
});

it("the conformance check sees a source that is one byte off", async () => {
  const shifted: ByteSource = {
    ...memorySource("m", bytes),
    read: (offset, length) => memorySource("m", bytes).read(Math.max(0, offset - 1), length),
  };
  await expect(conforms(shifted)).rejects.toThrow();
});

describe("files", () => {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "espalier-source-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("are sources with an absolute path", async () => {
    const path = join(folder, "a.bin");
    await writeFile(path, bytes);
    const source = await fileSource(path);
    expect(source.path).toBe(path);
    await conforms(source);
  });

  it("stay readable when another file takes their name", async () => {
    const path = join(folder, "b.bin");
    await writeFile(path, bytes);
    const source = await fileSource(path);
    await source.read(0, 1);
    await writeFile(`${path}.new`, "other");
    await rename(`${path}.new`, path);
    expect(await source.read(0, bytes.length)).toEqual(bytes);
  });

  it("that shrink give an error instead of zeros", async () => {
    const path = join(folder, "c.bin");
    await writeFile(path, bytes);
    const source = await fileSource(path);
    await writeFile(path, "short");
    await expect(source.read(0, 100)).rejects.toMatchObject({ code: "format" });
  });

  it("that are missing or folders are refused", async () => {
    await expect(fileSource(join(folder, "none"))).rejects.toThrow(
      /expected a readable file, got no such file\. Check the path\./,
    );
    await expect(fileSource(folder)).rejects.toMatchObject({ code: "file" });
  });
});

describe("HTTP", () => {
  const servers: Server[] = [];
  const serve = async (listener: RequestListener): Promise<string> => {
    const server = createServer(listener);
    servers.push(server);
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const address = server.address() satisfies string | AddressInfo | null;
    return `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}/model.onnx`;
  };
  const rangeOf = (header: string | undefined) => {
    const match = /^bytes=(\d+)-(\d+)$/.exec(header ?? "");
    return { start: Number(match?.[1]), end: Number(match?.[2]) };
  };
  const ranged =
    (shift: number, tag: () => string): RequestListener =>
    (request, response) => {
      const { start, end } = rangeOf(request.headers.range);
      const range = `bytes ${start + shift}-${end + shift}/${bytes.length}`;
      response.writeHead(206, { "content-range": range, etag: tag() });
      response.end(bytes.slice(start + shift, end + 1 + shift));
    };
  afterAll(() => {
    for (const server of servers) server.close();
  });

  it("reads ranges where the server has them", async () => {
    const url = await serve(ranged(0, () => "one"));
    await conforms(await httpSource(url));
  });

  it("downloads once where the server ignores ranges", async () => {
    let requests = 0;
    const url = await serve((_, response) => {
      requests++;
      response.end(bytes);
    });
    await conforms(await httpSource(url));
    expect(requests).toBe(1);
  });

  it("refuses another range, a changed file, a wrong status and a short answer", async () => {
    let asked = 0;
    const drifting = await serve((request, response) => ranged(asked++ === 0 ? 0 : 1, () => "one")(request, response));
    await expect((await httpSource(drifting)).read(5, 5)).rejects.toMatchObject({ code: "file" });
    let version = 0;
    const changing = await serve(ranged(0, () => `v${version++}`));
    await expect((await httpSource(changing)).read(0, 5)).rejects.toThrow(/got a changed one/);
    const missing = await serve((_, response) => response.writeHead(404).end());
    await expect(httpSource(missing)).rejects.toThrow(/got HTTP 404/);
    const noRange = await serve((_, response) => response.writeHead(206).end("x"));
    await expect(httpSource(noRange)).rejects.toThrow(/content-range/);
    const short = await serve((request, response) => {
      const { start, end } = rangeOf(request.headers.range);
      response.writeHead(206, { "content-range": `bytes ${start}-${end}/${bytes.length}` });
      response.end(bytes.slice(start, Math.max(start + 1, end)));
    });
    await expect((await httpSource(short)).read(0, 9)).rejects.toThrow(/expected 9 bytes at 0, got 8/);
  });

  it("says so when nobody answers", async () => {
    await expect(httpSource("http://127.0.0.1:1/x")).rejects.toMatchObject({ code: "file" });
  });
});
