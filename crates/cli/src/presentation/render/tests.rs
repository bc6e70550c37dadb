//! Every type of resource in every form, from replies as the server sends them.

use serde_json::{Value, json};

use super::diff::{Difference, unified};
use super::{access, backend, describe, entity, event, explain, operation, projection};
use crate::presentation::output::{Format, ResourcePrinter};

const FORMATS: [Format; 5] =
    [Format::Table, Format::Wide, Format::Json, Format::Yaml, Format::Name];

fn now() -> jiff::Timestamp {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

fn shown(name: &str, noun: &ResourcePrinter, items: &[Value]) {
    for format in FORMATS {
        let text = noun.list(items, format, now(), false);
        insta::assert_snapshot!(format!("{name}-{format:?}"), text);
    }
    let coloured = noun.list(items, Format::Table, now(), true);
    insta::assert_snapshot!(format!("{name}-coloured"), coloured.replace('\u{1b}', "ESC"));
    let one = noun.one(&items[0], Format::Json, now(), false);
    assert_eq!(serde_json::from_str::<Value>(&one).unwrap(), items[0], "the single thing itself");
}

fn condition(name: &str, status: bool, reason: &str, message: &str) -> Value {
    json!({ "type": name, "status": status, "reason": reason, "message": message, "since": "2026-11-25T11:55:00Z" })
}

fn motd() -> Value {
    json!({
        "id": "01a210af-41fc-710c-92db-b0b800e7ce12", "kind": "local.file", "name": "motd",
        "namespace": "default", "backend": "local", "labels": { "team": "platform", "tier": "1" },
        "desired": { "path": "etc/motd", "content": "hello\nworld\n" },
        "deletion_policy": "delete", "drift_policy": "report", "management_policy": "full",
        "ignore_fields": ["/mode"], "protected": true, "generation": 2, "revision": 3, "version": 9,
        "state": "ok", "error": null,
        "conditions": [
            condition("synced", true, "InSync", ""), condition("ready", true, "Present", ""),
            condition("drifted", true, "Differs", "/content"), condition("paused", false, "Running", ""),
            condition("blocked", false, "NotBlocked", ""),
        ],
        "observed": { "presence": "present", "external_id": "etc/motd", "generation": 2,
            "attributes": { "content": "edited\n", "mode": "0644", "path": "etc/motd" } },
        "drift": [{ "field": "/content", "desired": "hello\nworld\n", "observed": "edited\n" }],
        "created_at": "2026-11-25T09:00:00.123456Z", "updated_at": "2026-11-25T11:55:00.5Z",
    })
}

fn broken() -> Value {
    json!({
        "id": "01a210af-4200-72a7-9bf6-b0708c9e49cd", "kind": "fake.thing", "name": "disk",
        "namespace": "physics", "backend": "sandbox", "labels": {}, "desired": {}, "generation": 1,
        "protected": false, "revision": 1, "version": 4, "state": "erred",
        "error": { "class": "quota_exceeded", "code": "quota", "message": "no room\n\u{1b}[31mleft\u{7}", "effect": "none", "request_id": "req-7" },
        "conditions": [condition("synced", false, "Erred", "quota: no room left")],
        "observed": { "presence": "absent" },
        "created_at": "2026-11-25T11:59:30Z", "updated_at": "2026-11-25T11:59:40Z",
    })
}

fn operations() -> Vec<Value> {
    vec![json!({
        "id": "01a210af-420b-7610-ac5c-806307789370", "entity_id": "01a210af-420b-7610-ac5c-8064ed872272",
        "type": "update", "state": "failed", "done": true, "attempts": 3, "generation": 2,
        "actor": { "type": "user", "id": "ci", "token_id": "t" }, "reason": "ticket 7", "superseded_by": null,
        "error": { "class": "invalid", "code": "bad", "message": "the backend refuses it", "effect": "none" },
        "created_at": "2026-11-25T11:00:00Z", "finished_at": "2026-11-25T11:00:05Z",
    })]
}

fn events() -> Vec<Value> {
    let event = |version: u64, name: &str, actor: Value, reason: Value, data: Value| {
        json!({
            "id": "e", "position": format!("7c721ed4{version:032}"), "version": version, "type": format!("entity.{name}"),
            "stream": "entity/01a210af-41fc-710c-92db-b0b800e7ce12", "recorded_at": "2026-11-25T11:00:00.25Z",
            "actor": actor, "reason": reason, "operation_id": null, "request_id": "r-1", "data": data, "hash": "ab12",
        })
    };
    let (ci, worker) =
        (json!({ "type": "user", "id": "ci" }), json!({ "type": "worker", "id": "w-1" }));
    vec![
        event(
            1,
            "create_requested",
            ci.clone(),
            json!("ticket 7"),
            json!({ "desired": { "path": "a", "content": "b" } }),
        ),
        event(
            2,
            "sync_started",
            worker.clone(),
            Value::Null,
            json!({ "attempt": 1, "step": { "update": { "fields": ["/content", "/mode"] } } }),
        ),
        event(
            3,
            "sync_failed",
            worker.clone(),
            Value::Null,
            json!({ "attempt": 1, "error": { "message": "no room" } }),
        ),
        event(
            4,
            "drift_detected",
            worker.clone(),
            Value::Null,
            json!({ "diff": [{ "field": "/content" }, { "field": "/mode" }] }),
        ),
        event(
            5,
            "settings_changed",
            ci.clone(),
            Value::Null,
            json!({ "settings": { "protected": true } }),
        ),
        event(6, "external_id_recorded", worker, Value::Null, json!({ "external_id": "etc/motd" })),
        event(7, "delete_requested", ci, json!("no longer needed"), json!({ "policy": "orphan" })),
    ]
}

fn kind() -> Value {
    json!({
        "name": "local.file", "summary": "A file below the backend's root.", "identity": "/path",
        "immutable": ["/path"], "write_only": ["/auth/password"], "on_lost": "recreate",
        "actions": [{ "name": "checksum", "idempotent": true }],
        "schema": {
            "type": "object", "required": ["path"],
            "properties": {
                "path": { "type": "string", "description": "Where it is." },
                "mode": { "type": "string", "pattern": "^0?[0-7]{3}$", "default": "0644" },
                "sort": { "enum": ["text", "bytes"] },
                "auth": { "type": "object", "description": "Who may read it.", "required": ["password"],
                    "properties": { "password": { "type": "string" } } },
                "rules": { "type": "array", "items": { "type": "object", "properties": { "port": { "type": "integer" } } } },
            },
        },
    })
}

#[test]
fn entities() {
    shown("entities", &entity::ENTITY, &[motd(), broken()]);
    let anywhere = entity::ENTITY_ANYWHERE.list(&[motd(), broken()], Format::Table, now(), false);
    insta::assert_snapshot!("entities-anywhere", anywhere);
    let lines = [
        entity::LINE_HEADER.to_owned(),
        entity::line(&motd(), false),
        entity::line(&broken(), false),
    ];
    insta::assert_snapshot!("entities-lines", lines.join("\n"));
}

#[test]
fn operations_of_users() {
    shown("operations", &operation::OPERATION, &operations());
}

#[test]
fn history_and_log() {
    shown("history", &event::HISTORY, &events());
    shown("events", &event::EVENT, &events());
    let lines: Vec<_> = events().iter().map(|event| event::line(event, false)).collect();
    insta::assert_snapshot!("events-lines", lines.join("\n"));
}

#[test]
fn namespaces_and_tokens() {
    let namespaces = [
        json!({ "name": "default", "require_reason": false }),
        json!({ "name": "physics", "require_reason": true }),
    ];
    shown("namespaces", &access::NAMESPACE, &namespaces);
    let grants = json!([{ "role": "operator", "namespace": "physics" }, { "role": "viewer" }]);
    let tokens = [
        json!({ "id": "t-1", "actor": "ci", "grants": grants, "expires_at": "2027-01-01T00:00:00.000000Z" }),
        json!({ "id": "t-2", "actor": "auditor", "grants": [{ "role": "viewer" }], "expires_at": null }),
    ];
    shown("tokens", &access::TOKEN, &tokens);
}

#[test]
fn backends() {
    let backend = |name: &str, paused: bool, closed: Value| {
        json!({ "name": name, "driver": "fake", "open": closed.is_null() && !paused, "paused": paused,
            "closed": closed, "kinds": ["fake.thing", "fake.other"] })
    };
    let mut upgrade = backend("upgrade", true, Value::Null);
    upgrade["pause"] = json!({ "until": "2026-11-25T13:00:00.000000Z", "reason": "new disks" });
    let identity = json!({ "parked": { "identity_changed": { "expected": "a", "found": "b" } } });
    let unusable = json!({ "unusable": { "class": "unauthorized", "code": "401", "message": "the password is wrong" } });
    shown(
        "backends",
        &backend::BACKEND,
        &[
            backend("fine", false, Value::Null),
            backend("paused", true, Value::Null),
            upgrade,
            backend("broken", false, json!("breaker_open")),
            backend("unasked", false, json!({ "unidentified": { "error": null } })),
            backend("other", false, identity),
            backend("refused", false, unusable),
        ],
    );
    shown("reloaded", &backend::RELOADED, &[json!({ "name": "cloud", "change": "added" })]);
}

#[test]
fn projections() {
    shown(
        "projections",
        &projection::PROJECTION,
        &[
            json!({ "name": "entities", "position": "7c72", "recorded_at": "2026-11-25T11:00:00Z", "stopped": null, "quarantined": [] }),
            json!({ "name": "sync_queue", "position": "7c70", "recorded_at": null, "stopped": "an unknown type",
            "quarantined": [{ "stream": "entity/x", "position": "7c71", "message": "bad" }] }),
        ],
    );
}

#[test]
fn kinds_and_their_fields() {
    shown("kinds", &explain::KIND, &[kind()]);
    for path in [&[][..], &["path"], &["auth"], &["rules"], &["rules", "port"]] {
        let kind = kind();
        let schema = explain::at(&kind, path).unwrap();
        let name = format!("explain-{}", path.join("."));
        insta::assert_snapshot!(name, explain::page(&kind, path, schema, false));
    }
    assert_eq!(explain::at(&kind(), &["none"]), None);
}

#[test]
fn an_entity_in_full() {
    let (operations, events) = (operations(), events());
    for (name, entity) in [("describe", motd()), ("describe-erred", broken())] {
        let described =
            describe::EntityPage { entity: &entity, operations: &operations, events: &events };
        insta::assert_snapshot!(name, describe::page(&described, now(), false));
    }
}

#[test]
fn differences() {
    let difference = |old: &str, new: &str| Difference {
        label: "local.file/motd".to_owned(),
        old_name: "server",
        new_name: "file",
        old: old.to_owned(),
        new: new.to_owned(),
    };
    let changed =
        difference("a: 1\nb: 2\nc: 3\nd: 4\ne: 5\nf: 6\n", "a: 1\nb: 2\nc: 3\nd: 4\ne: 7\nf: 6\n");
    insta::assert_snapshot!("diff", unified(&changed, false));
    insta::assert_snapshot!("diff-coloured", unified(&changed, true).replace('\u{1b}', "ESC"));
    insta::assert_snapshot!("diff-new", unified(&difference("", "a: 1\n"), false));
    assert_eq!(unified(&difference("a", "a"), true), "");
}
