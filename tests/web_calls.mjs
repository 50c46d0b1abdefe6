// Makes calls of xnornet.js for test_web.py: node web_calls.mjs XNORNET_JS CALLS, a file of JSON:
// [{model, options, method, argument}, ...]. Prints what each returns, or {error}.
//
// `argument` is JSON; {file, type, ...} in it stands for the bytes of a file, as an array of that type and, where there
// is more than these two, as `data` beside the rest.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [library, calls] = process.argv.slice(2);
const { load } = await import(pathToFileURL(library));
const TYPES = { Uint8Array, Uint8ClampedArray, Float32Array, Int16Array };

function value(json) {
  if (!json?.file) return json;
  const { file, type, ...rest } = json;
  const data = new TYPES[type](new Uint8Array(readFileSync(file)).buffer);
  return Object.keys(rest).length ? { data, ...rest } : data;
}

async function answer({ model: source, options, method, argument, ...rest }) {
  try {
    const model = await load(value(source), options);
    const found = method === "about" ? about(model) : model[method](value(argument), rest);
    return ArrayBuffer.isView(found) ? { bytes: Buffer.from(found.buffer).toString("base64") } : { found };
  } catch (error) {
    return { error: error.message, name: error.name };
  }
}

function about({ height, width, channels, labels, isa }) {
  return { height, width, channels, labels, isa };
}

const answers = [];
for (const call of JSON.parse(readFileSync(calls))) answers.push(await answer(call));
console.log(JSON.stringify(answers));
