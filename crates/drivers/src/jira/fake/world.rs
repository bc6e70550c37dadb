//! The state of a site, and views of it at a moment.

use std::collections::BTreeMap;
use std::time::Instant;

use super::control::Control;
use super::options::Options;
use super::rows::{
    Attachment, Comment, Component, Issue, Link, Project, RemoteLink, Task, User, Version,
};
use super::table::Table;

/// Tasks kept; the oldest are dropped.
const TASKS_MAX: usize = 1_000;

/// All objects of a site.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) control: Control,
    /// Identifies the site.
    pub(crate) cloud_id: String,
    pub(crate) users: Vec<User>,
    pub(crate) projects: Table<Project>,
    pub(crate) issues: Table<Issue>,
    pub(crate) comments: Table<Comment>,
    pub(crate) versions: Table<Version>,
    pub(crate) components: Table<Component>,
    pub(crate) links: Table<Link>,
    pub(crate) remote_links: Table<RemoteLink>,
    pub(crate) attachments: Table<Attachment>,
    pub(crate) tasks: BTreeMap<u64, Task>,
    /// Ids of issues by their keys, former ones included; an id may belong to a deleted issue.
    keys: BTreeMap<String, u64>,
    /// Number of the last issue of each project.
    numbers: BTreeMap<u64, u64>,
    last_id: u64,
}

fn user(name: &str, display_name: &str, number: u32) -> User {
    User {
        name: name.to_owned(),
        account_id: format!("712020:5b10a2844c20165700ed{number:04}"),
        email: format!("{name}@example.com"),
        display_name: display_name.to_owned(),
        token: format!("{name}-token"),
        active: true,
        administers: false,
    }
}

impl World {
    /// A site with the users `bot` (an administrator), `alice`, `bob` and `other-tool`, and without projects.
    pub(crate) fn new(options: Options) -> Self {
        let bot = User { administers: true, ..user("bot", "Automation Bot", 1) };
        let users = vec![
            bot,
            user("alice", "Alice Adams", 2),
            user("bob", "Bob Brown", 3),
            user("other-tool", "Other Tool", 4),
        ];
        Self {
            options,
            control: Control::default(),
            cloud_id: uuid_text(rand::random()),
            users,
            projects: Table::default(),
            issues: Table::default(),
            comments: Table::default(),
            versions: Table::default(),
            components: Table::default(),
            links: Table::default(),
            remote_links: Table::default(),
            attachments: Table::default(),
            tasks: BTreeMap::new(),
            keys: BTreeMap::new(),
            numbers: BTreeMap::new(),
            last_id: 10_000,
        }
    }

    /// A new id; ids grow, and those of all kinds are distinct.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The next number of an issue of a project.
    pub(crate) fn next_number(&mut self, project: u64) -> u64 {
        let number = self.numbers.entry(project).or_default();
        *number += 1;
        *number
    }

    /// Records a key of an issue, besides its earlier ones.
    pub(crate) fn record_key(&mut self, key: String, issue: u64) {
        self.keys.insert(key, issue);
    }

    /// Records a task.
    pub(crate) fn record_task(&mut self, task: Task) {
        if self.tasks.len() >= TASKS_MAX {
            self.tasks.pop_first();
        }
        self.tasks.insert(task.id, task);
    }

    /// The user of this name.
    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    /// The site at `at`, as a user sees it; `is_anonymous`: as an anonymous visitor, who sees nothing.
    pub(crate) fn view(&self, at: Instant, is_anonymous: bool) -> View<'_> {
        View { world: self, at, is_anonymous }
    }

    /// Deletes an issue with all that hangs on it, its subtasks excepted.
    pub(crate) fn delete_issue(&mut self, id: u64, now: Instant) {
        fn ids<T: Clone>(
            table: &Table<T>,
            now: Instant,
            of: impl Fn(&T) -> Option<u64>,
        ) -> Vec<u64> {
            table.list(now).filter_map(of).collect()
        }
        for comment in ids(&self.comments, now, |row| (row.issue == id).then_some(row.id)) {
            self.comments.remove(comment, now);
        }
        for link in
            ids(&self.links, now, |row| (row.source == id || row.target == id).then_some(row.id))
        {
            self.links.remove(link, now);
        }
        for link in ids(&self.remote_links, now, |row| (row.issue == id).then_some(row.id)) {
            self.remote_links.remove(link, now);
        }
        for file in ids(&self.attachments, now, |row| (row.issue == id).then_some(row.id)) {
            self.attachments.remove(file, now);
        }
        self.issues.remove(id, now);
    }

    /// Deletes a project for good, with its issues, versions and components.
    pub(crate) fn delete_project(&mut self, id: u64, now: Instant) {
        let issues: Vec<_> =
            self.issues.list(now).filter(|row| row.project == id).map(|row| row.id).collect();
        for issue in issues {
            self.delete_issue(issue, now);
        }
        let versions: Vec<_> =
            self.versions.list(now).filter(|row| row.project == id).map(|row| row.id).collect();
        for version in versions {
            self.versions.remove(version, now);
        }
        let components: Vec<_> =
            self.components.list(now).filter(|row| row.project == id).map(|row| row.id).collect();
        for component in components {
            self.components.remove(component, now);
        }
        self.projects.remove(id, now);
    }

    /// Ends the tasks that are due.
    pub(crate) fn end_tasks(&mut self, now: Instant) {
        let (time, fails) = (self.options.task_time, self.control.tasks_fail);
        let due = self.tasks.values_mut().filter(|task| {
            task.done.is_none() && now.saturating_duration_since(task.begun) >= time
        });
        let mut deleted = Vec::new();
        for task in due {
            task.done = Some(!fails);
            deleted.push(task.project);
        }
        for project in deleted.into_iter().filter(|_| !fails) {
            self.delete_project(project, now);
        }
    }
}

