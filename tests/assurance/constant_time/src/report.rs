//! The counted reports, compared with the declared ones.

use std::{collections::BTreeSet, fmt, ops::RangeInclusive, process::ExitCode};

#[derive(Default)]
pub struct Report {
    functions: BTreeSet<String>,
    subjects: usize,
    /// Reports above those that were declared.
    undeclared: usize,
    /// The fewest reports that a planted leak made.
    control: Option<usize>,
    failures: usize,
}

impl Report {
    /// A `function` of keyway made so many reports in this `case`.
    pub fn subject(
        &mut self,
        function: &str,
        case: &str,
        reports: usize,
        expected: RangeInclusive<usize>,
    ) {
        let (least, most) = (expected.start(), expected.end());
        let expected_text: &dyn fmt::Display =
            if least == most { least } else { &format!("{least} to {most}") };
        println!("ct {function} {case} {reports} expected {expected_text}");
        self.functions.insert(function.into());
        self.subjects += 1;
        self.undeclared += reports.saturating_sub(*most);
        self.require(expected.contains(&reports), case);
    }

    pub fn control(&mut self, name: &str, reports: usize) {
        println!("planted {name} {reports} expected > 0");
        self.control = Some(self.control.map_or(reports, |fewest| fewest.min(reports)));
        self.require(reports > 0, name);
    }

    pub fn require(&mut self, holds: bool, what: &str) {
        if !holds {
            println!("not as expected: {what}");
            self.failures += 1;
        }
    }

    /// One line for the script to gather.
    pub fn end(self) -> ExitCode {
        println!(
            "summary {} {} {} {} {}",
            self.undeclared,
            self.failures,
            self.functions.len(),
            self.subjects,
            self.control.unwrap_or(0),
        );
        if self.failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
