//! Resolves the values of a query, and finds the issues that it matches.

use std::cmp::Ordering;

use jiff::{SignedDuration, Timestamp};

use super::parse::{Clause, Operator, Query};
use crate::jira::fake::call::Call;
use crate::jira::fake::rich_text;
use crate::jira::fake::rows::{Issue, User};
use crate::jira::fake::site;
use crate::jira::fake::world::View;

/// What values are resolved against: the site as it is now.
pub(crate) struct Resolver<'a> {
    pub(crate) now: View<'a>,
    pub(crate) call: &'a Call,
}

/// A query that is ready to be matched, and what is wrong with it without being an error.
pub(crate) struct Resolved {
    pub(crate) query: Query,
    pub(crate) warnings: Vec<String>,
}

/// A condition without a value that exists matches no issue.
const NOTHING: &str = "\0";

impl Resolver<'_> {
    /// Resolves the values of a query. `is_lenient`: a value that does not exist is a warning.
    ///
    /// # Errors
    /// JIRA's message for a field or, unless `is_lenient`, for a value that does not exist.
    pub(crate) fn resolve(&self, mut query: Query, is_lenient: bool) -> Result<Resolved, String> {
        let mut warnings = Vec::new();
        if let Some(clause) = &mut query.clause {
            self.clause(clause, is_lenient, &mut warnings)?;
        }
        Ok(Resolved { query, warnings })
    }

    fn clause(
        &self,
        clause: &mut Clause,
        is_lenient: bool,
        warnings: &mut Vec<String>,
    ) -> Result<(), String> {
        match clause {
            Clause::And(clauses) | Clause::Or(clauses) => {
                clauses.iter_mut().try_for_each(|clause| self.clause(clause, is_lenient, warnings))
            }
            Clause::Not(clause) => self.clause(clause, is_lenient, warnings),
            Clause::Compare { field, values, .. } => {
                *field = canonical(field)?.to_owned();
                for value in values {
                    match self.value(field, value) {
                        Ok(resolved) => *value = resolved,
                        Err(message) if is_lenient => {
                            warnings.push(message);
                            NOTHING.clone_into(value);
                        }
                        Err(message) => return Err(message),
                    }
                }
                Ok(())
            }
        }
    }

    fn value(&self, field: &str, text: &str) -> Result<String, String> {
        let unknown = || format!("The value '{text}' does not exist for the field '{field}'.");
        let listed = |mut known: Box<dyn Iterator<Item = (&str, &str)>>| {
            let found = known.find(|(id, name)| *id == text || name.eq_ignore_ascii_case(text));
            found.map(|(id, _)| id.to_owned()).ok_or_else(unknown)
        };
        match field {
            "project" => {
                let by_name =
                    || self.now.projects().find(|row| row.name.eq_ignore_ascii_case(text));
                let found = self.now.project(text).or_else(by_name);
                found.map(|row| row.id.to_string()).ok_or_else(unknown)
            }
            "issue" | "parent" => {
                self.now.issue(text).map(|row| row.id.to_string()).ok_or_else(|| {
                    if text.chars().all(|c| c.is_ascii_digit()) {
                        format!("A value with ID '{text}' does not exist for the field 'id'.")
                    } else {
                        format!("An issue with key '{text}' does not exist for field 'key'.")
                    }
                })
            }
            "creator" | "reporter" | "assignee" | "watcher" => {
                if text == "currentUser()" {
                    return Ok(self.call.user.clone().unwrap_or_else(|| NOTHING.to_owned()));
                }
                let is_meant = |user: &&User| {
                    let known = if self.call.is_cloud { &user.account_id } else { &user.name };
                    known == text
                };
                let user = self.now.world.users.iter().find(is_meant);
                user.map(|user| user.name.clone()).ok_or_else(unknown)
            }
            "status" => listed(Box::new(site::STATUSES.iter().map(|one| (one.id, one.name)))),
            "issuetype" => listed(Box::new(site::ISSUE_TYPES.iter().map(|one| (one.id, one.name)))),
            "priority" => listed(Box::new(site::PRIORITIES.iter().copied())),
            "resolution" => listed(Box::new(site::RESOLUTIONS.iter().copied())),
            "component" => {
                let mut rows = self.now.world.components.list(self.now.at);
                let found = rows.find(|row| row.id.to_string() == text || row.name == text);
                found.map(|row| row.id.to_string()).ok_or_else(unknown)
            }
            "fixVersion" => {
                let mut rows = self.now.world.versions.list(self.now.at);
                let found = rows.find(|row| row.id.to_string() == text || row.name == text);
                found.map(|row| row.id.to_string()).ok_or_else(unknown)
            }
            "created" | "updated" => {
                let moment = self.moment(text).ok_or_else(|| {
                    format!("Date value '{text}' for field '{field}' is invalid. Valid formats include: 'yyyy/MM/dd HH:mm', 'yyyy-MM-dd HH:mm', 'yyyy/MM/dd', 'yyyy-MM-dd', or a period format e.g. '-5d', '4w 2d'.")
                })?;
                Ok(moment.as_microsecond().to_string())
            }
            _ => Ok(text.to_owned()),
        }
    }

    /// A relative time such as `-5m`, or a time in the user's zone, which JQL reads to the minute.
    fn moment(&self, text: &str) -> Option<Timestamp> {
        if text == "now()" {
            return Some(self.call.time);
        }
        let (sign, period) = match text.strip_prefix('-') {
            Some(period) => (-1, period),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        let unit = period.chars().last()?;
        let number =
            period.get(..period.len() - unit.len_utf8()).and_then(|text| text.parse::<i64>().ok());
        let minutes = match unit {
            'm' => Some(1),
            'h' => Some(60),
            'd' => Some(24 * 60),
            'w' => Some(7 * 24 * 60),
            _ => None,
        };
        if let (Some(number), Some(minutes)) = (number, minutes) {
            let minutes = number.checked_mul(minutes)?.checked_mul(sign)?;
            return self
                .call
                .time
                .checked_add(SignedDuration::from_secs(minutes.checked_mul(60)?))
                .ok();
        }
        let text = text.replace('/', "-").replace(' ', "T");
        let text = if text.contains('T') { text + ":00" } else { text + "T00:00:00" };
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        civil.to_zoned(self.call.zone()).ok().map(|zoned| zoned.timestamp())
    }
}

