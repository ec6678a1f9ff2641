//! How many workers a server gets that is started. A pool serves one client per worker, so it needs as many as the
//! workload has clients. Pure.

use crate::failure::Failure;
use crate::text::count;
use echo_contract::catalog::{self, Capacity};

/// Most workers that a pool gets unless the user asks for more: each is a process or a thread.
pub const LARGEST_POOL: u32 = 1_024;

/// `--workers` of a server of this target for so many clients; none leaves it to the server.
///
/// # Errors
/// A usage failure when the clients outnumber the workers.
pub fn workers(target: &str, clients: u32, asked: Option<u32>) -> Result<Option<u32>, Failure> {
    if !is_pool(target) {
        return Ok(asked);
    }
    match (asked, too_small(target, clients)) {
        (Some(workers), _) if workers >= clients => Ok(Some(workers)),
        (Some(workers), _) => Err(Failure::usage(format!(
            "--workers {workers} is less than {clients} clients: {target} serves one client per worker, and the others \
             would wait until it leaves. Give at least --workers {clients}, or leave it out"
        ))),
        (None, Some(why)) => Err(Failure::usage(why)),
        (None, None) => Ok(Some(clients)),
    }
}

/// Why a target is not measured with so many clients; none when it can be.
#[must_use]
pub fn too_small(target: &str, clients: u32) -> Option<String> {
    (is_pool(target) && clients > LARGEST_POOL).then(|| {
        format!(
            "pool of {} smaller than {} clients: not measured",
            count(LARGEST_POOL.into()),
            count(clients.into())
        )
    })
}

/// Whether the target serves one client per worker.
#[must_use]
pub fn is_pool(target: &str) -> bool {
    catalog::find(target).is_some_and(|row| row.capacity == Capacity::OnePerWorker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_has_as_many_workers_as_clients_up_to_1024() {
        assert_eq!(workers("fork-prefork", 100, None).unwrap(), Some(100));
        assert_eq!(workers("thread-pool", 1_024, None).unwrap(), Some(1_024));
        assert_eq!(
            workers("thread-pool", 1_025, None).unwrap_err().text,
            "pool of 1,024 smaller than 1,025 clients: not measured"
        );
    }

    #[test]
    fn who_asks_for_workers_gets_them_unless_they_are_too_few() {
        assert_eq!(workers("thread-pool", 2_000, Some(2_000)).unwrap(), Some(2_000));
        let refused = workers("thread-pool", 100, Some(99)).unwrap_err();
        assert!(
            refused.text.starts_with("--workers 99 is less than 100 clients"),
            "{refused}"
        );
    }

    #[test]
    fn who_takes_any_number_of_clients_is_left_alone() {
        assert_eq!(workers("event-tokio", 5_000, Some(2)).unwrap(), Some(2));
        assert_eq!(workers("fork", 5_000, None).unwrap(), None);
        assert_eq!(workers("127.0.0.1:7", 5_000, None).unwrap(), None);
        assert_eq!(too_small("fork", 5_000), None);
    }
}
