//! Requests from another process, with `wrk`.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::atomic::Ordering::Relaxed,
};

use crate::{report::Report, world::World};

pub(crate) fn has_wrk() -> bool {
    Command::new("wrk").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Measures `GET /bare` over `GET /guarded`, in turns.
pub(crate) fn overhead(
    name: &str,
    address: &SocketAddr,
    world: &World,
    seconds: u32,
    report: &mut Report,
) {
    let run = |path: &str| rate(wrk(address, path, &world.token, 16, seconds), 2);
    run("/bare");
    let mut rows = Vec::new();
    for round in 0..report.rounds(15) {
        let (bare, guarded);
        if round % 2 == 0 {
            bare = run("/bare");
            guarded = run("/guarded");
        } else {
            guarded = run("/guarded");
            bare = run("/bare");
        }
        rows.push((1.0 / bare, 1.0 / guarded));
    }
    report.rows(name, 1.06, &rows);
}

/// Measures a client with a valid key beside a flood, which goes to a route that rejects every request or to
/// the guarded one.
pub(crate) fn flood(address: &SocketAddr, world: &World, seconds: u32, report: &mut Report) {
    let forged = world.forged();
    let beside = |flooded: &str| {
        let flood = wrk(address, flooded, &forged, 12, seconds + 1);
        let rate_of_client = rate(wrk(address, "/guarded", &world.token, 4, seconds), 2);
        // The flood is still running when the client ends.
        (rate_of_client, rate(flood, 4))
    };
    let alone = rate(wrk(address, "/guarded", &world.token, 4, seconds), 2);
    let before = world.reads.load(Relaxed);
    let (mut rows, mut flooded) = (Vec::new(), 0.0);
    for round in 0..report.rounds(15) {
        let paths =
            if round % 2 == 0 { ["/refused", "/guarded"] } else { ["/guarded", "/refused"] };
        let [mut at_once, mut checked] = paths.map(beside);
        if round % 2 == 1 {
            (at_once, checked) = (checked, at_once);
        }
        flooded = checked.1;
        rows.push((1.0 / at_once.0, 1.0 / checked.0));
    }
    let reads = world.reads.load(Relaxed) - before;
    println!("     the client alone: {alone:.0} requests per second; the flood: {flooded:.0}");
    report.rows("forged_flood", 1.05, &rows);
    println!("reads forged_flood {reads} limit 0");
    report.count(reads == 0);
}

fn wrk(address: &SocketAddr, path: &str, token: &str, connections: u32, seconds: u32) -> Child {
    Command::new("wrk")
        .args(["--threads", "1", "--connections", &connections.to_string()])
        .args(["--duration", &format!("{seconds}s")])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .arg(format!("http://{address}{path}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Returns the requests per second, and checks that all responses have a status of this class. `wrk` counts
/// the classes above 3.
fn rate(wrk: Child, class: u32) -> f64 {
    let output = wrk.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let refused = text.contains("Non-2xx or 3xx responses");
    assert_eq!(refused, class > 3, "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    line.unwrap_or_else(|| panic!("{text}")).trim().parse().unwrap()
}
