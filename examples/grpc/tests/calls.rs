//! The calls of the example: methods without a declaration, messages after the first, and streams whose key ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that goes wrong stops")]

use std::time::Duration;

use grpc::{
    DESCRIPTORS,
    keys::Company,
    pb::{Job, Machine, Reading, Recorded, Started, WatchRequest, machines_client::MachinesClient},
    server,
};
use keyway::{ConfigError, KeyEdit, grant::Resources, operations::Needs, record::Suspension};
use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{
    Code, Request, Status, Streaming, codegen::http::uri::PathAndQuery, transport::Channel,
};

/// Serves until the runtime ends.
async fn start() -> (Company, Channel) {
    let company = Company::new().await.unwrap();
    let table = server::table(company.keyring.policy()).unwrap();
    let router = server::router(&company.keyring, &table).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    (company, channel.connect().await.unwrap())
}

fn with_key<T>(company: &Company, name: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", company.bearer(name).parse().unwrap());
    request
}

/// Returns the operations that are missing, repeated or unknown.
fn wrong(built: Result<impl Sized, ConfigError>) -> Vec<String> {
    match built {
        Err(ConfigError::Operations(wrong)) => wrong,
        Err(other) => panic!("{other}"),
        Ok(_) => Vec::new(),
    }
}

#[tokio::test]
async fn method_without_a_declaration_stops_the_start() {
    let policy = Company::new().await.unwrap().keyring.policy().clone();
    assert_eq!(wrong(server::declared(&policy).build(server::all_methods().unwrap())), [""; 0]);

    let mut set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let planted =
        MethodDescriptorProto { name: Some("Planted".into()), ..MethodDescriptorProto::default() };
    set.file[0].service[0].method.push(planted);
    let mut methods = server::all_methods().unwrap();
    methods.retain(|method| !method.starts_with("/factory.v1."));
    methods.extend(server::methods(&set));
    let found = wrong(server::declared(&policy).build(methods));
    assert_eq!(found, ["/factory.v1.Machines/Planted"]);
}

#[tokio::test]
async fn declaration_without_a_method_stops_the_start() {
    let policy = Company::new().await.unwrap().keyring.policy().clone();
    for planted in ["/factory.v1.Machines/Gone", "factory.v1.Machines/Get"] {
        let declared = server::declared(&policy).operation(planted, Needs::nothing());
        assert_eq!(wrong(declared.build(server::all_methods().unwrap())), [planted]);
    }
}

#[test]
fn method_of_a_file_without_a_package_has_its_path() {
    let mut set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    set.file[0].package = None;
    assert_eq!(server::methods(&set)[0], "/Machines/Get");
}

/// Calls each method of the table with a key. The services themselves respond in the same way to an unknown one.
#[tokio::test]
async fn every_method_of_the_table_is_served() {
    let (company, channel) = start().await;
    let mut client = tonic::client::Grpc::new(channel);
    let mut methods = server::all_methods().unwrap();
    assert_eq!(methods.len(), 8);
    methods.push("/factory.v1.Machines/Planted".into());
    let mut unimplemented = Vec::new();
    for method in methods {
        client.ready().await.unwrap();
        let path: PathAndQuery = method.parse().unwrap();
        let codec = tonic_prost::ProstCodec::<WatchRequest, WatchRequest>::default();
        let request = with_key(&company, "dashboard", WatchRequest {});
        let called = client.server_streaming(request, path, codec).await;
        if called.is_err_and(|status| status.code() == Code::Unimplemented) {
            unimplemented.push(method);
        }
    }
    assert_eq!(unimplemented, ["/factory.v1.Machines/Planted"]);
}

#[tokio::test]
async fn every_message_of_a_stream_is_checked() {
    let (company, channel) = start().await;
    let mut client = MachinesClient::new(channel);
    let mill = Resources::only(["mill-1"]).unwrap();
    edit(&company, "edge", KeyEdit::new().resources("machine", mill)).await;
    let readings = ["mill-1", "lathe-1", "mill-1"];
    let readings = readings.map(|machine| Reading { machine: machine.into(), utilization: 7 });
    let request = with_key(&company, "edge", tokio_stream::iter(readings));
    let status = client.record(request).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);

    let request = with_key(&company, "observer", WatchRequest {});
    let mut watched = client.watch(request).await.unwrap().into_inner();
    let mut states = Vec::new();
    for _ in 0..3 {
        let Machine { id, utilization, .. } = next(&mut watched).await.unwrap();
        states.push((id, utilization));
    }
    let expected = [("mill-1", 7), ("mill-2", 77), ("lathe-1", 64)];
    assert_eq!(states, expected.map(|(id, utilization)| (id.to_owned(), utilization)));
}

