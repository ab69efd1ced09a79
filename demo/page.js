// The page runs the tokenizer and the ONNX file of a published Asterisk, one text at a time.

import { AutoModel, AutoTokenizer, LogLevel, Tensor, env } from "@huggingface/transformers";

const SHOWN = 5; // results of a search
const PAUSE = 150; // milliseconds without typing, after which results follow
const SIZES = [256, 128, 64]; // dimensions of the dial
const TEMPLATES = ["{}", "This text is about {}."]; // as in asterisk/evaluation/zero_shot.py

const parameters = new URLSearchParams(location.search);
const element = (id) => document.getElementById(id);

env.remotePathTemplate = "."; // relative to the folder that load() sets as the host
env.useBrowserCache = false; // the HTTP cache notices when a model is replaced
env.logLevel = LogLevel.ERROR; // transformers.js warns that it treats an unknown model type as an encoder
env.backends.onnx.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", import.meta.url).href };
env.backends.onnx.wasm.numThreads = 1;

/** The URL of a published folder: "model" and "head" beside this page, or the URL in the page's address. */
function folderOf(role) {
  return new URL(`${(parameters.get(role) ?? role).replace(/\/+$/, "")}/`, location.href).href;
}

/** Load a folder's tokenizer, model and config, or the exit after so many layers; `progress(bytes, total)` follows. */
async function load(role, progress, layers = null) {
  const folder = folderOf(role);
  const refused = [];
  env.remoteHost = folder;
  env.fetch = async (url, options) => {
    const response = await fetch(url, options);
    if (!response.ok) refused.push(`${new URL(url).pathname} answered ${response.status}`);
    return response;
  };
  const files = new Map();
  const options = {
    dtype: (layers === null && parameters.get("dtype")) || "int8",
    model_file_name: layers === null ? null : `model_layers_${layers}`,
    progress_callback: ({ status, file, loaded, total }) => {
      if (status !== "progress") return;
      files.set(file, [loaded, total]);
      const sum = (index) => [...files.values()].reduce((before, sizes) => before + sizes[index], 0);
      progress(sum(0), sum(1));
    },
  };
  try {
    const tokenizer = await AutoTokenizer.from_pretrained(role, options);
    const model = await AutoModel.from_pretrained(role, options);
    return { tokenizer, model, config: model.config };
  } catch (error) {
    throw new Error(`${folder} (${refused[0] ?? error.message})`);
  }
}

/** Token ids of a text, truncated as in Python: transformers.js's truncation drops the closing special tokens. */
function encode(tokenizer, text) {
  const ids = tokenizer.encode(text);
  if (ids.length <= tokenizer.model_max_length) return ids;
  const [bare, whole] = [false, true].map((add_special_tokens) => tokenizer.encode("a", { add_special_tokens }));
  const closing = whole.slice(whole.indexOf(bare[0]) + bare.length);
  return [...ids.slice(0, tokenizer.model_max_length - closing.length), ...closing];
}

/** The model's outputs for one text. Batches would change int8 results, because a batch shares its scales. */
async function run({ tokenizer, model }, text) {
  const ids = encode(tokenizer, text);
  const row = (values) => new Tensor("int64", BigInt64Array.from(values, BigInt), [1, ids.length]);
  return model({ input_ids: row(ids), attention_mask: row(ids.map(() => 1)) });
}

/** Return a caching function from texts to unit-length Float32Arrays; `timed` receives each text's milliseconds. */
function embedder(loaded, timed) {
  const known = new Map();
  return async (text) => {
    if (!known.has(text)) {
      const start = performance.now();
      const { sentence_embedding } = await run(loaded, text);
      known.set(text, sentence_embedding.data);
      timed(performance.now() - start);
    }
    return known.get(text);
  };
}

const cosine = (a, b) => a.reduce((sum, value, index) => sum + value * b[index], 0);

/** The first dimensions of a vector, of unit length again. */
function truncated(vector, dimensions) {
  if (dimensions >= vector.length) return vector;
  const part = vector.slice(0, dimensions);
  const norm = Math.sqrt(cosine(part, part));
  return part.map((value) => value / (norm || 1));
}

function unitMean(vectors) {
  const sum = vectors[0].map((_, index) => vectors.reduce((total, vector) => total + vector[index], 0));
  const norm = Math.sqrt(cosine(sum, sum));
  return sum.map((value) => value / norm);
}

