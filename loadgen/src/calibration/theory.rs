//! What must come out: closed forms and the replay of a queue. Pure; times in any one unit, rates in its inverse.

/// Response time of a server that is silent for `stall` in every `period` and serves at once otherwise, seen by arrivals
/// that do not care (an open loop). A message that comes `t` after the begin of a stall waits `stall - t`; `load` is the
/// share of time the server needs for its work, and stretches the time in which the backlog drains.
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    pub stall: f64,
    pub period: f64,
    pub load: f64,
}

impl Stall {
    /// P(L > x) = (S - x) / ((1 - rho) T): of a period, so much time lies where an arrival waits longer than `x`.
    #[must_use]
    pub fn exceeds(&self, x: f64) -> f64 {
        ((self.stall - x) / ((1.0 - self.load) * self.period)).clamp(0.0, 1.0)
    }

    /// p_q = S - (1 - q)(1 - rho) T, the inverse of [`Self::exceeds`]; 0 where no stall is met.
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        (self.stall - (1.0 - q) * (1.0 - self.load) * self.period).max(0.0)
    }

    /// S² / (2 T (1 - rho)), the integral of [`Self::exceeds`].
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.stall * self.stall / (2.0 * self.period * (1.0 - self.load))
    }
}

/// Response time of a queue with one server, first come first served.
#[derive(Clone, Copy, Debug)]
pub enum Queue {
    /// Poisson arrivals, exponential service: L ~ Exp(mu - lambda). (Kleinrock, Queueing Systems I, 1975, 5.118.)
    MM1,
    /// Poisson arrivals, constant service: the mean by Pollaczek and Khinchine, the distribution by Erlang (1909) as
    /// Crommelin (1932) proved it: P(W <= t) = (1 - rho) sum_{k <= t/s} [lambda (k s - t)]^k / k! e^(-lambda (k s - t)).
    MD1,
    /// Constant arrivals, exponential service: L ~ Exp(mu (1 - sigma)), sigma the root below 1 of
    /// sigma = e^(-(mu/lambda)(1 - sigma)). (Kleinrock, 6.22 and 6.64, with a deterministic gap.)
    DM1,
}

impl Queue {
    #[must_use]
    pub fn mean(self, rate: f64, service: f64) -> f64 {
        let load = rate * service;
        match self {
            Self::MM1 => 1.0 / (1.0 / service - rate),
            Self::MD1 => service * (1.0 + load / (2.0 * (1.0 - load))),
            Self::DM1 => service / (1.0 - sigma(load)),
        }
    }

    #[must_use]
    pub fn quantile(self, q: f64, rate: f64, service: f64) -> f64 {
        let load = rate * service;
        match self {
            Self::MM1 => -(1.0 - q).ln() / (1.0 / service - rate),
            Self::DM1 => -(1.0 - q).ln() * service / (1.0 - sigma(load)),
            Self::MD1 => {
                let (mut low, mut high) = (0.0, 40.0 * service);
                while high - low > 1e-9 * service {
                    let middle = f64::midpoint(low, high);
                    if erlang(middle, rate, service) < q {
                        low = middle;
                    } else {
                        high = middle;
                    }
                }
                service + high
            }
        }
    }
}

/// P(W <= t) of M/D/1. The terms alternate, so it is good for t up to some twenty service times, as far as it is used.
fn erlang(t: f64, rate: f64, service: f64) -> f64 {
    let mut sum = 0.0;
    let mut k = 0.0;
    let mut factorial = 1.0;
    while k * service <= t {
        let x = rate * (k * service - t);
        sum += x.powf(k) / factorial * (-x).exp();
        k += 1.0;
        factorial *= k;
    }
    (1.0 - rate * service) * sum
}

/// Probability that an arrival of D/M/1 has to wait, by iteration: the map contracts for loads below 1.
fn sigma(load: f64) -> f64 {
    let mut sigma = 0.0;
    for _ in 0..1000 {
        sigma = (-(1.0 - sigma) / load).exp();
    }
    sigma
}

/// Lindley's recursion (1952), message for message: W_{n+1} = max(0, W_n + S_n - A_{n+1}), L_n = W_n + S_n.
/// What a FIFO server makes of these planned times and service times, in nanoseconds; no sampling error is left.
#[must_use]
pub fn lindley(planned_ns: &[u64], service_ns: &[u64]) -> Vec<u64> {
    let mut free_ns = 0;
    planned_ns
        .iter()
        .zip(service_ns)
        .map(|(&planned, &service)| {
            free_ns = planned.max(free_ns) + service;
            free_ns - planned
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() < 5e-4 * expected, "{got} is not {expected}");
    }

    #[test]
    fn a_stall_of_100_ms_each_second_has_p95_50_p99_90_p999_99_and_mean_5() {
        let stall = Stall {
            stall: 100.0,
            period: 1000.0,
            load: 0.0,
        };
        close(stall.quantile(0.95), 50.0);
        close(stall.quantile(0.99), 90.0);
        close(stall.quantile(0.999), 99.0);
        close(stall.mean(), 5.0);
        close(stall.exceeds(50.0), 0.05);
        assert_eq!((stall.quantile(0.5), stall.exceeds(101.0)), (0.0, 0.0));
    }

    #[test]
    fn load_stretches_the_backlog_of_a_stall() {
        let stall = Stall {
            stall: 100.0,
            period: 1000.0,
            load: 0.5,
        };
        close(stall.quantile(0.95), 75.0);
        close(stall.mean(), 10.0);
    }

    #[test]
    fn queues_at_half_load_have_their_known_means_and_p99() {
        let (rate, service) = (0.5, 1.0);
        close(Queue::MM1.mean(rate, service), 2.0);
        close(Queue::MM1.quantile(0.99, rate, service), 9.2103);
        close(Queue::MD1.mean(rate, service), 1.5);
        close(Queue::MD1.quantile(0.99, rate, service), 4.336);
        // sigma = e^(-2 (1 - sigma)) has the root 0.2032.
        close(Queue::DM1.mean(rate, service), 1.0 / (1.0 - 0.203_188));
        close(Queue::DM1.quantile(0.99, rate, service), 5.7795);
    }

    #[test]
    fn half_of_the_arrivals_of_a_half_loaded_md1_do_not_wait() {
        close(erlang(0.0, 0.5, 1.0), 0.5);
        // P(W <= 1) = (1 - rho)(e^(rho) - 0): one term at k = 0 and a vanishing one at k = 1.
        close(erlang(0.999_999, 0.5, 1.0), 0.5 * 0.5_f64.exp());
    }

    #[test]
    fn the_replay_of_a_queue_is_worked_by_hand() {
        // Arrivals at 0, 1, 2, 10; service 3, 1, 2, 4: ends 3, 4, 6, 14.
        assert_eq!(lindley(&[0, 1, 2, 10], &[3, 1, 2, 4]), [3, 3, 4, 4]);
        assert_eq!(lindley(&[], &[]), [0; 0]);
    }
}