async fn edit(company: &Company, name: &str, edit: KeyEdit) {
    let id = company.id(name).unwrap();
    let version = company.keys.find(id).await.unwrap().version();
    company.keys.edit(id, version, edit).await.unwrap();
}

/// The end of a key.
#[derive(Clone, Copy, Debug)]
enum End {
    Disabled,
    Deleted,
    Suspended,
    TenantSuspended,
    Narrowed,
}

impl End {
    const ALL: [(Self, Code); 5] = [
        (Self::Disabled, Code::Unauthenticated),
        (Self::Deleted, Code::Unauthenticated),
        (Self::Suspended, Code::Unauthenticated),
        (Self::TenantSuspended, Code::Unauthenticated),
        (Self::Narrowed, Code::PermissionDenied),
    ];

    async fn of(self, company: &Company, name: &str) {
        let id = company.id(name).unwrap();
        let reason = || Suspension::permanent("a leak").unwrap();
        let tenant = company.keys.id();
        match self {
            Self::Disabled => drop(company.keys.disable(id).await.unwrap()),
            Self::Deleted => company.delete(name).await.unwrap(),
            Self::Suspended => drop(company.keyring.suspend_key(id, reason()).await.unwrap()),
            // The first key's call suspends the tenant of all of them.
            Self::TenantSuspended => drop(company.keyring.suspend_tenant(tenant, reason()).await),
            Self::Narrowed => company.narrow(name, "user.read").await.unwrap(),
        }
    }
}

/// Returns the next message of a stream, or the status that ends it.
async fn next<T>(messages: &mut Streaming<T>) -> Result<T, Status> {
    let message = timeout(Duration::from_secs(10), messages.message()).await;
    message.expect("nothing came")?.ok_or_else(|| Status::new(Code::Ok, "over"))
}

#[tokio::test]
async fn open_stream_of_each_kind_ends_with_its_key() {
    for (end, code) in End::ALL {
        let (company, channel) = start().await;
        let mut client = MachinesClient::new(channel);

        let request = with_key(&company, "dashboard", WatchRequest {});
        let mut watched = client.watch(request).await.unwrap().into_inner();
        for _ in 0..2 {
            next(&mut watched).await.unwrap();
        }
        let (jobs, sent) = mpsc::channel(1);
        let request = with_key(&company, "floor", ReceiverStream::new(sent));
        let mut started = client.run(request).await.unwrap().into_inner();
        jobs.send(Job { machine: "mill-1".into(), part: "axle".into() }).await.unwrap();
        assert_eq!(
            next(&mut started).await.unwrap(),
            Started { machine: "mill-1".into(), number: 1 }
        );
        let (readings, sent) = mpsc::channel(1);
        let request = with_key(&company, "edge", ReceiverStream::new(sent));
        let mut recorder = client.clone();
        let recording = tokio::spawn(async move { recorder.record(request).await });
        readings.send(Reading { machine: "mill-2".into(), utilization: 1 }).await.unwrap();
        assert_eq!(next(&mut watched).await.unwrap().utilization, 1);

        // The control: all three are open.
        assert!(timeout(Duration::from_millis(300), watched.message()).await.is_err());
        assert!(!recording.is_finished());

        for name in ["dashboard", "floor", "edge"] {
            end.of(&company, name).await;
        }
        let recorded = timeout(Duration::from_secs(10), recording).await.expect("it stays open");
        let recorded: Result<Recorded, _> = recorded.unwrap().map(|answer| answer.into_inner());
        let codes = [
            next(&mut watched).await.unwrap_err().code(),
            next(&mut started).await.unwrap_err().code(),
            recorded.unwrap_err().code(),
        ];
        assert_eq!(codes, [code; 3], "{end:?}");
    }
}

/// A key that was not touched keeps its stream, also when another one of the same company ends.
#[tokio::test]
async fn stream_of_another_key_stays_open() {
    let (company, channel) = start().await;
    let mut client = MachinesClient::new(channel);
    let request = with_key(&company, "observer", WatchRequest {});
    let mut watched = client.watch(request).await.unwrap().into_inner();
    for _ in 0..3 {
        next(&mut watched).await.unwrap();
    }
    company.disable("dashboard").await.unwrap();
    assert!(timeout(Duration::from_millis(500), watched.message()).await.is_err());
}
