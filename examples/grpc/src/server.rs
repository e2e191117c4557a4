//! The services, and the one layer that guards all of them.

use keyway::{
    ConfigError, Guard, Keyring, Policy,
    http::tower::OperationGuard,
    operations::{Needs, OperationTable, Operations},
};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::{
    service::Routes,
    transport::{Server, server::Router},
};
use tower_layer::{Identity, Stack};

use crate::{
    DESCRIPTORS, Fault,
    machines::{self, Machines},
    pb::machines_server::MachinesServer,
};

/// Returns the path of each method in `descriptors`, which is `/package.Service/Method`.
pub fn methods(descriptors: &FileDescriptorSet) -> Vec<String> {
    let mut paths = Vec::new();
    for file in &descriptors.file {
        let dot = if file.package().is_empty() { "" } else { "." };
        for service in &file.service {
            for method in &service.method {
                let (package, service) = (file.package(), service.name());
                paths.push(format!("/{package}{dot}{service}/{}", method.name()));
            }
        }
    }
    paths
}

/// Returns the paths of all methods that the server has.
pub fn all_methods() -> Result<Vec<String>, prost::DecodeError> {
    let sets = [
        DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let mut paths = Vec::new();
    for set in sets {
        paths.extend(methods(&FileDescriptorSet::decode(set)?));
    }
    Ok(paths)
}

/// Declares the access to each method. The ids of machines are in the messages, so the handlers check them.
pub fn declared(policy: &Policy) -> Operations {
    let reporting = || Needs::all(["reporting"]).handler_checks("machine");
    let any_key = || Needs::any_key().touches_no("machine");
    Operations::new(policy)
        .operation(machines::GET, reporting())
        .operation(machines::WATCH, reporting())
        .operation(machines::RECORD, Needs::all(["gateway"]).handler_checks("machine"))
        .operation(machines::RUN, Needs::all(["operator.jobs"]).handler_checks("machine"))
        // Load balancers have no key.
        .operation("/grpc.health.v1.Health/Check", Needs::nothing())
        .operation("/grpc.health.v1.Health/Watch", Needs::nothing())
        // The shape of the service is for its customers.
        .operation("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", any_key())
        .operation("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", any_key())
}

/// Returns the table of all methods. A method without a declaration is an error, and so is a declaration without a
/// method.
pub fn table(policy: &Policy) -> Result<OperationTable, Fault> {
    Ok(declared(policy).build(all_methods()?)?)
}

/// Returns the server with all services behind the layer.
pub async fn router(
    keyring: &Keyring,
    table: &OperationTable,
) -> Result<Router<Stack<OperationGuard, Identity>>, Fault> {
    let guard: OperationGuard = guard(keyring, table)?;
    Ok(Server::builder().layer(guard).add_routes(services(keyring, table).await?))
}

fn guard(keyring: &Keyring, table: &OperationTable) -> Result<OperationGuard, ConfigError> {
    Guard::new(keyring).operations(table)
}

async fn services(keyring: &Keyring, table: &OperationTable) -> Result<Routes, Fault> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<MachinesServer<Machines>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let machines = Machines::new(Guard::new(keyring), table.clone());
    Ok(Routes::new(MachinesServer::new(machines))
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?))
}
