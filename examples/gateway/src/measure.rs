//! The cost of the question: nginx that asks over nginx alone, with `wrk` as the client of both in turn.

use std::{
    error::Error,
    process::{self, Command},
};

use keyway::http::{ForwardAuth, Gateway, OriginalRequest};
use tokio::runtime::Runtime;

use crate::{
    proxies::{Kind, Proxy},
    raw::Keys,
    rows,
    services::{Application, Check},
};

/// The number of times that both are measured. An odd number has a middle.
const ROUNDS: usize = 31;
const SECONDS: &str = "1s";
const CONNECTIONS: &str = "8";

/// The calls of the check without any connection.
const CALLS: u32 = 200_000;

/// The figures of one round, as `wrk` prints them.
struct Round {
    per_second: f64,
    /// The time of the processors in nginx, the check and the application, per request.
    processor_us: f64,
    median_us: f64,
    p99_us: f64,
}

pub fn run(
    runtime: &Runtime,
    keys: &Keys,
    application: &Application,
    checks: &[Check],
) -> Result<(), Box<dyn Error>> {
    println!(
        "the check alone  {:>8.0} ns per verdict, without a connection",
        alone(runtime, keys)?
    );
    let program = Kind::Nginx.program().ok_or("nginx is not installed")?;
    let check = checks.iter().find(|check| check.is_for_nginx()).ok_or("no check")?;
    let start =
        |without| Proxy::start(Kind::Nginx, &program, check.address, application.address, without);
    let (asks, alone) = (start("")?, start("auth_request /keys/check;")?);
    let (mut of_asking, mut of_alone) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (one, other) = (wrk(keys, &alone)?, wrk(keys, &asks)?);
        // The first round fills caches and opens connections.
        if round > 0 {
            of_alone.push(one);
            of_asking.push(other);
        }
    }
    let ratios = of_alone.iter().zip(&of_asking);
    let mut ratios: Vec<f64> =
        ratios.map(|(one, other)| one.per_second / other.per_second).collect();
    ratios.sort_by(f64::total_cmp);
    let latency =
        median(&of_asking, |round| round.median_us) / median(&of_alone, |round| round.median_us);
    for (name, rounds) in [("nginx alone", &of_alone), ("nginx that asks", &of_asking)] {
        println!(
            "{name:<16} {:>8.0} requests/s  latency: median {:>6.0} us, p99 {:>6.0} us  processors: {:>5.0} us per request",
            median(rounds, |round| round.per_second),
            median(rounds, |round| round.median_us),
            median(rounds, |round| round.p99_us),
            median(rounds, |round| round.processor_us),
        );
    }
    let processor = median(&of_asking, |round| round.processor_us)
        / median(&of_alone, |round| round.processor_us);
    println!(
        "ratio forward_auth {:.2} time per request, nginx that asks over nginx alone: median of {ROUNDS} rounds of \
         {SECONDS}, {CONNECTIONS} connections (rounds: {:.2} to {:.2})",
        ratios[ratios.len() / 2],
        ratios[0],
        ratios[ratios.len() - 1],
    );
    println!("ratio forward_auth_latency {latency:.2} median latency of a request");
    println!("ratio forward_auth_processor {processor:.2} processor time of a request");
    Ok(())
}

/// Returns the processor time of one verdict in nanoseconds.
fn alone(runtime: &Runtime, keys: &Keys) -> Result<f64, Box<dyn Error>> {
    let original = OriginalRequest::headers("x-original-method", "x-original-uri")?;
    let gateway = Gateway::new(rows::routes(&keys.keyring), ForwardAuth::DenialsOnly, original)?;
    let mut headers = axum::http::HeaderMap::new();
    let authorization = keys.authorization("read").replacen("authorization: ", "", 1);
    for (name, value) in [
        ("host", "127.0.0.1"),
        ("x-original-method", "GET"),
        ("x-original-uri", "/jobs"),
        ("authorization", &authorization),
    ] {
        headers.insert(name, value.parse()?);
    }
    runtime.block_on(async {
        let before = ticks(process::id())?;
        for _ in 0..CALLS {
            let status = gateway.check("GET", "/keys/check", &headers, None).await.status();
            if status != 200 {
                return Err(format!("status {status}").into());
            }
        }
        Ok((ticks(process::id())? - before) * 1e7 / f64::from(CALLS))
    })
}

fn median(rounds: &[Round], value: fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn wrk(keys: &Keys, proxy: &Proxy) -> Result<Round, Box<dyn Error>> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c", CONNECTIONS, "-d", SECONDS, "--latency", "-H"]);
    command.arg(keys.authorization("read")).arg(format!("http://{}/jobs", proxy.address));
    let before = processor_us(proxy)?;
    let output = command.output().map_err(|error| format!("wrk: {error}"))?;
    let spent = processor_us(proxy)? - before;
    let text = String::from_utf8(output.stdout)?;
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("not every request was admitted:\n{text}").into());
    }
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        line.map(str::trim).ok_or(format!("wrk says no `{name}`:\n{text}"))
    };
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "));
    let (requests, _) = requests.ok_or(format!("wrk says no number of requests:\n{text}"))?;
    Ok(Round {
        processor_us: spent / requests.parse::<f64>()?,
        per_second: value("Requests/sec:")?.parse()?,
        median_us: microseconds(value("50%")?)?,
        p99_us: microseconds(value("99%")?)?,
    })
}

/// Returns the time that the processors have spent in nginx and in this process, which is the check and the
/// application. `wrk` is not counted. It depends less on other programs of the machine than the other figures.
fn processor_us(proxy: &Proxy) -> Result<f64, Box<dyn Error>> {
    Ok((ticks(proxy.id())? + ticks(process::id())?) * 1e4)
}

/// Returns the processor time of a process, in hundredths of a second: fields 14 and 15 of `proc_pid_stat(5)`.
fn ticks(process: u32) -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no fields")?;
    let mut ticks = 0.0;
    for field in fields.split_whitespace().skip(11).take(2) {
        ticks += field.parse::<f64>()?;
    }
    Ok(ticks)
}

fn microseconds(text: &str) -> Result<f64, Box<dyn Error>> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    let unit = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (number, factor) = unit.ok_or(format!("`{text}` is not a time"))?;
    Ok(number.parse::<f64>()? * factor)
}
