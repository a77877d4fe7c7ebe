// The documented batch flow with the official JavaScript client. Usage: node flow.mjs CLIENT URL KEY MODEL
// CLIENT is the folder that holds node_modules. Prints one JSON object of what it saw.
import { createRequire } from "node:module";
import { createReadStream, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [folder, url, apiKey, model] = process.argv.slice(2);
const { default: OpenAI, AzureOpenAI, toFile } = createRequire(join(folder, "x.js"))("openai");
const CHAT = "/v1/chat/completions";
const TERMINAL = ["completed", "failed", "expired", "cancelled"];

function lines(lineUrl) {
  const body = { model, messages: [{ role: "user", content: "hi" }] };
  return [0, 1, 2].map((n) => JSON.stringify({ custom_id: `r${n}`, method: "POST", url: lineUrl, body }) + "\n").join("");
}

async function batch(client, endpoint, lineUrl, file) {
  const input = await client.files.create({ file, purpose: "batch" });
  let job = await client.batches.create({ input_file_id: input.id, endpoint, completion_window: "24h" });
  while (!TERMINAL.includes(job.status)) {
    await new Promise((later) => setTimeout(later, 20));
    job = await client.batches.retrieve(job.id);
  }
  const output = await (await client.files.content(job.output_file_id)).text();
  const listed = [];
  for await (const each of client.batches.list({ limit: 1 })) listed.push(each.id);
  return {
    status: job.status,
    ids: output.trim().split("\n").map((line) => JSON.parse(line).custom_id).sort(),
    listed: listed.includes(job.id) && new Set(listed).size === listed.length,
    deleted: (await client.files.delete(input.id)).deleted,
  };
}

async function streamed(client) {
  const words = [];
  const asked = { model, messages: [{ role: "user", content: "hi" }] };
  for await (const piece of await client.chat.completions.create({ ...asked, stream: true }))
    words.push(piece.choices[0]?.delta?.content ?? "");
  const whole = await client.chat.completions.create(asked);
  return words.join("") === whole.choices[0].message.content;
}

async function refusal(client) {
  try {
    await client.batches.retrieve("batch_none");
  } catch (error) {
    return [error.constructor.name, error.status, Boolean(error.requestID)];
  }
}

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
const azure = new AzureOpenAI({ endpoint: url, apiKey, apiVersion: "2025-04-01-preview", maxRetries: 0 });
const path = join(mkdtempSync(join(tmpdir(), "batchyard-")), "in.jsonl");
writeFileSync(path, lines(CHAT));
console.log(
  JSON.stringify({
    stream: await batch(client, CHAT, CHAT, createReadStream(path)),
    bytes: await batch(client, CHAT, CHAT, await toFile(Buffer.from(lines(CHAT)), "in.jsonl")),
    azure: await batch(azure, "/chat/completions", "/chat/completions", await toFile(Buffer.from(lines("/chat/completions")), "in.jsonl")),
    streamed: await streamed(client),
    refusal: await refusal(client),
  }),
);
