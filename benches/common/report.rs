//! Rounds, medians and the limits that they are compared with.

pub(crate) struct Report {
    quick: bool,
    wanted: Vec<String>,
    within: usize,
    over: usize,
}

impl Report {
    /// Reads the command line: parts by their names, or all of them, and `--quick`.
    pub(crate) fn asked_for() -> Self {
        let arguments = std::env::args().skip(1);
        let (options, wanted): (Vec<_>, Vec<_>) = arguments.partition(|part| part.starts_with('-'));
        let quick = options.iter().any(|option| option == "--quick");
        Self { quick, wanted, within: 0, over: 0 }
    }

    #[allow(dead_code, reason = "not all do less in all parts")]
    pub(crate) fn is_quick(&self) -> bool {
        self.quick
    }

    pub(crate) fn wants(&self, part: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|wanted| wanted == part)
    }

    /// Returns `rounds`, or fewer if the run is quick.
    pub(crate) fn rounds(&self, rounds: usize) -> usize {
        if self.quick { (rounds / 20).clamp(3, 15) } else { rounds }
    }

    /// Reports the results of the rounds, each as seconds of the floor and of the case.
    pub(crate) fn rows(&mut self, name: &str, limit: f64, rows: &[(f64, f64)]) {
        let floor = median(rows.iter().map(|row| row.0));
        let case = median(rows.iter().map(|row| row.1));
        let (factor, unit) = if case < 1e-5 { (1e9, "ns") } else { (1e6, "us") };
        let (case, floor) = (case * factor, floor * factor);
        println!("     {name:<16} {case:9.1} {unit} on a floor of {floor:.1} {unit}");
        self.ratio(name, median(rows.iter().map(|(floor, case)| case / floor)), limit);
    }

    pub(crate) fn ratio(&mut self, name: &str, value: f64, limit: f64) {
        println!("ratio {name} {value:.3} limit {limit}");
        self.count(value <= limit);
    }

    pub(crate) fn count(&mut self, is_within: bool) {
        if is_within {
            self.within += 1;
        } else {
            self.over += 1;
        }
    }

    pub(crate) fn finish(self, what: &str) {
        println!("{what}: {} within, {} over", self.within, self.over);
    }
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
