// Drives a fake JIRA with the client `jira.js` from npm, by its own calls.
//
// Usage: client.mjs URL 2|3: the version of Cloud's API.
import assert from "node:assert/strict";
import { Version2Client, Version3Client } from "jira.js";

const [url, version] = process.argv.slice(2);
const Client = version === "3" ? Version3Client : Version2Client;
const jira = new Client({ host: url, authentication: { basic: { email: "bot@example.com", apiToken: "bot-token" } } });
const doc = (text) => ({ type: "doc", version: 1, content: [{ type: "paragraph", content: [{ type: "text", text }] }] });
const text = (words) => (version === "3" ? doc(words) : words);

async function eventually(read, wanted) {
  const end = Date.now() + 20_000;
  for (;;) {
    const value = await read();
    if (wanted(value)) return value;
    assert.ok(Date.now() < end, JSON.stringify(value));
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

const me = await jira.myself.getCurrentUser();
const lead = { leadAccountId: me.accountId };
const project = await jira.projects.createProject({ key: "JS", name: "Script", projectTypeKey: "software", ...lead });
assert.equal(project.key, "JS");
assert.equal((await jira.projects.getProject({ projectIdOrKey: "JS" })).name, "Script");
await jira.projectProperties.setProjectProperty({ projectIdOrKey: "JS", propertyKey: "managed-entity", propertyValue: { id: "1" } });

const release = await jira.projectVersions.createVersion({ name: "1.0", projectId: Number(project.id) });
const component = await jira.projectComponents.createComponent({ name: "API", project: "JS" });
await jira.projectVersions.updateVersion({ id: release.id, released: true });

const fields = { project: { key: "JS" }, issuetype: { name: "Task" }, summary: "One", description: text("Text"), components: [{ id: component.id }] };
const properties = [{ key: "managed-entity", value: { id: "1" } }];
const issue = await jira.issues.createIssue({ fields, update: { labels: [{ add: "mine" }] }, properties });
const read = () => jira.issues.getIssue({ issueIdOrKey: issue.id, properties: ["managed-entity"] });
assert.deepEqual((await read()).fields.labels, ["mine"]);
assert.deepEqual((await read()).properties, { "managed-entity": { id: "1" } });
await assert.rejects(jira.issues.createIssue({ fields: { ...fields, issuetype: { name: "Bug" } } }), /Severity is required|400/);
await jira.issues.editIssue({ issueIdOrKey: issue.id, fields: { summary: "Two" } });
await eventually(read, (found) => found.fields.summary === "Two");

const added = await jira.issueComments.addComment({ issueIdOrKey: issue.id, comment: text("Hello"), body: text("Hello") });
await eventually(() => jira.issueComments.getComments({ issueIdOrKey: issue.id }), (found) => found.total === 1);
await jira.issueComments.deleteComment({ issueIdOrKey: issue.id, id: added.id });

for (const hop of ["Start", "Send to review", "Reject"]) {
  const known = await eventually(
    () => jira.issues.getTransitions({ issueIdOrKey: issue.id }),
    (found) => found.transitions.some((one) => one.name === hop),
  );
  await jira.issues.doTransition({ issueIdOrKey: issue.id, transition: { id: known.transitions.find((one) => one.name === hop).id } });
}

const other = await jira.issues.createIssue({ fields: { project: { key: "JS" }, issuetype: { name: "Task" }, summary: "Other" } });
await jira.issueLinks.linkIssues({ type: { name: "Blocks" }, inwardIssue: { key: issue.key }, outwardIssue: { key: other.key } });
const linked = await eventually(read, (found) => found.fields.issuelinks.length === 1);
await jira.issueLinks.deleteIssueLink({ linkId: linked.fields.issuelinks[0].id });
const remote = { issueIdOrKey: issue.id, globalId: "js=1", object: { url: "https://example.com", title: "Example" } };
await jira.issueRemoteLinks.createOrUpdateRemoteIssueLink(remote);
await jira.issueRemoteLinks.createOrUpdateRemoteIssueLink(remote);
await eventually(() => jira.issueRemoteLinks.getRemoteIssueLinks({ issueIdOrKey: issue.id }), (found) => found.length === 1);

const [file] = await jira.issueAttachments.addAttachment({ issueIdOrKey: issue.id, attachment: { filename: "a.txt", file: Buffer.from("content") } });
assert.equal(file.size, 7);
await jira.issueAttachments.removeAttachment({ id: file.id });

const search = { jql: "project = JS order by key", fields: ["summary"], maxResults: 1 };
const page = (token) => jira.issueSearch.searchForIssuesUsingJqlEnhancedSearchPost({ ...search, nextPageToken: token });
const first = await eventually(() => page(), (found) => found.issues.length === 1 && !found.isLast);
const second = await page(first.nextPageToken);
assert.deepEqual([first.issues[0].key, second.issues[0].key], ["JS-1", "JS-2"]);
const fetched = await jira.issues.bulkFetchIssues({ issueIdsOrKeys: [issue.id, other.id], fields: ["summary"] });
assert.equal(fetched.issues.length, 2);

for (const one of [issue, other]) await jira.issues.deleteIssue({ issueIdOrKey: one.id });
await jira.projectVersions.deleteAndReplaceVersion({ id: release.id });
await jira.projectComponents.deleteComponent({ id: component.id });
await jira.projects.deleteProject({ projectIdOrKey: "JS", enableUndo: false });
const inventory = await (await fetch(`${url}/_fake/inventory`)).json();
for (const [name, rows] of Object.entries(inventory)) assert.deepEqual([name, Object.keys(rows)], [name, []]);
console.log(`v${version}: ${(await (await fetch(`${url}/_fake/requests`)).json()).length} requests`);
