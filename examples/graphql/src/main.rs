//! A GraphQL service with API keys: `cargo run -p graphql`.
//!
//! Starts the service, makes one call per line and prints its outcome. With `-- serve` the service stays up, and its
//! address and keys are printed.

use std::{error::Error, net::SocketAddr, process::ExitCode};

use graphql_service::{
    client::{self, Received, Socket, summary},
    service::Running,
};
use keyway::{
    KeyRecord, Keyring, NewKey, TenantKeys, grant::Resources, rate::Rate, record::Exceptions,
};
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<ExitCode> {
    let folder = tempfile::tempdir()?;
    let keyring = factory::open_keyring(folder.path()).await?;
    let running = Running::start(&keyring).await?;
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return serve(&keyring, running.address).await;
    }
    show(&keyring, &running).await
}

/// Issues a key for two of the three machines.
async fn issue(acme: &TenantKeys, name: &str, scopes: &[&str]) -> Outcome<(KeyRecord, String)> {
    let key = NewKey::named(name).scopes(scopes.iter().copied());
    let mills = Resources::only(["mill-1", "mill-2"])?;
    let issued = acme.issue(key.resources("machine", mills)).await?;
    Ok((issued.key, format!("Bearer {}", *issued.token.reveal())))
}

/// Stays up until Ctrl-C, for clients in other languages.
async fn serve(keyring: &Keyring, address: SocketAddr) -> Outcome<ExitCode> {
    let acme = keyring.create_empty_tenant("acme", "advanced").await?;
    println!("URL http://{address}/graphql");
    for (name, scopes) in [
        ("reader", &["reporting", "metrics.basic"][..]),
        ("manager", &["reporting", "manager.read", "operator"]),
        ("display", &["metrics.basic"]),
    ] {
        let (_, value) = issue(&acme, name, scopes).await?;
        println!("KEY {name} {}", value.trim_start_matches("Bearer "));
    }
    println!("READY");
    tokio::signal::ctrl_c().await?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the calls. Their outcomes are compared with the expected ones.
struct Demonstration {
    address: SocketAddr,
    wrong: usize,
}

impl Demonstration {
    async fn call(
        &mut self,
        who: &str,
        key: Option<&str>,
        query: &str,
        expected: &str,
    ) -> Outcome<()> {
        let response = client::post(self.address, key, &json!({ "query": query })).await?;
        self.print(who, query, &summary(&response), expected);
        Ok(())
    }

    fn print(&mut self, who: &str, call: &str, outcome: &str, expected: &str) {
        println!("{who:<8} {call}\n         -> {outcome}");
        if outcome != expected {
            println!("         EXPECTED {expected}");
            self.wrong += 1;
        }
    }
}

async fn show(keyring: &Keyring, running: &Running) -> Outcome<ExitCode> {
    println!("The fields of the schema, with what each needs.");
    println!("`public` is as public as the field that returned the object.\n\n{}", running.table);
    let acme = keyring.create_empty_tenant("acme", "advanced").await?;
    let (_, reader) = issue(&acme, "Reader", &["reporting"]).await?;
    let (_, operator) = issue(&acme, "Operator", &["operator.jobs", "operator.read"]).await?;
    let (display, screen) = issue(&acme, "Display", &["metrics.basic"]).await?;
    println!(
        "The keys: a reader, an operator and a display. Each is for mill-1 and mill-2 only.\n"
    );
    let mut show = Demonstration { address: running.address, wrong: 0 };
    let (reader, operator) = (Some(&*reader), Some(&*operator));
    for (who, key, query, expected) in [
        (
            "nobody",
            None,
            "{ version machines { id } }",
            r#"{"machines":null,"version":"1"} UNAUTHENTICATED machines"#,
        ),
        (
            "reader",
            reader,
            "{ machines { id name } }",
            concat!(
                r#"{"machines":[{"id":"mill-1","name":"Haas VF-2"},"#,
                r#"{"id":"mill-2","name":"Haas VF-4"}]}"#
            ),
        ),
        (
            "reader",
            reader,
            "{ machine(id: \"lathe-1\") { name } }",
            r#"{"machine":null} FORBIDDEN machine resource=machine"#,
        ),
        (
            "reader",
            reader,
            "{ m: machine(id: \"mill-1\") { name c: cost } }",
            concat!(
                r#"{"m":{"c":null,"name":"Haas VF-2"}}"#,
                " FORBIDDEN m.c missingScopes=manager.read"
            ),
        ),
        (
            "reader",
            reader,
            "{ assets { id ... on Gauge { cost } } }",
            r#"{"assets":[{"id":"mill-1"},{"id":"mill-2"},{"cost":2.5,"id":"gauge-1"}]}"#,
        ),
        (
            "reader",
            reader,
            "mutation { startJob(machine: \"mill-1\", job: \"axle\") }",
            r#"{"startJob":null} FORBIDDEN startJob missingScopes=operator.jobs"#,
        ),
        (
            "operator",
            operator,
            "mutation { startJob(machine: \"mill-1\", job: \"axle\") }",
            r#"{"startJob":"axle on mill-1 started by Operator"}"#,
        ),
        ("operator", operator, "{ jobs { name } }", r#"{"jobs":[{"name":"axle on mill-1"}]}"#),
        (
            "nobody",
            None,
            "{ __schema { queryType { name } } }",
            r#"{"__schema":null} UNAUTHENTICATED __schema"#,
        ),
    ] {
        show.call(who, key, query, expected).await?;
    }
    weigh(&mut show, keyring).await?;
    subscribe(&mut show, &acme, &display, &screen).await?;
    if show.wrong > 0 {
        eprintln!("{} outcomes are not as expected", show.wrong);
        return Ok(ExitCode::FAILURE);
    }
    println!("\nEach outcome is as expected.");
    Ok(ExitCode::SUCCESS)
}

/// Asks for many fields at once, with a key that has 20 requests in an hour.
async fn weigh(show: &mut Demonstration, keyring: &Keyring) -> Outcome<()> {
    let globex = keyring.create_empty_tenant("globex", "advanced").await?;
    let record = keyring.find_tenant(globex.id()).await?;
    let rate = Rate { requests: 20, per_seconds: 3_600 };
    let exceptions = Exceptions::new().rate(rate);
    keyring.set_exceptions(globex.id(), record.version(), exceptions).await?;
    let (_, limited) = issue(&globex, "Limited", &["reporting"]).await?;
    let fields: Vec<_> = (1..=15).map(|number| format!("c{number}: company")).collect();
    let query = format!("{{ {} }}", fields.join(" "));
    for expected in ["15 fields", "null RATE_LIMITED"] {
        let response =
            client::post(show.address, Some(&limited), &json!({ "query": query })).await?;
        let outcome = match response["data"].as_object() {
            Some(data) => format!("{} fields", data.len()),
            None => summary(&response).trim().to_owned(),
        };
        show.print("limited", "{ c1: company … c15: company }", &outcome, expected);
    }
    Ok(())
}

/// Follows the readings of a machine, until the key of the display is deleted.
async fn subscribe(
    show: &mut Demonstration,
    acme: &TenantKeys,
    display: &KeyRecord,
    key: &str,
) -> Outcome<()> {
    let mut socket = Socket::open(show.address, None).await?;
    socket.init(json!({})).await?;
    let closed = format!("{:?}", socket.receive().await);
    show.print("nobody", "connection_init without a key", &closed, "Closed(4403)");

    let mut socket = Socket::open(show.address, None).await?;
    socket.init(json!({ "authorization": key })).await?;
    let accepted = kind(&socket.receive().await);
    show.print("display", "connection_init with the key", &accepted, "connection_ack");
    let query = "subscription { readings(machine: \"mill-1\") { number } }";
    socket.subscribe("1", query).await?;
    let number = match socket.receive().await {
        Received::Message(message) => summary(&message["payload"]),
        other => format!("{other:?}"),
    };
    show.print("display", query, &number, r#"{"readings":{"number":0}}"#);
    acme.delete(display.id()).await?;
    let mut last = String::new();
    let closed = loop {
        match socket.receive().await {
            Received::Message(message) if message["type"] == "next" => {
                last = summary(&message["payload"]);
            }
            Received::Message(_) => {}
            closed => break format!("{} {closed:?}", last.trim()),
        }
    };
    show.print("display", "the key is deleted", &closed, "null UNAUTHENTICATED Closed(4401)");
    Ok(())
}

fn kind(received: &Received) -> String {
    match received {
        Received::Message(message) => message["type"].as_str().unwrap_or_default().into(),
        other => format!("{other:?}"),
    }
}
