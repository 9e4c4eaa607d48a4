// LangChain: ChatOpenAI and ChatOllama, which ask in a dialect each.
//
// ChatOllama neither retries nor ends its request when it is aborted (it looks at the signal when the
// next piece comes, and nobody fetches that), so there is nothing to test of either.
import assert from "node:assert/strict";
import { HumanMessage, SystemMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOllama, OllamaEmbeddings } from "@langchain/ollama";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { z } from "zod";
import {
    areVectors, backendIsBusy, backendsAreFree, collect, embedders, everyBackend,
    failsOnce, gateway, greeting, isDecision, key, phrases, pixel, price, pricesOf, run, scenario,
    scripted, speakers, thrownBy, transformers, url, vectors, verdict,
} from "./runner.mjs";

function byOpenAI(model, more = {}) {
    return new ChatOpenAI({ model, apiKey: key, configuration: { baseURL: `${url}/v1` }, maxRetries: 0, maxTokens: 8, ...more });
}

function byOllama(model, more = {}) {
    return new ChatOllama({
        model, baseUrl: url, headers: new Headers({ Authorization: `Bearer ${key}` }), maxRetries: 0, numPredict: 8, ...more,
    });
}

const Decision = z.object({ sell: z.boolean(), lots: z.number().int() });
const priceTool = tool(({ of }) => pricesOf[of],
    { name: price.name, description: price.description, schema: z.object({ of: z.string() }) });

// ChatOllama sends a tool's result without its call: the prices alone.
const forgetful = `${pricesOf.gold}, ${pricesOf.tin}`;

function asks(content) {
    return [new SystemMessage("You trade."), new HumanMessage(content)];
}

async function speaksWhole(chat, kind) {
    const answer = await chat.invoke(asks("hello"));
    assert.ok(answer.usage_metadata.output_tokens > 0);
    if (scripted(kind)) assert.equal(answer.content, greeting);
}

async function speaksStreamed(chat, kind) {
    const said = await collect(await chat.stream(asks("hello")), (chunk) => chunk.content);
    if (!scripted(kind)) assert.ok(said.length > 0);
    else assert.equal(said, greeting);
}

async function callsTools(chat, streamed, expected = verdict) {
    const bound = chat.bindTools([priceTool]);
    const messages = asks("the prices?");
    let message;
    if (streamed)
        for await (const chunk of await bound.stream(messages)) message = message?.concat(chunk) ?? chunk;
    else
        message = await bound.invoke(messages);
    assert.deepEqual(message.tool_calls.map((call) => call.args), [{ of: "gold" }, { of: "tin" }]);
    const results = [];
    for (const call of message.tool_calls) results.push(await priceTool.invoke(call));
    assert.ok(results.every((result) => result instanceof ToolMessage));
    assert.equal((await bound.invoke([...messages, message, ...results])).content, expected);
}

async function keepsToASchema(chat, kind) {
    const structured = chat.withStructuredOutput(Decision, { method: "jsonSchema", name: "decision" });
    isDecision(await structured.invoke(asks("sell?")), kind);
}

async function seesImages(chat) {
    const message = new HumanMessage({
        content: [{ type: "text", text: "What is it?" },
            { type: "image_url", image_url: { url: `data:image/png;base64,${pixel}` } }],
    });
    assert.equal((await chat.invoke([message])).content, "I see a picture.");
}

async function leavesAStream(chat) {
    const controller = new AbortController();
    const error = await thrownBy((async () => {
        for await (const chunk of await chat.stream(asks("go on"), { signal: controller.signal }))
            if (chunk.content) controller.abort();
    })());
    assert.match(`${error.name} ${error.message}`, /abort/i);
    await backendsAreFree();
}

async function leavesBeforeTheAnswer(chat) {
    const controller = new AbortController();
    const answer = thrownBy(chat.invoke(asks("go on"), { signal: controller.signal }));
    await backendIsBusy();
    controller.abort();
    assert.match(`${(await answer).name} ${(await answer).message}`, /abort/i);
    await backendsAreFree();
}

async function breaksOff(chat) {
    let said = "";
    const error = await thrownBy((async () => {
        for await (const chunk of await chat.stream(asks("break off"))) said += chunk.content;
    })());
    assert.ok(error instanceof Error);
    assert.equal(said, "Half a");
}

