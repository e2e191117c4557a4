use keyway::{keyring::Keyring, policy::Policy, pepper::Pepper, store::MemoryStore, authority::NewKey};
use std::{pin::pin, task::{Context,Poll,Waker}};
fn main(){ let policy: Policy = serde_json::from_str(include_str!("machinemetrics.json")).unwrap();
 let k=Keyring::builder(policy,Pepper::from_bytes(&[7;32]).unwrap()).environment("live").store(MemoryStore::new()).max_staleness(std::time::Duration::from_secs(80000)).build().unwrap();
 let (_,i)=pollster::block_on(k.create_tenant_with("acme","lite",NewKey::named("n").scopes(["reporting"]))).unwrap(); let t=i.token.reveal();
 let m = std::env::args().nth(1).unwrap_or_default();
 if m=="mint" { for _ in 0..3_000_000 { drop(std::hint::black_box(k.verifier().format().mint(&mut getrandom::SysRng).unwrap())); } return }
 for _ in 0..60_000_000u64 { match pin!(k.verify(std::hint::black_box(&*t))).poll(&mut Context::from_waker(Waker::noop())) {Poll::Ready(p)=>drop(std::hint::black_box(p.unwrap())),_=>panic!()} }
}
