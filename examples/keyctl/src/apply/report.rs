//! Plans and their outcomes as text and as JSON.

use serde_json::{Value, json};

use super::{
    changes::Change,
    execute::Outcome,
    manifest::Problem,
    plan::{Action, Plan, Step},
};
use crate::{failure::Failure, output::Output, session::Session, table::Table};

/// Reports what is wrong, each with its field.
pub fn report_problems(session: &Session, path: &str, problems: &[Problem]) -> Result<(), Failure> {
    for Problem { field, message } in problems {
        let value = json!({ "file": path, "field": field, "problem": message });
        session.out.problem(&value, &format!("{path}: {field}: {message}"));
    }
    let count = Output::count(problems.len(), "problem");
    let message = format!("nothing was changed: {count} in `{path}`");
    Err(Failure::refused(message).remedy("correct these fields, and try with --dry-run"))
}

/// Shows a plan that is not executed.
pub fn show(session: &Session, plan: &Plan) -> Result<(), Failure> {
    let mut counts = Counts::default();
    for step in &plan.steps {
        let is_unchanged = matches!(step.action, Action::Unchanged);
        counts.add(&step.action, if is_unchanged { Outcome::Unchanged } else { Outcome::Done });
    }
    let steps: Vec<_> = plan.steps.iter().map(step_value).collect();
    let value = json!({ "dry_run": true, "steps": steps, "plan": counts.value() });
    session.out.result(&value, || {
        let mut table = Table::new(&["action", "record", "details"]);
        for step in &plan.steps {
            let (action, record, details) = step_cells(step);
            table.row(vec![action.into(), record, details]);
        }
        format!("{table}{}\n", counts.plan_text())
    })
}

/// The numbers of the steps of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    create: usize,
    change: usize,
    delete: usize,
    unchanged: usize,
    conflicts: usize,
    refused: usize,
    unknown: usize,
    not_tried: usize,
}

impl Counts {
    /// Adds a step.
    pub fn add(&mut self, action: &Action, outcome: Outcome) {
        let count = match outcome {
            Outcome::Unchanged => &mut self.unchanged,
            Outcome::Conflict => &mut self.conflicts,
            Outcome::Refused => &mut self.refused,
            Outcome::Unknown => &mut self.unknown,
            Outcome::NotTried => &mut self.not_tried,
            Outcome::Done => match action {
                Action::CreateTenant { .. } | Action::IssueKey { .. } => &mut self.create,
                Action::DeleteKey { .. } | Action::DeleteTenant { .. } => &mut self.delete,
                Action::Conflict(_) => &mut self.conflicts,
                Action::Unchanged => &mut self.unchanged,
                _ => &mut self.change,
            },
        };
        *count += 1;
    }

    /// Returns whether a step was not done.
    pub fn failed(&self) -> bool {
        self.conflicts + self.refused + self.unknown + self.not_tried > 0
    }

    /// Returns the numbers as JSON.
    pub fn value(&self) -> Value {
        json!({
            "create": self.create,
            "change": self.change,
            "delete": self.delete,
            "unchanged": self.unchanged,
            "conflicts": self.conflicts,
            "refused": self.refused,
            "unknown": self.unknown,
            "not_tried": self.not_tried,
        })
    }

    fn plan_text(&self) -> String {
        let Self { create, change, delete, unchanged, .. } = self;
        format!(
            "Plan: {create} to create, {change} to change, {delete} to delete, {unchanged} unchanged."
        )
    }

    /// Returns the numbers of a run, for people.
    pub fn done_text(&self) -> String {
        let Self { create, change, delete, unchanged, .. } = self;
        let mut text =
            format!("{create} created, {change} changed, {delete} deleted, {unchanged} unchanged");
        for (count, what) in [
            (self.conflicts, "in conflict"),
            (self.refused, "refused"),
            (self.unknown, "with unknown outcome"),
            (self.not_tried, "not tried"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text + "."
    }
}

/// Returns a step as JSON.
pub fn step_value(step: &Step) -> Value {
    let changes = |changes: &[Change]| {
        let value = |change: &Change| json!({ "field": change.field, "from": change.from, "to": change.to });
        changes.iter().map(value).collect::<Vec<_>>()
    };
    let mut value = match &step.action {
        Action::Unchanged => json!({ "action": "unchanged" }),
        Action::Conflict(message) => json!({ "action": "conflict", "message": message }),
        Action::CreateTenant { tier } => json!({ "action": "create_tenant", "tier": tier }),
        Action::SetTier { from, to, version } => {
            let change = Change::new("tier", from.as_str(), to.as_str());
            json!({ "action": "set_tier", "version": version, "changes": changes(&[change]) })
        }
        Action::SetExceptions { from, to, version } => {
            let change = Change::new("exceptions", json!(from), json!(to));
            json!({ "action": "set_exceptions", "version": version, "changes": changes(&[change]) })
        }
        Action::IssueKey { properties, .. } => {
            json!({ "action": "issue_key", "changes": changes(properties) })
        }
        Action::EditKey { id, version, changes: edits, .. } => {
            json!({ "action": "edit_key", "id": id, "version": version, "changes": changes(edits) })
        }
        Action::DeleteKey { id, version } => {
            json!({ "action": "delete_key", "id": id, "version": version })
        }
        Action::DeleteTenant { version } => {
            json!({ "action": "delete_tenant", "version": version })
        }
    };
    if let Some(fields) = value.as_object_mut() {
        fields.insert("tenant".into(), json!(step.tenant));
        if let Some(key) = &step.key {
            fields.insert("key".into(), json!(key));
        }
    }
    value
}

/// Returns a step on one line, for people.
pub fn step_text(step: &Step) -> String {
    let (action, record, details) = step_cells(step);
    let separator = if details.is_empty() { "" } else { "  " };
    format!("{action:<10}{record}{separator}{details}")
}

fn step_cells(step: &Step) -> (&'static str, String, String) {
    let record = match &step.key {
        Some(key) => format!("key {}/{key}", step.tenant),
        None => format!("tenant {}", step.tenant),
    };
    let edits = |changes: &[Change]| {
        let text = |change: &Change| {
            format!("{}: {} -> {}", change.field, plain(&change.from), plain(&change.to))
        };
        changes.iter().map(text).collect::<Vec<_>>().join("; ")
    };
    let (action, details) = match &step.action {
        Action::Unchanged => ("unchanged", String::new()),
        Action::Conflict(message) => ("conflict", (*message).to_owned()),
        Action::CreateTenant { tier } => ("create", format!("tier: {tier}")),
        Action::SetTier { from, to, .. } => ("change", format!("tier: {from} -> {to}")),
        Action::SetExceptions { from, to, .. } => ("change", format!("exceptions: {from} -> {to}")),
        Action::IssueKey { properties, .. } => {
            let text = |change: &Change| format!("{}: {}", change.field, plain(&change.to));
            ("create", properties.iter().map(text).collect::<Vec<_>>().join("; "))
        }
        Action::EditKey { changes, .. } => ("change", edits(changes)),
        Action::DeleteKey { id, .. } => ("delete", id.to_string()),
        Action::DeleteTenant { .. } => ("delete", "with all of its keys".into()),
    };
    (action, record, details)
}

/// Returns a value without the quotes of JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".into(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
