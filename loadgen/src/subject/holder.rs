//! Who is where a target is to be found: nobody, a server of ours, a container, or something else.

use super::attach::{self, Listener};
use super::container::{self, Container};
use crate::environment;
use crate::interrupt;
use crate::sampler::cgroup;
use crate::sampler::socket::Owner;
use echo_contract::catalog::{self, TARGETS};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Pause between two look-ups of a service that is not up yet.
const SERVICE_RETRY: Duration = Duration::from_millis(100);

/// The targets that are up on their own ports, here or in containers.
pub fn running() -> impl Iterator<Item = &'static catalog::Target> {
    TARGETS.iter().filter(|row| match holder_of(row).1 {
        Holder::Process(owner) => attach::row_of(&owner) == Some(row),
        Holder::Container(container) => container.row() == Some(row),
        Holder::Service => true,
        Holder::Nobody | Holder::Several(_) | Holder::Unseen(_) => false,
    })
}

/// Whether anybody, the target or not, is where the target is to be found.
#[must_use]
pub fn is_held(row: &'static catalog::Target) -> bool {
    !matches!(holder_of(row).1, Holder::Nobody)
}

/// Who answers at an address.
pub(super) enum Holder {
    Nobody,
    Process(Owner),
    Container(Box<Container>),
    /// A service of that name in the container network that loadgen is in too.
    Service,
    Several(Vec<Owner>),
    /// Something may, but it cannot be told what; why.
    Unseen(String),
}

impl Holder {
    /// Whether what can be said of one holds for the other.
    fn is_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Process(one), Self::Process(other)) => one.pid == other.pid,
            (Self::Container(one), Self::Container(other)) => one.id == other.id,
            (Self::Nobody, Self::Nobody) | (Self::Service, Self::Service) | (Self::Unseen(_), Self::Unseen(_)) => true,
            _ => false,
        }
    }
}

/// Where a target is to be found, and who is there: its port on this machine, or the service of its name.
pub(super) fn holder_of(row: &'static catalog::Target) -> (SocketAddr, Holder) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, row.port));
    match holder_at(address) {
        Holder::Nobody => match container::service(row) {
            Some(address) => (address, Holder::Service),
            None => (address, Holder::Nobody),
        },
        holder => (address, holder),
    }
}

/// As [`holder_of`]. In a container it waits for a service of the target's name, which has no address before it is up.
pub(super) fn awaited(row: &'static catalog::Target, limit: Duration) -> (SocketAddr, Holder) {
    let deadline = Instant::now() + limit;
    loop {
        let found = holder_of(row);
        let is_service_to_come = matches!(found.1, Holder::Nobody) && environment::is_container();
        if !is_service_to_come || Instant::now() >= deadline || interrupt::asked() {
            return found;
        }
        interrupt::sleep(SERVICE_RETRY);
    }
}

/// Who answers at all of these addresses; at least one. Of several servers none stands for the others.
pub(super) fn holder_at_all(addresses: &[SocketAddr]) -> Holder {
    let mut holders: Vec<Holder> = addresses.iter().map(|address| holder_at(*address)).collect();
    let first = holders.remove(0);
    match holders.iter().find(|other| !first.is_the_same(other)) {
        None => first,
        Some(_) => Holder::Unseen("several servers answer, each at an address of its own".into()),
    }
}

/// Who answers at an address of this machine. The engine is asked where no process of a server is seen: a published port
/// is held by the engine's proxy, or by none at all.
pub(super) fn holder_at(address: SocketAddr) -> Holder {
    let in_container = || container::publishing(address.port());
    match attach::listener(address) {
        Listener::Known(owner) if attach::row_of(&owner).is_some() => {
            // With `--network host` it is a process like any other, but for its groups.
            match cgroup::container_id(owner.pid)
                .filter(|id| cgroup::container_id(std::process::id()).as_ref() != Some(id))
            {
                Some(id) => {
                    container::with_id(&id).map_or(Holder::Process(owner), |found| Holder::Container(found.into()))
                }
                None => Holder::Process(owner),
            }
        }
        Listener::Known(owner) => match in_container() {
            Ok(Some(found)) => Holder::Container(found.into()),
            Ok(None) | Err(_) => Holder::Process(owner),
        },
        Listener::Several(owners) => Holder::Several(owners),
        Listener::None if !address.ip().is_loopback() || !container::is_answered(address) => Holder::Nobody,
        Listener::None => match in_container() {
            Ok(Some(found)) => Holder::Container(found.into()),
            Ok(None) => Holder::Unseen("no listening socket is seen here".into()),
            Err(reason) => Holder::Unseen(reason),
        },
        Listener::Unknown(reason) => match in_container() {
            Ok(Some(found)) => Holder::Container(found.into()),
            Ok(None) => Holder::Unseen(reason),
            Err(engine) => Holder::Unseen(format!("{reason}; {engine}")),
        },
    }
}
