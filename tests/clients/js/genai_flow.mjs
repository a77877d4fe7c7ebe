// The batch flow of Gemini's wire with the official JavaScript client. Usage: node genai_flow.mjs CLIENT URL KEY MODEL
// CLIENT is the folder that holds node_modules. Prints one JSON object of what it saw.
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [folder, url, apiKey, model] = process.argv.slice(2);
const { GoogleGenAI } = createRequire(join(folder, "x.js"))("@google/genai");
const ENDED = ["JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED"];
const client = new GoogleGenAI({ apiKey, httpOptions: { baseUrl: url } });
const scratch = mkdtempSync(join(tmpdir(), "batchyard-"));

const row = (key, text) => JSON.stringify({ key, request: { contents: [{ parts: [{ text }] }] } }) + "\n";

async function ended(job) {
  while (!ENDED.includes(job.state)) {
    await new Promise((later) => setTimeout(later, 20));
    job = await client.batches.get({ name: job.name });
  }
  return job;
}

async function uploaded(rows, displayName) {
  const path = join(scratch, "rows.jsonl");
  writeFileSync(path, rows);
  return client.files.upload({ file: path, config: { mimeType: "application/jsonl", displayName } });
}

async function statusOf(call) {
  try {
    await call();
  } catch (error) {
    return error.status;
  }
}

async function fromFile() {
  const input = await uploaded(row("a", "one two") + row("b", "three"), "rows");
  const job = await ended(await client.batches.create({ model, src: input.name, config: { displayName: "file" } }));
  const downloadPath = join(scratch, "results.jsonl");
  await client.files.download({ file: job.dest.fileName, downloadPath });
  const rows = readFileSync(downloadPath, "utf8").trim().split("\n").map((line) => JSON.parse(line));
  const kept = await client.files.get({ name: input.name });
  await client.files.delete({ name: input.name });
  return {
    seen: {
      state: job.state,
      rows: rows.map(({ key, response }) => [key, response.candidates[0].content.parts[0].text]),
      input: kept.displayName,
    },
    job,
    input,
  };
}

async function inline() {
  const src = [{ contents: [{ parts: [{ text: "one" }] }], metadata: { key: "x" } }, { contents: "two" }];
  const job = await ended(await client.batches.create({ model, src, config: { displayName: "inline" } }));
  return {
    state: job.state,
    texts: job.dest.inlinedResponses.map((each) => each.response.candidates[0].content.parts[0].text),
    metadata: job.dest.inlinedResponses.map((each) => each.metadata ?? null),
  };
}

async function listed() {
  const found = [];
  for await (const job of await client.batches.list({ config: { pageSize: 1 } })) found.push([job.displayName, job.state]);
  return found;
}

async function cancelled() {
  const many = Array.from({ length: 500 }, (_, n) => row(`r${n}`, `text ${n}`)).join("");
  const job = await client.batches.create({ model, src: (await uploaded(many)).name });
  await client.batches.cancel({ name: job.name });
  return (await ended(job)).state;
}

async function refusal() {
  try {
    await client.batches.create({ model: "none", src: [{ contents: "hi" }] });
  } catch (error) {
    return [error.status, error.message.includes("NOT_FOUND")];
  }
}

const file = await fromFile();
const seen = { inline: await inline(), listed: await listed() };
await client.batches.delete({ name: file.job.name });
const deleted = [
  await statusOf(() => client.batches.get({ name: file.job.name })),
  await statusOf(() => client.files.get({ name: file.input.name })),
];
console.log(
  JSON.stringify({ ...seen, file: { ...file.seen, deleted }, cancelled: await cancelled(), refusal: await refusal() }),
);
