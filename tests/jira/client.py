#!/usr/bin/env python3
"""Drives a fake JIRA with the client `jira` from PyPI, by its own calls.

Usage: client.py URL cloud|data-center
"""

import io
import sys
import time

from jira import JIRA, JIRAError

URL, KIND = sys.argv[1:3]
CLOUD = KIND == "cloud"

if CLOUD:
    jira = JIRA(URL, basic_auth=("bot@example.com", "bot-token"), options={"rest_api_version": "3"}, max_retries=0)
else:
    jira = JIRA(URL, token_auth="bot-token", max_retries=0)
assert jira.deploymentType == ("Cloud" if CLOUD else "Server"), jira.deploymentType


def text(words):
    """A document of this deployment's form."""
    if not CLOUD:
        return words
    return {"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": [{"type": "text", "text": words}]}]}


def eventually(read, wanted, seconds=20):
    end = time.monotonic() + seconds
    while True:
        value = read()
        if wanted(value):
            return value
        assert time.monotonic() < end, value
        time.sleep(0.5)


me = jira.myself()
lead = {"leadAccountId": me["accountId"]} if CLOUD else {"lead": me["name"]}
details = {"key": "PY", "name": "Python", "projectTypeKey": "software", **lead}
jira._session.post(jira._get_url("project"), json=details).raise_for_status()
assert jira.project("PY").name == "Python"
assert "PY" in eventually(lambda: [project.key for project in jira.projects()], lambda keys: keys)
assert {"Task", "Bug"} <= {kind.name for kind in jira.issue_types()}
assert [priority.name for priority in jira.priorities()][0] == "Highest"
assert any(field["id"] == "customfield_10031" for field in jira.fields())

version = jira.create_version("1.0", "PY", releaseDate="2027-01-01")
component = jira.create_component("API", "PY")
eventually(lambda: jira.project_versions("PY"), lambda found: [one.name for one in found] == ["1.0"])
version.update(released=True)

fields = {
    "project": {"key": "PY"}, "issuetype": {"name": "Bug"}, "summary": "One", "description": text("Text"),
    "labels": ["mine"], "fixVersions": [{"name": "1.0"}], "components": [{"name": "API"}],
    "customfield_10031": {"value": "High"},
}
issue = jira.create_issue(fields=fields)
assert issue.fields.labels == ["mine"], issue.fields.labels
try:
    jira.create_issue(fields={"project": {"key": "PY"}, "issuetype": {"name": "Bug"}, "summary": "None"})
    sys.exit("a required field is missing")
except JIRAError as error:
    assert error.status_code == 400 and "Severity is required." in error.text, error

issue.update(summary="Two", update={"labels": [{"add": "other"}]})
eventually(lambda: jira.issue(issue.id), lambda found: found.fields.summary == "Two" and found.fields.labels == ["mine", "other"])
assert jira.editmeta(issue.key)["fields"]["summary"]["required"]

comment = jira.add_comment(issue.key, text("Hello"))
comment.update(body=text("Bye"))
eventually(lambda: jira.comments(issue.key), lambda found: len(found) == 1)
comment.delete()

for hop in ("Start", "Send to review"):
    found = eventually(lambda: jira.find_transitionid_by_name(issue.key, hop), lambda found: found)
    jira.transition_issue(issue.key, found)
eventually(lambda: jira.find_transitionid_by_name(issue.key, "Approve"), lambda found: found)
jira.transition_issue(issue.key, "Approve", fields={"resolution": {"name": "Done"}})
eventually(lambda: jira.issue(issue.key), lambda found: found.fields.status.name == "Done")

other = jira.create_issue(project="PY", issuetype={"name": "Task"}, summary="Other")
jira.create_issue_link("Blocks", issue.key, other.key)
links = eventually(lambda: jira.issue(issue.key).fields.issuelinks, lambda found: found)
assert links[0].outwardIssue.key == other.key
jira.delete_issue_link(links[0].id)
assert {"Blocks", "Relates"} <= {kind.name for kind in jira.issue_link_types()}

link = jira.add_simple_link(issue.key, {"url": "https://example.com", "title": "Example"})
eventually(lambda: jira.remote_links(issue.key), lambda found: len(found) == 1)
jira.remote_link(issue.key, link.id).delete()

jira.add_watcher(issue.key, me["emailAddress"] if CLOUD else me["name"])
jira.add_issue_property(issue.key, "managed-entity", {"id": "1"})
eventually(lambda: jira.issue_properties(issue.key), lambda found: [one.key for one in found] == ["managed-entity"])

attachment = jira.add_attachment(issue.key, io.BytesIO(b"content"), filename="a.txt")
assert jira.attachment(attachment.id).get() == b"content"
jira.delete_attachment(attachment.id)

search = jira.enhanced_search_issues if CLOUD else jira.search_issues
found = eventually(lambda: search("project = PY order by key", maxResults=10, fields="summary"), lambda found: len(found) == 2)
assert [one.key for one in found] == ["PY-1", "PY-2"]

component.delete()
jira._session.delete(version.self).raise_for_status() if CLOUD else version.delete()
for one in (issue, other):
    one.delete(deleteSubtasks=True)
jira.delete_project("PY", enable_undo=False) if CLOUD else jira.delete_project("PY")
inventory = jira._session.get(URL + "/_fake/inventory").json()
left = {kind: rows for kind, rows in inventory.items() if rows}
assert not left, left
print(f"{KIND}: {len(jira._session.get(URL + '/_fake/requests').json())} requests")
