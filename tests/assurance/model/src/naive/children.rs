//! Children: what their parents may do, and their own limits, each of which takes something away.

use super::super::fault::Fault;
use super::{Answer, Block, Key, Names, Policy, Question, Ring, Rules, Shares, Tenant, Time};

/// A child that was derived from one secret of a key. `None` limits nothing.
#[derive(Clone, Debug)]
pub struct Child {
    pub key: usize,
    pub secret: usize,
    /// The slot in the id of the key.
    pub slot: u8,
    pub from: Option<Time>,
    pub end: Time,
    pub scopes: Option<Vec<String>>,
    pub shares: Option<Shares>,
    pub networks: Option<Vec<Block>>,
    pub hosts: Option<Names>,
    pub routes: Option<Names>,
}

/// The place where a child is presented.
#[derive(Clone, Copy, Debug)]
pub struct Place<'p> {
    pub host: Option<&'p str>,
    pub route: Option<&'p str>,
}

impl Rules {
    /// Returns the result of a request with a child of a key that has `scopes`. The end of a child may be at most
    /// `longest` ahead.
    pub fn child_answer(
        self,
        policy: &Policy,
        ring: &Ring,
        (key, tenant): (&Key, &Tenant),
        scopes: &Names,
        child: &Child,
        longest: Time,
        place: Place<'_>,
        question: Question<'_>,
    ) -> Answer {
        let Question { now, requirement, address, .. } = question;
        if !ring.tokens.contains(&child.slot) {
            return Answer::Forged;
        }
        if child.key != key.number {
            return Answer::Unknown;
        }
        if !key.children {
            return Answer::WrongSecret;
        }
        let is_current = child.secret == key.secret;
        let is_kept = self.has(Fault::ChildrenOutliveTheirSecrets)
            && key.older.iter().any(|older| older.secret == child.secret);
        if !is_current && !is_kept && !self.is_previous(key, child.secret, now) {
            return Answer::WrongSecret;
        }
        let far = (!self.has(Fault::ChildrenBeginAtOnce)).then_some(child.end - longest);
        let begin = [key.from, child.from, far].into_iter().flatten().max();
        let own_end =
            self.end(policy, key, tenant).filter(|_| !self.has(Fault::ChildrenOutliveTheirParents));
        let end = own_end.into_iter().chain([child.end]).min();
        let limited = Key { from: begin, ..key.clone() };
        let inactive = self.suspended(tenant, key, now).or(self.dormant(&limited, end, now));
        if let Some(reason) = inactive {
            return reason;
        }
        let none = Shares::new();
        let shares = child.shares.as_ref();
        let undeclared = self.undeclared(policy, &key.shares);
        let undeclared = undeclared.or(self.undeclared(policy, shares.unwrap_or(&none)));
        if let Some(kind) = undeclared {
            return Answer::OtherResource(kind);
        }
        let may_come = self.may_come_from(key.networks.as_deref(), address)
            && (self.has(Fault::ChildrenComeFromAnywhere)
                || self.may_come_from(child.networks.as_deref(), address));
        if !may_come {
            return Answer::OtherNetwork;
        }
        if !self.is_at(child, place) {
            return Answer::OtherPlace;
        }
        let wished = child.scopes.as_ref().map(|names| self.held(policy, names));
        let wished = wished.filter(|_| !self.has(Fault::ChildrenHaveAllScopes));
        let scopes: Names = match wished {
            Some(wished) => scopes.intersection(&wished).cloned().collect(),
            None => scopes.clone(),
        };
        if let Some(names) = self.missing(&scopes, requirement) {
            return Answer::Missing { names, any: requirement.any };
        }
        let Some((kind, id)) = question.touches else {
            return Answer::Admitted { previous: !is_current };
        };
        let may_child = |shares: &Shares| self.may_touch(shares, kind, id);
        if self.may_touch(&key.shares, kind, id) && shares.is_none_or(may_child) {
            Answer::Admitted { previous: !is_current }
        } else {
            Answer::OtherResource(kind.into())
        }
    }

    /// Returns whether the child may be used at this place: each kind of name that it has is met.
    fn is_at(self, child: &Child, place: Place<'_>) -> bool {
        let meets = |names: &Option<Names>, name: Option<&str>| {
            names.as_ref().is_none_or(|names| name.is_some_and(|name| names.contains(name)))
        };
        let (host, route) = (meets(&child.hosts, place.host), meets(&child.routes, place.route));
        host && route || self.has(Fault::ChildrenMeetOneKindOfPlace) && (host || route)
    }
}
