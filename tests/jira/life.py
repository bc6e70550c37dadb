#!/usr/bin/env python3
"""Leads each kind of object of a fake JIRA through its life, through Prism's validating proxy.

Usage: life.py PROXY FAKE: exits 1 at the first request or reply that violates Atlassian's description, or that has
another status than expected. What Prism cannot forward goes past it: uploads (it refuses multipart bodies), a watcher
(it unquotes a JSON string), the asynchronous deletion (it follows the 303), and the list of remote links (an array in
JIRA and in the description's example, one object in its schema). A created link has an empty reply, as the description
says in words, while its schema wants JSON: this one flaw is expected there.
"""

import base64
import json
import sys
import time
import urllib.error
import urllib.request

PROXY, FAKE = sys.argv[1:3]
AUTH = "Basic " + base64.b64encode(b"bot@example.com:bot-token").decode()
# Prism's mark of an own reply.
PROBLEM = "application/problem+json"
count = 0


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


opener = urllib.request.build_opener(NoRedirect)


def send(base, method, path, body=None, headers=None):
    """Status, content type, headers and parsed body of a reply."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, method=method)
    request.add_header("Authorization", AUTH)
    if body is not None:
        request.add_header("Content-Type", "application/json")
    for name, value in (headers or {}).items():
        request.add_header(name, value)
    try:
        reply = opener.open(request, timeout=30)
    except urllib.error.HTTPError as error:
        reply = error
    text = reply.read()
    try:
        parsed = json.loads(text) if text else None
    except ValueError:
        parsed = text
    return reply.status, reply.headers.get("Content-Type") or "", reply.headers, parsed


def call(status, method, path, body=None):
    """The body of a reply through the proxy, which has this status, or one of these, and violates nothing."""
    global count
    count += 1
    found, kind, _, parsed = send(PROXY, method, "/rest/api/3/" + path, body)
    if PROBLEM in kind or found not in (status if isinstance(status, tuple) else (status,)):
        sys.exit(f"{method} {path}: {found} instead of {status}\n{json.dumps(parsed, indent=1)[:4000]}")
    return parsed


def flawed(flaw, method, path, body):
    """Sends a request that violates nothing, and whose reply violates nothing but this."""
    _, _, _, parsed = send(PROXY, method, "/rest/api/3/" + path, body)
    found = [one["message"] for one in parsed.get("validation", [])]
    if len(found) != 1 or flaw not in found[0]:
        sys.exit(f"{method} {path}: {json.dumps(parsed, indent=1)[:4000]}")


def past(status, method, path, body=None):
    """The body of a reply past the proxy: Prism unquotes a string, and follows redirects."""
    found, _, _, parsed = send(FAKE, method, "/rest/api/3/" + path, body)
    if found != status:
        sys.exit(f"{method} {path}: {found} instead of {status}\n{parsed}")
    return parsed


def doc(text):
    return {"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": [{"type": "text", "text": text}]}]}


def eventually(read, wanted, seconds=20):
    """Reads until `wanted(value)`: searches and reads lag."""
    end = time.monotonic() + seconds
    while True:
        value = read()
        if wanted(value):
            return value
        if time.monotonic() > end:
            sys.exit(f"it never came: {value}")
        time.sleep(0.5)


def site():
    me = call(200, "GET", "myself")
    call(200, "GET", "serverInfo")
    for name in ("priority", "resolution", "issuetype", "status", "field", "issueLinkType", "projectCategory", "project"):
        call(200, "GET", name)
    for name in ("priority", "resolution", "field"):
        call(200, "GET", f"{name}/search")
    call(200, "GET", "attachment/meta")
    call(200, "GET", "mypermissions?permissions=BROWSE_PROJECTS,ADMINISTER")
    call(200, "GET", f"user?accountId={me['accountId']}")
    call(200, "GET", "user/search?query=alice")
    return me


def project(me):
    details = {
        "key": "LIFE", "name": "Life", "projectTypeKey": "software", "leadAccountId": me["accountId"],
        "description": "A life", "assigneeType": "UNASSIGNED", "url": "https://example.com", "categoryId": 10000,
        "projectTemplateKey": "com.pyxis.greenhopper.jira:gh-simplified-agility-kanban",
    }
    created = call(201, "POST", "project", details)
    call(400, "POST", "project", details)
    call(200, "GET", "project/LIFE")
    call(201, "PUT", "project/LIFE/properties/managed-entity", {"id": "1"})
    call(200, "PUT", "project/LIFE/properties/managed-entity", {"id": "1"})
    eventually(lambda: call(200, "GET", "project/LIFE/properties"), lambda found: found["keys"])
    call(200, "GET", "project/LIFE/properties/managed-entity")
    call(404, "GET", "project/LIFE/properties/other")
    call(200, "PUT", "project/LIFE", {"description": "Another"})
    call(200, "GET", "project/LIFE/statuses")
    call(200, "GET", "project/search?keys=LIFE")
    call(404, "GET", "project/NONE")
    call(200, "GET", f"user/assignable/search?project={created['key']}")
    call(200, "GET", f"issuetype/project?projectId={created['id']}")
    call(200, "GET", "issue/createmeta/LIFE/issuetypes")
    call(200, "GET", "issue/createmeta/LIFE/issuetypes/10004")


def parts():
    """A version and a component."""
    version = call(201, "POST", "version", {"project": "LIFE", "name": "1.0", "releaseDate": "2027-01-01", "startDate": "2026-01-01"})
    call(400, "POST", "version", {"project": "LIFE", "name": "1.0"})
    call(200, "PUT", f"version/{version['id']}", {"released": True, "description": "First"})
    call(200, "GET", f"version/{version['id']}")
    other = call(201, "POST", "version", {"project": "LIFE", "name": "2.0"})
    component = call(201, "POST", "component", {"project": "LIFE", "name": "API", "assigneeType": "PROJECT_LEAD"})
    call(200, "PUT", f"component/{component['id']}", {"description": "The interface"})
    call(200, "GET", f"component/{component['id']}")
    for path in ("versions", "version", "components", "component"):
        call(200, "GET", f"project/LIFE/{path}")
    return version, other, component


def issue(me, version, component):
    body = {
        "fields": {
            "project": {"key": "LIFE"}, "issuetype": {"name": "Bug"}, "summary": "A bug", "description": doc("Text"),
            "priority": {"name": "High"}, "assignee": {"accountId": me["accountId"]}, "duedate": "2027-01-01",
            "fixVersions": [{"id": version["id"]}], "components": [{"name": "API"}],
            "customfield_10031": {"value": "High"}, "customfield_10030": 3, "customfield_10034": [{"value": "Red"}],
        },
        "update": {"labels": [{"add": "managed-entity-1"}]},
        "properties": [{"key": "managed-entity", "value": {"id": "1"}}],
    }
    call(400, "POST", "issue", {"fields": {"project": {"key": "LIFE"}, "issuetype": {"name": "Bug"}}})
    created = call(201, "POST", "issue", body)
    name = created["id"]
    call(200, "GET", f"issue/{name}?fields=*all&properties=managed-entity&expand=transitions,names,editmeta")
    call(204, "PUT", f"issue/{name}", {"fields": {"summary": "Another"}, "update": {"labels": [{"add": "x"}]}})
    call(200, "PUT", f"issue/{name}?returnIssue=true", {"fields": {"environment": doc("Linux")}})
    call(200, "GET", f"issue/{name}/editmeta")
    call(204, "PUT", f"issue/{name}/assignee", {"accountId": me["accountId"]})
    call(201, "PUT", f"issue/{name}/properties/other", {"a": 1})
    call(200, "GET", f"issue/{name}/properties")
    call(200, "GET", f"issue/{name}/properties/managed-entity")
    call(204, "DELETE", f"issue/{name}/properties/other")
    past(204, "POST", f"issue/{name}/watchers", me["accountId"])
    call(200, "GET", f"issue/{name}/watchers")
    call(204, "DELETE", f"issue/{name}/watchers?accountId={me['accountId']}")
    call(404, "GET", "issue/LIFE-99")
    return name


def status(name):
    for hop, fields in (("11", {}), ("21", {}), ("31", {}), ("21", {}), ("41", {"resolution": {"name": "Done"}}), ("51", {})):
        known = lambda: call(200, "GET", f"issue/{name}/transitions?expand=transitions.fields")
        eventually(known, lambda found: any(one["id"] == hop for one in found["transitions"]))
        call(204, "POST", f"issue/{name}/transitions", {"transition": {"id": hop}, "fields": fields})
    call(400, "POST", f"issue/{name}/transitions", {"transition": {"id": "41"}})


def searches(name):
    jql = "project = LIFE and labels = managed-entity-1"
    body = {"jql": jql, "fields": ["summary", "labels"], "properties": ["managed-entity"], "maxResults": 1}
    eventually(lambda: call(200, "POST", "search/jql", body), lambda found: found["issues"])
    call(200, "GET", f"search/jql?jql=project%3DLIFE&reconcileIssues={name}")
    call(200, "POST", "search/jql", {"jql": "updated >= -5m", "maxResults": 1, "fields": ["*all"]})
    call(400, "POST", "search/jql", {"jql": "order by created"})
    call(200, "POST", "search/approximate-count", {"jql": "project = LIFE"})
    call(200, "POST", "issue/bulkfetch", {"issueIdsOrKeys": [name, "LIFE-99"], "fields": ["*all"], "properties": ["managed-entity"]})


def comment(name):
    body = {"body": doc("Hello"), "properties": [{"key": "managed-entity", "value": {"id": "2"}}], "visibility": {"type": "role", "value": "Administrators"}}
    created = call(201, "POST", f"issue/{name}/comment", body)
    path = f"issue/{name}/comment/{created['id']}"
    call(200, "PUT", path, {"body": doc("Bye")})
    call(200, "GET", path + "?expand=properties")
    call(200, "GET", f"issue/{name}/comment?expand=properties&orderBy=-created")
    call(200, "POST", "comment/list", {"ids": [int(created["id"])]})
    call(200, "GET", f"comment/{created['id']}/properties")
    call(200, "GET", f"comment/{created['id']}/properties/managed-entity")
    call(201, "PUT", f"comment/{created['id']}/properties/other", {"a": 1})
    call(204, "DELETE", f"comment/{created['id']}/properties/other")
    call(204, "DELETE", path)
    call(400, "POST", f"issue/{name}/comment", {"body": {"type": "doc", "version": 1, "content": []}})


def links(name):
    other = call(201, "POST", "issue", {"fields": {"project": {"key": "LIFE"}, "issuetype": {"name": "Task"}, "summary": "Two"}})["id"]
    body = {"type": {"name": "Blocks"}, "inwardIssue": {"id": name}, "outwardIssue": {"id": other}}
    for _ in range(2):
        flawed('media type ""', "POST", "issueLink", body)
    read = lambda: call(200, "GET", f"issue/{name}?fields=issuelinks")["fields"]["issuelinks"]
    found = eventually(read, lambda found: found)
    if len(found) != 1:
        sys.exit(f"a repetition makes a second link: {found}")
    call(200, "GET", f"issueLink/{found[0]['id']}")
    call(204, "DELETE", f"issueLink/{found[0]['id']}")
    body = {"globalId": "life=1", "object": {"url": "https://example.com/1", "title": "One"}, "relationship": "causes"}
    created = call(201, "POST", f"issue/{name}/remotelink", body)
    call(200, "POST", f"issue/{name}/remotelink", body)
    read = lambda: call((200, 404), "GET", f"issue/{name}/remotelink?globalId=life%3D1")
    eventually(read, lambda found: found.get("globalId"))
    call(200, "GET", f"issue/{name}/remotelink/{created['id']}")
    call(204, "PUT", f"issue/{name}/remotelink/{created['id']}", body)
    past(200, "GET", f"issue/{name}/remotelink")
    call(204, "DELETE", f"issue/{name}/remotelink/{created['id']}")
    call(201, "POST", f"issue/{name}/remotelink", body)
    call(204, "DELETE", f"issue/{name}/remotelink?globalId=life%3D1")
    return other


def attachment(name):
    content = b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--xx--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=xx", "X-Atlassian-Token": "no-check"}
    found, _, _, created = send(FAKE, "POST", f"/rest/api/3/issue/{name}/attachments", content, headers)
    if found != 200:
        sys.exit(f"the upload: {found} {created}")
    call(200, "GET", f"attachment/{created[0]['id']}")
    eventually(lambda: call(200, "GET", f"issue/{name}?fields=attachment"), lambda found: found["fields"]["attachment"])
    found, _, headers, _ = send(FAKE, "GET", f"/rest/api/3/attachment/content/{created[0]['id']}")
    if found != 303 or FAKE in headers["Location"]:
        sys.exit(f"the content: {found} {headers['Location']}")
    call(204, "DELETE", f"attachment/{created[0]['id']}")


def end(name, other, version, swap, component):
    call(200, "PUT", "issue/archive", {"issueIdsOrKeys": [name, "LIFE-99"]})
    call(200, "PUT", "issue/unarchive", {"issueIdsOrKeys": [name]})
    call(204, "POST", f"version/{version['id']}/removeAndSwap", {"moveFixIssuesTo": int(swap["id"])})
    call(204, "DELETE", f"component/{component['id']}")
    for one in (name, other):
        call(204, "DELETE", f"issue/{one}?deleteSubtasks=false")
    call(204, "DELETE", "project/LIFE/properties/managed-entity")
    call(204, "POST", "project/LIFE/archive")
    call(200, "POST", "project/LIFE/restore")
    call(204, "DELETE", "project/LIFE")
    call(200, "GET", "project/search?status=deleted")
    call(200, "POST", "project/LIFE/restore")
    task = past(303, "POST", "project/LIFE/delete")
    ended = lambda: call(200, "GET", f"task/{task['id']}")
    eventually(ended, lambda found: found["status"] == "COMPLETE")


def judge_is_awake():
    """Both directions are validated: a wrong request and a wrong reply do not pass."""
    for method, path, body in (("POST", "issue/bulkfetch", {"fields": ["summary"]}), ("GET", "no/such/resource", None)):
        if PROBLEM not in send(PROXY, method, "/rest/api/3/" + path, body)[1]:
            sys.exit(f"{method} {path} passes the proxy")
    send(FAKE, "POST", "/_fake/faults", {"kind": "login_page", "path": "/myself"})
    if PROBLEM not in send(PROXY, "GET", "/rest/api/3/myself")[1]:
        sys.exit("a page of HTML passes the proxy")


def main():
    me = site()
    project(me)
    version, swap, component = parts()
    name = issue(me, version, component)
    status(name)
    searches(name)
    comment(name)
    other = links(name)
    attachment(name)
    end(name, other, version, swap, component)
    _, _, _, inventory = send(FAKE, "GET", "/_fake/inventory")
    left = {kind: found for kind, found in inventory.items() if found}
    if left:
        sys.exit(f"left behind: {left}")
    judge_is_awake()
    print(f"{count} requests, no violation")


main()
