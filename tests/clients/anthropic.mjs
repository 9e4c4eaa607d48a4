// The `@anthropic-ai/sdk` package: messages, whole and streamed, and its helper that runs tools.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import {
    backendIsBusy, backendsAreFree, everyBackend, failsOnce, gateway, greeting, isDecision, key,
    pixel, price, pricesOf, run, scenario, schema, scripted, speakers, thrownBy, transformers, url,
    verdict,
} from "./runner.mjs";

const options = { baseURL: url, apiKey: key, maxRetries: 0 };
const client = new Anthropic(options);
const tools = [{ name: price.name, description: price.description, input_schema: price.parameters }];

function asks(model, content, more = {}) {
    return { model, max_tokens: 8, system: "You trade.", messages: [{ role: "user", content }], ...more };
}

function text(message) {
    return message.content.map((block) => block.text ?? "").join("");
}

function assertPrices(message) {
    const calls = message.content.filter((block) => block.type === "tool_use");
    assert.equal(message.stop_reason, "tool_use");
    assert.deepEqual(calls.map((call) => [call.name, call.input]), [["price", { of: "gold" }], ["price", { of: "tin" }]]);
    assert.equal(new Set(calls.map((call) => call.id)).size, 2);
    return calls;
}

scenario("whole", everyBackend, async (model, kind) => {
    const message = await client.messages.create(asks(model, "hello"));
    assert.equal(message.type, "message");
    assert.equal(message.role, "assistant");
    assert.ok(["end_turn", "max_tokens"].includes(message.stop_reason));
    assert.ok(message.usage.input_tokens > 0 && message.usage.output_tokens > 0);
    if (scripted(kind)) assert.equal(text(message), greeting);
});

scenario("stream", everyBackend, async (model, kind) => {
    let said = "";
    const stream = client.messages.stream(asks(model, "hello")).on("text", (piece) => { said += piece; });
    const message = await stream.finalMessage();
    assert.equal(text(message), said);
    assert.ok(message.usage.output_tokens > 0);
    if (!scripted(kind)) assert.ok(said.length > 0);
    else assert.equal(said, greeting);
});

scenario("the events of a stream", everyBackend, async (model) => {
    const types = [];
    for await (const event of await client.messages.create(asks(model, "hello", { stream: true })))
        if (types.at(-1) !== event.type) types.push(event.type);
    assert.deepEqual(types.filter((type) => type !== "ping"), ["message_start", "content_block_start",
        "content_block_delta", "content_block_stop", "message_delta", "message_stop"]);
});

scenario("tools", transformers, async (model) => {
    const query = asks(model, "the prices of gold and tin?", { tools });
    const message = await client.messages.create(query);
    const results = assertPrices(message).map((call) =>
        ({ type: "tool_result", tool_use_id: call.id, content: pricesOf[call.input.of] }));
    const answer = await client.messages.create({
        ...query,
        messages: [...query.messages, { role: "assistant", content: message.content }, { role: "user", content: results }],
    });
    assert.equal(text(answer), verdict);
});

scenario("tools, streamed", transformers, async (model) => {
    assertPrices(await client.messages.stream(asks(model, "the prices?", { tools })).finalMessage());
});

scenario("tools, run by the client", transformers, async (model) => {
    const called = [];
    const message = await client.beta.messages.toolRunner(asks(model, "the prices?", {
        tools: [{ ...tools[0], run: ({ of }) => { called.push(of); return pricesOf[of]; } }],
    }));
    assert.equal(text(message), verdict);
    assert.deepEqual(called.sort(), ["gold", "tin"]);
});

scenario("json schema", speakers, async (model, kind) => {
    const message = await client.messages.create(asks(model, "sell?",
        { output_config: { format: { type: "json_schema", schema } } }));
    isDecision(JSON.parse(text(message)), kind);
});

scenario("image", transformers, async (model) => {
    const message = await client.messages.create(asks(model, [
        { type: "text", text: "What is it?" },
        { type: "image", source: { type: "base64", media_type: "image/png", data: pixel } },
    ]));
    assert.equal(text(message), "I see a picture.");
});

scenario("abort a stream", speakers, async (model) => {
    const stream = client.messages.stream(asks(model, "go on")).on("text", () => stream.abort());
    assert.ok(await thrownBy(stream.finalMessage()) instanceof Anthropic.APIUserAbortError);
    await backendsAreFree();
});

scenario("abort before the answer", speakers, async (model) => {
    const controller = new AbortController();
    const answer = thrownBy(client.messages.create(asks(model, "go on"), { signal: controller.signal }));
    await backendIsBusy();
    controller.abort();
    assert.ok(await answer instanceof Anthropic.APIUserAbortError);
    await backendsAreFree();
});

scenario("timeout", transformers, async (model) => {
    const error = await thrownBy(client.messages.create(asks(model, "hang"), { timeout: 300 }));
    assert.ok(error instanceof Anthropic.APIConnectionTimeoutError, error);
    await backendsAreFree();
});

scenario("the client's retry", transformers, async (model) => {
    const patient = new Anthropic({ ...options, maxRetries: 1 });
    assert.equal(text(await patient.messages.create(asks(model, failsOnce()))), greeting);
});

scenario("a backend's refusals", transformers, async (model) => {
    for (const [status, name, type] of [[400, "BadRequestError", "invalid_request_error"],
        [404, "NotFoundError", "not_found_error"], [429, "RateLimitError", "rate_limit_error"]]) {
        const error = await thrownBy(client.messages.create(asks(model, `status ${status}`)));
        assert.ok(error instanceof Anthropic[name], error);
        assert.equal(error.status, status);
        assert.equal(error.error.error.type, type);
        assert.match(error.message, /scripted|rate/);
    }
});

scenario("a backend's failure", transformers, async (model) => {
    for (const stream of [false, true]) {
        const error = await thrownBy(client.messages.create(asks(model, "status 500", { stream })));
        assert.ok(error instanceof Anthropic.InternalServerError, error);
        assert.equal(error.status, 502);
    }
});

scenario("a stream that breaks off", transformers, async (model) => {
    let said = "";
    const stream = client.messages.stream(asks(model, "break off")).on("text", (piece) => { said += piece; });
    const error = await thrownBy(stream.finalMessage());
    assert.ok(error instanceof Anthropic.APIError, error);
    assert.equal(said, "Half a");
});

scenario("a wrong key", gateway, async () => {
    const error = await thrownBy(new Anthropic({ ...options, apiKey: "wrong" }).messages.create(asks("small", "hello")));
    assert.ok(error instanceof Anthropic.AuthenticationError, error);
    assert.equal(error.error.error.type, "authentication_error");
});

scenario("an unknown model", gateway, async () => {
    const error = await thrownBy(client.messages.create(asks("smal", "hello")));
    assert.ok(error instanceof Anthropic.NotFoundError, error);
    assert.match(error.message, /small/);
});

scenario("a query that is none", gateway, async () => {
    const error = await thrownBy(client.messages.create({ ...asks("small", "hello"), messages: "hello" }));
    assert.ok(error instanceof Anthropic.BadRequestError, error);
    assert.match(error.message, /messages/);
});

scenario("tokens counted", gateway, async () => {
    const { max_tokens, ...query } = asks("small", "hello");
    assert.ok((await client.messages.countTokens(query)).input_tokens > 0);
});

await run();
