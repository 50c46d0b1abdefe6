// Times one network's files in turns: the other half of web.py, which says what is in the folder.
//
//     node benchmarks/web.mjs FOLDER PACKAGE PEER ROUNDS
//
// Prints, as JSON, {implementation: {times: [ms], logits: [...]}}.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, ours, peer, rounds] = process.argv.slice(2);
const { load } = await import(pathToFileURL(join(ours, "xnornet.js")));
const onnxruntime = await import(pathToFileURL(join(peer, "dist", "ort.wasm.min.mjs")));
onnxruntime.env.wasm.numThreads = 1;

const bytes = (name) => new Uint8Array(readFileSync(join(folder, name)));
const pixels = bytes("pixels");
const floats = new Float32Array(bytes("floats").buffer);
const { shape, ours: kinds } = JSON.parse(readFileSync(join(folder, "input.json")));

const runs = {};
for (const [name, activations] of Object.entries(kinds)) {
  const model = await load(bytes(`${name}.safetensors`), { activations });
  runs[name] = () => model.run(pixels);
}
for (const name of ["onnxruntime", "onnxruntime-int8"]) {
  const session = await onnxruntime.InferenceSession.create(bytes(`${name}.onnx`));
  const feed = { [session.inputNames[0]]: new onnxruntime.Tensor("float32", floats, shape) };
  runs[name] = async () => (await session.run(feed))[session.outputNames[0]].data;
}

const measured = {};
for (const [name, run] of Object.entries(runs)) measured[name] = { times: [], logits: Array.from(await run()) };
const WARM = 5; // rounds that are not counted: what runs often is compiled once more
for (let round = -WARM; round < Number(rounds); ++round)
  for (const [name, run] of Object.entries(runs)) {
    const start = performance.now();
    await run();
    if (round >= 0) measured[name].times.push(performance.now() - start);
  }
console.log(JSON.stringify(measured));