fn canonical(field: &str) -> Result<&'static str, String> {
    Ok(match field.to_lowercase().as_str() {
        "project" => "project",
        "id" | "key" | "issue" | "issuekey" => "issue",
        "parent" => "parent",
        "labels" => "labels",
        "creator" => "creator",
        "reporter" => "reporter",
        "assignee" => "assignee",
        "watcher" => "watcher",
        "status" => "status",
        "issuetype" | "type" => "issuetype",
        "priority" => "priority",
        "resolution" => "resolution",
        "component" => "component",
        "fixversion" => "fixVersion",
        "created" | "createddate" => "created",
        "updated" | "updateddate" => "updated",
        "summary" => "summary",
        "description" => "description",
        "text" => "text",
        // Properties are searched only where an app declared them as indexed.
        _ => {
            return Err(format!(
                "Field '{field}' does not exist or you do not have permission to view it."
            ));
        }
    })
}

/// Whether an issue matches a resolved condition.
pub(crate) fn matches(clause: &Clause, issue: &Issue) -> bool {
    match clause {
        Clause::And(clauses) => clauses.iter().all(|clause| matches(clause, issue)),
        Clause::Or(clauses) => clauses.iter().any(|clause| matches(clause, issue)),
        Clause::Not(clause) => !matches(clause, issue),
        Clause::Compare { field, operator, values } => compare(issue, field, *operator, values),
    }
}

fn compare(issue: &Issue, field: &str, operator: Operator, values: &[String]) -> bool {
    let held = held(issue, field);
    let has_one = || held.iter().any(|held| values.contains(held));
    let order = || {
        let moment = |text: &String| text.parse::<i64>().ok();
        let (held, value) = (held.first().and_then(moment)?, values.first().and_then(moment)?);
        Some(held.cmp(&value))
    };
    match operator {
        Operator::Equal | Operator::In => has_one(),
        Operator::NotEqual | Operator::NotIn => !held.is_empty() && !has_one(),
        Operator::IsEmpty => held.is_empty(),
        Operator::IsNotEmpty => !held.is_empty(),
        Operator::Contains => {
            let words = values.iter().flat_map(|value| value.split_whitespace());
            let text = held.join(" ").to_lowercase();
            words
                .into_iter()
                .all(|word| text.contains(&word.trim_matches(['"', '*']).to_lowercase()))
        }
        Operator::Less => order() == Some(Ordering::Less),
        Operator::LessOrEqual => order().is_some_and(Ordering::is_le),
        Operator::Greater => order() == Some(Ordering::Greater),
        Operator::GreaterOrEqual => order().is_some_and(Ordering::is_ge),
    }
}

/// The values of an issue's field; none when it is empty.
fn held(issue: &Issue, field: &str) -> Vec<String> {
    let list = |name: &str| issue.list(name).map(str::to_owned).collect();
    let rich = |name: &str| match issue.fields.get(name) {
        Some(stored) if stored.is_object() => rich_text::plain(stored),
        _ => issue.text(name).to_owned(),
    };
    let one = match field {
        "project" => issue.project.to_string(),
        "issue" => issue.id.to_string(),
        "creator" => issue.creator.clone(),
        "status" => issue.status.to_owned(),
        "created" => issue.created.as_microsecond().to_string(),
        "updated" => issue.updated.as_microsecond().to_string(),
        "labels" => return list("labels"),
        "component" => return list("components"),
        "fixVersion" => return list("fixVersions"),
        "watcher" => return issue.watchers.iter().cloned().collect(),
        "description" => rich("description"),
        "text" => format!("{} {}", issue.text("summary"), rich("description")),
        other => issue.text(other).to_owned(),
    };
    if one.is_empty() { Vec::new() } else { vec![one] }
}

/// Sorts issues; without an order, the newest comes first.
pub(crate) fn sort(issues: &mut [&Issue], order: &[(String, bool)]) {
    let by = |field: &str, one: &Issue, other: &Issue| match field {
        "created" | "createddate" => one.created.cmp(&other.created),
        "updated" | "updateddate" => one.updated.cmp(&other.updated),
        "key" | "issuekey" => (one.project, one.number).cmp(&(other.project, other.number)),
        "summary" | "priority" => one.text(field).cmp(other.text(field)),
        _ => one.id.cmp(&other.id),
    };
    issues.sort_by(|one, other| {
        let fields = order.iter().map(|(field, descends)| {
            let found = by(field, one, other);
            if *descends { found.reverse() } else { found }
        });
        fields.fold(Ordering::Equal, Ordering::then).then_with(|| other.id.cmp(&one.id))
    });
}
