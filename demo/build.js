// Writes dist/: the page with transformers.js and onnxruntime's WebAssembly beside it. A model in dist/ stays.

import { copyFile, cp, mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

await build({
  entryPoints: { bundle: "page.js" },
  outdir: "dist",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  conditions: ["browser"],
  // transformers.js asks for the build with WebGPU, whose WebAssembly is twice as large.
  alias: { "onnxruntime-web/webgpu": "onnxruntime-web/wasm" },
  legalComments: "linked",
});

await mkdir("dist", { recursive: true });
for (const file of ["index.html", "style.css", "README.md"]) await copyFile(file, `dist/${file}`);
await cp("screenshots", "dist/screenshots", { recursive: true });
const runtime = "ort-wasm-simd-threaded.wasm";
await copyFile(fileURLToPath(import.meta.resolve(`onnxruntime-web/${runtime}`)), `dist/${runtime}`);
