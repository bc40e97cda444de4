// Runs a graph with the stock client of LangGraph, and prints each event as a line of JSON.
// Arguments: the server's address, the thread.
import { Client } from "@langchain/langgraph-sdk";

const [apiUrl, thread] = process.argv.slice(2);
const client = new Client({ apiUrl, apiKey: null });
const run = client.runs.stream(thread, "agent", {
  input: {},
  streamMode: ["custom"],
  onRunCreated: ({ run_id }) => console.log(JSON.stringify({ event: "created", data: run_id })),
});
for await (const { id, event, data } of run) {
  console.log(JSON.stringify({ id, event, data }));
}