/** The texts in a field, without empty ones and duplicates. */
const parts = (text, separator) => [...new Set(text.split(separator).map((part) => part.trim()).filter(Boolean))];

const byScore = (a, b) => b.score - a.score;

function scoreElement(score) {
  const data = document.createElement("data");
  data.value = score;
  data.textContent = (Math.round(score * 100) / 100).toFixed(2).replace("-", "−");
  return data;
}

/** Show one sentence, which screen readers speak, and the rows below it, best first. */
function show(section, sentence, rows = []) {
  section.querySelector(".answer").replaceChildren(...sentence);
  section.querySelector(".results")?.replaceChildren(
    ...rows.map(({ name, score }) => {
      const row = document.createElement("li");
      row.style.setProperty("--share", `${Math.max(0, Math.min(1, score)) * 100}%`);
      const text = document.createElement("span");
      text.textContent = name;
      row.append(text, scoreElement(score));
      return row;
    }),
  );
}

/** Draw an embedding as a strip: colour shows the sign of each dimension, opacity its size. */
function strip(vector) {
  const largest = vector.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const cell = (value, index) =>
    `<rect x="${index}" width="1.05" height="1" class="${value < 0 ? "down" : "up"}"` +
    ` opacity="${Math.sqrt(Math.abs(value) / largest).toFixed(2)}"/>`;
  const cells = Array.from(vector, cell).join("");
  return `<svg viewBox="0 0 ${vector.length} 1" preserveAspectRatio="none">${cells}</svg>`;
}

async function similarity(section, embed) {
  const texts = [element("first").value.trim(), element("second").value.trim()];
  if (!texts.every(Boolean)) return show(section, ["Type two sentences."]);
  const [first, second] = [await embed(texts[0]), await embed(texts[1])];
  show(section, [scoreElement(cosine(first, second)), "cosine of the two embeddings"]);
  section.querySelector(".strips").innerHTML = strip(first) + strip(second);
  element("numbers").textContent = Array.from(first, (value) => value.toFixed(6)).join(", ");
}

async function search(section, embed) {
  const query = element("query").value.trim();
  const lines = parts(element("lines").value, "\n");
  if (!query || !lines.length) return show(section, ["Type a question, and lines to search."]);
  const target = await embed(query);
  const rows = [];
  for (const name of lines) rows.push({ name, score: cosine(target, await embed(name)) });
  rows.sort(byScore);
  show(section, [`Closest of ${lines.length}: “${rows[0].name}”`], rows.slice(0, SHOWN));
}

async function zeroShot(section, embed) {
  const text = element("text").value.trim();
  const labels = parts(element("labels").value, ",");
  if (!text || !labels.length) return show(section, ["Type a text, and labels with commas between."]);
  const target = await embed(text);
  const rows = [];
  for (const name of labels) {
    const prompts = [];
    for (const template of TEMPLATES) prompts.push(await embed(template.replace("{}", () => name)));
    rows.push({ name, score: cosine(target, unitMean(prompts)) });
  }
  rows.sort(byScore);
  show(section, [`Nearest label: ${rows[0].name}`], rows);
}

/** Show the labels of a head; the thresholds in its config decide which labels are assigned. */
async function classify(section, head) {
  const text = element("headed").value.trim();
  if (!text) return show(section, ["Type a text."]);
  const { id2label, problem_type, thresholds, none_threshold } = head.config;
  const logits = Array.from((await run(head, text)).logits.data);
  const names = logits.map((_, index) => id2label?.[index] ?? `label ${index}`);
  if (problem_type === "regression") {
    return show(section, logits.flatMap((value, index) => [scoreElement(value), `${names[index]} `]));
  }
  const several = problem_type === "multi_label_classification";
  const odds = several ? logits : logits.map((logit) => Math.exp(logit - Math.max(...logits)));
  const total = odds.reduce((sum, value) => sum + value, 0);
  const probabilities = odds.map((value) => (several ? 1 / (1 + Math.exp(-value)) : value / total));
  const rows = probabilities.map((score, index) => ({ name: names[index], score }));
  const given = several
    ? rows.filter(({ score }, index) => score >= (thresholds?.[index] ?? 0.5))
    : rows.toSorted(byScore).slice(0, 1).filter(({ score }) => score >= (none_threshold ?? 0));
  const found = given.map(({ name }) => name).join(", ");
  show(section, [found ? `Label: ${found}` : "No label is probable enough."], rows.toSorted(byScore));
}