async function raises(chat, content, status) {
    const error = await thrownBy(chat.invoke(asks(content)));
    assert.equal(error.status ?? error.status_code, status, error.stack);
    return error;
}

async function embeds(kind, embedder) {
    areVectors(await embedder.embedDocuments(phrases), vectors, kind);
    areVectors([await embedder.embedQuery(phrases[1])], [vectors[1]], kind);
}

scenario("ChatOpenAI, whole", everyBackend, (model, kind) => speaksWhole(byOpenAI(model), kind));
scenario("ChatOllama, whole", everyBackend, (model, kind) => speaksWhole(byOllama(model), kind));
scenario("ChatOpenAI, streamed", everyBackend, (model, kind) => speaksStreamed(byOpenAI(model), kind));
scenario("ChatOllama, streamed", everyBackend, (model, kind) => speaksStreamed(byOllama(model), kind));
scenario("ChatOpenAI, tools", transformers, (model) => callsTools(byOpenAI(model), false));
scenario("ChatOllama, tools", transformers, (model) => callsTools(byOllama(model), false, forgetful));
scenario("ChatOpenAI, tools, streamed", transformers, (model) => callsTools(byOpenAI(model), true));
scenario("ChatOllama, tools, streamed", transformers, (model) => callsTools(byOllama(model), true, forgetful));
scenario("ChatOpenAI, json schema", speakers, (model, kind) => keepsToASchema(byOpenAI(model), kind));
scenario("ChatOllama, json schema", speakers, (model, kind) => keepsToASchema(byOllama(model), kind));
scenario("ChatOpenAI, image", transformers, (model) => seesImages(byOpenAI(model)));
scenario("ChatOllama, image", transformers, (model) => seesImages(byOllama(model)));
scenario("OpenAIEmbeddings", embedders, (model, kind) => embeds(kind, new OpenAIEmbeddings({
    model, apiKey: key, configuration: { baseURL: `${url}/v1` }, maxRetries: 0,
})));
scenario("OllamaEmbeddings", embedders, (model, kind) => embeds(kind, new OllamaEmbeddings({
    model, baseUrl: url, headers: new Headers({ Authorization: `Bearer ${key}` }), maxRetries: 0,
})));
scenario("ChatOpenAI, abort a stream", speakers, (model) => leavesAStream(byOpenAI(model)));
scenario("ChatOpenAI, abort before the answer", speakers, (model) => leavesBeforeTheAnswer(byOpenAI(model)));
scenario("ChatOpenAI, a stream that breaks off", transformers, (model) => breaksOff(byOpenAI(model)));
scenario("ChatOllama, a stream that breaks off", transformers, (model) => breaksOff(byOllama(model)));

scenario("ChatOpenAI, the client's retry", transformers, async (model) => {
    assert.equal((await byOpenAI(model, { maxRetries: 1 }).invoke(asks(failsOnce()))).content, greeting);
});

scenario("ChatOpenAI, a backend's refusals", transformers, async (model) => {
    for (const status of [400, 404, 429]) await raises(byOpenAI(model), `status ${status}`, status);
});

scenario("ChatOllama, a backend's refusals", transformers, async (model) => {
    for (const status of [400, 404, 429]) await raises(byOllama(model), `status ${status}`, status);
});

scenario("a backend's failure", transformers, async (model) => {
    await raises(byOpenAI(model), "status 500", 502);
    await raises(byOllama(model), "status 500", 502);
});

scenario("a wrong key", gateway, async () => {
    const error = await raises(byOpenAI("small", { apiKey: "wrong" }), "hello", 401);
    assert.equal(error.lc_error_code, "MODEL_AUTHENTICATION");
    await raises(byOllama("small", { headers: new Headers({ Authorization: "Bearer wrong" }) }), "hello", 401);
});

scenario("an unknown model", gateway, async () => {
    const error = await raises(byOpenAI("smal"), "hello", 404);
    assert.equal(error.lc_error_code, "MODEL_NOT_FOUND");
    await raises(byOllama("smal"), "hello", 404);
});

await run();
