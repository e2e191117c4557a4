//! The calls of the example, with tonic's client.

use std::{net::SocketAddr, time::Duration};

use grpc::{
    Fault,
    keys::Company,
    pb::{GetRequest, Job, Machine, Reading, WatchRequest, machines_client::MachinesClient},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Status, Streaming,
    codegen::http::uri::PathAndQuery,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

/// Sends a key with each call.
#[derive(Clone)]
struct Key(String);

impl Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if !self.0.is_empty() {
            let value = MetadataValue::try_from(&*self.0);
            let value = value.map_err(|_| Status::internal("the key is not a header"))?;
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

type Keyed = InterceptedService<Channel, Key>;

/// The outcomes of the calls, and how many of them are wrong.
#[derive(Default)]
struct Outcomes {
    wrong: usize,
}

impl Outcomes {
    /// Prints the outcome of a call that must have the code `expected`.
    fn print(&mut self, call: &str, expected: Code, outcome: Result<String, Status>) {
        let (code, text) = match outcome {
            Ok(text) => (Code::Ok, text),
            Err(status) => (status.code(), status.message().to_owned()),
        };
        println!("{call:<46} {code:?}: {text}");
        if code != expected {
            println!("    the code should be {expected:?}");
            self.wrong += 1;
        }
    }
}

/// Calls every method with keys that may and keys that may not.
pub(crate) async fn run(address: SocketAddr, company: &Company) -> Result<(), Fault> {
    let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
    let key = |name: &str| Key(company.bearer(name));
    let machines = |name: &str| MachinesClient::with_interceptor(channel.clone(), key(name));
    let mut outcomes = Outcomes::default();

    println!("One message, one answer");
    for (call, name, machine, expected) in [
        ("Get mill-1 without a key", "", "mill-1", Code::Unauthenticated),
        ("Get mill-1 as dashboard", "dashboard", "mill-1", Code::Ok),
        (
            "Get lathe-1 as dashboard, which has two mills",
            "dashboard",
            "lathe-1",
            Code::PermissionDenied,
        ),
        ("Get mill-1 as erp, which has no such scope", "erp", "mill-1", Code::PermissionDenied),
    ] {
        let got = machines(name).get(GetRequest { machine: machine.into() }).await;
        outcomes.print(call, expected, got.map(|machine| state(&machine.into_inner())));
    }
    let got = delete(&channel, key("dashboard")).await;
    outcomes.print("Delete, which is not a method", Code::Unimplemented, got);

    println!("\nHealth and reflection");
    for (call, key) in [
        ("Check without a key", Key(String::new())),
        ("Check with a key that is not valid", Key("Bearer nonsense".into())),
    ] {
        let mut client = HealthClient::with_interceptor(channel.clone(), key);
        let checked = client.check(HealthCheckRequest { service: String::new() }).await;
        let checked = checked.map(|answer| format!("{:?}", answer.into_inner().status()));
        outcomes.print(call, Code::Ok, checked);
    }
    for (call, name, expected) in [
        ("Reflection without a key", "", Code::Unauthenticated),
        ("Reflection as erp", "erp", Code::Ok),
    ] {
        let client = ServerReflectionClient::with_interceptor(channel.clone(), key(name));
        outcomes.print(call, expected, services(client).await);
    }

    println!("\nStreams");
    for (call, name, expected) in [
        ("Record two readings as edge", "edge", Code::Ok),
        ("Record two readings as dashboard", "dashboard", Code::PermissionDenied),
    ] {
        let readings = [("mill-1", 90), ("lathe-1", 12)];
        let readings =
            readings.map(|(machine, utilization)| Reading { machine: machine.into(), utilization });
        let recorded = machines(name).record(tokio_stream::iter(readings)).await;
        let recorded = recorded.map(|answer| format!("{} readings", answer.into_inner().readings));
        outcomes.print(call, expected, recorded);
    }
    let jobs = ["mill-1", "lathe-1", "mill-2"];
    let jobs = jobs.map(|machine| Job { machine: machine.into(), part: "axle".into() });
    let watched = machines("dashboard").watch(WatchRequest {}).await;
    let watched = match watched {
        Ok(answer) => next(&mut answer.into_inner()).await,
        Err(status) => Err(status),
    };
    outcomes.print("Watch as dashboard", Code::Ok, watched.map(|machine| state(&machine)));
    let mut started = machines("floor").run(tokio_stream::iter(jobs)).await?.into_inner();
    for (call, expected) in [
        ("Run a job on mill-1 as floor", Code::Ok),
        ("Run a job on lathe-1 as floor", Code::PermissionDenied),
    ] {
        let job =
            next(&mut started).await.map(|job| format!("job {} on {}", job.number, job.machine));
        outcomes.print(call, expected, job);
    }

    println!("\nStreams end with their key");
    end_streams(company, machines, &mut outcomes).await?;

    match outcomes.wrong {
        0 => Ok(()),
        wrong => Err(format!("{wrong} calls have a wrong code").into()),
    }
}

/// Opens a stream of each kind, and lets an administrator take away each key.
async fn end_streams(
    company: &Company,
    machines: impl Fn(&str) -> MachinesClient<Keyed>,
    outcomes: &mut Outcomes,
) -> Result<(), Fault> {
    let (jobs, sent) = mpsc::channel(4);
    let mut started = machines("floor").run(ReceiverStream::new(sent)).await?.into_inner();
    jobs.send(Job { machine: "mill-2".into(), part: "axle".into() }).await?;
    let job = next(&mut started).await.map(|job| format!("job {} on {}", job.number, job.machine));
    outcomes.print("Run a job on mill-2 as floor", Code::Ok, job);
    company.narrow("floor", "operator.read").await?;
    let job = next(&mut started).await.map(|job| format!("job {}", job.number));
    outcomes.print("Run, after floor has lost its scope", Code::PermissionDenied, job);

    let mut watched = machines("dashboard").watch(WatchRequest {}).await?.into_inner();
    let machine = next(&mut watched).await.map(|machine| state(&machine));
    outcomes.print("Watch as dashboard", Code::Ok, machine);
    // The second machine, and then nothing until a state changes.
    next(&mut watched).await?;
    company.disable("dashboard").await?;
    let machine = next(&mut watched).await.map(|machine| state(&machine));
    outcomes.print("Watch, after dashboard is disabled", Code::Unauthenticated, machine);

    let (readings, sent) = mpsc::channel(4);
    let mut client = machines("edge");
    let recording = tokio::spawn(async move { client.record(ReceiverStream::new(sent)).await });
    readings.send(Reading { machine: "mill-1".into(), utilization: 50 }).await?;
    // The stream is open when the service has taken its first reading.
    let mut observer = machines("observer");
    while observer.get(GetRequest { machine: "mill-1".into() }).await?.into_inner().utilization
        != 50
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    company.delete("edge").await?;
    let recorded = timeout(Duration::from_secs(10), recording).await??;
    let recorded = recorded.map(|answer| format!("{} readings", answer.into_inner().readings));
    outcomes.print("Record, after edge is deleted", Code::Unauthenticated, recorded);
    Ok(())
}

fn state(machine: &Machine) -> String {
    format!("{} is at {} %", machine.name, machine.utilization)
}

/// Returns the next message of a stream, or the status that ends it.
async fn next<T>(messages: &mut Streaming<T>) -> Result<T, Status> {
    let message = timeout(Duration::from_secs(10), messages.message()).await;
    let message = message.map_err(|_| Status::deadline_exceeded("nothing came"))??;
    message.ok_or_else(|| Status::new(Code::Ok, "the stream is over"))
}

/// Calls a method that the service does not have.
async fn delete(channel: &Channel, key: Key) -> Result<String, Status> {
    let mut client = tonic::client::Grpc::new(InterceptedService::new(channel.clone(), key));
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static("/factory.v1.Machines/Delete");
    let codec = tonic_prost::ProstCodec::<GetRequest, Machine>::default();
    let request = Request::new(GetRequest { machine: "mill-1".into() });
    client.unary(request, path, codec).await.map(|machine| state(&machine.into_inner()))
}

/// Asks the reflection for the names of all services.
async fn services(mut client: ServerReflectionClient<Keyed>) -> Result<String, Status> {
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest { host: String::new(), message_request };
    let mut answers =
        client.server_reflection_info(tokio_stream::iter([request])).await?.into_inner();
    match next(&mut answers).await?.message_response {
        Some(MessageResponse::ListServicesResponse(list)) => {
            Ok(list.service.into_iter().map(|service| service.name).collect::<Vec<_>>().join(", "))
        }
        _ => Err(Status::unknown("this is no list of services")),
    }
}
