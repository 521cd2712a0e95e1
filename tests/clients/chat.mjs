// Asks a running server with the official client, plain and streamed, and prints what came as JSON.
import OpenAI from "openai";

const [baseURL, apiKey, question] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const messages = [{ role: "user", content: question }];

const plain = await client.chat.completions.create({ model: "vauban", messages });
let text = "";
let passages = 0;
let finish = null;
const stream = await client.chat.completions.create({ model: "vauban", messages, stream: true });
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta?.content ?? "";
  passages = Math.max(passages, chunk.vauban?.passages?.length ?? 0);
  finish = chunk.choices[0]?.finish_reason ?? finish;
}
const models = [];
for await (const model of client.models.list()) models.push(model.id);
const vectors = await client.embeddings.create({ model: "vauban", input: question });
let refused = null;
try {
  await client.chat.completions.create({ model: "nothing", messages });
} catch (error) {
  refused = { name: error.constructor.name, status: error.status, code: error.code };
}
console.log(
  JSON.stringify({
    content: plain.choices[0].message.content,
    annotations: plain.choices[0].message.annotations,
    status: plain.vauban.status,
    text,
    passages,
    finish,
    models,
    dimension: vectors.data[0].embedding.length,
    refused,
  }),
);
