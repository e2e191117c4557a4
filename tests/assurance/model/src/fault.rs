//! Faults to plant in the naive rules. keyway and the rules then disagree, and this program has to
//! notice: each fault is one that somebody could make.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    ImplicationIsOneStepDeep,
    DotsMeanNothing,
    AnyPrefixImplies,
    CeilingsMeanNothing,
    RemovedScopesStillGrant,
    RetiredPeppersStillSeal,
    AnyTenantOwnsTheKey,
    OverlapEndsLate,
    OverlapNeverEnds,
    DormantBeforeSuspended,
    AnyMeansAll,
    AllMeansAny,
    SuspensionsNeverEnd,
    TenantSuspensionMeansNothing,
    KeySuspensionMeansNothing,
    DisabledMeansNothing,
    BeginsLate,
    ExpiresLate,
    LifetimesBeginAnew,
    UnusedSecretsLiveOn,
    QuarantineGrants,
    AnybodyGrants,
}

impl Fault {
    pub const ALL: [Self; 22] = [
        Self::ImplicationIsOneStepDeep,
        Self::DotsMeanNothing,
        Self::AnyPrefixImplies,
        Self::CeilingsMeanNothing,
        Self::RemovedScopesStillGrant,
        Self::RetiredPeppersStillSeal,
        Self::AnyTenantOwnsTheKey,
        Self::OverlapEndsLate,
        Self::OverlapNeverEnds,
        Self::DormantBeforeSuspended,
        Self::AnyMeansAll,
        Self::AllMeansAny,
        Self::SuspensionsNeverEnd,
        Self::TenantSuspensionMeansNothing,
        Self::KeySuspensionMeansNothing,
        Self::DisabledMeansNothing,
        Self::BeginsLate,
        Self::ExpiresLate,
        Self::LifetimesBeginAnew,
        Self::UnusedSecretsLiveOn,
        Self::QuarantineGrants,
        Self::AnybodyGrants,
    ];
}
