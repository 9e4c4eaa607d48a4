// Runs a client's scenarios one after the other, once for each kind of backend; an outcome a line.
//
// node CLIENT.mjs, with HATCHWAY_URL and HATCHWAY_KEY: test_clients.py starts it. With a real Ollama
// HATCHWAY_LIVE_MODEL and HATCHWAY_LIVE_EMBEDDER name its models: then what does not depend on the
// words of an answer also runs against it.
import assert from "node:assert/strict";

export const url = process.env.HATCHWAY_URL;
export const key = process.env.HATCHWAY_KEY;

// The model that a backend of each kind serves; the gateway itself has none.
const live = process.env.HATCHWAY_LIVE_MODEL;
const embedder = process.env.HATCHWAY_LIVE_EMBEDDER;
const models = { openai: "small", ollama: "llama3.1:8b", bdh: "hatchling", gateway: undefined, live, embedder };

export const everyBackend = ["openai", "ollama", "bdh", ...(live ? ["live"] : [])];
export const speakers = ["openai", "ollama", ...(live ? ["live"] : [])]; // they keep to a schema
export const embedders = ["openai", "ollama", ...(embedder ? ["embedder"] : [])];
export const transformers = ["openai", "ollama"]; // a bdh worker has neither tools nor schemas
export const gateway = ["gateway"];

// What the scripted models say (scripted_model.py).
export const greeting = "Grüße from a scripted model 🐉.";
export const price = {
    name: "price",
    description: "What a metal costs.",
    parameters: { type: "object", properties: { of: { type: "string" } }, required: ["of"] },
};
export const pricesOf = { gold: "2400", tin: "30" };
export const verdict = "gold 2400, tin 30"; // when it was told the prices
export const schema = {
    type: "object",
    properties: { sell: { type: "boolean" }, lots: { type: "integer" } },
    required: ["sell", "lots"],
    additionalProperties: false,
};
export const phrases = ["gold", "tin and lead"];
export const vectors = [[4, 1], [12, 3]]; // theirs
export const decision = { sell: true, lots: 3 };

// Of the others nobody knows the words beforehand.
export const scripted = (kind) => transformers.includes(kind);

export function isDecision(found, kind) {
    if (scripted(kind)) assert.deepEqual(found, decision);
    assert.deepEqual(Object.keys(found).sort(), ["lots", "sell"]);
    assert.ok(typeof found.sell === "boolean" && Number.isInteger(found.lots));
}

export function areVectors(found, wanted, kind) {
    if (scripted(kind)) assert.deepEqual(found, wanted);
    assert.equal(found.length, wanted.length);
    for (const vector of found) assert.ok(vector.length === found[0].length && vector.length > 1 && vector.every(Number.isFinite));
}

export const pixel =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

const scenarios = [];
const secondsEach = live ? 300 : 20; // a real model has to be loaded

// Declared at the start of a line, name and kinds on it: test_clients.py reads them to count.
export function scenario(name, kinds, body) {
    for (const kind of kinds) scenarios.push({ name, kind, body });
}

export async function run() {
    for (const { name, kind, body } of scenarios) {
        let error = null;
        let timer;
        const late = new Promise((_, reject) => {
            timer = setTimeout(() => reject(new Error(`not within ${secondsEach} s`)), secondsEach * 1000);
        });
        try {
            await Promise.race([body(models[kind], kind), late]);
        } catch (thrown) {
            error = thrown instanceof Error ? thrown.stack : String(thrown);
        }
        clearTimeout(timer);
        console.log(JSON.stringify({ scenario: name, kind, error }));
    }
    process.exit(0); // whatever connections a client may keep
}

export async function collect(stream, piece) {
    let text = "";
    for await (const event of stream) text += piece(event) ?? "";
    return text;
}

async function inflight() {
    const text = await (await fetch(`${url}/metrics`)).text();
    return [...text.matchAll(/^hatchway_backend_inflight\{[^}]*\} (\d+)/gm)]
        .reduce((sum, found) => sum + Number(found[1]), 0);
}

async function until(condition, what) {
    for (const deadline = Date.now() + 3000; !(await condition());) {
        if (Date.now() > deadline) throw new Error(`not within 3 s: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
}

export async function backendIsBusy() {
    await until(async () => (await inflight()) > 0, "a backend is busy");
}

export async function backendsAreFree() {
    await until(async () => (await inflight()) === 0, "the backends are free");
}

let asked = 0;

// A question that fails the first time it is asked, and has not been asked before.
export function failsOnce() {
    return `fail once, number ${++asked}`;
}

// Resolves to what the promise rejects with.
export async function thrownBy(promise) {
    let value;
    try {
        value = await promise;
    } catch (error) {
        return error;
    }
    throw new Error(`no error, but ${JSON.stringify(value)}`);
}
