/** Text as it may stand in HTML, in attributes too. */
function escapeHtml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;");
}

/** HTML that is safe to put together; everything else is text and is escaped. */
export interface Html {
  readonly html: string;
}

export const raw = (html: string): Html => ({ html });

/** A template whose holes are escaped unless they are HTML already. */
export function html(
  parts: TemplateStringsArray,
  ...holes: readonly (string | number | Html | readonly Html[])[]
): Html {
  let text = parts[0] ?? "";
  for (const [i, hole] of holes.entries()) text += textOf(hole) + (parts[i + 1] ?? "");
  return raw(text);
}

function textOf(hole: string | number | Html | readonly Html[]): string {
  if (typeof hole === "string" || typeof hole === "number") return escapeHtml(String(hole));
  return "html" in hole ? hole.html : hole.map((each) => each.html).join("");
}

const numeric = /^(–|[-−+\d.,\s]*(e[-+]\d+)?\s*(%|k|M|G|T|B|ms|kB|MB|GB)?)$/;

/** A table; columns of numbers stand right. */
export function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): Html {
  const right = head.map((_, i) => rows.length > 0 && rows.every((row) => numeric.test(row[i] ?? "")));
  const line = (tag: "th" | "td", cells: readonly string[]): Html =>
    html`<tr>${cells.map((text, i) => html`<${raw(tag)}${raw(right[i] === true ? ' class="n"' : "")}>${text}</${raw(tag)}>`)}</tr>`;
  return html`<div class="scroll"><table><thead>${line("th", head)}</thead><tbody>${rows.map((r) => line("td", r))}</tbody></table></div>`;
}

/** The last part of a path, for titles. */
export function fileName(path: string): string {
  return path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);
}

export function section(title: string, ...content: readonly Html[]): Html {
  return html`<section><h2>${title}</h2>${content}</section>`;
}

/** A large number with what it means. */
export function figure(value: string, label: string, tone: "plain" | "good" | "bad" = "plain"): Html {
  return html`<div class="figure ${tone}"><b>${value}</b><span>${label}</span></div>`;
}

const style = `
:root{--paper:#fbfbfa;--card:#fff;--ink:#1c2024;--soft:#667079;--line:#e3e5e8;--before:#c3c9d0;--after:#0d7f6e;--good:#0d7f6e;--bad:#b3382c}
@media(prefers-color-scheme:dark){:root{--paper:#13161a;--card:#1a1e23;--ink:#e8eaed;--soft:#98a1ab;--line:#2c3238;--before:#4a525b;--after:#35b8a2;--good:#35b8a2;--bad:#f07a6a}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{max-width:980px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:16px;margin:0 0 14px}
h3{font-size:14px;font-weight:600;margin:20px 0 8px}
.under{color:var(--soft);margin:0 0 28px;overflow-wrap:anywhere}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:20px 22px;margin:0 0 18px}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:0 0 18px}
.figure{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px}
.figure b{display:block;font-size:24px;font-weight:650;font-variant-numeric:tabular-nums;letter-spacing:-.01em}
.figure span{color:var(--soft);font-size:13px}
.figure.good b{color:var(--good)}.figure.bad b{color:var(--bad)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th,td{text-align:left;padding:6px 14px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--soft);font-weight:500}
tbody tr:last-child td{border-bottom:0}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
th.n{text-align:right}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:0 0 10px;font-size:13px}
.legend i{display:inline-block;width:14px;height:5px;border-radius:3px;margin-right:6px;vertical-align:middle}
svg{display:block;width:100%;height:auto}
p{margin:0 0 10px}ul{margin:0;padding-left:20px}li{margin:0 0 6px}
.note{color:var(--soft);font-size:13px;margin:10px 0 0}
details summary{cursor:pointer;color:var(--soft)}
@media print{body{background:#fff}section,.figure{break-inside:avoid}}
`;

/** A whole page that needs nothing from anywhere and runs no script. */
export function page(title: string, under: string, ...content: readonly Html[]): string {
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${title}</title><style>${raw(style)}</style></head>
<body><main><h1>${title}</h1><p class="under">${under}</p>${content}</main></body></html>
`.html;
}
