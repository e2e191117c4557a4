//! The GraphQL schema of the machine factory, and the needs of its fields.
//!
//! Fields that need more than others may be null, so that a refusal takes nothing else away.

use std::time::Duration;

use async_graphql::{
    ComplexObject, Context, Error, ID, InputObject, Interface, Object, Result, Schema,
    SimpleObject, Subscription, Union,
    extensions::apollo_persisted_queries::{ApolloPersistedQueries, LruCacheStorage},
};
use factory::Factory;
use futures_util::{Stream, StreamExt as _};
use keyway::{
    Keyring, Policy, Principal,
    operations::{Needs, OperationTable},
};
use serde::Deserialize;
use serde_json::json;

use crate::{
    guarded::{Fields, FieldsError, sees},
    queries_only::QueriesOnly,
    weigh::Weighed,
};

/// The schema of the service.
pub type FactorySchema = Schema<Query, Mutation, Readings>;

/// Returns the needs of all fields.
pub fn fields(policy: &Policy) -> Fields {
    let (reporting, jobs) = (|| Needs::all(["reporting"]), || Needs::all(["operator.jobs"]));
    Fields::new(policy)
        .field("Query.version", Needs::nothing())
        // The schema is described to callers with a key.
        .field("Query.__schema", Needs::any_key().touches_no("machine"))
        .field("Query.__type", Needs::any_key().touches_no("machine"))
        .field("Query.company", Needs::any_key().touches_no("machine"))
        .field("Query.machines", reporting().handler_checks("machine"))
        .field("Query.assets", reporting().handler_checks("machine"))
        .field("Query.search", reporting().handler_checks("machine"))
        .field_on("Query.machine", reporting(), [("machine", "id")])
        .field("Query.jobs", Needs::all(["operator.read"]).touches_no("machine"))
        .field_on("Mutation.startJob", jobs(), [("machine", "machine")])
        .field_on(
            "Mutation.writeDowntime",
            Needs::all(["operator.downtime"]),
            [("machine", "downtime.machine")],
        )
        .field_on("Subscription.readings", Needs::all(["metrics.basic"]), [("machine", "machine")])
        // The cost of a machine needs more than the machine, and the cost of a gauge does not.
        .field("Machine.cost", Needs::all(["manager.read"]).touches_no("machine"))
        .with_parent("Machine", ["id", "name", "utilizationRate"])
        .with_parent("Gauge", ["id", "name", "cost"])
        .with_parent("Job", ["name"])
        .with_parent("Reading", ["machine", "number", "spindleLoad"])
}

/// Builds the schema, and the table of its fields.
///
/// # Errors
///
/// [`FieldsError`] if the declared fields are not those of the schema.
pub async fn schema(
    keyring: &Keyring,
    factory: Factory,
) -> Result<(FactorySchema, OperationTable), FieldsError> {
    let builder = Schema::build(Query, Mutation, Readings)
        .data(factory)
        // One request asks for at most so many fields, however they are named. Clients read the schema with some 200
        // fields, 16 deep.
        .limit_complexity(300)
        .limit_depth(20)
        // A suggestion would name fields that introspection hides.
        .disable_suggestions()
        .extension(ApolloPersistedQueries::new(LruCacheStorage::new(100)))
        .extension(QueriesOnly)
        .extension(Weighed::new(keyring.verifier()));
    fields(keyring.policy()).guard(builder).await
}

/// The queries.
pub struct Query;

/// The mutations.
pub struct Mutation;

/// The subscriptions.
pub struct Readings;

/// A machine on the shop floor.
#[derive(Clone, Deserialize, SimpleObject)]
#[graphql(complex)]
pub struct Machine {
    id: ID,
    name: String,
    utilization_rate: f64,
}

#[ComplexObject]
impl Machine {
    /// The cost of an hour. Introspection shows this field to callers who may select it.
    #[graphql(visible = "sees_cost")]
    async fn cost(&self) -> Option<f64> {
        Some(100.0 * self.utilization_rate)
    }
}

fn sees_cost(context: &Context<'_>) -> bool {
    sees(context, "Machine.cost")
}

/// A measuring instrument, which is no machine.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct Gauge {
    id: ID,
    name: String,
}

#[ComplexObject]
impl Gauge {
    /// The cost of an hour, which is no secret.
    async fn cost(&self) -> Option<f64> {
        Some(2.5)
    }
}

/// Something that the company owns.
#[derive(Interface)]
#[graphql(
    field(name = "id", ty = "&ID"),
    field(name = "name", ty = "&String"),
    field(name = "cost", ty = "Option<f64>")
)]
pub enum Asset {
    /// A machine.
    Machine(Machine),
    /// A gauge.
    Gauge(Gauge),
}

/// A job that was started.
#[derive(Clone, SimpleObject)]
pub struct Job {
    name: String,
}

