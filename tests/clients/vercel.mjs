// The Vercel AI SDK, with its provider for OpenAI's chat completions.
import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, embed, embedMany, generateObject, generateText, RetryError, stepCountIs, streamObject, streamText, tool } from "ai";
import { z } from "zod";
import {
    areVectors, backendIsBusy, backendsAreFree, collect, embedders, everyBackend, failsOnce,
    gateway, greeting, isDecision, key, phrases, pixel, price, pricesOf, run, scenario, scripted,
    speakers, thrownBy, transformers, url, vectors, verdict,
} from "./runner.mjs";

const provider = createOpenAI({ baseURL: `${url}/v1`, apiKey: key });
const Decision = z.object({ sell: z.boolean(), lots: z.number().int() });

function asks(model, prompt, more = {}) {
    return { model: provider.chat(model), system: "You trade.", prompt, maxRetries: 0, ...more };
}

function priceTool(called) {
    return tool({
        description: price.description,
        inputSchema: z.object({ of: z.string() }),
        execute: async ({ of }) => { called.push(of); return pricesOf[of]; },
    });
}

// What a stream tells: its text, and its error when it had one.
async function told(stream) {
    let said = "";
    let error;
    for await (const part of stream.fullStream) {
        if (part.type === "text-delta") said += part.text;
        if (part.type === "error") error = part.error;
    }
    return { said, error };
}

scenario("whole", everyBackend, async (model, kind) => {
    const answer = await generateText(asks(model, "hello", { maxOutputTokens: 8 }));
    assert.ok(["stop", "length"].includes(answer.finishReason));
    assert.ok(answer.usage.outputTokens > 0);
    if (scripted(kind)) assert.equal(answer.text, greeting);
});

scenario("stream", everyBackend, async (model, kind) => {
    const stream = streamText(asks(model, "hello", { maxOutputTokens: 8 }));
    const said = await collect(stream.textStream, (piece) => piece);
    assert.ok((await stream.usage).outputTokens > 0);
    if (!scripted(kind)) assert.ok(said.length > 0);
    else assert.equal(said, greeting);
});

scenario("tools", transformers, async (model) => {
    const called = [];
    const answer = await generateText(asks(model, "the prices?",
        { tools: { price: priceTool(called) }, stopWhen: stepCountIs(3) }));
    assert.deepEqual(called.sort(), ["gold", "tin"]);
    assert.equal(answer.steps[0].finishReason, "tool-calls");
    assert.equal(answer.text, verdict);
});

scenario("tools, streamed", transformers, async (model) => {
    const called = [];
    const stream = streamText(asks(model, "the prices?",
        { tools: { price: priceTool(called) }, stopWhen: stepCountIs(3) }));
    assert.equal((await told(stream)).said, verdict);
    assert.deepEqual(called.sort(), ["gold", "tin"]);
    assert.equal((await stream.steps)[0].finishReason, "tool-calls");
});

scenario("json schema", speakers, async (model, kind) => {
    const answer = await generateObject(asks(model, "sell?", { schema: Decision }));
    isDecision(answer.object, kind);
});

scenario("json schema, streamed", speakers, async (model, kind) => {
    const stream = streamObject(asks(model, "sell?", { schema: Decision }));
    const parts = [];
    for await (const part of stream.partialObjectStream) parts.push(part);
    isDecision(parts.at(-1), kind);
});

scenario("image", transformers, async (model) => {
    const messages = [{
        role: "user", content: [{ type: "text", text: "What is it?" },
            { type: "image", image: pixel, mediaType: "image/png" }],
    }];
    const answer = await generateText({ model: provider.chat(model), messages, maxRetries: 0 });
    assert.equal(answer.text, "I see a picture.");
});

scenario("embeddings", embedders, async (name, kind) => {
    const model = provider.textEmbeddingModel(name);
    const many = await embedMany({ model, values: phrases });
    areVectors(many.embeddings, vectors, kind);
    assert.ok(many.usage.tokens > 0);
    areVectors([(await embed({ model, value: phrases[1] })).embedding], [vectors[1]], kind);
});

function asksResponses(model, prompt, more = {}) {
    return { ...asks(model, prompt, more), model: provider.responses(model) };
}

scenario("responses", transformers, async (model) => {
    assert.equal((await generateText(asksResponses(model, "hello"))).text, greeting);
    const { said, error } = await told(streamText(asksResponses(model, "hello")));
    assert.equal(error, undefined);
    assert.equal(said, greeting);
});

scenario("responses, tools", transformers, async (model) => {
    const called = [];
    const answer = await generateText(asksResponses(model, "the prices?", {
        tools: { price: priceTool(called) }, stopWhen: stepCountIs(3), providerOptions: { openai: { store: false } },
    }));
    assert.deepEqual(called, ["gold", "tin"]);
    assert.equal(answer.text, verdict);
});

scenario("abort a stream", speakers, async (model) => {
    const controller = new AbortController();
    const stream = streamText(asks(model, "go on", { abortSignal: controller.signal }));
    let aborted = false;
    for await (const part of stream.fullStream) {
        if (part.type === "text-delta") controller.abort();
        if (part.type === "abort") aborted = true;
    }
    assert.ok(aborted);
    await backendsAreFree();
});

scenario("abort before the answer", speakers, async (model) => {
    const controller = new AbortController();
    const answer = thrownBy(generateText(asks(model, "go on", { abortSignal: controller.signal })));
    await backendIsBusy();
    controller.abort();
    assert.equal((await answer).name, "AbortError");
    await backendsAreFree();
});

scenario("the client's retry", transformers, async (model) => {
    const answer = await generateText(asks(model, failsOnce(), { maxRetries: 1 }));
    assert.equal(answer.text, greeting);
});

scenario("a backend's refusals", transformers, async (model) => {
    for (const [status, retryable] of [[400, false], [404, false], [422, false], [429, true]]) {
        const error = await thrownBy(generateText(asks(model, `status ${status}`)));
        assert.ok(APICallError.isInstance(error), error);
        assert.equal(error.statusCode, status);
        assert.equal(error.isRetryable, retryable);
        assert.match(error.message, /scripted|rate/);
    }
});

scenario("a backend's failure", transformers, async (model) => {
    const whole = await thrownBy(generateText(asks(model, "status 500")));
    const streamed = (await told(streamText(asks(model, "status 500", { onError() {} })))).error;
    for (const error of [whole, streamed]) {
        assert.ok(APICallError.isInstance(error), error);
        assert.equal(error.statusCode, 502);
        assert.ok(error.isRetryable);
    }
});

scenario("a stream that breaks off", transformers, async (model) => {
    const { said, error } = await told(streamText(asks(model, "break off", { onError() {} })));
    assert.equal(said, "Half a");
    assert.ok(error, "no error part");
});

scenario("retries that do not help", gateway, async () => {
    const error = await thrownBy(generateText(asks("small", "status 503", { maxRetries: 1 })));
    assert.ok(RetryError.isInstance(error), error);
    assert.equal(error.errors.length, 2);
});

scenario("a wrong key", gateway, async () => {
    const stranger = createOpenAI({ baseURL: `${url}/v1`, apiKey: "wrong" });
    const error = await thrownBy(generateText(asks("small", "hello", { model: stranger.chat("small") })));
    assert.ok(APICallError.isInstance(error), error);
    assert.equal(error.statusCode, 401);
});

scenario("an unknown model", gateway, async () => {
    const error = await thrownBy(generateText(asks("smal", "hello")));
    assert.ok(APICallError.isInstance(error), error);
    assert.equal(error.statusCode, 404);
    assert.match(error.message, /small/);
});

await run();
