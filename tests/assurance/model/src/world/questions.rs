//! The decisions of one history, on both sides.

use std::sync::Arc;

use keyway::{
    audit::Rejection,
    grant::ResourceKind,
    lowlevel::{Authority, CheckedToken, Denial, ResolvedKey, decide, decide_from},
    record::TenantRecord,
    scope,
};

use super::{
    super::{
        draw,
        met::{Limit, Met},
        naive::{Answer, Key, Policy, Question, Shape, Share, Tenant, Token},
        random::Random,
        translate::{self, denied, outside, time, unready},
    },
    Host, Tally, World, disagree, times,
};

/// How many decisions are compared between two steps of a history.
const QUESTIONS: usize = 32;

impl World {
    /// Compares decisions about one key.
    pub(super) fn ask(&self, random: &mut Random, number: u64, tally: &mut Tally) {
        if self.keys.is_empty() {
            return;
        }
        let (key, record) = random.pick(&self.keys);
        let host = random.pick(&self.hosts);
        let (policy, _) = &self.policies[host.policy];
        let (tenant, tenant_record) = self.tenant_for(key, random);
        let reasons = self.rules.unready(policy, &host.ring, key, tenant);
        let resolved = match host.authority.resolve(record, tenant_record) {
            Ok(resolved) => Arc::new(resolved),
            Err(error) => {
                tally.decisions += 1;
                let reason = unready(&error);
                if !reasons.contains(&reason) {
                    disagree(tally, self.rules, number, &format!("{reason:?} and not {reasons:?}"));
                }
                return;
            }
        };
        if !reasons.is_empty() {
            tally.decisions += 1;
            return disagree(
                tally,
                self.rules,
                number,
                &format!("{key:?} is ready, not {reasons:?}"),
            );
        }
        let scopes = self.rules.scopes(policy, key, tenant);
        let times = times(key, tenant, self.now);
        let kinds = kinds(host, policy);
        for _ in 0..QUESTIONS {
            let now = random.pick(&times) + *random.pick(&[-1, 0, 1]);
            let (token, text) = self.present(key, random);
            let (requirement, built) = random.pick(&self.requirements[host.policy]);
            let address = draw::address_for(key.networks.as_deref(), random);
            let touched = (!kinds.is_empty() && random.one_in(2)).then(|| {
                let (name, kind) = random.pick(&kinds);
                (*name, kind, draw::id_for(key.shares.get(*name), random))
            });
            let question = Question {
                token: &token,
                now,
                address: address.as_ref(),
                requirement,
                touches: touched.as_ref().map(|(name, _, id)| (*name, id.as_str())),
            };
            let expected = self.rules.answer(policy, &host.ring, key, tenant, &scopes, question);
            let route = (built, touched.as_ref().map(|(_, kind, id)| (*kind, id.as_str())));
            let answer = asked(&host.authority, &resolved, &text, question, route);
            tally.decisions += 1;
            tally.admitted += u64::from(matches!(answer, Answer::Admitted { .. }));
            count(policy, key, question, &answer, &mut tally.met);
            if answer != expected {
                let (from, to) = (question.address, question.touches);
                let what = format!(
                    "{answer:?} and not {expected:?} at {now} from {from:?} to {token:?} at {to:?}: {key:?}"
                );
                disagree(tally, self.rules, number, &what);
            }
        }
    }

    /// Returns a token, mostly of this key, and sometimes altered.
    fn present(&self, key: &Key, random: &mut Random) -> (Token, Vec<u8>) {
        let own = |(token, _): &&(Token, Vec<u8>)| {
            let is_previous = key.older.iter().any(|older| older.secret == token.secret);
            token.secret == key.secret || is_previous && token.key == key.number
        };
        let own: Vec<&(Token, Vec<u8>)> = self.tokens.iter().filter(own).collect();
        let presented = if own.is_empty() || random.one_in(6) {
            random.pick(&self.tokens)
        } else {
            random.pick(&own)
        };
        let (mut token, mut text) = presented.clone();
        match random.below(40) {
            0 => {
                token.shape = Shape::OtherLength;
                text.remove(random.below(text.len()));
            }
            1 if token.foreign => {
                token.shape = Shape::OtherByte;
                let place = random.below(text.len());
                text[place] = if text[place] == b'A' { b'B' } else { b'A' };
            }
            1 => {
                token.shape = Shape::OtherByte;
                let place = text.len() - 1 - random.below(56);
                text[place] ^= 1 << random.below(8);
            }
            _ => {}
        }
        (token, text)
    }

    /// Returns the tenant of a key, and sometimes another one.
    pub(super) fn tenant_for(&self, key: &Key, random: &mut Random) -> &(Tenant, TenantRecord) {
        let is_own = !random.one_in(20);
        let found = self.tenants.iter().find(|(tenant, _)| (tenant.name == key.tenant) == is_own);
        found.expect("there are two tenants")
    }
}

/// Returns the kinds that the policy declares, on both sides.
pub(super) fn kinds<'p>(host: &Host, policy: &'p Policy) -> Vec<(&'p str, ResourceKind)> {
    let catalog = host.authority.policy().catalog();
    let of = |kind: &'p String| (kind.as_str(), catalog.resource(kind).expect("declared"));
    policy.kinds.iter().map(of).collect()
}

/// Returns the decision of keyway on a request to this route.
pub fn asked(
    authority: &Authority,
    resolved: &Arc<ResolvedKey>,
    text: &[u8],
    question: Question<'_>,
    (requirement, touches): (&scope::Requirement, Option<(&ResourceKind, &str)>),
) -> Answer {
    let (now, address) = (time(question.now), question.address);
    let decide = |claim: &CheckedToken| match address {
        Some(address) => decide_from(claim, resolved, now, || Some(translate::address(address))),
        None => decide(claim, resolved, now),
    };
    let decided = match authority.claims(text) {
        // The token of another system may lead to several keys. The one that it proves is decided about.
        Ok(claims) => claims
            .iter()
            .map(decide)
            .find(|decided| !matches!(decided, Err(Denial::Rejected(Rejection::Unknown))))
            .unwrap_or(Err(Denial::Rejected(Rejection::Unknown))),
        Err(rejection) => Err(Denial::Rejected(rejection)),
    };
    let caller = match decided {
        Ok(caller) => caller,
        Err(denial) => return denied(&denial),
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

/// Counts the limit that decided, or could have.
fn count(policy: &Policy, key: &Key, question: Question<'_>, answer: &Answer, met: &mut Met) {
    match answer {
        Answer::OtherNetwork => met.count(Limit::NetworkRefuses),
        Answer::OtherResource(kind) if policy.kinds.contains(kind) => {
            met.count(Limit::ResourceRefuses);
        }
        Answer::OtherResource(_) => met.count(Limit::UndeclaredKindRefuses),
        Answer::Admitted { .. } => {
            if key.networks.is_some() {
                met.count(Limit::NetworkAdmits);
            }
            let share = question.touches.and_then(|(kind, _)| key.shares.get(kind));
            if matches!(share, Some(Share::Only(_))) {
                met.count(Limit::ResourceAdmits);
            }
        }
        _ => {}
    }
}