/** Run an update now and after each pause in typing; input during an update starts another one at its end. */
async function follow(section, update) {
  let timer, running = false, again = false;
  const refresh = async () => {
    again = running;
    if (running) return;
    running = true;
    try {
      await update(section);
    } catch (error) {
      show(section, [`This text could not be embedded: ${error.message}`]);
    }
    running = false;
    if (again) await refresh();
  };
  section.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, PAUSE);
  });
  await refresh();
}

function timer() {
  const times = [];
  return (milliseconds) => {
    times.push(milliseconds);
    const median = times.toSorted((a, b) => a - b)[times.length >> 1];
    element("speed").textContent = `${median.toFixed(1)} ms`;
  };
}

/** Return a function from texts to embeddings by the dial: its depths are loaded when they are first chosen. */
async function dial(loaded) {
  const { num_hidden_layers: whole, exit_layers, projection_dim, hidden_size } = loaded.config;
  const width = projection_dim ?? hidden_size;
  const record = await fetch(`${folderOf("model")}dial.json`).catch(() => null);
  const { settings } = record?.ok ? await record.json() : { settings: [] };
  const [layers, dimensions] = [element("layers"), element("dimensions")];
  const option = (value) => new Option(value, value);
  layers.replaceChildren(...[whole, ...(exit_layers ?? [])].map(option));
  dimensions.replaceChildren(...[...new Set([width, ...SIZES.filter((size) => size < width)])].map(option));
  const embedders = new Map([[whole, embedder(loaded, timer())]]);
  let chosen = { layers: whole, dimensions: width };

  const change = async () => {
    const wanted = { layers: Number(layers.value), dimensions: Number(dimensions.value) };
    if (!embedders.has(wanted.layers)) {
      element("setting").textContent = "Loading…";
      embedders.set(wanted.layers, embedder(await load("model", () => {}, wanted.layers), timer()));
    }
    chosen = wanted;
    const found = settings.find((each) => each.layers === chosen.layers && each.dimensions === chosen.dimensions);
    const number = (value, digits) => value?.toLocaleString("en", { maximumFractionDigits: digits }) ?? "–";
    element("setting").textContent = `${4 * chosen.dimensions} bytes a vector` + (found
      ? `; ${number(found.megabytes, 1)} MB; ${number(found.sentences_per_second, 0)} sentences/s; sts7 ` +
        `${number(found.sts7, 2)}; classification ${number(found.classification, 2)}; SciFact ${number(found.retrieval, 2)}`
      : "");
    for (const section of document.querySelectorAll("#tasks section")) section.dispatchEvent(new Event("input"));
  };
  element("dial").addEventListener("change", () => change().catch((error) => (element("setting").textContent = error.message)));
  element("dial").hidden = false;
  await change();
  return async (text) => truncated(await embedders.get(chosen.layers)(text), chosen.dimensions);
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

async function start() {
  for (const field of document.querySelectorAll("input, textarea")) {
    if (parameters.has(field.id)) field.value = parameters.get(field.id);
  }
  let bytes = 0;
  const loaded = await load("model", (done, of) => {
    bytes = done;
    Object.assign(element("progress"), { value: done, max: of });
    element("size").textContent = megabytes(done);
  });
  const [wasm] = performance.getEntriesByType("resource").filter(({ name }) => name.endsWith(".wasm"));
  element("size").textContent = `${megabytes(bytes)} + ${megabytes(wasm?.encodedBodySize ?? 0)} runtime`;
  element("ready").textContent = `${(performance.now() / 1000).toFixed(1)} s`;
  element("status").textContent = "Ready. It goes on working without a network.";
  element("progress").hidden = true;
  element("facts").hidden = false;
  element("tasks").inert = false;

  const embed = await dial(loaded);
  await follow(element("similarity"), (section) => similarity(section, embed));
  await follow(element("search"), (section) => search(section, embed));
  await follow(element("zero-shot"), (section) => zeroShot(section, embed));

  const found = await fetch(`${folderOf("head")}config.json`).catch(() => null);
  if (!found?.ok) return;
  const head = await load("head", () => {});
  element("head").hidden = false;
  await follow(element("head"), (section) => classify(section, head));
}

try {
  await start();
} catch (error) {
  const status = element("status");
  status.className = "wrong";
  status.textContent =
    `No model could be loaded from ${error.message}: put a published folder there, for example with “python publish.py ` +
    "runs/demo/model --output_dir demo/dist/model”, or give another as ?model=URL.";
  element("progress").hidden = true;
}
