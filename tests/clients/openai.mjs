// The `openai` package: its plain calls, and its helpers that stream, parse and run tools.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import {
    areVectors, backendIsBusy, backendsAreFree, collect, embedders, everyBackend,
    failsOnce, gateway, greeting, isDecision, key, phrases, pixel, price, pricesOf, run, scenario,
    scripted, speakers, thrownBy, transformers, url, vectors, verdict,
} from "./runner.mjs";

const options = { baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 };
const client = new OpenAI(options);
const chat = client.chat.completions;
const tools = [{ type: "function", function: price }];

function asks(model, content, more = {}) {
    return { model, messages: [{ role: "system", content: "You trade." }, { role: "user", content }], ...more };
}

function text(chunk) {
    return chunk.choices[0]?.delta.content;
}

scenario("whole", everyBackend, async (model, kind) => {
    const answer = await chat.create(asks(model, "hello", { max_tokens: 8 }));
    const choice = answer.choices[0];
    assert.equal(answer.object, "chat.completion");
    assert.equal(choice.message.role, "assistant");
    assert.ok(["stop", "length"].includes(choice.finish_reason));
    assert.ok(answer.usage.completion_tokens > 0);
    if (scripted(kind)) assert.equal(choice.message.content, greeting);
});

scenario("stream", everyBackend, async (model, kind) => {
    const said = await collect(await chat.create(asks(model, "hello", { max_tokens: 8, stream: true })), text);
    if (!scripted(kind)) assert.ok(said.length > 0);
    else assert.equal(said, greeting);
});

scenario("stream with usage", everyBackend, async (model) => {
    const chunks = [];
    for await (const chunk of await chat.create(
        asks(model, "hello", { max_tokens: 8, stream: true, stream_options: { include_usage: true } })))
        chunks.push(chunk);
    const last = chunks.at(-1);
    assert.deepEqual(last.choices, []);
    assert.ok(last.usage.completion_tokens > 0);
    assert.ok(chunks.at(-2).choices[0].finish_reason);
});

scenario("the same twice", everyBackend, async (model) => {
    const query = asks(model, "hello, twice", { max_tokens: 8, temperature: 0 });
    const first = await chat.create(query).withResponse();
    const second = await chat.create(query).withResponse();
    const streamed = await collect(await chat.create({ ...query, stream: true }), text);
    assert.equal(first.response.headers.get("x-hatchway-cache"), "miss");
    assert.equal(second.response.headers.get("x-hatchway-cache"), "hit");
    assert.equal(second.data.choices[0].message.content, first.data.choices[0].message.content);
    assert.equal(streamed, first.data.choices[0].message.content);
});

scenario("tools", transformers, async (model) => {
    const query = asks(model, "the prices of gold and tin?", { tools });
    const { message, finish_reason } = (await chat.create(query)).choices[0];
    assert.equal(finish_reason, "tool_calls");
    assert.deepEqual(message.tool_calls.map((call) => JSON.parse(call.function.arguments).of), ["gold", "tin"]);
    assert.equal(new Set(message.tool_calls.map((call) => call.id)).size, 2);
    const results = message.tool_calls.map((call) => ({
        role: "tool", tool_call_id: call.id, content: pricesOf[JSON.parse(call.function.arguments).of],
    }));
    const answer = await chat.create({ ...query, messages: [...query.messages, message, ...results] });
    assert.equal(answer.choices[0].message.content, verdict);
});

scenario("tools, streamed", transformers, async (model) => {
    const answer = await chat.stream(asks(model, "the prices?", { tools })).finalChatCompletion();
    const { message, finish_reason } = answer.choices[0];
    assert.equal(finish_reason, "tool_calls");
    assert.deepEqual(message.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
        [["price", { of: "gold" }], ["price", { of: "tin" }]]);
});

scenario("tools, run by the client", transformers, async (model) => {
    const called = [];
    const runner = chat.runTools(asks(model, "the prices?", {
        stream: true,
        tools: [{
            type: "function",
            function: {
                ...price, parse: JSON.parse,
                function: ({ of }) => { called.push(of); return pricesOf[of]; },
            },
        }],
    }));
    assert.equal(await runner.finalContent(), verdict);
    assert.deepEqual(called, ["gold", "tin"]);
});

