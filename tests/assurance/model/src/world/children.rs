//! Children of the keys of one history, presented again and again while their parents change.
//!
//! A verifier remembers the signatures that it has checked. The verifier of each node is kept through the history, so that
//! what it remembers meets other contents of the parent.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use keyway::{
    KeyId, KeyRecord, Keyring, MemoryStore, VerifyError,
    children::{ChildMinter, NewChild, Place},
    record::TenantRecord,
    store::{KeyLookup, Lookups, StoreError, StoredKey, lookup_each},
    time::ManualClock,
    verifier::{Freshness, Verifier},
};

use super::{
    super::{
        declare::peppers,
        draw,
        met::{ChildLimit, Children},
        naive::{
            self, Answer, Child, DAY, Key, Names, Question, Shape, Share, Shares, Time, Token,
        },
        random::Random,
        translate::{self, inactive, outside, time},
    },
    START, Tally, World, asked, disagree, questions, times,
};

/// How many decisions about children are compared between two steps of a history.
const QUESTIONS: usize = 24;

/// The longest lifetime of children.
const LONGEST: Time = DAY;

const HOSTS: [&str; 3] = ["api", "www", "other"];
const ROUTES: [&str; 3] = ["GET /a", "GET /b", "PUT /a"];

/// Returns the longest lifetime of children.
pub(super) fn longest() -> Duration {
    translate::span(LONGEST)
}

/// The one record that a verifier reads.
#[derive(Clone, Default)]
struct OneKey(Arc<Mutex<Option<StoredKey>>>);

impl KeyLookup for OneKey {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        let stored = self.0.lock().expect("no reader panics").clone();
        Ok(stored.filter(|stored| stored.key.id() == id))
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Result<Lookups, StoreError> {
        lookup_each(self, ids).await
    }

    fn max_lag(&self) -> Duration {
        Duration::ZERO
    }

    async fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
}

/// A verifier that accepts children, and what it reads.
pub(super) struct Door {
    /// Gives out the prefixes of children. Nothing is in its store.
    keyring: Keyring,
    verifier: Verifier,
    clock: ManualClock,
    store: OneKey,
}

impl Door {
    pub(super) fn new(policy: &keyway::Policy, ring: usize) -> Self {
        let keyring = Keyring::builder(policy.clone(), peppers(ring))
            .environment("live")
            .store(MemoryStore::new())
            .cache_capacity(0)
            .build();
        let (clock, store) = (ManualClock::at(time(START)), OneKey::default());
        let verifier = Verifier::builder(policy.clone(), peppers(ring))
            .environment("live")
            .lookup(store.clone())
            .clock(clock.clone())
            .cache_capacity(64)
            .max_staleness(Duration::from_secs(3_600))
            .build();
        let keyring = keyring.expect("the labels fit");
        Self { keyring, verifier: verifier.expect("the labels fit"), clock, store }
    }

    /// Replaces the records that the verifier reads. All that it has cached before is too old from now on.
    fn read(&self, key: &KeyRecord, tenant: &TenantRecord) {
        self.clock.advance(Duration::from_secs(7_200));
        let stored = StoredKey { key: key.clone(), tenant: tenant.clone() };
        *self.store.0.lock().expect("no reader panics") = Some(stored);
    }
}

