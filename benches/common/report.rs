//! Rounds, medians and what they are held against.

pub(crate) struct Report {
    quick: bool,
    within: usize,
    over: usize,
}

impl Report {
    pub(crate) fn new(quick: bool) -> Self {
        Self { quick, within: 0, over: 0 }
    }

    /// As many as are wanted, or few of them.
    pub(crate) fn rounds(&self, rounds: usize) -> usize {
        if self.quick { 3 } else { rounds }
    }

    /// What the rounds gave, each as seconds of the floor and of the case.
    pub(crate) fn rows(&mut self, name: &str, limit: f64, rows: &[(f64, f64)]) {
        let floor = median(rows.iter().map(|row| row.0));
        let case = median(rows.iter().map(|row| row.1));
        println!("     {name:<16} {:9.1} us on a floor of {:.1} us", case * 1e6, floor * 1e6);
        let ratio = median(rows.iter().map(|(floor, case)| case / floor));
        println!("ratio {name} {ratio:.3} limit {limit}");
        self.count(ratio <= limit);
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
