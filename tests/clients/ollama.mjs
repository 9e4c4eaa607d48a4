// The `ollama` package: chat and generate.
import assert from "node:assert/strict";
import { Ollama } from "ollama";
import {
    areVectors, backendIsBusy, backendsAreFree, collect, embedders, everyBackend, failsOnce,
    gateway, greeting, isDecision, key, phrases, pixel, price, pricesOf, run, scenario, schema,
    scripted, speakers, thrownBy, transformers, url, vectors, verdict,
} from "./runner.mjs";

const options = { host: url, headers: { Authorization: `Bearer ${key}` } };
const client = new Ollama(options);
const tools = [{ type: "function", function: price }];

function asks(model, content, more = {}) {
    return {
        model, messages: [{ role: "system", content: "You trade." }, { role: "user", content }],
        options: { num_predict: 8 }, ...more,
    };
}

function assertError(error, status) {
    assert.equal(error.name, "ResponseError", error.stack);
    assert.equal(error.status_code, status);
}

scenario("chat, whole", everyBackend, async (model, kind) => {
    const answer = await client.chat(asks(model, "hello"));
    assert.equal(answer.done, true);
    assert.equal(answer.message.role, "assistant");
    assert.ok(answer.eval_count > 0);
    assert.ok(!Number.isNaN(Date.parse(answer.created_at)));
    if (scripted(kind)) assert.equal(answer.message.content, greeting);
});

scenario("chat, streamed", everyBackend, async (model, kind) => {
    let last;
    const said = await collect(await client.chat(asks(model, "hello", { stream: true })), (part) => {
        last = part;
        return part.message.content;
    });
    assert.equal(last.done, true);
    assert.ok(last.eval_count > 0);
    if (!scripted(kind)) assert.ok(said.length > 0);
    else assert.equal(said, greeting);
});

// An OpenAI-compatible backend gets it as a chat: it is the gateway that writes `response`.
scenario("generate, whole", everyBackend, async (model, kind) => {
    const answer = await client.generate({ model, prompt: "hello", options: { num_predict: 8 } });
    assert.equal(answer.done, true);
    if (scripted(kind)) assert.equal(answer.response, greeting);
});

scenario("generate, streamed", everyBackend, async (model, kind) => {
    const said = await collect(
        await client.generate({ model, prompt: "hello", stream: true, options: { num_predict: 8 } }),
        (part) => part.response);
    if (!scripted(kind)) assert.ok(said.length > 0);
    else assert.equal(said, greeting);
});

scenario("tools", transformers, async (model) => {
    const query = asks(model, "the prices of gold and tin?", { tools });
    const { message } = await client.chat(query);
    assert.deepEqual(message.tool_calls.map((call) => call.function.arguments), [{ of: "gold" }, { of: "tin" }]);
    const results = message.tool_calls.map((call) => ({
        role: "tool", tool_name: call.function.name, content: pricesOf[call.function.arguments.of],
    }));
    const answer = await client.chat({ ...query, messages: [...query.messages, message, ...results] });
    assert.equal(answer.message.content, verdict);
});

scenario("tools, streamed", transformers, async (model) => {
    const calls = [];
    for await (const part of await client.chat(asks(model, "the prices?", { tools, stream: true })))
        calls.push(...part.message.tool_calls ?? []);
    assert.deepEqual(calls.map((call) => [call.function.name, call.function.arguments]),
        [["price", { of: "gold" }], ["price", { of: "tin" }]]);
});

scenario("json schema", speakers, async (model, kind) => {
    const answer = await client.chat(asks(model, "sell?", { format: schema, options: { num_predict: 200 } }));
    isDecision(JSON.parse(answer.message.content), kind);
});

scenario("image", transformers, async (model) => {
    const messages = [{ role: "user", content: "What is it?", images: [pixel] }];
    assert.equal((await client.chat({ model, messages })).message.content, "I see a picture.");
    const generated = await client.generate({ model, prompt: "What is it?", images: [pixel] });
    assert.equal(generated.response, "I see a picture.");
});

