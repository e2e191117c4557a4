//! API keys in front of an application that knows nothing of them: `cargo run -p gateway`.
//!
//! Starts an application without any guard, and a check that holds the routes of the application. nginx, HAProxy
//! and Caddy, as far as they are installed, ask the check before they forward a request. Then every request of a
//! table is sent to each of them, byte by byte, and the application notes what reaches it. Most of the requests
//! try to pass for others: by escapes, dot segments, headers of the gateway's own, and overrides of the method.
//!
//! Exits with status 1 if the application sees a request that the table forbids.
//!
//! `cargo run --release -p gateway measure` compares nginx that asks with nginx alone. It needs `wrk`.

mod measure;
mod proxies;
mod raw;
mod rows;
mod services;

use std::error::Error;

use self::{
    proxies::{Kind, Proxy},
    raw::{Keys, Seen},
    rows::{Row, Via},
    services::{Application, Check, Forwarded},
};

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let keys = Keys::new(&runtime)?;
    let application = Application::start(&runtime)?;
    let checks = Check::all(&runtime, &keys)?;
    match std::env::args().nth(1).as_deref() {
        None => show(&keys, &application, &checks),
        Some("measure") => measure::run(&runtime, &keys, &application, &checks),
        Some(other) => Err(format!("`{other}` is not `measure`").into()),
    }
}

fn show(keys: &Keys, application: &Application, checks: &[Check]) -> Result<(), Box<dyn Error>> {
    println!("The application has these routes. It has no guard; the check holds them.\n");
    println!("{}", rows::routes(&keys.keyring).table()?);
    let mut faults = Faults::default();

    println!(
        "Questions of a careless gateway, which adds to the caller's headers or leaves its own out:"
    );
    for (number, row) in numbered(Via::Question) {
        for check in checks.iter().filter(|check| check.reads_x_original()) {
            let seen = raw::send(check.address, &raw::question(keys, number, &row))?;
            // nginx knows only two refusals.
            let expected = if check.is_for_nginx() { 403 } else { row.status };
            line(check.name(), &row, &seen, "");
            faults.note(seen.status == expected, check.name(), &row);
        }
    }

    let mut asked = 0;
    for kind in Kind::ALL {
        let Some(program) = kind.program() else {
            println!("\nnot run: {} is not installed (Debian: `{}`)", kind.name(), kind.package());
            continue;
        };
        asked += 1;
        let check = checks.iter().find(|check| check.kind == kind).ok_or("no check")?;
        let proxy = Proxy::start(kind, &program, check.address, application.address, "")?;
        println!("\nRequests through {}, which asks:", kind.name());
        for (number, row) in numbered(Via::Client) {
            let (seen, forwarded) = through(&proxy, keys, application, number, &row)?;
            let verdict = judge(&row, &seen, &forwarded);
            line(kind.name(), &row, &seen, verdict.unwrap_or_else(|fault| fault));
            faults.note(verdict.is_ok(), kind.name(), &row);
        }
    }

    if let Some(program) = Kind::Nginx.program() {
        control(&program, keys, application, checks, &mut faults)?;
    }
    println!("\n{} gateways, {} faults", asked, faults.0.len());
    for fault in &faults.0 {
        println!("fault: {fault}");
    }
    if faults.0.is_empty() { Ok(()) } else { Err("the application was reached".into()) }
}

/// The controls: the same requests reach the application through a gateway that does not ask, and through one that
/// does not send headers of its own.
fn control(
    program: &str,
    keys: &Keys,
    application: &Application,
    checks: &[Check],
    faults: &mut Faults,
) -> Result<(), Box<dyn Error>> {
    let check = checks.iter().find(|check| check.is_for_nginx()).ok_or("no check")?;
    println!("\nThe controls, in which the application must be reached:");
    for (name, change, least) in [
        ("nginx that does not ask", "auth_request /keys/check;", 25),
        (
            "nginx that passes the caller's own target on",
            "proxy_set_header X-Original-URI $request_uri;",
            1,
        ),
    ] {
        let proxy = Proxy::start(Kind::Nginx, program, check.address, application.address, change)?;
        let mut reached = Vec::new();
        for (number, row) in numbered(Via::Client) {
            let (seen, forwarded) = through(&proxy, keys, application, number, &row)?;
            if !row.is_admitted() && judge(&row, &seen, &forwarded).is_err() {
                reached.push(row.name);
            }
        }
        println!(
            "{name}: {} forbidden requests, among them `{}`",
            reached.len(),
            reached.first().unwrap_or(&"none")
        );
        if reached.len() < least {
            faults.0.push(format!("{name}: {} requests are noticed", reached.len()));
        }
    }
    Ok(())
}

fn numbered(via: Via) -> impl Iterator<Item = (usize, Row)> {
    rows::rows().into_iter().enumerate().filter(move |(_, row)| row.via == via)
}

fn through(
    proxy: &Proxy,
    keys: &Keys,
    application: &Application,
    number: usize,
    row: &Row,
) -> Result<(Seen, Vec<Forwarded>), Box<dyn Error>> {
    application.forget();
    let seen = raw::send(proxy.address, &raw::request(keys, number, row))?;
    Ok((seen, application.noted(number)))
}

/// Returns the outcome of a row in words. The error is a fault.
fn judge(row: &Row, seen: &Seen, forwarded: &[Forwarded]) -> Result<&'static str, &'static str> {
    let is_success = (200..300).contains(&seen.status);
    match forwarded {
        [] if row.is_admitted() => Err("FAULT: not forwarded"),
        [] if is_success => Err("FAULT: not forwarded, and not refused"),
        [] => Ok("refused"),
        [one] if row.is_admitted() => {
            let is_right = is_success
                && one.method == row.method
                && one.target.as_bytes() == row.target
                && one.tenant_is(if row.key == "none" || row.target.starts_with(b"/health") {
                    ""
                } else {
                    "acme"
                })
                && !one.has("authorization");
            if is_right { Ok("forwarded as it is") } else { Err("FAULT: changed on the way") }
        }
        // The gateway has removed what made the request ambiguous, before or after the question.
        [one]
            if !row.headers.is_empty()
                && row.headers.iter().all(|(name, value)| !one.has_value(name, value)) =>
        {
            let is_own = matches!(row.reason, "override" | "forged-identity");
            if is_own { Ok("forwarded without the header") } else { Err("FAULT: forwarded") }
        }
        _ => Err("FAULT: forwarded"),
    }
}

fn line(gateway: &str, row: &Row, seen: &Seen, outcome: &str) {
    println!("  {gateway:<8} {}  {:<46} {outcome}", seen.status, row.name);
}

/// The rows whose outcome is not as it should be.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn note(&mut self, is_right: bool, gateway: &str, row: &Row) {
        if !is_right {
            self.0.push(format!("{gateway}: {}", row.name));
        }
    }
}
