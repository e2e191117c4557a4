//! The places where a ticket must not show: addresses that handlers see, responses, logs and audits.

use std::{
    io,
    sync::{Arc, Mutex},
};

use keyway::Guard;
use tracing_subscriber::{layer::SubscriberExt as _, registry};

use super::{
    app::{ALL, App, Family, Framework, bearer, lasting},
    tickets::{ticket, with},
};
use crate::support::{
    gives_away,
    overheard::{self, Ear},
};

#[test]
fn handler_sees_the_address_without_the_ticket() {
    let family = Family::new();
    let app = App::new(family.guard());
    let keeping = App::new(family.guard().keep_credential());
    let own = family.child(ticket(60));
    for (before, after) in [
        ("/events?ticket=TICKET", "/events"),
        ("/events?ticket=TICKET&a=%41+&b", "/events?a=%41+&b"),
        ("/events?a=1&&ticket=TICKET&c=d=e", "/events?a=1&&c=d=e"),
        ("/events?Ticket=x&ticket=TICKET", "/events?Ticket=x"),
        ("/events?a=%7E&ticket=TICKET&b=%7e", "/events?a=%7E&b=%7e"),
    ] {
        let spellings = ["~", "%7E", "%7e"].map(|mark| own.replace('~', mark));
        for (own, framework) in spellings.iter().flat_map(|own| ALL.map(|all| (own, all))) {
            let uri = before.replace("TICKET", own);
            for base in ["", "http://api.example:8080"] {
                let line = format!("GET {base}{uri}");
                let seen = app.ask(framework, &line, &[]).handler();
                let addresses = seen["uri"].as_array().unwrap();
                for address in addresses {
                    assert_eq!(address, &format!("{base}{after}"), "{framework:?}");
                }
                // The control: every address is one that could show the ticket.
                let seen = keeping.ask(framework, &line, &[]).handler();
                let kept = seen["uri"].as_array().unwrap();
                assert_eq!(kept.len(), addresses.len());
                assert!(kept.iter().all(|address| address.as_str().unwrap().contains(own)));
            }
        }
    }
    // Without a ticket nothing changes.
    for framework in ALL {
        let seen = app.ask(framework, "GET /events?a=1&&b", &[bearer(&family.parent)]).handler();
        assert_eq!(seen["uri"][0], "/events?a=1&&b");
    }
    // The parameters of a path are places in an address.
    let stream = family.child(lasting(60).route("GET /streams/{id}").unwrap());
    for framework in ALL {
        let line = with("GET /streams/a%20%2fb?c", &stream);
        let seen = app.ask(framework, &line, &[]).handler();
        assert_eq!(seen["uri"][0], "/streams/a%20%2fb?c");
        if framework == Framework::Actix {
            assert_eq!(seen["id"], "a %2fb");
        }
    }
    // A nested router of axum keeps the whole address beside the shorter one.
    for own in [own.replace('~', "%7E"), own] {
        let line = with("GET /nested/events?a=1", &own);
        let seen = app.ask(Framework::Axum, &line, &[]).handler();
        assert_eq!(seen["uri"], serde_json::json!(["/events?a=1", "/nested/events?a=1"]));
    }
}

// Logs.

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for &Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns everything that is logged by `work`, in every crate and at every level.
fn logged(work: impl FnOnce()) -> String {
    let log = Log::default();
    tracing::subscriber::with_default(registry().with(Ear(log.clone())), || {
        // A parallel test that has just emitted an event for the first time may have turned it off.
        tracing::callsite::rebuild_interest_cache();
        work();
    });
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    overheard::heard(&text);
    text
}

#[test]
fn no_response_event_or_audit_holds_a_ticket() {
    let family = Family::new();
    let tickets = [
        family.child(ticket(60)),
        family.child(ticket(600)),
        family.child(lasting(60).route("GET /both").unwrap()),
        family.parent.clone(),
    ];
    let guards: [fn(&Guard) -> Guard; 2] = [Guard::clone, Guard::keep_credential];
    let work = || {
        for guard in guards {
            let app = App::new(guard(&family.guard()));
            for (one, framework) in tickets.iter().flat_map(|one| ALL.map(|all| (one, all))) {
                for line in [
                    with("GET /events", one),
                    with("GET /events", &one.replace('~', "%7E")),
                    with(&with("GET /events", one), one),
                    format!("GET /events?ticket=%20{one}"),
                ] {
                    let seen = app.ask(framework, &line, &[]);
                    let text = format!("{:?}", seen.headers);
                    assert!(!gives_away(&text, one), "{text}");
                    let is_refused = seen.status != 200;
                    assert!(!is_refused || !gives_away(&format!("{seen:?}"), one), "{seen:?}");
                }
            }
        }
    };
    // An event that a parallel test emits first, while the log is open, would be turned off. So each is emitted before.
    work();
    let log = logged(work);
    assert!(log.contains("outcome=admitted") && log.contains("outcome=forbidden"), "{log}");
    let events = format!("{:?}", family.world.audit.events());
    for one in &tickets {
        assert!(!gives_away(&log, one) && !gives_away(&events, one));
    }
    // The control: a log that holds one.
    let careless = logged(|| tracing::info!(target: "planted", "asked for {}", tickets[0]));
    assert!(gives_away(&careless, &tickets[0]));
}
