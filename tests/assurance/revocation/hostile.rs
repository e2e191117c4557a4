//! The effect of another database role that uses the channel of a feed.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use keyway::Keyring;
use sqlx::{Connection, PgConnection, postgres::PgListener};
use tokio::time::{sleep, timeout};

use super::{
    BOUND, LONG, Subject,
    feeds::Deaf,
    follower, following, is_fast, node,
    nodes::{number_later_than, revoke_all},
    open,
    support::Switches,
    support::figures::{caught, measured, none, scale},
    support::server::{Server, fresh_schema, shared},
    support::wrapped_store::Wrapped,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_roles_learn_nothing_and_empty_no_cache() {
    let server = shared();
    let (schema, number) = (fresh_schema(), scale(200, 5_000));
    let a = node(open(&server.url(), &schema).await, |builder| builder);
    let store = open(&server.url(), &schema).await;
    let name = format!("hostile_{schema}");
    let feed = open(&format!("{}?application_name={name}", server.url()), &schema).await;
    let (b, gaps) = follower(&store, &feed, |builder| builder.max_staleness(LONG)).await;
    server.sql(&format!("CREATE ROLE mallory_{schema} LOGIN"));
    let url = server.url().replace("keyway@", &format!("mallory_{schema}@"));
    let channel = format!("keyway.{schema}");
    let mut ear = PgListener::connect(&url).await.unwrap();
    ear.listen(&channel).await.unwrap();
    let subject = Subject::of(&a).await;
    let mut heard = Vec::new();
    for _ in 0..5 {
        subject.accepted_by(&b).await;
        subject.revoke().await;
        subject.restore().await;
    }
    while let Ok(notice) = timeout(Duration::from_millis(300), ear.recv()).await {
        heard.push(notice.unwrap().payload().to_owned());
    }
    assert!(heard.len() >= 10, "{}", heard.len());
    let hex = |text: &str| text.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let (tenant, key) = (subject.tenant.id().as_str(), subject.id.as_str());
    let shows = |payload: &&String| {
        [tenant, key, &hex(tenant), &hex(key)].iter().any(|id| payload.contains(*id))
    };
    let revealing = heard.iter().filter(shows).count();
    none(
        revealing,
        &format!("of {} payloads of notices that show an id of a tenant or key", heard.len()),
    );
    assert_eq!(revealing, 0);

    subject.accepted_by(&b).await;
    let before = gaps.number();
    let mut mallory = PgConnection::connect(&url).await.unwrap();
    for sent in 0..number {
        let payload = match sent % 4 {
            0 => "garbage".to_owned(),
            1 => format!("t{}", hex(tenant)),
            2 => "A".repeat(206),
            _ => heard[sent % heard.len()].clone(),
        };
        let notify = sqlx::query("SELECT pg_notify($1, $2)").bind(&channel).bind(payload);
        notify.execute(&mut mallory).await.unwrap();
    }
    sleep(BOUND / 2).await;
    let seen = gaps.number() - before;
    none(seen, &format!("gaps at a node after {number} notices of another role"));
    assert_eq!(seen, 0);
    // Real changes still arrive.
    is_fast(&subject, &b, 3).await;

    // The control: a closed connection is a gap.
    server.sql(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'"
    ));
    gaps.reach(before + 1).await;
    caught(gaps.number() - before, "gaps at a node whose feed was cut");
}

/// Another role, which sends texts until it is stopped.
struct Mallory {
    connection: PgConnection,
    ear: PgListener,
    /// The channel of the notices, and those of the feeds.
    notices: String,
    own_channels: Vec<String>,
    /// Earlier notices.
    heard: Vec<String>,
}

impl Mallory {
    /// Sends texts until `is_over`. Returns how many, and how many proofs it heard and sent again.
    async fn send(mut self, is_over: Arc<AtomicBool>) -> (usize, usize) {
        let own = self.backend().await;
        self.ear.listen_all(self.own_channels.iter().map(|channel| &**channel)).await.unwrap();
        let (mut sent, mut repeated) = (0, 0);
        let mut proof = (String::new(), String::new());
        while !is_over.load(Ordering::SeqCst) {
            while let Ok(heard) = timeout(Duration::from_millis(1), self.ear.recv()).await {
                let heard = heard.unwrap();
                if heard.process_id() != own {
                    proof = (heard.channel().into(), heard.payload().into());
                    repeated += 1;
                }
            }
            let mut texts = vec![
                (self.notices.clone(), format!("garbage {sent}")),
                (self.notices.clone(), "A".repeat(206)),
                (self.notices.clone(), self.heard[sent % self.heard.len()].clone()),
                (format!("keyway.feed.{sent}"), sent.to_string()),
                (self.notices.clone(), proof.1.clone()),
                proof.clone(),
            ];
            for channel in &self.own_channels {
                let notice = self.heard[sent % self.heard.len()].clone();
                texts.extend([(channel.clone(), sent.to_string()), (channel.clone(), notice)]);
            }
            texts.retain(|(channel, _)| !channel.is_empty());
            for (channel, text) in texts {
                let notify = sqlx::query("SELECT pg_notify($1, $2)").bind(channel).bind(text);
                notify.execute(&mut self.connection).await.unwrap();
                sent += 1;
            }
        }
        (sent, repeated)
    }

