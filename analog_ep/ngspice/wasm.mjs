// The ngspice of the npm package eecircuit-engine as a program: `node wasm.mjs MODULE ARGUMENT…` does what
// `ngspice ARGUMENT…` does. The netlist comes on standard input; the file after -r appears in the working directory.

import { readFileSync, writeFileSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [module, ...words] = process.argv.slice(2);
const { Simulation } = await import(pathToFileURL(module));
const deck = readFileSync(0);
const result = words.includes("-r") ? words[words.indexOf("-r") + 1] : null;
const simulation = new Simulation();

function say(text) {
  for (let rest = Buffer.from(text); rest.length; ) rest = rest.subarray(writeSync(1, rest));
}

function end(spice, status) {
  if (result !== null && spice.FS.analyzePath(`/${result}`).exists) {
    writeFileSync(result, spice.FS.readFile(`/${result}`));
  }
  process.exit(status);
}

function run(spice) {
  // Between two commands of a netlist ngspice hands over to the page that it was built for.
  spice.setHandleThings(() => spice.Asyncify.handleAsync(async () => {}));
  spice.FS.writeFile("/deck.cir", deck);
  const inside = words.map((word) => (word === result ? `/${result}` : word));
  const status = spice.callMain(words.includes("-b") ? [...inside, "/deck.cir"] : inside);
  if (!spice.Asyncify.currData) end(spice, status);
  const ended = (error) => {
    if (typeof error?.status !== "number") throw error;
    end(spice, error.status);
  };
  spice.Asyncify.whenDone().then((value) => end(spice, value), ended);
}

// The class runs ngspice as its own page does, command by command, and cuts its words short: both are taken over.
let spice = null;
Object.defineProperty(simulation, "info", { get: () => "", set: say });
Object.defineProperty(simulation, "spiceModule", {
  get: () => spice,
  set: (made) => {
    spice = made;
    spice.runThings = () => run(spice);
  },
});
console.error = () => {};
// It never answers where ngspice has ended: nothing may follow.
await simulation.start();