/// Something that a search has found.
#[derive(Union)]
pub enum Found {
    /// A machine.
    Machine(Machine),
    /// A job.
    Job(Job),
}

/// A reading of a machine's sensors.
#[derive(Clone, SimpleObject)]
pub struct Reading {
    machine: ID,
    number: u64,
    spindle_load: f64,
}

/// The time in which a machine stood still.
#[derive(InputObject)]
pub struct DowntimeInput {
    machine: ID,
    reason: String,
}

fn factory<'c>(context: &Context<'c>) -> Result<&'c Factory> {
    context.data::<Factory>()
}

/// Returns the caller, for fields that need a key.
fn caller<'c>(context: &Context<'c>) -> Result<&'c Principal> {
    context.data::<Principal>()
}

/// Returns the machines that the caller may touch.
fn machines(context: &Context<'_>) -> Result<Vec<Machine>> {
    let machines = factory(context)?.machines(caller(context)?);
    Ok(serde_json::from_value(machines)?)
}

fn jobs(context: &Context<'_>) -> Result<Vec<Job>> {
    let jobs = factory(context)?.jobs();
    let names = jobs["started"].as_array().into_iter().flatten();
    Ok(names.filter_map(|name| Some(Job { name: name.as_str()?.into() })).collect())
}

#[Object]
impl Query {
    /// The version of the service.
    async fn version(&self) -> &str {
        "1"
    }

    /// The company of the key.
    async fn company(&self, context: &Context<'_>) -> Result<Option<String>> {
        Ok(Some(caller(context)?.tenant().into()))
    }

    /// The machines that the key may touch.
    #[graphql(complexity = "3 * child_complexity")]
    async fn machines(&self, context: &Context<'_>) -> Result<Option<Vec<Machine>>> {
        Ok(Some(machines(context)?))
    }

    /// One machine. Its id was checked before.
    async fn machine(&self, context: &Context<'_>, id: ID) -> Result<Option<Machine>> {
        Ok(machines(context)?.into_iter().find(|machine| machine.id == id))
    }

    /// The machines that the key may touch, and all gauges.
    async fn assets(&self, context: &Context<'_>) -> Result<Option<Vec<Asset>>> {
        let gauge = Gauge { id: "gauge-1".into(), name: "Caliper".into() };
        let machines = machines(context)?.into_iter().map(Asset::Machine);
        Ok(Some(machines.chain([Asset::Gauge(gauge)]).collect()))
    }

    /// Machines and jobs with this text in their names.
    async fn search(&self, context: &Context<'_>, text: String) -> Result<Option<Vec<Found>>> {
        let machines = machines(context)?.into_iter().filter(|of| of.name.contains(&text));
        let mut found: Vec<_> = machines.map(Found::Machine).collect();
        // A union has several types, so a resolver with fewer needs than one of them checks them itself.
        if sees(context, "Query.jobs") {
            let jobs = jobs(context)?.into_iter().filter(|of| of.name.contains(&text));
            found.extend(jobs.map(Found::Job));
        }
        Ok(Some(found))
    }

    /// The jobs that were started.
    async fn jobs(&self, context: &Context<'_>) -> Result<Option<Vec<Job>>> {
        Ok(Some(jobs(context)?))
    }
}

#[Object]
impl Mutation {
    /// Starts a job on a machine.
    async fn start_job(
        &self,
        context: &Context<'_>,
        machine: ID,
        job: String,
    ) -> Result<Option<String>> {
        let job = format!("{job} on {}", *machine);
        Ok(Some(factory(context)?.start(caller(context)?, job)))
    }

    /// Writes a downtime of a machine.
    async fn write_downtime(
        &self,
        context: &Context<'_>,
        downtime: DowntimeInput,
    ) -> Result<Option<bool>> {
        let DowntimeInput { machine, reason } = downtime;
        let downtime = json!({ "machine": *machine, "reason": reason });
        factory(context)?
            .write_downtime(caller(context)?, serde_json::from_value(downtime)?)
            .map_err(|refusal| Error::new(refusal.into_body()))?;
        Ok(Some(true))
    }
}

#[Subscription(name = "Subscription")]
impl Readings {
    /// The readings of a machine, ten in a second.
    async fn readings(&self, machine: ID) -> impl Stream<Item = Reading> {
        let ticks = tokio::time::interval(Duration::from_millis(100));
        let ticks = futures_util::stream::unfold((ticks, 0), |(mut ticks, number)| async move {
            ticks.tick().await;
            Some((number, (ticks, number + 1)))
        });
        ticks.map(move |number: u64| Reading {
            machine: machine.clone(),
            number,
            spindle_load: 0.4 + 0.01 * f64::from(u8::try_from(number % 10).unwrap_or_default()),
        })
    }
}
