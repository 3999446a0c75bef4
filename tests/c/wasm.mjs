// The library as a WebAssembly module in Node: `node wasm.mjs sfeuot.wasm FOLDER` trains a little and draws, and a model that
// `portable write FOLDER` has made elsewhere answers here as it did there. What the library reads lies in
// memory that the module is given for it, with the offsets that the header's structs have where pointers take four bytes.
import { readFileSync } from "node:fs";

const ROWS = 64;
const { instance } = await WebAssembly.instantiate(readFileSync(process.argv[2]), {});
const library = instance.exports;
let free = library.memory.grow(16) * 65536;
const take = (bytes) => {
  const at = free;
  free += (bytes + 15) & ~15;
  return at;
};
const memory = () => new DataView(library.memory.buffer);
const pointer = (at, value) => memory().setUint32(at, value, true);
const check = (status) => {
  if (status === 0) return;
  const bytes = new Uint8Array(library.memory.buffer, library.sfeuot_last_error());
  throw new Error(new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0))));
};
const made = (create) => {
  const at = take(4);
  check(create(at));
  return memory().getUint32(at, true);
};

const side = (centre) => {
  const [values, shape, tensor, data] = [take(ROWS * 8), take(16), take(256), take(256)];
  for (let i = 0; i < 2 * ROWS; i++) memory().setFloat32(values + 4 * i, centre + ((i * 7) % ROWS) / ROWS, true);
  memory().setBigInt64(shape, BigInt(ROWS), true);
  memory().setBigInt64(shape + 8, 2n, true);
  check(library.sfeuot_tensor_init(tensor));
  pointer(tensor + 8, values), pointer(tensor + 12, 2), pointer(tensor + 16, shape);
  check(library.sfeuot_data_init(data));
  pointer(data + 8, tensor);
  return data;
};

const config = take(256);
check(library.sfeuot_trainer_config_init_2(config));
const context = made((at) => library.sfeuot_context_create(0, at));
const [source, target] = [side(0), side(2)];
if (library.sfeuot_trainer_create(context, config, source, target, take(4)) === 0) throw new Error("sigma has no default");
memory().setFloat64(config + 8, 0.5, true);
const trainer = made((at) => library.sfeuot_trainer_create(context, config, source, target, at));
check(library.sfeuot_trainer_step(trainer, 10n, 0));
const model = made((at) => library.sfeuot_trainer_model_wait(trainer, 5, at));
const session = made((at) => library.sfeuot_session_create(model, at));
const out = take(8);
check(library.sfeuot_session_generate(session, memory().getUint32(memory().getUint32(source + 8, true) + 8, true), 1n, 7n, 0n, out));
const [x, y] = [0, 4].map((at) => memory().getFloat32(out + at, true));
if (!(x > 0.5 && x < 4 && y > 0.5 && y < 4)) throw new Error(`(${x}, ${y}) is not near the target`);

// The points and the draws of tests/c/portable.c.
const POINTS = 16;
const folder = process.argv[3];
const file = readFileSync(`${folder}/portable.sfeuot`);
const kept = readFileSync(`${folder}/portable.txt`, "utf8").trim().split("\n").map(Number);
const at = take(file.length);
new Uint8Array(library.memory.buffer, at).set(file);
const loaded = made((to) => library.sfeuot_model_load_memory(context, at, file.length, to));
const asked = made((to) => library.sfeuot_session_create(loaded, to));
const points = take(8 * POINTS), answers = take(8 * POINTS);
for (let i = 0; i < POINTS; i++) {
  memory().setFloat32(points + 8 * i, i / POINTS, true);
  memory().setFloat32(points + 8 * i + 4, 1 - (i * i) / (POINTS * POINTS), true);
}
check(library.sfeuot_session_generate(asked, points, BigInt(POINTS), 7n, 0n, answers));
for (let i = 0; i < 2 * POINTS; i++) {
  const found = memory().getFloat32(answers + 4 * i, true);
  if (!(Math.abs(found - kept[i]) <= 1e-5 * (1 + Math.abs(kept[i])))) {
    throw new Error(`answer ${i} is ${found}, where ${kept[i]} was written`);
  }
}
console.log(`WebAssembly: ABI ${library.sfeuot_abi_version()}, a source sample goes to (${x.toFixed(2)}, ${y.toFixed(2)}), and a model written elsewhere answers the same`);
