//! What a TCP round trip over loopback costs on one CPU at this moment, in CPU time: the speed of what an echo server spends
//! most of its time on.
//!
//! A machine's kernel is not always equally fast. What shares its caches or its core changes, and on a virtual machine nothing
//! tells of it; a server then costs more, and so does this. Measured before and after a trial, never in it.

use super::distance::pin;
use crate::units::{count_f64, duration_ns};
use nix::time::{ClockId, clock_gettime};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Round trips that are not counted: caches fill, and the connection grows its window.
const FIRST: u64 = 50;
/// 64 bytes there and back each: 2 to 8 ms in all.
const ROUND_TRIPS: u64 = 500;
/// Longest wait for one of them.
const LIMIT: Duration = Duration::from_millis(200);

/// CPU time of a round trip of 64 bytes in nanoseconds: two sends and two receives by one thread on this CPU. None where it may
/// not run there, or where this network has no loopback.
#[must_use]
pub fn round_trip_cpu_ns(cpu: usize) -> Option<f64> {
    let measuring = || pin(cpu).ok().and_then(|()| measure());
    thread::scope(|scope| scope.spawn(measuring).join().ok()?)
}

fn measure() -> Option<f64> {
    let (mut one, mut other) = pair().ok()?;
    round_trips(FIRST, &mut one, &mut other).ok()?;
    let begun = cpu_time()?;
    round_trips(ROUND_TRIPS, &mut one, &mut other).ok()?;
    let spent = cpu_time()?.checked_sub(begun)?;
    Some(count_f64(duration_ns(spent)) / count_f64(ROUND_TRIPS))
}

fn pair() -> std::io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let one = TcpStream::connect_timeout(&listener.local_addr()?, LIMIT)?;
    let (other, _) = listener.accept()?;
    for end in [&one, &other] {
        end.set_nodelay(true)?;
        end.set_read_timeout(Some(LIMIT))?;
    }
    Ok((one, other))
}

fn round_trips(number: u64, one: &mut TcpStream, other: &mut TcpStream) -> std::io::Result<()> {
    let mut bytes = [0; 64];
    for _ in 0..number {
        one.write_all(&bytes)?;
        other.read_exact(&mut bytes)?;
        other.write_all(&bytes)?;
        one.read_exact(&mut bytes)?;
    }
    Ok(())
}

/// Of this thread.
fn cpu_time() -> Option<Duration> {
    Some(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sched::{CpuSet, sched_getaffinity};
    use nix::unistd::Pid;

    #[test]
    fn a_round_trip_costs_more_than_four_system_calls_and_less_than_a_millisecond() {
        let usable = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let cpu = (0..CpuSet::count()).find(|cpu| usable.is_set(*cpu).unwrap()).unwrap();
        let ns = round_trip_cpu_ns(cpu).expect("this machine has a loopback");
        assert!(ns > 400.0 && ns < 1e6, "{ns} ns");
    }

    #[test]
    fn on_a_cpu_that_does_not_exist_nothing_is_measured() {
        assert_eq!(round_trip_cpu_ns(1000), None);
    }
}