impl World {
    /// Compares decisions about children.
    pub(super) fn ask_children(&mut self, random: &mut Random, number: u64, tally: &mut Tally) {
        if !self.has_children || self.keys.is_empty() {
            return;
        }
        let at = random.below(self.keys.len());
        if random.one_in(2) || self.children.is_empty() {
            let minted = self.mint(&self.keys[at].0, &self.keys[at].1, random);
            self.children.extend(minted);
        }
        let (key, record) = &self.keys[at];
        let host = random.pick(&self.hosts);
        let Some(door) = &host.door else { return };
        let (policy, _) = &self.policies[host.policy];
        let (tenant, tenant_record) = self.tenant_for(key, random);
        let is_ready = self.rules.unready(policy, &host.ring, key, tenant).is_empty();
        if !is_ready || self.children.is_empty() {
            return;
        }
        let resolved = match host.authority.resolve(record, tenant_record) {
            Ok(resolved) => Arc::new(resolved),
            // Reported by the comparison without children.
            Err(_) => return,
        };
        door.read(record, tenant_record);
        let scopes = self.rules.scopes(policy, key, tenant);
        let kinds = questions::kinds(host, policy);
        let own: Vec<_> = self.children.iter().filter(|(of, _)| of.key == key.number).collect();
        for _ in 0..QUESTIONS {
            let (child, text) = if own.is_empty() || random.one_in(8) {
                random.pick(&self.children)
            } else {
                *random.pick(&own)
            };
            let mut times = times(key, tenant, self.now);
            let begin = child.end - LONGEST;
            times.extend([child.end, begin, child.end - 1_000].into_iter().chain(child.from));
            let now = random.pick(&times) + *random.pick(&[-1, 0, 1]);
            let networks = if random.one_in(2) { &key.networks } else { &child.networks };
            let address = draw::address_for(networks.as_deref(), random);
            let (requirement, built) = random.pick(&self.requirements[host.policy]);
            let touched = (!kinds.is_empty() && random.one_in(2)).then(|| {
                let (name, kind) = random.pick(&kinds);
                let own = child.shares.as_ref().filter(|_| random.one_in(2)).unwrap_or(&key.shares);
                (*name, kind, draw::id_for(own.get(*name), random))
            });
            // Only the secret counts here: the parent is asked with its own token.
            let Some((token, parent)) = self
                .tokens
                .iter()
                .find(|(token, _)| token.shape == Shape::Whole && token.secret == child.secret)
            else {
                continue;
            };
            let question = Question {
                token,
                now,
                address: address.as_ref(),
                requirement,
                touches: touched.as_ref().map(|(name, _, id)| (*name, id.as_str())),
            };
            let place = naive::Place {
                host: (!random.one_in(4)).then(|| *random.pick(&HOSTS)),
                route: (!random.one_in(4)).then(|| *random.pick(&ROUTES)),
            };
            let expected = self.rules.child_answer(
                policy,
                &host.ring,
                (key, tenant),
                &scopes,
                child,
                LONGEST,
                place,
                question,
            );
            door.clock.advance(Duration::from_secs(1));
            door.clock.set(time(now));
            let route = (built, touched.as_ref().map(|(_, kind, id)| (*kind, id.as_str())));
            let freshness = if random.one_in(4) { Freshness::Now } else { Freshness::Cached };
            let answer = door.ask(text, freshness, place, question, route);
            tally.decisions += 1;
            tally.children.decisions += 1;
            tally.admitted += u64::from(matches!(answer, Answer::Admitted { .. }));
            let of_parent = asked(&host.authority, &resolved, parent, question, route);
            count(&answer, &of_parent, &mut tally.children);
            if answer != rejected(expected.clone()) {
                let what = format!(
                    "{answer:?} and not {expected:?} at {now} to {child:?} from {address:?} at \
                     {place:?}, {:?}: {key:?}",
                    question.touches
                );
                disagree(tally, self.rules, number, &what);
            }
            let is_above = |answer: &Answer| matches!(answer, Answer::Admitted { .. });
            if is_above(&answer) && !is_above(&of_parent) {
                tally.children.above += 1;
                disagree(tally, self.rules, number, &format!("{child:?} has more than {key:?}"));
            }
        }
    }

    /// Mints a child from one of the secrets that the key has or had.
    fn mint(&self, key: &Key, record: &KeyRecord, random: &mut Random) -> Option<(Child, String)> {
        let is_own = |(token, _): &&(Token, Vec<u8>)| {
            token.key == key.number && !token.foreign && token.shape == Shape::Whole
        };
        let own: Vec<_> = self.tokens.iter().filter(is_own).collect();
        if own.is_empty() {
            return None;
        }
        let (token, text) = if random.one_in(2) { own[own.len() - 1] } else { *random.pick(&own) };
        let longest = LONGEST;
        let end = self.now
            + *random.pick(&[1_000, DAY / 2, DAY / 2, longest, longest + 1, longest + DAY / 2]);
        let policy = random.below(self.policies.len());
        let kinds = &self.policies[policy].0.kinds;
        let scopes = random.one_in(2).then(|| self.names(policy, random, true));
        let shares = random.one_in(2).then(|| draw::shares(kinds, random));
        let some = |names: &[&str], random: &mut Random| {
            let names: Names = random.some(names, 2).into_iter().map(String::from).collect();
            Some(names).filter(|names| !names.is_empty())
        };
        let child = Child {
            key: key.number,
            secret: token.secret,
            slot: key.slot,
            from: random.one_in(4).then(|| self.now + *random.pick(&[0, 500, DAY / 2])),
            end,
            scopes: scopes.filter(|names| !names.is_empty()),
            shares: shares.map(something).filter(|shares| !shares.is_empty()),
            networks: if random.one_in(2) { draw::networks(random) } else { None },
            hosts: if random.one_in(4) { some(&HOSTS, random) } else { None },
            routes: if random.one_in(4) { some(&ROUTES, random) } else { None },
        };
        if child.from.is_some_and(|from| from >= end) {
            return None;
        }
        // Each node with the pepper of the slot gives out the same prefix.
        let text = std::str::from_utf8(text).expect("a token is text");
        let doors = || self.hosts.iter().filter_map(|host| host.door.as_ref());
        let prefix = doors().find_map(|door| door.keyring.child_prefix(record))?;
        let minter = ChildMinter::new(text, &prefix).expect("a token and its prefix");
        // Only one with many long names is too long.
        let text = minter.mint_at(&request(&child), time(self.now)).ok()?;
        Some((child, text.reveal().to_string()))
    }
}

