/**
 * Packed models of xnornet in browsers, workers and Node: cpp/c/xnornet.h, in WebAssembly, over images.
 *
 *     import { load } from "xnornet";
 *     const model = await load("model.safetensors");
 *     model.classify(video, { top: 3 }); // [{ label: "church", probability: 0.97 }, ...]
 *
 * xnornet.d.ts describes every function; docs/web.md has whole pages.
 */

const MODULES = new Map(); // by address: compiled once for all models
const IN_NODE = typeof process !== "undefined" && Boolean(process.versions?.node);
const FORMATS = { 3: 0, 4: 2, 1: 4 }; // channels of an image: XNORNET_RGB, XNORNET_RGBA, XNORNET_GREY

export async function load(source, { wasm = undefined, isa = "", stem = "", activations = "" } = {}) {
  const [module, file] = await Promise.all([moduleOf(wasm), bytesOf(source)]);
  const name = typeof source === "string" || source instanceof URL ? String(source) : "model";
  return new Model(await instantiate(module), file, [isa, stem, activations], name);
}

export class Model {
  #engine;
  #model;
  #labels;

  /** Not for callers: `load` makes models. */
  constructor(engine, file, choices, name) {
    this.#engine = engine;
    this.#model = engine.borrow((give) => {
      const texts = choices.map((choice) => give(engine.text(choice)));
      const options = give(new Uint32Array([1, ...texts, 0, 0, 0, 0])); // xnornet_options: threads, texts, reserved
      const model = engine.call.xnornet_load_bytes(give(file), file.length, options);
      if (!model) throw new Error(`${name}: ${engine.error()}`);
      return model;
    });
    this.#labels = Array.from({ length: engine.call.xnornet_classes(this.#model) }, (_, i) =>
      engine.string(engine.call.xnornet_label(this.#model, i)),
    );
  }

  get height() {
    return this.#engine.call.xnornet_height(this.#model);
  }
  get width() {
    return this.#engine.call.xnornet_width(this.#model);
  }
  get channels() {
    return this.#engine.call.xnornet_channels(this.#model);
  }
  get labels() {
    return [...this.#labels];
  }
  get isa() {
    return this.#engine.string(this.#engine.call.xnornet_isa(this.#model));
  }

  prepare(image) {
    const { data, width, height } = imageOf(image);
    if (data.BYTES_PER_ELEMENT !== 1) throw new TypeError("an image's data is no Uint8Array and no Uint8ClampedArray");
    const format = FORMATS[data.length / (width * height)];
    if (format === undefined)
      throw new TypeError(`an image of ${width} x ${height} has ${data.length} bytes; give 1, 3 or 4 a pixel`);
    const engine = this.#engine;
    return engine.borrow((give, room) => {
      const fields = [give(data), height, width, 0, format]; // of xnornet_image; 0: rows without gaps
      const pixels = room(this.height * this.width * this.channels);
      if (engine.call.xnornet_prepare(this.#model, give(new Uint32Array(fields)), pixels.at))
        throw new Error(engine.error());
      return engine.copy(Uint8Array, pixels);
    });
  }

  run(input) {
    const real = input instanceof Float32Array;
    if (!real && !(input instanceof Uint8Array || input instanceof Uint8ClampedArray))
      throw new TypeError("the input is no Uint8Array of pixels and no Float32Array");
    const size = this.height * this.width * this.channels;
    const batch = input.length / size;
    if (!Number.isInteger(batch))
      throw new RangeError(`the input has ${input.length} numbers; give ${size} an image`);
    const engine = this.#engine;
    return engine.borrow((give, room) => {
      const logits = room(batch * this.#labels.length * Float32Array.BYTES_PER_ELEMENT);
      const run = real ? engine.call.xnornet_run_floats : engine.call.xnornet_run_pixels;
      if (run(this.#model, give(input), batch, logits.at)) throw new Error(engine.error());
      return engine.copy(Float32Array, logits);
    });
  }

  classify(image, { top = 5 } = {}) {
    if (!Number.isInteger(top) || top < 1) throw new RangeError(`top is ${top}; give a whole number from 1`);
    const logits = this.run(this.prepare(image));
    if (!logits.every(Number.isFinite))
      throw new Error("the model's logits are not finite: its weights are too large; train and pack it again");
    const largest = Math.max(...logits);
    const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
    const sum = powers.reduce((a, b) => a + b);
    return powers
      .map((power, i) => ({ label: this.#labels[i], probability: power / sum }))
      .sort((a, b) => b.probability - a.probability) // stable: of equals the first, as in Python
      .slice(0, top);
  }
}

/** What lies in the module's memory, and the functions of xnornet.h. */
class Engine {
  constructor(exports) {
    this.call = exports;
  }

  /**
   * Call `work` with two functions for memory that is free again afterwards: `give` copies an array there and
   * returns where it lies, `room` makes place for so many bytes.
   */
  borrow(work) {
    const taken = [];
    const room = (bytes) => {
      const at = this.call.malloc(bytes || 1) >>> 0; // else negative beyond 2 GiB
      if (!at) throw new Error(`${bytes} bytes are more memory than is free`);
      taken.push(at);
      return { at, bytes };
    };
    const give = (array) => {
      const { at, bytes } = room(array.byteLength);
      new Uint8Array(this.call.memory.buffer, at, bytes).set(
        new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
      );
      return at;
    };
    try {
      return work(give, room);
    } finally {
      for (const at of taken) this.call.free(at);
    }
  }

  copy(Type, { at, bytes }) {
    return new Type(this.call.memory.buffer.slice(at, at + bytes));
  }
  text(string) {
    return new TextEncoder().encode(`${string}\0`);
  }
  string(at) {
    const bytes = new Uint8Array(this.call.memory.buffer, at >>> 0);
    return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
  }
  error() {
    return this.string(this.call.xnornet_error());
  }
}

/** An instance, and a memory, for each model: both go with it. */
async function instantiate(module) {
  let memory;
  const UNSUPPORTED = 8; // EBADF of WASI: there are no files
  const view = () => new DataView(memory.buffer);
  const known = {
    clock_time_get: (_clock, _precision, at) => {
      view().setBigUint64(at, BigInt(Math.round(performance.now() * 1e6)), true);
      return 0;
    },
    environ_sizes_get: (count, bytes) => {
      view().setUint32(count, 0, true);
      view().setUint32(bytes, 0, true);
      return 0;
    },
    environ_get: () => 0,
    emscripten_notify_memory_growth: () => {},
    proc_exit: (code) => {
      throw new Error(`the engine ended with ${code}`);
    },
  };
  const imports = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module))
    (imports[from] ??= {})[name] = known[name] ?? (() => UNSUPPORTED);
  const { exports } = await WebAssembly.instantiate(module, imports);
  memory = exports.memory;
  exports._initialize();
  return new Engine(exports);
}

async function moduleOf(wasm) {
  if (wasm instanceof WebAssembly.Module) return wasm;
  if (typeof wasm === "object" && !(wasm instanceof URL)) return WebAssembly.compile(wasm);
  const url = wasm ?? new URL("xnornet.wasm", import.meta.url);
  const key = String(url);
  if (!MODULES.has(key)) MODULES.set(key, bytesOf(url).then((bytes) => WebAssembly.compile(bytes)));
  try {
    return await MODULES.get(key);
  } catch (error) {
    MODULES.delete(key); // the next try fetches it again
    throw error;
  }
}

async function bytesOf(source) {
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  if (typeof Blob !== "undefined" && source instanceof Blob) return new Uint8Array(await source.arrayBuffer());
  const address = String(source);
  const isFile = address.startsWith("file:") || !/^[a-z][a-z0-9+.-]+:/i.test(address); // one letter: a drive
  if (IN_NODE && isFile) {
    const { readFile } = await import("node:fs/promises");
    return new Uint8Array(await readFile(address.startsWith("file:") ? new URL(address) : address));
  }
  const response = await fetch(address).catch((error) => {
    throw new Error(`${address} cannot be fetched: ${error.cause?.message ?? error.message}`);
  });
  if (!response.ok) throw new Error(`${address}: HTTP ${response.status} ${response.statusText}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** The pixels of what a browser shows, or of an image that has its own. */
function imageOf(source) {
  if (source?.data?.length) return source;
  const width = source?.videoWidth ?? source?.naturalWidth ?? source?.displayWidth ?? source?.width;
  const height = source?.videoHeight ?? source?.naturalHeight ?? source?.displayHeight ?? source?.height;
  if (!(width > 0 && height > 0))
    throw new TypeError("give an image, a video that plays, a canvas, or { data, width, height }");
  const context = canvasOf(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(source, 0, 0);
  return context.getImageData(0, 0, width, height);
}

/** In a page also where a browser has none but what it shows (Firefox before 105). */
function canvasOf(width, height) {
  if (typeof OffscreenCanvas !== "undefined") return new OffscreenCanvas(width, height);
  return Object.assign(document.createElement("canvas"), { width, height });
}
