import { existsSync } from "node:fs";
import { chromium } from "playwright-core";
import { serve } from "./serve.ts";

const executablePath = process.env["CHROMIUM_PATH"] ?? "/usr/bin/chromium";

/** Whether Debian's chromium, or another, is there. */
export const hasChromium = existsSync(executablePath);

/** What a page said while it worked. */
export interface Spoken {
  /** What the page's promise `answer` came to. */
  readonly answer: unknown;
  /** What it wrote to the console, and errors that nothing caught. */
  readonly complaints: readonly string[];
  /** Paths that it asked the server for. */
  readonly requested: readonly string[];
}

/** Serves files, opens their index.html in headless Chromium, and waits for its global promise `answer`. */
export async function inChromium(files: ReadonlyMap<string, string | Uint8Array>): Promise<Spoken> {
  const server = await serve(files);
  const browser = await chromium.launch({
    executablePath,
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  try {
    const page = await browser.newPage();
    const complaints: string[] = [];
    page.on("console", (message) => complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(error.message));
    await page.goto(server.url);
    const answer = await page.evaluate(() => Promise.resolve<unknown>(Reflect.get(globalThis, "answer")));
    return { answer, complaints, requested: server.requested };
  } finally {
    await browser.close();
    await server.close();
  }
}