scenario("embeddings", embedders, async (model, kind) => {
    const many = await client.embed({ model, input: phrases });
    areVectors(many.embeddings, vectors, kind);
    assert.ok(many.prompt_eval_count > 0);
    areVectors((await client.embed({ model, input: phrases[1] })).embeddings, [vectors[1]], kind);
    areVectors([(await client.embeddings({ model, prompt: phrases[1] })).embedding], [vectors[1]], kind);
});

scenario("abort a stream", speakers, async (model) => {
    const stream = await client.chat(asks(model, "go on", { stream: true, options: { num_predict: 2000 } }));
    const error = await thrownBy(collect(stream, (part) => {
        if (part.message.content) stream.abort();
    }));
    assert.equal(error.name, "AbortError", error.stack);
    await backendsAreFree();
});

// The package aborts nothing but streams; a fetch of one's own is its way.
scenario("abort before the answer", speakers, async (model) => {
    const controller = new AbortController();
    const impatient = new Ollama({
        ...options, fetch: (input, init) => fetch(input, { ...init, signal: controller.signal }),
    });
    const answer = thrownBy(impatient.chat(asks(model, "go on", { options: { num_predict: 2000 } })));
    await backendIsBusy();
    controller.abort();
    assert.equal((await answer).name, "AbortError");
    await backendsAreFree();
});

scenario("asked again after a failure", transformers, async (model) => {
    const query = asks(model, failsOnce()); // 503 once; the package does not retry
    assertError(await thrownBy(client.chat(query)), 503);
    assert.equal((await client.chat(query)).message.content, greeting);
});

scenario("a backend's refusals", transformers, async (model) => {
    for (const status of [400, 404, 422, 429]) {
        const error = await thrownBy(client.chat(asks(model, `status ${status}`)));
        assertError(error, status);
        assert.match(error.message, /scripted|rate/);
    }
});

scenario("a backend's failure", transformers, async (model) => {
    for (const stream of [false, true])
        assertError(await thrownBy(client.chat(asks(model, "status 500", { stream }))), 502);
});

scenario("a stream that breaks off", transformers, async (model) => {
    let said = "";
    const error = await thrownBy(collect(await client.chat(asks(model, "break off", { stream: true })),
        (part) => { said += part.message.content; }));
    assert.ok(error instanceof Error);
    assert.notEqual(error.message, "Did not receive done or success response in stream.");
    assert.equal(said, "Half a");
});

scenario("a wrong key", gateway, async () => {
    const stranger = new Ollama({ ...options, headers: { Authorization: "Bearer wrong" } });
    assertError(await thrownBy(stranger.chat(asks("small", "hello"))), 401);
});

scenario("an unknown model", gateway, async () => {
    const error = await thrownBy(client.chat(asks("llama3.1:9b", "hello")));
    assertError(error, 404);
    assert.match(error.message, /llama3\.1:8b/);
});

scenario("a query that is none", gateway, async () => {
    const error = await thrownBy(client.chat({ model: "small", messages: "hello" }));
    assertError(error, 400);
    assert.match(error.message, /messages/);
});

scenario("models", gateway, async () => {
    const { models } = await client.list();
    for (const name of ["small", "llama3.1:8b"]) assert.ok(models.some((model) => model.name === name), name);
    assert.ok(models.every((model) => !Number.isNaN(Date.parse(model.modified_at))));
    assert.ok((await client.show({ model: "llama3.1:8b" })).details);
    assert.ok(Array.isArray((await client.ps()).models));
    assert.match((await client.version()).version, /^\d+\.\d+/);
});

scenario("managing models is refused", gateway, async () => {
    assertError(await thrownBy(client.pull({ model: "llama3.1:8b" })), 403);
    assertError(await thrownBy(client.delete({ model: "llama3.1:8b" })), 403);
});

await run();