scenario("json schema", speakers, async (model, kind) => {
    const Decision = z.object({ sell: z.boolean(), lots: z.number().int() });
    const answer = await chat.parse(asks(model, "sell?", { response_format: zodResponseFormat(Decision, "decision") }));
    isDecision(answer.choices[0].message.parsed, kind);
});

scenario("image", transformers, async (model) => {
    const answer = await chat.create(asks(model, [
        { type: "text", text: "What is it?" },
        { type: "image_url", image_url: { url: `data:image/png;base64,${pixel}` } },
    ]));
    assert.equal(answer.choices[0].message.content, "I see a picture.");
});

scenario("embeddings", embedders, async (model, kind) => {
    const many = await client.embeddings.create({ model, input: phrases }); // as base64, unasked
    areVectors(many.data.map((each) => Array.from(each.embedding)), vectors, kind);
    assert.ok(many.usage.prompt_tokens > 0);
    const one = await client.embeddings.create({ model, input: phrases[1], encoding_format: "float" });
    areVectors([one.data[0].embedding], [vectors[1]], kind);
});

scenario("responses, whole", everyBackend, async (model, kind) => {
    const answer = await client.responses.create({ model, instructions: "You trade.", input: "hello", max_output_tokens: 8 });
    assert.equal(answer.object, "response");
    assert.ok(["completed", "incomplete"].includes(answer.status));
    assert.ok(answer.usage.output_tokens > 0);
    if (scripted(kind)) assert.equal(answer.output_text, greeting);
});

scenario("responses, streamed", everyBackend, async (model, kind) => {
    const stream = client.responses.stream({ model, input: "hello", max_output_tokens: 8 });
    let said = "";
    let number = 0;
    for await (const event of stream) {
        assert.equal(event.sequence_number, number++);
        if (event.type === "response.output_text.delta") said += event.delta;
    }
    const answer = await stream.finalResponse();
    assert.equal(answer.output_text, said);
    if (!scripted(kind)) assert.ok(said.length > 0);
    else assert.equal(said, greeting);
});

const flat = [{ type: "function", ...price, strict: false }];

async function callsFunctions(model, asked) {
    const input = [{ role: "user", content: "the prices of gold and tin?" }];
    const first = await asked({ model, input, tools: flat });
    const calls = first.output.filter((item) => item.type === "function_call");
    assert.deepEqual(calls.map((call) => [call.name, JSON.parse(call.arguments).of]), [["price", "gold"], ["price", "tin"]]);
    const results = calls.map((call) => ({
        type: "function_call_output", call_id: call.call_id, output: pricesOf[JSON.parse(call.arguments).of],
    }));
    const second = await asked({ model, input: [...input, ...first.output, ...results], tools: flat });
    assert.equal(second.output_text, verdict);
}

scenario("responses, tools", transformers, (model) => callsFunctions(model, (query) => client.responses.create(query)));

scenario("responses, tools, streamed", transformers, (model) =>
    callsFunctions(model, (query) => client.responses.stream(query).finalResponse()));

scenario("responses, json schema", speakers, async (model, kind) => {
    const Decision = z.object({ sell: z.boolean(), lots: z.number().int() });
    const answer = await client.responses.parse({
        model, input: "sell?", text: { format: zodTextFormat(Decision, "decision") },
    });
    isDecision(answer.output_parsed, kind);
});

scenario("responses, image", transformers, async (model) => {
    const answer = await client.responses.create({ model, input: [{ role: "user", content: [
        { type: "input_text", text: "What is it?" },
        { type: "input_image", detail: "auto", image_url: `data:image/png;base64,${pixel}` },
    ] }] });
    assert.equal(answer.output_text, "I see a picture.");
});