impl Door {
    fn ask(
        &self,
        text: &str,
        freshness: Freshness,
        place: naive::Place<'_>,
        question: Question<'_>,
        (requirement, touches): (
            &keyway::scope::Requirement,
            Option<(&keyway::grant::ResourceKind, &str)>,
        ),
    ) -> Answer {
        let mut here = Place::new();
        if let Some(host) = place.host {
            here = here.host(host);
        }
        if let Some(route) = place.route {
            here = here.route(route);
        }
        let address = question.address.map(|address| translate::address(address));
        let caller = match now(self.verifier.verify_at(text, freshness, address, &here)) {
            Ok(caller) => caller,
            Err(VerifyError::Rejected) => return Answer::Unknown,
            Err(VerifyError::Inactive(state)) => return inactive(&state).expect("not active"),
            Err(VerifyError::Forbidden(reason)) => return outside(&reason),
            Err(error) => panic!("an answer that the rules do not have: {error:?}"),
        };
        let permitted = match touches {
            Some((kind, id)) => caller.permit(requirement, kind, id),
            None => caller.require(requirement).map_err(Into::into),
        };
        match permitted {
            Ok(()) => Answer::Admitted { previous: caller.used_previous_secret() },
            Err(reason) => outside(&reason),
        }
    }
}

/// Returns the outcome as a caller sees it, who does not learn why a secret is rejected.
fn rejected(answer: Answer) -> Answer {
    match answer {
        Answer::Malformed | Answer::Forged | Answer::WrongSecret => Answer::Unknown,
        other => other,
    }
}

fn request(child: &Child) -> NewChild {
    let mut request = NewChild::until(time(child.end));
    if let Some(from) = child.from {
        request = request.not_before(time(from));
    }
    if let Some(names) = &child.scopes {
        request = request.scopes(names).expect("names of scopes");
    }
    for (kind, share) in child.shares.iter().flatten() {
        request = request.resources(kind, translate::resources(share)).expect("a kind");
    }
    if child.networks.is_some() {
        request = request.networks(translate::networks(child.networks.as_deref()));
    }
    for host in child.hosts.iter().flatten() {
        request = request.host(host).expect("a name");
    }
    for route in child.routes.iter().flatten() {
        request = request.route(route).expect("a name");
    }
    request
}

/// Returns the kinds of which there is something.
fn something(mut shares: Shares) -> Shares {
    shares.retain(|_, share: &mut Share| !share.is_nothing());
    shares
}

/// Counts what decided about a child.
fn count(answer: &Answer, of_parent: &Answer, met: &mut Children) {
    let is_parent_admitted = matches!(of_parent, Answer::Admitted { .. });
    met.count(match answer {
        Answer::Admitted { previous: true } => ChildLimit::AdmittedByAnOlderSecret,
        Answer::Admitted { .. } => ChildLimit::Admitted,
        Answer::Unknown => ChildLimit::Unproven,
        _ if !is_parent_admitted => return,
        Answer::Missing { .. } => ChildLimit::ScopeRefuses,
        Answer::OtherResource(_) => ChildLimit::ResourceRefuses,
        Answer::OtherNetwork => ChildLimit::NetworkRefuses,
        Answer::OtherPlace => ChildLimit::PlaceRefuses,
        Answer::NotYetValid(_) => ChildLimit::NotYetValid,
        Answer::Expired(_) => ChildLimit::Expired,
        _ => return,
    });
}

/// Completes a future whose lookups never wait.
fn now<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("a lookup waits");
}