    async fn backend(&mut self) -> u32 {
        let select = sqlx::query_scalar("SELECT pg_backend_pid()");
        let backend: i32 = select.fetch_one(&mut self.connection).await.unwrap();
        u32::try_from(backend).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_of_another_role_delay_no_revocation() {
    // The log of the statements has the channels of the feeds. No other role sees them.
    let (server, schema) = (Server::start(&["log_statement=all"]), fresh_schema());
    let (keys, rounds) = (scale(10, 50), scale(2, 10));
    let a = node(open(&server.url(), &schema).await, |builder| builder);
    let name = format!("hostile_{schema}");
    let feed = open(&format!("{}?application_name={name}", server.url()), &schema).await;
    let store = open(&server.url(), &schema).await;
    let counted = Wrapped::new(store.clone(), Switches::default());
    let (b, _) = follower(&store, &store, |builder| builder).await;
    let (planted, _) = following(store.clone(), Deaf(store.feed()), |builder| builder).await;
    // This node has keys that nobody changes, and would keep them for an hour.
    let (calm, gaps) =
        following(counted.clone(), feed.feed(), |builder| builder.max_staleness(LONG)).await;
    let own_channels = feed_channels(&server);
    assert_eq!(own_channels.len(), 3, "{own_channels:?}");

    let (mut subjects, mut others) = (Vec::new(), Vec::new());
    for number in 0..keys + 6 {
        let subject = Subject::of(&a).await;
        if number < keys { &mut subjects } else { &mut others }.push(subject);
    }
    server.sql("CREATE ROLE mallory LOGIN");
    let url = server.url().replace("keyway@", "mallory@");
    let notices = format!("keyway.{schema}");
    let mut ear = PgListener::connect(&url).await.unwrap();
    // The other role hears the notices of half of the keys.
    ear.listen(&notices).await.unwrap();
    change(&subjects[..keys / 2]).await;
    let mut heard = Vec::new();
    while let Ok(notice) = timeout(BOUND / 4, ear.recv()).await {
        heard.push(notice.unwrap().payload().to_owned());
    }
    ear.unlisten(&notices).await.unwrap();
    assert!(heard.len() >= keys, "{}", heard.len());
    // A few keys share a counter with one that changes. They are left out.
    let lookups = || counted.calls("lookup");
    read_all(&others, &calm, &lookups).await;
    change(&subjects).await;
    sleep(BOUND / 4).await;
    let is_read = read_all(&others, &calm, &lookups).await;
    let mut is_read = is_read.into_iter();
    others.retain(|_| is_read.next() == Some(false));
    assert!(!others.is_empty());

    let is_over = Arc::new(AtomicBool::new(false));
    let connection = PgConnection::connect(&url).await.unwrap();
    let mallory = Mallory { connection, ear, notices, own_channels, heard };
    let sending = tokio::spawn(mallory.send(Arc::clone(&is_over)));
    let (seen, mut read) = (gaps.number(), 0);
    let (mut ages, mut deaf) = (Vec::new(), Vec::new());
    let subjects = Arc::new(subjects);
    for _ in 0..rounds {
        for subject in &*subjects {
            subject.restore().await;
        }
        for pause in [BOUND * 3 / 2, Duration::ZERO] {
            for subject in &*subjects {
                subject.accepted_by(&b).await;
                subject.accepted_by(&planted).await;
            }
            sleep(pause).await;
        }
        let times = revoke_all(&subjects, &[&b], &[&planted]).await;
        ages.extend(times.nodes.concat());
        deaf.extend(times.planted.concat());
        read += number_read(&others, &calm, &lookups).await;
    }
    is_over.store(true, Ordering::SeqCst);
    let (sent, repeated) = sending.await.unwrap();
    assert!(repeated > 0, "no proof was heard");
    read += number_read(&others, &calm, &lookups).await;
    let gaps_meanwhile = gaps.number() - seen;
    ages.sort();
    let number = keys * rounds;
    let (late, caught_late) = (number_later_than(BOUND, &ages), number_later_than(BOUND, &deaf));
    none(
        late,
        &format!(
            "of {number} revocations take effect later than the bound of {BOUND:?}, while another role sends \
             texts"
        ),
    );
    measured(
        format!("{}ms", ages[number - 1].as_millis()),
        &format!(
            "is the worst while another role sends {sent} texts and repeats {repeated} proofs"
        ),
    );
    none(read, &format!("reads of other keys while another role sends {sent} texts"));
    caught(
        caught_late,
        &format!(
            "of {number} revocations are later at a node whose feed drops notices among texts"
        ),
    );
    // The control: after a gap the keys are read again.
    server.sql(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'"
    ));
    gaps.reach(seen + gaps_meanwhile + 1).await;
    let read_again = number_read(&others, &calm, &lookups).await;
    caught(read_again, "reads of other keys after the feed was cut");
    assert_eq!((late, read, gaps_meanwhile, read_again), (0, 0, 0, others.len()));
    assert!(caught_late > 0);
}

/// Returns the channels on which the feeds of a server listen, from its log.
fn feed_channels(server: &Server) -> Vec<String> {
    let log = server.log();
    let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect();
    let numbers: BTreeSet<String> = log.split("keyway.feed.").skip(1).map(number).collect();
    numbers.iter().map(|number| format!("keyway.feed.{number}")).collect()
}

async fn change(subjects: &[Subject]) {
    for subject in subjects {
        subject.revoke().await;
        subject.restore().await;
    }
}

/// Verifies each key at `node`. Returns for each whether it was read from the store, by the number of reads.
async fn read_all(subjects: &[Subject], node: &Keyring, reads: &impl Fn() -> usize) -> Vec<bool> {
    let mut is_read = Vec::new();
    for subject in subjects {
        let before = reads();
        subject.accepted_by(node).await;
        is_read.push(reads() > before);
    }
    is_read
}

async fn number_read(subjects: &[Subject], node: &Keyring, reads: &impl Fn() -> usize) -> usize {
    read_all(subjects, node, reads).await.into_iter().filter(|is_read| *is_read).count()
}