scenario("responses, errors", transformers, async (model) => {
    assert.ok(await thrownBy(client.responses.create({ model, input: "status 422" })) instanceof OpenAI.UnprocessableEntityError);
    assert.ok(await thrownBy(client.responses.create({ model, input: "status 500" })) instanceof OpenAI.InternalServerError);
    const stored = await thrownBy(client.responses.create({ model, input: "hello", previous_response_id: "resp_1" }));
    assert.ok(stored instanceof OpenAI.BadRequestError, stored);
    assert.match(stored.message, /not stored/);
    const broken = await thrownBy((async () => {
        for await (const event of await client.responses.create({ model, input: "break off", stream: true })) void event;
    })());
    assert.ok(broken instanceof OpenAI.APIError, broken);
});

scenario("abort a stream", speakers, async (model) => {
    const stream = await chat.create(asks(model, "go on", { stream: true }));
    for await (const chunk of stream) if (text(chunk)) break; // the SDK aborts when its loop is left
    await backendsAreFree();
});

scenario("abort before the answer", speakers, async (model) => {
    const controller = new AbortController();
    const answer = thrownBy(chat.create(asks(model, "go on"), { signal: controller.signal }));
    await backendIsBusy();
    controller.abort();
    assert.ok(await answer instanceof OpenAI.APIUserAbortError);
    await backendsAreFree();
});

scenario("timeout", transformers, async (model) => {
    const error = await thrownBy(chat.create(asks(model, "hang"), { timeout: 300 }));
    assert.ok(error instanceof OpenAI.APIConnectionTimeoutError, error);
    await backendsAreFree();
});

scenario("the client's retry", transformers, async (model) => {
    const patient = new OpenAI({ ...options, maxRetries: 1 });
    const answer = await patient.chat.completions.create(asks(model, failsOnce()));
    assert.equal(answer.choices[0].message.content, greeting);
});

scenario("a backend's refusals", transformers, async (model) => {
    for (const [status, name] of [[400, "BadRequestError"], [404, "NotFoundError"],
        [422, "UnprocessableEntityError"], [429, "RateLimitError"]]) {
        const error = await thrownBy(chat.create(asks(model, `status ${status}`)));
        assert.ok(error instanceof OpenAI[name], error);
        assert.equal(error.status, status);
        assert.match(error.message, /scripted|rate/);
    }
});

scenario("a backend's failure", transformers, async (model) => {
    for (const query of [asks(model, "status 500"), asks(model, "status 500", { stream: true })]) {
        const error = await thrownBy(chat.create(query));
        assert.ok(error instanceof OpenAI.InternalServerError, error);
        assert.equal(error.status, 502);
    }
});

scenario("a stream that breaks off", transformers, async (model) => {
    const stream = await chat.create(asks(model, "break off", { stream: true }));
    let said = "";
    const error = await thrownBy((async () => {
        for await (const chunk of stream) said += text(chunk) ?? "";
    })());
    assert.ok(error instanceof OpenAI.APIError, error);
    assert.equal(said, "Half a");
});

scenario("a wrong key", gateway, async () => {
    const stranger = new OpenAI({ ...options, apiKey: "wrong" });
    for (const ask of [() => stranger.chat.completions.create(asks("small", "hello")), () => stranger.models.list()]) {
        const error = await thrownBy(ask());
        assert.ok(error instanceof OpenAI.AuthenticationError, error);
        assert.equal(error.status, 401);
    }
});

scenario("an unknown model", gateway, async () => {
    const error = await thrownBy(chat.create(asks("smal", "hello")));
    assert.ok(error instanceof OpenAI.NotFoundError, error);
    assert.match(error.message, /small/);
});

scenario("a query that is none", gateway, async () => {
    const error = await thrownBy(chat.create({ model: "small", messages: "hello" }));
    assert.ok(error instanceof OpenAI.BadRequestError, error);
    assert.match(error.message, /messages/);
});

scenario("a bdh model has no embeddings", gateway, async () => {
    const error = await thrownBy(client.embeddings.create({ model: "hatchling", input: "gold" }));
    assert.ok(error instanceof OpenAI.BadRequestError, error);
    assert.match(error.message, /embeddings/);
});

scenario("models", gateway, async () => {
    const ids = await collect(client.models.list(), (model) => `${model.id}\n`);
    for (const id of ["auto", "small", "llama3.1:8b"]) assert.ok(ids.split("\n").includes(id), ids);
    assert.equal((await client.models.retrieve("llama3.1:8b")).id, "llama3.1:8b");
});

await run();
