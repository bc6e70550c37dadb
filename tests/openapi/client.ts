// Written against the generated types alone.
import createClient from "openapi-fetch";
import type { paths } from "./api.d.ts";

const client = createClient<paths>({
  baseUrl: process.env.STATEWARD_URL!,
  headers: { Authorization: `Bearer ${process.env.STATEWARD_TOKEN}` },
});
const waits = { header: { Prefer: "wait=10" } };

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

const created = await client.POST("/v1/entities", {
  params: waits,
  body: { kind: "fake.thing", name: "typescript", backend: "sandbox", desired: { size: 1 } },
});
check(created.response.status === 200, `created: ${JSON.stringify(created.error)}`);
const change = created.data!;
if (!("entity" in change)) throw new Error("a plan was not asked for");
const id = change.entity.id;
const path = { path: { id }, ...waits };
const updated = await client.PUT("/v1/entities/{id}", { params: path, body: { desired: { size: 2 } } });
check(updated.response.status === 200, `updated: ${JSON.stringify(updated.error)}`);
const listed = await client.GET("/v1/entities", { params: { query: { name: "typescript" } } });
check(listed.data!.items.length === 1 && listed.data!.items[0]!.state === "ok", "listed");
const gone = await client.DELETE("/v1/entities/{id}", { params: path });
check(gone.response.status === 200, `deleted: ${JSON.stringify(gone.error)}`);
console.log("typescript: created, waited, updated, listed, deleted", id);
