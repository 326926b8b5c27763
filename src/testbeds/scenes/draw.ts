import type { Random } from "../../tensor/random.ts";
import type { Drawing, Scene } from "./compose.ts";
import type { SceneSettings } from "./settings.ts";

/** Draws scenes of one canvas size as bytes [height, width]. It keeps its scratch memory between calls. */
export function drawer({ canvas, levels }: SceneSettings): (scene: Scene, draw: Random, out: Uint8Array) => void {
  const { height, width } = canvas;
  const light = new Float64Array(height * width);
  const noise = new Float32Array(height * width);
  return ({ things, clutter, ground, noise: amount }, draw, out) => {
    light.fill(0);
    for (const thing of things) strike(light, width, height, thing);
    strike(light, width, height, clutter);
    draw.fillUniform(noise, 0, 2 ** 24);
    const [middle, right, down] = ground;
    const step = 255 / (levels - 1);
    for (let y = 0, at = 0; y < height; y++) {
      const row = middle + down * ((y + 0.5) / height - 0.5) - (0.5 * right * (width - 1)) / width;
      for (let x = 0; x < width; x++, at++) {
        const level = row + (right * x) / width + (light[at] ?? 0) + amount * bell(noise[at] ?? 0);
        const clipped = level < 0 ? 0 : Math.min(level, 1);
        out[at] = step * Math.floor(clipped * (levels - 1) + 0.5) + 0.5;
      }
    }
  };
}

/** A number of mean 0 and deviation 1 that is nearly normal, the sum of the three bytes of a whole number below 2²⁴. */
function bell(bits: number): number {
  return ((bits & 255) + ((bits >>> 8) & 255) + (bits >>> 16) - 382.5) / deviation;
}

const deviation = Math.sqrt((3 * (256 * 256 - 1)) / 12);

/** Lays strokes on the light, the brighter of both where they meet; an edge falls off over one pixel. */
function strike(light: Float64Array, width: number, height: number, { strokes, pen, ink }: Drawing): void {
  const reach = pen + 0.5;
  const far = reach * reach;
  for (let i = 0; i < strokes.length; i += 4) {
    const [x0, y0] = [strokes[i] ?? 0, strokes[i + 1] ?? 0];
    const [dx, dy] = [(strokes[i + 2] ?? 0) - x0, (strokes[i + 3] ?? 0) - y0];
    const length = dx * dx + dy * dy;
    const scale = length > 1e-9 ? 1 / length : 0;
    const left = Math.max(0, Math.floor(Math.min(x0, x0 + dx) - reach));
    const right = Math.min(width - 1, Math.ceil(Math.max(x0, x0 + dx) + reach));
    const top = Math.max(0, Math.floor(Math.min(y0, y0 + dy) - reach));
    const bottom = Math.min(height - 1, Math.ceil(Math.max(y0, y0 + dy) + reach));
    for (let y = top; y <= bottom; y++) {
      const py = y + 0.5 - y0;
      for (let x = left; x <= right; x++) {
        const px = x + 0.5 - x0;
        const along = (px * dx + py * dy) * scale;
        const share = along < 0 ? 0 : Math.min(along, 1);
        const [gx, gy] = [px - share * dx, py - share * dy];
        const gap = gx * gx + gy * gy;
        if (gap >= far) continue;
        const cover = reach - Math.sqrt(gap);
        const bright = cover < 1 ? ink * cover : ink;
        const at = y * width + x;
        if (bright > (light[at] ?? 0)) light[at] = bright;
      }
    }
  }
}
