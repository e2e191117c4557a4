//! Outages of a PostgreSQL server and of the network before it.

use std::time::Duration;

use actix_web::rt::System;
use keyway::{PostgresStore, store::AnyStore};
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::{
    caught::{Caught, PlantedStores},
    proxy::{Proxy, Way},
    service::Service,
    strace::{self, Failing},
    support::figures::scale,
    support::server::{Server, fresh_schema},
    tally::{SLACK, Tally},
};

const LIMIT: Duration = Duration::from_millis(500);
/// Just above the limit for an error that takes the whole time limit.
const LATE: Duration = SLACK.saturating_add(Duration::from_millis(150));
pub const CONNECTIONS: u32 = 4;

/// Outages that affect every request.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Refused,
    BlackHole,
    Hang,
    Reset,
    Drip,
    Garbled,
    PoolExhausted,
}

impl Trouble {
    const ALL: [Self; 7] = [
        Self::Refused,
        Self::BlackHole,
        Self::Hang,
        Self::Reset,
        Self::Drip,
        Self::Garbled,
        Self::PoolExhausted,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Refused => "connections refused",
            Self::BlackHole => "black hole",
            Self::Hang => "the server hangs",
            Self::Reset => "reset mid-reply",
            Self::Drip => "slow drip",
            Self::Garbled => "garbled replies",
            Self::PoolExhausted => "pool exhausted",
        }
    }
}

pub struct Place {
    server: Server,
    pub proxy: Proxy,
    pub pool: PgPool,
    pub store: AnyStore,
    pub service: Service,
}

impl Place {
    pub async fn new(limit: Duration) -> Self {
        let server = Server::start(&[]);
        let proxy = Proxy::to(server.port());
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect_lazy(&proxy.url());
        let pool = pool.unwrap();
        let builder = PostgresStore::builder().schema(fresh_schema()).time_limit(limit);
        let store = AnyStore::new(builder.open(pool.clone()).await.unwrap());
        let service = Service::new(&store);
        Self { server, proxy, pool, store, service }
    }

    /// Runs `work` during this outage.
    async fn during(&mut self, trouble: Trouble, work: impl AsyncFnOnce(&Service)) {
        let mut held = Vec::new();
        match trouble {
            Trouble::Refused => self.server.kill(),
            Trouble::Hang => self.server.freeze("-STOP"),
            Trouble::BlackHole => self.proxy.set(Way::BlackHole),
            Trouble::Reset => self.proxy.set(Way::Reset),
            Trouble::Drip => self.proxy.set(Way::Drip),
            Trouble::Garbled => self.proxy.set(Way::Garbled),
            Trouble::PoolExhausted => {
                for _ in 0..CONNECTIONS {
                    held.push(self.pool.acquire().await.unwrap());
                }
            }
        }
        work(&self.service).await;
        match trouble {
            Trouble::Refused => self.server.restart(),
            Trouble::Hang => self.server.freeze("-CONT"),
            Trouble::PoolExhausted => {}
            _ => self.proxy.set(Way::Open),
        }
    }
}

#[test]
fn nobody_is_let_in_or_turned_away_in_any_trouble_of_postgres() {
    System::new().block_on(async {
        let mut place = Place::new(LIMIT).await;
        let mut tally = Tally::new("PostgreSQL", LIMIT);
        for _ in 0..scale(1, 5) {
            for trouble in Trouble::ALL {
                tally.begin(trouble.name());
                let keys = place.service.keys(&[], &mut tally).await;
                place
                    .during(trouble, async |service| {
                        service.read(&keys, &mut tally).await;
                        service.write(&keys, &mut tally).await;
                    })
                    .await;
                place.service.recovers(&keys).await;
            }

            tally.begin("read-only");
            let keys = place.service.keys(&[], &mut tally).await;
            place.server.set("default_transaction_read_only", "on");
            place.service.write(&keys, &mut tally).await;
            place.server.set("default_transaction_read_only", "off");
            place.service.recovers(&keys).await;

            if !strace::is_there() {
                continue;
            }
            // The server shuts down when it cannot write its log.
            for (trouble, calls, error) in [
                ("disk full", "pwrite64,pwritev,write", "ENOSPC"),
                ("EIO when it writes", "pwrite64,pwritev,write", "EIO"),
                ("EIO when it syncs", "fdatasync,fsync,sync_file_range", "EIO"),
            ] {
                tally.begin(trouble);
                let keys = place.service.keys(&[], &mut tally).await;
                let failing = Failing::calls(calls, error, &place.server.processes());
                place.service.write(&keys, &mut tally).await;
                place.server.kill();
                drop(failing);
                place.server.restart();
                place.service.recovers(&keys).await;
            }
        }
        tally.tell();
    });
}

#[test]
fn stores_that_take_trouble_for_an_answer_are_caught() {
    System::new().block_on(async {
        let mut place = Place::new(LIMIT).await;
        let mut caught = Caught::default();
        let mut tally = Tally::new("PostgreSQL", LIMIT);
        let troubles = &Trouble::ALL[..scale(3, Trouble::ALL.len())];
        for &trouble in troubles {
            // New stores for each outage, since a store is not asked again for a moment after it has failed.
            let planted = PlantedStores::over(&place.store, LATE);
            let keys = place.service.keys(&planted.guards(), &mut tally).await;
            planted.remember(&keys).await;
            place.during(trouble, async |_| caught.add(planted.look(&keys).await, &tally)).await;
            place.service.recovers(&keys).await;
        }
        caught.tell(" in trouble of PostgreSQL", "takes 1650 ms more");
    });
}