/// A random UUID as text.
pub(crate) fn uuid_text(bits: u128) -> String {
    uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string()
}

/// The site at a moment.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) world: &'a World,
    pub(crate) at: Instant,
    is_anonymous: bool,
}

impl<'a> View<'a> {
    fn sees_project(&self, project: &Project) -> bool {
        let is_hidden = self.world.control.hidden_projects.contains(&project.key);
        !self.is_anonymous && !is_hidden && project.deleted.is_none()
    }

    /// The projects that can be seen.
    pub(crate) fn projects(&self) -> impl Iterator<Item = &'a Project> + use<'a> {
        let view = *self;
        self.world.projects.list(self.at).filter(move |project| view.sees_project(project))
    }

    /// A project by its id.
    pub(crate) fn project_by_id(&self, id: u64) -> Option<&'a Project> {
        let project = self.world.projects.get(id, self.at)?;
        self.sees_project(project).then_some(project)
    }

    /// A project by its id, its key or a key that it had.
    pub(crate) fn project(&self, name: &str) -> Option<&'a Project> {
        if let Ok(id) = name.parse() {
            return self.project_by_id(id);
        }
        // A new project is in no list of the past yet, but can be read by its key.
        let latest = Instant::now();
        let rows: Vec<_> = self.world.projects.list(latest.max(self.at)).collect();
        let upper = name.to_uppercase();
        let by_key = rows.iter().find(|row| row.key == upper);
        let found = by_key.or_else(|| rows.iter().find(|row| row.former_keys.contains(&upper)));
        match found {
            Some(row) => self.project_by_id(row.id),
            // Deleted meanwhile, and still seen by a reader of the past.
            None => self.projects().find(|row| row.key == upper),
        }
    }

    fn sees_issue(&self, issue: &Issue) -> bool {
        let is_hidden = self.world.control.hidden_issues.contains(&issue.id);
        !is_hidden && self.project_by_id(issue.project).is_some()
    }

    /// The issues that can be seen, ordered by id; archived ones, too.
    pub(crate) fn issues(&self) -> impl Iterator<Item = &'a Issue> + use<'a> {
        let view = *self;
        self.world.issues.list(self.at).filter(move |issue| view.sees_issue(issue))
    }

    /// An issue by its id, its key or a key that it had.
    pub(crate) fn issue(&self, name: &str) -> Option<&'a Issue> {
        let by_id = name.parse().ok();
        let id = by_id.or_else(|| self.world.keys.get(&name.to_uppercase()).copied())?;
        let is_too_new =
            self.world.options.new_issues_lag && !self.world.issues.existed(id, self.at);
        let issue = self.world.issues.get(id, self.at)?;
        (!is_too_new && self.sees_issue(issue)).then_some(issue)
    }

    /// The key of an issue.
    pub(crate) fn key(&self, issue: &Issue) -> String {
        let project = self.world.projects.get(issue.project, self.at);
        format!("{}-{}", project.map_or("", |project| project.key.as_str()), issue.number)
    }

    /// A version that can be seen.
    pub(crate) fn version(&self, id: &str) -> Option<&'a Version> {
        let version = self.world.versions.get(id.parse().ok()?, self.at)?;
        self.project_by_id(version.project).map(|_| version)
    }

    /// A component that can be seen.
    pub(crate) fn component(&self, id: &str) -> Option<&'a Component> {
        let component = self.world.components.get(id.parse().ok()?, self.at)?;
        self.project_by_id(component.project).map(|_| component)
    }

    /// A comment of an issue.
    pub(crate) fn comment(&self, issue: u64, id: &str) -> Option<&'a Comment> {
        let comment = self.world.comments.get(id.parse().ok()?, self.at)?;
        (comment.issue == issue).then_some(comment)
    }

    /// The comments of an issue, the oldest first.
    pub(crate) fn comments(&self, issue: u64) -> impl Iterator<Item = &'a Comment> + use<'a> {
        self.world.comments.list(self.at).filter(move |comment| comment.issue == issue)
    }

    /// The subtasks and children of an issue.
    pub(crate) fn children(&self, issue: u64) -> impl Iterator<Item = &'a Issue> + use<'a> {
        self.issues().filter(move |child| child.parent() == Some(issue))
    }
}
