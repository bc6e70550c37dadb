//! What a site is configured with: issue types, statuses, workflow, priorities, resolutions, link types.

/// An issue type.
pub(crate) struct IssueType {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) subtask: bool,
    pub(crate) level: i32,
}

/// Id of the type whose issues need a parent.
pub(crate) const SUBTASK: &str = "10003";
/// Id of the type for which the severity is required.
pub(crate) const BUG: &str = "10004";

pub(crate) const ISSUE_TYPES: &[IssueType] = &[
    IssueType { id: "10000", name: "Epic", subtask: false, level: 1 },
    IssueType { id: "10001", name: "Story", subtask: false, level: 0 },
    IssueType { id: "10002", name: "Task", subtask: false, level: 0 },
    IssueType { id: SUBTASK, name: "Sub-task", subtask: true, level: -1 },
    IssueType { id: BUG, name: "Bug", subtask: false, level: 0 },
];

/// The category of a status.
pub(crate) struct StatusCategory {
    pub(crate) id: i64,
    pub(crate) key: &'static str,
    pub(crate) name: &'static str,
    pub(crate) color: &'static str,
}

const NEW: StatusCategory = StatusCategory { id: 2, key: "new", name: "To Do", color: "blue-gray" };
const STARTED: StatusCategory =
    StatusCategory { id: 4, key: "indeterminate", name: "In Progress", color: "yellow" };
const COMPLETE: StatusCategory =
    StatusCategory { id: 3, key: "done", name: "Done", color: "green" };

/// A status.
pub(crate) struct Status {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) category: StatusCategory,
}

/// Id of the status of new issues.
pub(crate) const FIRST_STATUS: &str = "10100";
pub(crate) const DONE: &str = "10103";

pub(crate) const STATUSES: &[Status] = &[
    Status { id: FIRST_STATUS, name: "To Do", category: NEW },
    Status { id: "10101", name: "In Progress", category: STARTED },
    Status { id: "10102", name: "In Review", category: STARTED },
    Status { id: DONE, name: "Done", category: COMPLETE },
    Status { id: "10104", name: "On Hold", category: NEW },
];

/// A transition of the workflow.
pub(crate) struct Transition {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    /// Statuses that it leaves; empty = all.
    pub(crate) from: &'static [&'static str],
    pub(crate) to: &'static str,
    /// Fields of its screen, and whether each is required.
    pub(crate) screen: &'static [(&'static str, bool)],
    /// A validator that no reply names beforehand: this field must hold a text of at least ten characters.
    pub(crate) explained_by: Option<&'static str>,
}

/// Free text that explains a rejection.
pub(crate) const ROOT_CAUSE: &str = "customfield_10032";

/// To Do → In Progress → In Review → Done; In Review → In Progress (Reject) and Done → To Do (Reopen) are loops. Done
/// needs a resolution; Close needs a root cause, too, of ten characters at least. On Hold can be reached from everywhere.
pub(crate) const WORKFLOW: &[Transition] = &[
    Transition {
        id: "11",
        name: "Start",
        from: &[FIRST_STATUS],
        to: "10101",
        screen: &[],
        explained_by: None,
    },
    Transition {
        id: "21",
        name: "Send to review",
        from: &["10101"],
        to: "10102",
        screen: &[],
        explained_by: None,
    },
    Transition {
        id: "31",
        name: "Reject",
        from: &["10102"],
        to: "10101",
        screen: &[],
        explained_by: None,
    },
    Transition {
        id: "41",
        name: "Approve",
        from: &["10102"],
        to: DONE,
        screen: &[("resolution", true), ("fixVersions", false)],
        explained_by: None,
    },
    Transition {
        id: "51",
        name: "Reopen",
        from: &[DONE],
        to: FIRST_STATUS,
        screen: &[],
        explained_by: None,
    },
    Transition {
        id: "61",
        name: "Close",
        from: &["10101"],
        to: DONE,
        screen: &[("resolution", true), (ROOT_CAUSE, true)],
        explained_by: Some(ROOT_CAUSE),
    },
    Transition {
        id: "71",
        name: "Put on hold",
        from: &[],
        to: "10104",
        screen: &[],
        explained_by: None,
    },
    Transition {
        id: "81",
        name: "Resume",
        from: &["10104"],
        to: FIRST_STATUS,
        screen: &[],
        explained_by: None,
    },
];

/// Ids and names of the priorities, the highest first.
pub(crate) const PRIORITIES: &[(&str, &str)] =
    &[("1", "Highest"), ("2", "High"), ("3", "Medium"), ("4", "Low"), ("5", "Lowest")];
/// Id of the priority of issues that were created without one.
pub(crate) const DEFAULT_PRIORITY: &str = "3";

/// Ids and names of the resolutions.
pub(crate) const RESOLUTIONS: &[(&str, &str)] = &[
    ("10000", "Done"),
    ("10001", "Won't Do"),
    ("10002", "Duplicate"),
    ("10003", "Cannot Reproduce"),
];

/// A type of links.
pub(crate) struct LinkType {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) inward: &'static str,
    pub(crate) outward: &'static str,
}

pub(crate) const LINK_TYPES: &[LinkType] = &[
    LinkType { id: "10000", name: "Blocks", inward: "is blocked by", outward: "blocks" },
    LinkType { id: "10001", name: "Cloners", inward: "is cloned by", outward: "clones" },
    LinkType { id: "10002", name: "Duplicate", inward: "is duplicated by", outward: "duplicates" },
    LinkType { id: "10003", name: "Relates", inward: "relates to", outward: "relates to" },
];

/// Ids and names of the categories of projects.
pub(crate) const CATEGORIES: &[(u64, &str)] = &[(10_000, "Platform"), (10_001, "Customers")];

/// Names of the roles of projects, and their ids.
pub(crate) const ROLES: &[(&str, u64)] = &[("Administrators", 10_002), ("Developers", 10_001)];

/// The issue type with this id.
pub(crate) fn issue_type(id: &str) -> Option<&'static IssueType> {
    ISSUE_TYPES.iter().find(|known| known.id == id)
}

/// The status with this id.
pub(crate) fn status(id: &str) -> Option<&'static Status> {
    STATUSES.iter().find(|known| known.id == id)
}

/// The transition with this id, if it leaves `status`.
pub(crate) fn transition(id: &str, status: &str) -> Option<&'static Transition> {
    transitions(status).find(|known| known.id == id)
}

/// The transitions that leave `status`. A global transition does not lead to where it starts.
pub(crate) fn transitions(status: &str) -> impl Iterator<Item = &'static Transition> {
    WORKFLOW.iter().filter(move |known| {
        known.from.contains(&status) || known.from.is_empty() && known.to != status
    })
}
