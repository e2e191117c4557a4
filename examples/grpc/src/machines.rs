//! The methods of the factory. Each knows its caller, and checks the machines that its messages name.

use keyway::{
    Guard, Principal, VerifyError,
    operations::{OperationError, OperationTable},
    verifier::Ended,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::pb::{
    GetRequest, Job, Machine, Reading, Recorded, Started, WatchRequest, machines_server,
};

pub const GET: &str = "/factory.v1.Machines/Get";
pub const RECORD: &str = "/factory.v1.Machines/Record";
pub const WATCH: &str = "/factory.v1.Machines/Watch";
pub const RUN: &str = "/factory.v1.Machines/Run";

/// The machines, and the changes of their states.
#[derive(Clone)]
pub struct Machines {
    guard: Guard,
    table: OperationTable,
    states: watch::Sender<Vec<Machine>>,
}

impl Machines {
    /// Creates three machines. `guard` reports the refusals of the handlers, and `table` decides about them.
    pub fn new(guard: Guard, table: OperationTable) -> Self {
        let machine = |id: &str, name: &str, utilization| Machine {
            id: id.into(),
            name: name.into(),
            utilization,
        };
        let states = watch::Sender::new(vec![
            machine("mill-1", "Haas VF-2", 81),
            machine("mill-2", "Haas VF-4", 77),
            machine("lathe-1", "Mazak QTN-200", 64),
        ]);
        Self { guard, table, states }
    }

    /// Checks that the caller may call this method on this machine. The layer has checked the scopes; it sees no ids.
    fn check(&self, method: &str, caller: &Principal, machine: &str) -> Result<(), Status> {
        let checked = self.table.check(method, Some(caller), &[("machine", machine)]);
        checked.map_err(|error| self.refused(caller, error))
    }

    /// Returns the end of a stream of this method: when the caller may no longer call it.
    fn ended(&self, method: &str, caller: &Principal) -> Result<Ended, Status> {
        let ended = self.table.ended(method, Some(caller), &[]);
        ended.map_err(|error| self.refused(caller, error))
    }

    fn refused(&self, caller: &Principal, error: OperationError) -> Status {
        let (code, message) = match error {
            // The audit gets this refusal as well.
            OperationError::Outside(outside) => self.guard.refuse(caller, outside).grpc_status(),
            error => (error.grpc_code(), error.to_string()),
        };
        Status::new(Code::from(code), message)
    }

    /// Returns the status that ends a stream for this reason, which is that of a new call with the key.
    fn over(&self, error: &VerifyError) -> Status {
        let (code, message) = self.guard.refusal(error).grpc_status();
        Status::new(Code::from(code), message)
    }

    /// Stores a reading. Returns false if there is no such machine.
    fn store(&self, reading: &Reading) -> bool {
        self.states.send_if_modified(|states| {
            let found = states.iter_mut().find(|machine| machine.id == reading.machine);
            found.map(|machine| machine.utilization = reading.utilization).is_some()
        })
    }
}

#[tonic::async_trait]
impl machines_server::Machines for Machines {
    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Machine>, Status> {
        let caller = caller(&request)?;
        let id = request.into_inner().machine;
        self.check(GET, &caller, &id)?;
        let found = self.states.borrow().iter().find(|machine| machine.id == id).cloned();
        found.map(Response::new).ok_or_else(|| Status::not_found("no such machine"))
    }

    async fn record(
        &self,
        request: Request<Streaming<Reading>>,
    ) -> Result<Response<Recorded>, Status> {
        let caller = caller(&request)?;
        let mut ended = self.ended(RECORD, &caller)?;
        let mut messages = request.into_inner();
        let mut readings = 0;
        loop {
            let reading = tokio::select! {
                biased;
                error = &mut ended => return Err(self.over(&error)),
                message = messages.message() => message?,
            };
            let Some(reading) = reading else { break };
            self.check(RECORD, &caller, &reading.machine)?;
            if !self.store(&reading) {
                return Err(Status::not_found("no such machine"));
            }
            readings += 1;
        }
        Ok(Response::new(Recorded { readings }))
    }

    type WatchStream = ReceiverStream<Result<Machine, Status>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let caller = caller(&request)?;
        let mut ended = self.ended(WATCH, &caller)?;
        let (sender, receiver) = mpsc::channel(4);
        let (own, mut states) = (self.clone(), self.states.subscribe());
        tokio::spawn(async move {
            let mut sent: Vec<Machine> = Vec::new();
            loop {
                let now = states.borrow_and_update().clone();
                // A list leaves out what the key may not touch, and refuses nothing.
                let is_own = |machine: &&Machine| {
                    let ids = [("machine", &*machine.id)];
                    own.table.check(WATCH, Some(&caller), &ids).is_ok()
                };
                for machine in now.iter().filter(is_own).filter(|machine| !sent.contains(machine)) {
                    tokio::select! {
                        biased;
                        error = &mut ended => {
                            let _ = sender.send(Err(own.over(&error))).await;
                            return;
                        }
                        sent = sender.send(Ok(machine.clone())) => if sent.is_err() { return },
                    }
                }
                sent = now;
                tokio::select! {
                biased;
                    error = &mut ended => {
                        let _ = sender.send(Err(own.over(&error))).await;
                        return;
                    }
                    changed = states.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    type RunStream = ReceiverStream<Result<Started, Status>>;

    async fn run(
        &self,
        request: Request<Streaming<Job>>,
    ) -> Result<Response<Self::RunStream>, Status> {
        let caller = caller(&request)?;
        let mut ended = self.ended(RUN, &caller)?;
        let mut jobs = request.into_inner();
        let (sender, receiver) = mpsc::channel(4);
        let own = self.clone();
        tokio::spawn(async move {
            let mut number = 0;
            loop {
                let job = tokio::select! {
                biased;
                    error = &mut ended => Some(Err(own.over(&error))),
                    message = jobs.message() => message.transpose(),
                    () = sender.closed() => return,
                };
                let Some(job) = job else { return };
                let started = job.and_then(|Job { machine, .. }| {
                    own.check(RUN, &caller, &machine)?;
                    number += 1;
                    Ok(Started { machine, number })
                });
                let is_last = started.is_err();
                if sender.send(started).await.is_err() || is_last {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Returns the caller that the layer admitted.
fn caller<T>(request: &Request<T>) -> Result<Principal, Status> {
    let caller = request.extensions().get::<Principal>().cloned();
    caller.ok_or_else(|| Status::internal("this method reads its caller and is declared as public"))
}
