//! The troubles of a PostgreSQL server and of the way to it.

use std::time::Duration;

use actix_web::rt::System;
use keyway::store::{AnyStore, PostgresStore};
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::{
    figures::{caught, scale},
    planted::{Planted, Wrong},
    proxy::{Proxy, Way},
    server::{Server, fresh_schema},
    service::{Guards, Service},
    strace::{self, Failing},
    tally::Tally,
};

const LIMIT: Duration = Duration::from_millis(500);
const CONNECTIONS: u32 = 4;

/// What concerns everything that is asked.
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

struct Place {
    server: Server,
    proxy: Proxy,
    pool: PgPool,
    store: AnyStore,
    service: Service,
}

impl Place {
    async fn new() -> Option<Self> {
        let server = Server::start(&[])?;
        let proxy = Proxy::to(server.port());
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect_lazy(&proxy.url());
        let pool = pool.unwrap();
        let builder = PostgresStore::builder().schema(fresh_schema()).time_limit(LIMIT);
        let store = AnyStore::new(builder.open(pool.clone()).await.unwrap());
        let service = Service::new(&store);
        Some(Self { server, proxy, pool, store, service })
    }

    /// Does `work` while there is this trouble.
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
        let Some(mut place) = Place::new().await else { return };
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
            // The server ends when it cannot write its log.
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
        let Some(mut place) = Place::new().await else { return };
        let planted = [Wrong::FindsNothing, Wrong::Remembers];
        let planted = planted.map(|wrong| Guards::over(Planted::new(&place.store, wrong)));
        let [finds_nothing, remembers] = &planted;
        let (mut turned_away, mut let_in) = (0, 0);
        let mut tally = Tally::new("PostgreSQL", LIMIT);
        let troubles = &Trouble::ALL[..scale(3, Trouble::ALL.len())];
        for &trouble in troubles {
            let keys = place.service.keys(&[finds_nothing, remembers], &mut tally).await;
            place
                .during(trouble, async |_| {
                    let (nothing, remembered) = tokio::join!(
                        finds_nothing.ask("/report", &keys.stale, "finds nothing"),
                        remembers.ask("/report", &keys.stale, "remembers")
                    );
                    turned_away += nothing.iter().filter(|reply| reply.status == 401).count();
                    let_in += remembered.iter().filter(|reply| reply.status == 200).count();
                })
                .await;
            place.service.recovers(&keys).await;
        }
        let asked = troubles.len() * 2;
        caught(
            turned_away,
            &format!("of {asked} answers are 401 with a store that finds nothing in trouble"),
        );
        caught(let_in, &format!("of {asked} answers are 200 with a store that remembers for ever"));
        assert!(turned_away > 0 && let_in > 0);
    });
}
